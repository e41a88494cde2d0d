"""Where in a checkpoint's nested tables the weights are, and under which names.

In:   what a checkpoint file holds: tables, lists, tensors, and other things.
Out:  one flat table of tensors, what was left out of it, and what was taken off the names.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bytecap.convert.foreign import Foreign
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.units import counted

MAX_DEPTH = 40
"""Tables below tables; a file that nests deeper is not looked through."""
ROOT = "."
"""The key that means the whole file."""
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names that torch.compile, FSDP and activation checkpointing put into those of the modules they wrap."""


def choose(root: object, key: str | None) -> tuple[str, Mapping[str, Any]]:
    """Key and content of the table that holds the weights; ConfigError where more than one may be meant.

    DataError where there is none. With `key`, a path of keys joined by dots or `.` for the whole file, that table.
    """
    found = find_tables(root)
    listed = ", ".join(f"{path} ({_size(table)})" for path, table in found.items())
    if key is not None:
        table = _as_table(root if key == ROOT else _look_up(root, key))
        if table is None or not flatten(table)[0]:
            raise ConfigError(f"--key {key} leads to no weights; there are {listed or 'none'}")
        return key, table
    if not found:
        raise DataError(f"the file holds no weights with names, but {_describe(root)}; save a model's state_dict()")
    if len(found) > 1:
        first = next(iter(found))
        raise ConfigError(
            f"the file holds more than one set of weights: {listed}; choose one with --key {first} (a key above "
            "several takes them all)"
        )
    return next(iter(found.items()))


def find_tables(root: object) -> dict[str, Mapping[str, Any]]:
    """Each table that may be a model's weights, by its path: the outermost one with a matrix in it, else a vector.

    Optimizers' states are none, and neither is what only stands under numbers.

    >>> weights = {"w": torch.ones(2, 2)}
    >>> list(find_tables({"model": weights, "optimizer": {"state": {0: weights}, "param_groups": []}, "epoch": 3}))
    ['model']
    """
    seen: set[int] = set()

    def find(value: object, path: str, depth: int) -> dict[str, Mapping[str, Any]]:
        table = _as_table(value)
        if table is None or id(value) in seen or depth > MAX_DEPTH or {"state", "param_groups"} <= set(table):
            return {}
        seen.add(id(value))
        if isinstance(value, Foreign):  # a module that was saved whole
            return {path or ROOT: table} if flatten(table)[0] else {}
        axes = max((v.ndim for v in table.values() if _is_weight(v)), default=0)
        if axes >= 2:
            return {path or ROOT: table}
        below: dict[str, Mapping[str, Any]] = {}
        for name, inner in table.items():
            below |= find(inner, f"{path}.{name}" if path else name, depth + 1)
        return below or ({path or ROOT: table} if axes else {})

    return find(root, "", 0)


def flatten(table: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a table and of those below it by their names joined with dots; and what is no tensor, by type."""
    tensors: dict[str, Tensor] = {}
    left: dict[str, str] = {}
    open_ = collections.deque([("", table, 0)])
    while open_:
        prefix, inner, depth = open_.popleft()
        for key, value in inner.items():
            name, below = f"{prefix}{key}", _as_table(value)
            if isinstance(value, Tensor):
                if name in tensors:
                    raise DataError(f"two tensors of the file are called {name}; rename one where it was made")
                tensors[name] = value
            elif below is not None and depth < MAX_DEPTH and not {"state", "param_groups"} <= set(below):
                open_.append((f"{name}.", below, depth + 1))
            else:
                if isinstance(value, Foreign) and value.holds_numbers():
                    raise DataError(
                        f"{name} is an object of {value.kind} with numbers in it, not a tensor; store it as a plain "
                        "tensor (dequantized, gathered, out of numpy), or choose another table with --key",
                        tensor=name,
                    )
                left[name] = value.kind if isinstance(value, Foreign) else type(value).__name__
    return tensors, left


def unwrap_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without what wrappers put into it; all as they are where two would become one.

    >>> unwrap_names(["module._orig_mod.w", "module._orig_mod.b"])
    {'module._orig_mod.w': 'w', 'module._orig_mod.b': 'b'}
    """
    names = list(names)
    plain = [".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in names]
    while plain and all(name.startswith("module.") for name in plain):  # DataParallel and its like wrap the whole
        plain = [name.removeprefix("module.") for name in plain]
    return dict(zip(names, plain if len(set(plain)) == len(names) and all(plain) else names, strict=True))


def _as_table(value: object) -> Mapping[str, Any] | None:
    """Anything with names in it as a table: a dictionary, a list by its numbers, a module's parts."""
    if isinstance(value, Foreign):
        return value.module_table()
    if isinstance(value, Mapping):
        return {key: inner for key, inner in value.items() if isinstance(key, str)}
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return {str(number): inner for number, inner in enumerate(value)}
    return None


def _look_up(value: object, key: str) -> object:
    """What the path leads to; a key may have dots in it."""
    table = _as_table(value)
    if table is None:
        return None
    if key in table:
        return table[key]
    parts = key.split(".")
    for count in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:count])
        if head in table and (found := _look_up(table[head], ".".join(parts[count:]))) is not None:
            return found
    return None


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex() or value.is_quantized)


def _size(table: Mapping[str, Any]) -> str:
    numbers = [value.numel() for value in table.values() if isinstance(value, Tensor)]
    return f"{counted(len(numbers), 'tensor')}, {counted(sum(numbers), 'number')}"


def _describe(root: object) -> str:
    if isinstance(root, Foreign):
        return f"an object of {root.kind}"
    if isinstance(root, Mapping):
        return f"a table of {', '.join(_named(key, value) for key, value in list(root.items())[:8]) or 'nothing'}"
    return f"a {type(root).__name__}"


def _named(key: object, value: object) -> str:
    """A key, and why its value is no weight where it is an array: whole numbers, text, or a key that is no name."""
    kind = getattr(value, "dtype", None)
    why = "" if kind is None else f" ({str(kind).removeprefix('torch.')})"
    return f"{str(key)[:40]}{why}" if isinstance(key, str) else f"{key!r:.40}, which is no name"
