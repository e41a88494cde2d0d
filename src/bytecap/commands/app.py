"""The command line: a table of verbs, each in a file of its own, and what becomes of their errors.

Results go to stdout, everything else to stderr. Exit codes: core/errors.py. Verbs import what is heavy when they are
called, so that `--help` starts fast.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable

from cyclopts import App

from bytecap.commands.fit import fit
from bytecap.commands.generate import generate
from bytecap.commands.inspect import inspect
from bytecap.commands.output import leave
from bytecap.commands.prepare import prepare
from bytecap.commands.recipes import recipes
from bytecap.commands.run import run
from bytecap.commands.score import score
from bytecap.commands.train import train
from bytecap.core.errors import BackendError, BytecapError
from bytecap.core.signals import stop_at_once
from bytecap.core.version import __version__

VERBS: tuple[Callable[..., None], ...] = (run, prepare, train, fit, score, generate, inspect, recipes)
"""In the order of the flow; a verb is called as its function is."""


def build_app() -> App:
    """The parser of the command line, with every verb."""
    app = App(
        name="bytecap",
        version=__version__,
        help="The best language model in N bytes.",
        help_format="plaintext",  # no Markdown parser: the command line must start fast
        help_formatter="plain",
    )
    for order, verb in enumerate(VERBS):
        app.command(verb, sort_key=order)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; leaves by SystemExit with the exit code of core/errors.py."""
    stop_at_once()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        build_app()(given, exit_on_error=True)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, as in `bytecap inspect FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except BytecapError as error:
        leave(error, as_json="--json" in given)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        place = error.filename or "the output"
        refused = BackendError(
            f"{place} cannot be used: {error.strerror}; look at its permissions and free space, or give another",
            path=str(place),
        )
        leave(refused, as_json="--json" in given)
