"""What leaves the command line: results on stdout, errors on stderr, and an exit code (core/errors.py)."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from bytecap.core.errors import BytecapError, exit_code_for


def print_result(value: dict[str, Any], as_json: bool, text: str) -> None:
    """Print what a verb found: all of it as JSON, or `text` for people."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


def leave(error: BytecapError, *, as_json: bool) -> NoReturn:
    """Say what went wrong, on stdout too where JSON was asked for, and exit with the error's code."""
    sys.stdout.flush()
    if as_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": str(error), **_plain(error.values)}}))
    print(f"bytecap: {error}", file=sys.stderr)
    raise SystemExit(exit_code_for(error)) from None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float, type(None)))}
