"""`python -m bytecap`, and the script that an installation makes: the command line as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from bytecap.commands.app import main

STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


def run_process() -> None:
    """Call the command line; after a signal the process ends at once, whatever its worker threads are at."""
    try:
        main()
    except SystemExit as leaving:
        if leaving.code in STOPPED:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, AttributeError):
                    stream.flush()
            os._exit(int(leaving.code or 0))
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the work is done: no traceback out of the interpreter's end


if __name__ == "__main__":
    run_process()
