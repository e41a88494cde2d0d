"""The files of code that an exported folder needs so that transformers opens it where bytecap is not installed.

In:   names of modules in `export/remote/`, and the techniques of a model.
Out:  files by name: those modules and all of bytecap that they import, flat, as transformers copies no folders.

`bytecap.model.gpt` becomes `bytecap_model_gpt.py`, and imports are rewritten; nothing else of the text changes but the
table of techniques, which cannot be found by scanning there.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from bytecap.core.version import __version__

REMOTE, TECHNIQUES = "bytecap.export.remote", "bytecap.model.techniques"
_IMPORT = re.compile(r"^(\s*)from (bytecap[\w.]*) import", re.MULTILINE)
_TABLE = re.compile(r"^TECHNIQUES = .*$", re.MULTILINE)
_TABLE_OF_COPIES = '''class _Copied(Parts[Technique]):
    """The techniques of this model; the files of others were not copied."""

    def names(self) -> list[str]:
        return {names!r}

    def module_name(self, name: str) -> str:
        return f"{{self.package}}_{{name}}"


TECHNIQUES = _Copied("technique", __name__, (), Technique)'''


def code_files(module: str, techniques: Iterable[str]) -> dict[str, str]:
    """Texts by file name: `module` of `export/remote/` under its own name, with all that it imports."""
    techniques = sorted(techniques)
    entry, files = f"{REMOTE}.{module}", dict[str, str]()
    extra = [f"{TECHNIQUES}.{name}" for name in techniques]
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if f"{flat_name(name)}.py" in files:
            continue
        path = _path(name)
        text = path.read_text("utf-8")
        waiting += _imports(text)
        if name == entry and TECHNIQUES in _closure(entry):
            waiting += extra
            text += "".join(
                f"\nfrom {each} import __doc__ as _  # noqa: E402, F401  (transformers copies it)" for each in extra
            )
            text = text.rstrip() + "\n"
        if name == TECHNIQUES:
            text = _TABLE.sub(lambda _: _TABLE_OF_COPIES.format(names=techniques), text)
        files[f"{flat_name(name)}.py"] = _head(name) + _IMPORT.sub(_relative, text)
    return dict(sorted(files.items()))


def flat_name(module: str) -> str:
    """The name of a module's copy.

    >>> flat_name("bytecap.model.gpt"), flat_name("bytecap.export.remote.modeling_bytecap")
    ('bytecap_model_gpt', 'modeling_bytecap')
    """
    return module.removeprefix(f"{REMOTE}.").replace(".", "_")


def _relative(match: re.Match[str]) -> str:
    return f"{match[1]}from .{flat_name(match[2])} import"


def _path(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is a file of bytecap"
    return Path(spec.origin)


def _imports(text: str) -> list[str]:
    """Modules of bytecap that a text imports anywhere in it."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    return [node.module for node in nodes if node.module is not None and node.module.split(".")[0] == "bytecap"]


def _closure(module: str) -> set[str]:
    """A module and all of bytecap that it imports."""
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(_path(name).read_text("utf-8"))
    return found


def _head(module: str) -> str:
    return (
        f"# {module}, copied by `bytecap export` of bytecap {__version__}. MIT License, Copyright (c) 2026 The bytecap "
        "authors.\n"
    )
