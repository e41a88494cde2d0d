"""Every error has its exit code, every near miss a suggestion."""

import signal

import pytest

from bytecap.core import errors


def test_exit_codes() -> None:
    """The codes are a contract with scripts."""
    kinds = [errors.ConfigError, errors.DataError, errors.BudgetError, errors.FormatError, errors.NumericsError]
    assert [errors.exit_code_for(kind("x")) for kind in kinds] == [2, 3, 4, 5, 7]
    assert errors.exit_code_for(errors.BackendError("x")) == 7
    assert [errors.exit_code_for(errors.Stopped(s, "x")) for s in (signal.SIGINT, signal.SIGTERM)] == [130, 143]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("secnods", " (did you mean seconds?)"),
        ("secs", " (did you mean seconds?)"),
        ("sec", " (did you mean seconds?)"),
        ("cap", " (did you mean cap_bytes?)"),
        ("zzzz", ""),
        ("nope", ""),
        ("bytes", " (did you mean cap_bytes?)"),
        ("seed", ""),
        ("st", ""),
        ("", ""),
    ],
)
def test_only_a_close_name_is_suggested(name: str, hint: str) -> None:
    """A name is suggested for a slip of the fingers or for its beginning, and none that only shares letters."""
    assert errors.nearest(name, ["compile", "seconds", "steps", "scheme", "cap_bytes"]) == hint
