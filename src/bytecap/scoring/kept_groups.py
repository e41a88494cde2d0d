"""Groups of documents that were scored before a score was stopped, so that it goes on instead of beginning again.

In:   a folder, a digest of all that a score follows; what a ledger has written down of a group.
Out:  a file for each group, which is gone once the score is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bytecap.core.files import make_folder, read_object, unusable_json, write_json
from bytecap.scoring.ledger import Ledger

_SHAPE = {"begin": int, "end": int, "document": int, "nats": [float], "bytes": [int], "tokens": [int]}


class KeptGroups:
    """The groups of one score; those of another digest are left alone."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder / digest

    def keep(self, number: int, ledger: Ledger) -> None:
        """Write down what the ledger of a group alone holds; BackendError where that fails."""
        times_N, nats_D, bytes_D, tokens_D = ledger.arrays
        positions, documents = _extent(times_N), _extent(tokens_D)
        make_folder(self._folder)
        value: dict[str, Any] = {"begin": positions.start, "end": positions.stop, "document": documents.start}
        for name, values_D in (("nats", nats_D), ("bytes", bytes_D), ("tokens", tokens_D)):
            value[name] = values_D[documents].tolist()
        write_json(self._path(number), value)

    def restore(self, number: int, ledger: Ledger) -> bool:
        """Put a group that was kept into an empty ledger; False where there is none. DataError for a damaged file."""
        if not self._path(number).is_file():
            return False
        value = read_object(self._path(number), _SHAPE)
        times_N, nats_D, bytes_D, tokens_D = ledger.arrays
        counts = {len(value[name]) for name in ("nats", "bytes", "tokens")}
        fits = 0 <= value["document"] <= len(nats_D) - max(counts) and 0 <= value["begin"] <= value["end"] <= len(
            times_N
        )
        if len(counts) > 1 or not fits or sum(value["tokens"]) != value["end"] - value["begin"]:
            raise unusable_json(self._path(number), "does not hold as many targets as it says")
        times_N[value["begin"] : value["end"]] = 1
        documents = slice(value["document"], value["document"] + len(value["nats"]))
        for name, values_D in (("nats", nats_D), ("bytes", bytes_D), ("tokens", tokens_D)):
            values_D[documents] = value[name]
        return True

    def forget(self) -> None:
        """The score is whole: nothing is kept any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _extent(values_N: npt.NDArray[Any]) -> slice:
    there_N = np.flatnonzero(values_N)
    return slice(int(there_N[0]), int(there_N[-1]) + 1)
