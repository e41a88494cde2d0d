"""The command line as a whole: the parser is asked, a verb is called, and what became of it is an exit code.

Results go to stdout, everything else to stderr. Exit codes: core/errors.py. What is heavy is imported where signals are
already watched, and by the verb that needs it, so that `--help` starts fast.
"""

from __future__ import annotations

import errno
import io
import re
import sys

from bytecap.commands.output import exit_on_broken_pipe, exit_with_error
from bytecap.core.errors import BackendError, BytecapError, Stopped
from bytecap.core.signals import stop_at_once


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; leaves by SystemExit with the exit code of core/errors.py."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        with stop_at_once():
            from bytecap.commands.verbs import call

            call(given)
    except BrokenPipeError:
        exit_on_broken_pipe()
    except (BytecapError, Stopped) as error:
        exit_with_error(error, as_json=as_json)
    except OSError as error:
        exit_with_error(_unusable(error), as_json=as_json)
    except (MemoryError, RuntimeError) as error:
        exit_with_error(_too_large(error), as_json=as_json)


def _too_large(error: MemoryError | RuntimeError) -> BackendError:
    """What an allocator says, which PyTorch raises as a RuntimeError; any other is a fault of ours and stays."""
    said = str(error)
    if not isinstance(error, MemoryError) and not re.search("can't allocate memory|out of memory", said):
        raise error
    asked = re.search(r"allocate ([\d.]+ [KMGT]?i?[Bb]\w*)", said)
    amount = f" ({asked[1]} were asked for)" if asked else ""
    fewer = " (in training --set train.micro_batch=N runs fewer sequences at once)" if "CUDA" in said else ""
    return BackendError(
        f"this takes more memory than there is{amount}; choose a smaller model, batch{fewer} or context, or a larger "
        "machine"
    )


def _unusable(error: OSError) -> BackendError:
    """What the system says of a file or an output; anything else is a fault of ours and stays what it is."""
    if error.filename is None and error.errno != errno.ENOSPC:
        raise error
    place = str(error.filename or "the output")
    return BackendError(
        f"{place} cannot be used: {error.strerror}; look at its permissions and free space, or give another", path=place
    )
