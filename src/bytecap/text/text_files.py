"""Which files at a path hold text: by their names, and never what a run of this program has written.

In:   a file, a folder or a glob.
Out:  paths, sorted.
"""

from __future__ import annotations

import functools
import glob
import sysconfig
from pathlib import Path

COMPRESSED = (".gz", ".zst")
_NOT_SOURCES = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_TEXT_SUFFIXES = {
    *("txt", "md", "rst", "tex", "py", "pyi", "c", "h", "cc", "cpp", "hpp", "cu", "rs", "go", "java", "kt", "js", "ts"),
    *("jsx", "tsx", "rb", "php", "sh", "lua", "swift", "scala", "hs", "ml", "jl", "r", "sql", "html", "css", "xml"),
    *("json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "csv"),
}
_RECIPE, _HEADING, _MANIFEST = "recipe.toml", b"# A run of bytecap.", "tokens/manifest.json"
"""What makes a folder that of a run: its recipe, which begins with the heading or, of version 0.1.0, stands beside
tokens."""
_WRITTEN = {
    *("recipe.toml", "record.json", "score.json", "seconds.json", "metrics.jsonl", "log.txt"),
    *("tokens", "unfinished-score"),
}
_REPORT = ".fit.json"
"""How files and folders in the folder of a run are called that are named like text, and how reports of fits end."""


def standard_library() -> list[Path]:
    """The sources of the Python that runs, without tests and what was installed."""
    root = Path(sysconfig.get_path("stdlib"))
    return [p for p in sorted(root.rglob("*.py")) if not _NOT_SOURCES & set(p.relative_to(root).parts)]


def matches(pattern: str) -> list[Path]:
    """What lies at a path: the file or folder of exactly that name, also where the name reads as a glob; else these."""
    try:
        if Path(pattern).exists():
            return [Path(pattern)]
    except OSError:  # longer than any name may be
        return []
    return [Path(p) for p in sorted(glob.glob(pattern, recursive=True))] or [Path(pattern)]  # noqa: PTH207


def files_in(path: Path) -> list[Path]:
    """A file itself; of a folder the files that are named like text, but hidden ones and what runs have written.

    A run whose folder lies in its own text, or beside an earlier one's, would else learn recipes and records.
    """
    if path.is_file():
        return [path]
    is_run = functools.cache(_is_run)
    named = [p for p in sorted(path.rglob("*")) if p.is_file() and _is_text_name(p)]
    parts = {p: p.relative_to(path).parts for p in named}
    return [
        p
        for p in named
        if not any(part.startswith(".") for part in parts[p])
        and not any(is_run(path.joinpath(*parts[p][:depth])) for depth in range(1, len(parts[p])))
        and not (is_run(path) and (parts[p][0] in _WRITTEN or p.name.endswith(_REPORT)))
    ]


def suffixes(path: Path) -> list[str]:
    """The suffixes of a name in lower case: `.JSONL.Gz` says the same as `.jsonl.gz`."""
    return [suffix.lower() for suffix in path.suffixes]


def _is_text_name(path: Path) -> bool:
    own = [suffix for suffix in suffixes(path) if suffix not in COMPRESSED]
    return bool(own) and own[-1][1:] in _TEXT_SUFFIXES


def _is_run(folder: Path) -> bool:
    """Return whether a run has written into `folder`."""
    try:
        with (folder / _RECIPE).open("rb") as file:
            return file.read(len(_HEADING)) == _HEADING or (folder / _MANIFEST).is_file()
    except OSError:
        return False
