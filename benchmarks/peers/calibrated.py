"""The model around the weights, for peers that calibrate; bytecap is read from the sources beside this folder."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from peers.given import Given


class _Enough(Exception):
    """The rest of a forward pass is not needed."""


class Model:
    """The model around the weights, for peers that calibrate; the package is read from the sources beside this file."""

    def __init__(self, given: Given) -> None:
        import torch

        sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
        from bytecap.model.gpt import GPT, document_numbers
        from bytecap.model.spec import ModelSpec

        job = json.loads((given.folder / "job.json").read_text())
        self.gpt = GPT(ModelSpec.from_json(job["model"])).eval()
        weights = {**given.rest, **given.vectors, **given.matrices}
        self.gpt.load_state_dict({n: torch.from_numpy(w.astype(np.float32)) for n, w in weights.items()})
        assert given.tokens is not None
        self.bos, self.document_numbers = job["bos"], document_numbers
        self.rows = torch.from_numpy(given.tokens[:, :-1])
        self.batches = list(self.rows.split(16))

    def inputs(self, name: str) -> Iterator[Any]:
        """What the linear map with this weight is given, batch by batch."""
        import torch

        seen: list[Any] = []

        def look(_: Any, arguments: Any) -> None:
            seen.append(arguments[0])
            raise _Enough

        hook = self.gpt.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(look)
        try:
            for tokens in self.batches:
                with torch.no_grad(), contextlib.suppress(_Enough):
                    self.gpt.hidden(tokens, self.bos)
                yield seen.pop()
        finally:
            hook.remove()

    def put(self, name: str, weight: np.ndarray[Any, Any]) -> None:
        """Replace a weight."""
        import torch

        self.gpt.get_parameter(name).data = torch.from_numpy(weight.copy())
