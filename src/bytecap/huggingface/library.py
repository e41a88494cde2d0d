"""The transformers package, which is an extra: present or one clear error, quiet, and never on the network.

In:   nothing.
Out:  the module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from bytecap.core.errors import BackendError, BytecapError, DataError

EXTRA = "pip install 'bytecap[hf]'"
OFFLINE: dict[str, Any] = {"local_files_only": True}
"""Arguments of every call that could look for files elsewhere."""
_SHOWN = 300


def transformers() -> ModuleType:
    """The package; BackendError where it is not installed."""
    try:
        import transformers as library  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError as error:
        raise BackendError(f"a Hugging Face model needs the transformers package ({error}): {EXTRA}") from None
    return library


@contextmanager
def library_errors(library: ModuleType, what: str) -> Iterator[None]:
    """Silence the library, and turn its errors into one DataError or BackendError about `what`."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    except BytecapError:
        raise
    except (ImportError, ModuleNotFoundError) as error:
        raise BackendError(f"{what} needs a package that is not here: {_first_line(error)}; install it") from error
    except MemoryError:
        raise
    except Exception as error:  # whatever a library of so many authors raises
        raise DataError(
            f"{what} cannot be opened by transformers {library.__version__}: {_first_line(error)}; check the folder "
            "with that library, or fit the weights alone from a .safetensors file"
        ) from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return (f"{type(error).__name__} {told}" if isinstance(error, KeyError) else told)[:_SHOWN]
