"""Saving and resuming: one safetensors file with weights, optimizer state, clock and data position.

In:   a model, and while training its optimizers.
Out:  `checkpoint.safetensors`; weights are named `model/<parameter>`, optimizer state `optimizer/<parameter>/<state>`,
      everything else is JSON in the file's metadata. Written beside, synced, renamed: the previous one stays intact.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor, nn

from bytecap.core.errors import ConfigError, DataError
from bytecap.core.files import write_atomic
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a training run has come."""

    step: int = 0
    seconds: float = 0.0
    """On the training clock, over all restarts."""
    tokens: int = 0
    position: int = 0
    """Windows drawn from the training text."""
    loss: float = float("nan")
    """Mean nats per token of the last step."""
    finished: bool = False


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A saved model with what it was made from."""

    spec: ModelSpec
    made_from: str
    """Digest of recipe and tokens."""
    tokens: str
    """Digest of the tokens alone."""
    context: int
    """Positions of a training window."""
    progressed: TrainingState
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]

    def model(self) -> GPT:
        """The model, on CPU."""
        model = build_model(self.spec)
        try:
            model.load_state_dict(self.weights, strict=True)
        except RuntimeError as error:
            raise DataError(f"the checkpoint does not hold the model that it names: {error}") from None
        return model


def build_model(spec: ModelSpec) -> GPT:
    """A fresh model on CPU."""
    return GPT(spec)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: dict[str, Tensor],
    *,
    spec: ModelSpec,
    made_from: str,
    tokens: str,
    context: int,
    progressed: TrainingState,
) -> None:
    """Write atomically. Raises BackendError on a full disk, with the previous checkpoint intact."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    about = {
        "spec": spec.to_json(), "made_from": made_from, "tokens": tokens, "context": context,
        "progressed": dataclasses.asdict(progressed),
    }  # fmt: skip
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={"bytecap": json.dumps(about)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read back; DataError for a missing, damaged or foreign file."""
    if not path.exists():
        raise DataError(f"{path} does not exist; run `bytecap train` first", path=str(path))
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["bytecap"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(
            spec=ModelSpec.from_json(about["spec"]),
            made_from=str(about["made_from"]),
            tokens=str(about["tokens"]),
            context=int(about["context"]),
            progressed=TrainingState(**about["progressed"]),
            weights={n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")},
            optimizer={n.removeprefix("optimizer/"): t for n, t in tensors.items() if n.startswith("optimizer/")},
        )
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError, ConfigError) as error:
        raise DataError(
            f"{path} is not a checkpoint of this program ({type(error).__name__}: {error}); delete it to train again",
            path=str(path),
        ) from error
