"""The report of a fit through the command line, and what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.digest import digest_bytes
from tests.runs import call

Capture = pytest.CaptureFixture[str]


def fitted(capsys: Capture, *given: str | Path | int) -> list[dict[str, Any]]:
    """The report that a successful fit prints."""
    capsys.readouterr()
    assert call("fit", *map(str, given), "--json", "--quiet") == 0
    rows: list[dict[str, Any]] = next(iter(json.loads(capsys.readouterr().out).values()))
    return rows


def listing(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): digest_bytes(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
