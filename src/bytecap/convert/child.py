"""The process that opens an untrusted checkpoint: tensors out of it into a safetensors file, and nothing else.

In:   a job: files, a key, a folder to write into.
Out:  `weights.safetensors` and `reply.json` in that folder. Whatever happens to this process, the caller is safe.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bytecap.convert.dequantize import dequantize, quantized_layouts, refuse_lone_parts
from bytecap.convert.job import FULL_DISK, REPLY, WEIGHTS
from bytecap.convert.kinds import KINDS, kind_by_suffix
from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.layouts import layout_titles
from bytecap.convert.limits import confine
from bytecap.convert.tables import ROOT, choose, flatten, unwrap_names
from bytecap.convert.tensors import separate
from bytecap.core.errors import BackendError, BytecapError, ConfigError, DataError
from bytecap.core.files import FULL, as_os_error

SPARE_BYTES = 1 << 20
"""Tensors may take so many bytes beyond what their kind allows for each byte of a file."""

PACKED = {
    b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"
}  # fmt: skip
"""How the files of compressors begin."""

DEQUANTIZED = 4
"""Factor on that where weights are dequantized: 2 bits become 32."""


def main(job: str) -> None:
    """Do a job given as JSON; the reply says what was taken, or what was wrong."""
    asked = json.loads(job)
    folder = Path(asked["folder"])
    torch.set_num_threads(1)
    try:
        _import_libraries(asked["files"])
        how = asked.get("dequantize")
        confine(folder, _max_bytes(asked["files"], how is not None))
        reply = convert_files(asked["files"], asked["key"], folder, how)
    except BytecapError as error:
        reply = {"error": {"kind": type(error).__name__, "message": str(error)}}
    except MemoryError:
        reply = {"error": {"kind": "DataError", "message": "the file asks for more memory than its weights can need"}}
    except Exception as error:
        if (failed := as_os_error(error)) is not None and failed.errno in FULL:
            raise SystemExit(FULL_DISK) from None
        raise
    (folder / REPLY).write_text(json.dumps(reply))


def convert_files(
    files: Mapping[str, list[str] | None],
    key: str | None,
    folder: Path,
    quantization: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the weights of `files` (the names wanted of each, or None for all) into `folder`; what was taken.

    With `quantization`, what a config says of it, weights that are quantized are written as the numbers they stand for.
    """
    tensors: dict[str, torch.Tensor] = {}
    left: dict[str, str] = {}
    taken = key
    for path, wanted in files.items():
        kind, root = read_tables(Path(path))
        one = key is None and kind.is_one_table and bool(flatten(root)[0])
        taken, table = choose(root, ROOT if one else key)
        found, apart = flatten(table)
        left |= apart | _beside(root, taken)
        if wanted is not None and (missing := sorted(set(wanted) - set(found))):
            raise DataError(f"{path} lacks {missing[0]}, which the index says it has; get the file again")
        tensors |= {name: found[name] for name in (found if wanted is None else wanted)}
    counts: dict[str, int] = {}
    if quantization is not None:
        tensors, counts = dequantize(tensors, quantization)
        refuse_lone_parts(tensors)
        if not counts:
            raise ConfigError(
                f"there are no weights in a layout that is dequantized ({', '.join(layout_titles())}); leave "
                "--dequantize out"
            )
    empty = {name for name, value in tensors.items() if value.numel() == 0}
    names = unwrap_names(name for name in tensors if name not in empty)
    most = _max_bytes(files, quantization is not None)
    held = separate({new: tensors[old] for old, new in names.items()}, most)
    if not held:
        raise DataError("the weights are all empty; give another file")
    save_file(held, folder / WEIGHTS, metadata={"format": "pt"})
    return {
        "key": taken,
        "tensors": len(held),
        "numbers": sum(value.numel() for value in held.values()),
        "renamed": sum(old != new for old, new in names.items()),
        "dequantized": counts,
        "quantized": sorted(quantized_layouts(held)),
        "left_out": left | dict.fromkeys(empty, "empty tensor"),
    }


def read_tables(path: Path) -> tuple[Kind, Any]:
    """The kind of a file and what it holds, on the CPU; DataError where it cannot be read as what its name says."""
    kind = kind_by_suffix(path)
    try:
        return kind, kind.read(path, ByteLimit(_max_bytes([str(path)], dequantized=False)))
    except (BytecapError, MemoryError):
        raise
    except Exception as error:
        _refuse_packed(path)
        raise DataError(
            f"{path} cannot be read as {kind.title}: {_first_line(error)}; if it is one, load it where it was made and "
            "save its arrays by name alone (state_dict(), numpy.savez)"
        ) from error


def _refuse_packed(path: Path) -> None:
    """Raise DataError for a compressed file and for an archive of files, neither of which is a checkpoint by itself."""
    with path.open("rb") as file:
        head = file.read(8)
    for begin, name in PACKED.items():
        if head.startswith(begin):
            raise DataError(f"{path} is compressed with {name}; unpack it and give what is in it")
    if known := [name for name in _archived(path) if Path(name).suffix.lower() in _suffixes()]:
        raise DataError(f"{path} is an archive of files, such as {known[0][:80]}; unpack it and give one of them")


def _archived(path: Path) -> list[str]:
    """The names in an archive; none where it is no archive or a damaged one, as the kind of checkpoint tells that."""
    with contextlib.suppress(Exception):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return archive.getnames()
    return []


def _suffixes() -> set[str]:
    """Ends of the names of checkpoints, of any kind."""
    return {suffix for name in KINDS.names() for suffix in KINDS.find(name).suffixes} - {".pkl", ".pickle"}


def _beside(root: Any, key: str) -> dict[str, str]:
    """What else the file holds, apart from the table that was chosen."""
    if not isinstance(root, dict) or key == ".":
        return {}
    beside = {str(name): value for name, value in root.items() if not f"{key}.".startswith(f"{name}.")}
    return {name: getattr(value, "kind", type(value).__name__) for name, value in beside.items()}


def _first_line(error: Exception) -> str:
    text = str(error).replace("Weights only load failed.", "").strip() or type(error).__name__
    for line in text.splitlines():
        if "Unsupported" in line or "GLOBAL" in line or "blocked" in line:
            return line.strip().split(" Please use")[0][:200].rstrip(".")
    return text.splitlines()[0][:200].rstrip(".")


def _import_libraries(files: Iterable[str]) -> None:
    """Import what reads the files while this process may still do what importing needs; BackendError without it."""
    for kind in map(kind_by_suffix, map(Path, files)):
        try:
            if kind.library:
                importlib.import_module(kind.library)
        except ImportError:
            raise BackendError(
                f"reading {kind.title} needs the package {kind.library}, which is not installed; "
                f"pip install 'bytecap[{kind.extra}]'"
            ) from None


def _max_bytes(files: Iterable[str], dequantized: bool) -> int:
    """Bytes that the tensors of all files together may take."""
    read = sum(kind_by_suffix(path).growth * kind_by_suffix(path).size(path) for path in map(Path, files))
    return SPARE_BYTES + (DEQUANTIZED if dequantized else 1) * read
