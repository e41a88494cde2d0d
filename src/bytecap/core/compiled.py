"""Functions that numba compiles at their first call, without the lock of the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fastmath: bool = False) -> Callable[[Function], Function]:
    """A decorator; what it compiles is kept for later where there is a place for it."""

    def decorate(function: Function) -> Function:
        try:
            made = njit(function, cache=True, nogil=True, fastmath=fastmath)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written to
            made = njit(function, nogil=True, fastmath=fastmath)
        return cast(Function, made)

    return decorate
