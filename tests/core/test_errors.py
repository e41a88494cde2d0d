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


@pytest.mark.parametrize(("name", "hint"), [("baselin", "; did you mean baseline?"), ("zzzz", "")])
def test_only_a_close_name_is_suggested(name: str, hint: str) -> None:
    """Only a close name is suggested."""
    assert errors.nearest(name, ["baseline", "other"]) == hint
