"""What can go wrong, as one tree; each kind knows its exit code.

    BytecapError
    ├── ConfigError     2  wrong usage or recipe
    ├── DataError       3  corpus, shards, tokenizer or a product that does not belong here
    ├── BudgetError     4  the bytes cannot be met
    ├── FormatError     5  a damaged or foreign artifact
    ├── RuleError       6  an audit found a rule broken
    ├── NumericsError   7  NaN, infinity
    └── BackendError    7  a missing device or library, a full disk, a folder that another process is writing
    Stopped       130/143  a signal, after saving; apart, so that nothing takes it for an error and swallows it

A message is one sentence with what was found and what was needed, then where, then the next step. The values behind
it are attributes too (`error.values`).
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from typing import Any, ClassVar

CLOSE = 0.65
"""Share of letters in common, as difflib counts them, from which on a name is suggested: a misleading one is worse
than a list of all names, which stands in most messages where nothing is suggested."""
MIN_BEGINNING = 3
"""Letters from which on the beginning of a name is taken for it."""


class BytecapError(Exception):
    """Base of all errors that the input causes."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.values = values


class ConfigError(BytecapError):
    """A recipe, track, override or argument is wrong."""

    exit_code = 2


class DataError(BytecapError):
    """Text, shards, a tokenizer or a saved product cannot be used."""

    exit_code = 3


class BudgetError(BytecapError):
    """The cap in bytes cannot be met."""

    exit_code = 4


class FormatError(BytecapError):
    """An artifact is damaged, of another version, or not one."""

    exit_code = 5


class RuleError(BytecapError):
    """A score breaks a rule."""

    exit_code = 6


class NumericsError(BytecapError):
    """A number that must be finite is NaN or infinite."""

    exit_code = 7


class BackendError(BytecapError):
    """A device, library, disk or folder that was requested cannot be used now."""

    exit_code = 7


class Stopped(BaseException):
    """A signal ended the work after what could be saved was saved. Like KeyboardInterrupt it is no `Exception`."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.values: dict[str, Any] = {"signal": signal_number}
        self.signal_number = signal_number
        self.code = 128 + signal_number  # 130 for SIGINT, 143 for SIGTERM


def exit_code_for(error: BytecapError | Stopped) -> int:
    """Exit status of the command line for `error`."""
    return error.code if isinstance(error, Stopped) else error.exit_code


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for a known name that is close to `name` or begins with it, else an empty string.

    >>> nearest("secnods", ["seconds", "compile"]), nearest("cap", ["cap_bytes"]), nearest("nope", ["compile"])
    (' (did you mean seconds?)', ' (did you mean cap_bytes?)', '')
    """
    names = list(known)
    longer = [other for other in names if len(name) >= MIN_BEGINNING and other.startswith(name)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=CLOSE) or longer
    return f" (did you mean {close[0]}?)" if close else ""


SIGNAL_NAMES = {int(signal.SIGINT): "Ctrl-C", int(signal.SIGTERM): "SIGTERM"}
