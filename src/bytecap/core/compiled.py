"""Functions that numba compiles at their first call, without the lock of the interpreter, and keeps for later.

numba looks at a function's own file to tell whether what it kept is still right, and not at the files of functions that
are compiled into it. So the kept files carry a digest of both in their name.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fastmath: bool = False, inner: bool = False) -> Callable[[Function], Function]:
    """A decorator; what it compiles is kept for later where there is a place for it.

    `inner` is for functions that compiled functions alone call: they get no entry for Python, which for arguments of
    many arrays takes as long to compile as the function itself.
    """
    options: dict[str, Any] = {
        "nogil": True, "fastmath": fastmath, "no_cfunc_wrapper": True, "no_cpython_wrapper": inner,
    }  # fmt: skip

    def decorate(function: Function) -> Function:
        function.__qualname__ += f"_{_source_digest(function)}"
        try:
            made = njit(function, cache=True, **options)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written to
            made = njit(function, **options)
        return cast(Function, made)

    return decorate


def compiles_first(function: Callable[..., Any]) -> bool:
    """Tell whether the first call of a compiled function has to compile it: nothing was kept by an earlier process."""
    assert isinstance(function, Dispatcher)
    place, name = function.stats.cache_path, function.py_func.__qualname__
    kept = place is not None and any(Path(place).glob(f"*{name}*.nbi"))
    return not function.signatures and not kept


def _source_digest(function: Callable[..., Any]) -> str:
    """Changes with the file of a function, and with those of compiled functions that the file imports."""
    names = {
        value.py_func.__qualname__
        for value in function.__globals__.values()
        if isinstance(value, Dispatcher) and value.py_func.__module__ != function.__module__
    }
    digest = hashlib.sha256("\n".join(sorted(names)).encode())
    with contextlib.suppress(OSError):  # as in an archive, which numba keeps nothing for
        digest.update(Path(function.__code__.co_filename).read_bytes())
    return digest.hexdigest()[:12]
