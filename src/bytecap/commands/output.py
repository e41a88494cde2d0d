"""What leaves the command line: results on stdout, errors on stderr, and an exit code (core/errors.py).

Whatever a file says is made visible here (core/terminal.py): no name, sample or quoted input reaches a terminal raw.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any, NoReturn

from bytecap.core.distributed import world
from bytecap.core.errors import BytecapError, Stopped, exit_code_for
from bytecap.core.terminal import visible, visible_json, visible_line


def print_result(value: dict[str, Any], as_json: bool, text: str) -> None:
    """Print what a verb found: all of it as JSON, or `text` for people; of several processes rank 0 prints."""
    if not world().is_main:
        return
    print(visible_json(json.dumps(value, indent=2, ensure_ascii=False)) if as_json else visible(text), flush=True)


def warn(text: str) -> None:
    """One line on stderr."""
    print(f"bytecap: {visible_line(text)}", file=sys.stderr)


def exit_with_error(error: BytecapError | Stopped, *, as_json: bool) -> NoReturn:
    """Print the error, on stdout too with --json, and exit with its code.

    Each of several processes prints the errors that it alone has; a signal, which all get, is printed by rank 0 alone.
    """
    here = world()
    with contextlib.suppress(OSError):  # whoever read the output may be gone; the exit code tells it all the same
        if not here.is_main:
            if isinstance(error, BytecapError):
                warn(f"rank {here.rank}: {error}")
            raise SystemExit(exit_code_for(error))
        if as_json:
            about = {"kind": type(error).__name__, "message": str(error), **_plain(error.values)}
            print(json.dumps({"error": about}), flush=True)
        warn(str(error))
    raise SystemExit(exit_code_for(error)) from None


def exit_on_broken_pipe() -> NoReturn:
    """Exit as a program does whose reader has closed the pipe, as in `bytecap inspect FILE | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(128 + signal.SIGPIPE) from None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float, type(None)))}
