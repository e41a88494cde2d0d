"""Saving and resuming: one safetensors file with weights, optimizer state, clock and data position.

In:   a model, and while training its optimizers.
Out:  `checkpoint.safetensors`; weights are named `model/<parameter>`, optimizer state `optimizer/<parameter>/<state>`,
      a hook's state `hooks/<hook>/<…>`, weights that are not exported `weights/<hook or last>/<parameter>`,
      everything else is JSON in the file's metadata. Written beside, synced, renamed: the previous one stays intact.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.core.files import parse_json, write_atomic
from bytecap.core.settings import ANY_NUMBER, NOT_SAVED, history
from bytecap.core.settings_reader import from_saved
from bytecap.core.settings_writer import to_saved
from bytecap.model.gpt import GPT
from bytecap.model.renames import current_name
from bytecap.model.spec import ModelSpec

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS, OPTIMIZER, HOOK_STATES, OTHER_WEIGHTS = "model", "optimizer", "hooks", "weights"
"""What the names of tensors begin with."""


def _one_or_several(precisions: Any) -> Any:
    """The list of what was one word."""
    return [precisions] if isinstance(precisions, str) else precisions


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a training run has come."""

    step: int = 0
    progress: float = 0.0
    """Where in the run the last step was: 0 in the first, 1 in the last, and it never falls."""
    seconds: float = 0.0
    """On the training clock, over all restarts."""
    compile_seconds: float = 0.0
    """Before the training clock, over all restarts; 0 where nothing is compiled."""
    tokens: int = 0
    position: int = 0
    """Windows drawn from the training text."""
    loss: float = dataclasses.field(default=math.nan, metadata=ANY_NUMBER)
    """Mean nats per token of the last step."""
    finished: bool = False
    matmul_precisions: tuple[str, ...] = dataclasses.field(
        default=(),
        metadata=history(first_default=("float32",), renamed=("matmul_precision",), upgrade=_one_or_several),
    )
    """What the products of its steps were made of, which the machine decides where the settings ask for bfloat16;
    several where it went on on another machine, in the order in which they came."""
    attention: tuple[str, ...] = ()
    """What computed attention (model/attention_choice.py), with the reason of a fallback; several as above."""


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
    weights: dict[str, Tensor] = dataclasses.field(default_factory=dict, metadata=NOT_SAVED)
    """By parameter; each is a tensor of the file."""
    optimizer: dict[str, Tensor] = dataclasses.field(default_factory=dict, metadata=NOT_SAVED)
    """By parameter and state; each is a tensor of the file. Empty when training has finished."""
    hooks: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict, metadata=NOT_SAVED)
    """State of each training hook; each is a tensor of the file. Of a finished run, that of hooks that say so alone."""
    exported: str = "last"
    """Which weights of a finished run `weights` are (`train.exported_weights`)."""
    other_weights: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict, metadata=NOT_SAVED)
    """Those that a finished run did not export, by `train.exported_weights` and parameter."""
    digest: str | None = dataclasses.field(default=None, metadata=NOT_SAVED)
    """Digest of the file's content, checked when it was read; None in files of version 0.1.0."""

    def model(self) -> GPT:
        """The model, on CPU."""
        model = GPT(self.spec)
        self.load_into(model)
        return model

    def load_into(self, model: GPT) -> None:
        """Give `model` the saved weights; DataError where they are not of its shapes."""
        try:
            model.load_state_dict(self.weights, strict=True)
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise DataError(
                f"the checkpoint does not hold the model that it names ({why}); delete it to train again"
            ) from None


def save_checkpoint(path: Path, saved: Checkpoint) -> None:
    """Write atomically. Raises BackendError on a full disk, with the previous checkpoint intact."""
    tensors = {f"{WEIGHTS}/{name}": value for name, value in saved.weights.items()}
    tensors |= {f"{OPTIMIZER}/{name}": value for name, value in saved.optimizer.items()}
    for prefix, groups in ((HOOK_STATES, saved.hooks), (OTHER_WEIGHTS, saved.other_weights)):
        tensors |= {f"{prefix}/{group}/{n}": value for group, values in groups.items() for n, value in values.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    about = json.dumps(to_saved(saved))
    metadata = {"bytecap": about, "digest": _digest(about, tensors)}
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read back; DataError for a missing, damaged or foreign file.

    Files of version 0.1.0 carry no digest, so damage that leaves their form whole is not seen.
    """
    with _readable(path) as file:
        metadata = file.metadata() or {}
        header = _header(path, metadata)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest = metadata.get("digest")
        if digest not in (None, _digest(metadata["bytecap"], tensors)):
            raise DataError(
                f"{path} is damaged: its digest says that it was changed after it was written; put back a copy, or "
                "delete it to train again",
                path=str(path),
            )
        return dataclasses.replace(
            header,
            weights=_under(f"{WEIGHTS}/", tensors, header.spec),
            optimizer=_under(f"{OPTIMIZER}/", tensors, header.spec),
            hooks=_groups(f"{HOOK_STATES}/", tensors),
            other_weights=_groups(f"{OTHER_WEIGHTS}/", tensors),
            digest=digest,
        )


def _under(prefix: str, tensors: dict[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The tensors behind a prefix, by today's names of the parameters that they begin with."""
    return {
        current_name(name.removeprefix(prefix), spec.techniques): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _groups(prefix: str, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors behind a prefix and a group's name, group by group."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            group, _, key = name.removeprefix(prefix).partition("/")
            groups.setdefault(group, {})[key] = value
    return groups


def load_training_state(path: Path) -> TrainingState:
    """How far the run of a checkpoint has come, without reading its tensors; raises what `load_checkpoint` raises."""
    with _readable(path) as file:
        return _header(path, file.metadata() or {}).progressed


def _header(path: Path, metadata: Mapping[str, str]) -> Checkpoint:
    """All but the tensors, from the JSON of this version or an older one."""
    about = parse_json(metadata["bytecap"])
    origin = f"{path} is not a checkpoint of this program"
    return from_saved(Checkpoint, about, origin=origin, remedy="delete it to train again", error=DataError)


def open_tensors(path: Path) -> Any:
    """A safetensors file as `safetensors.safe_open` gives it, read where it is asked for and not mapped into memory.

    A file that is cut short while it is mapped would end the process; so it is an error like any other.
    """
    return safetensors.safe_open(path, framework="pt", backend="pread")


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """The open file; what is wrong with it inside becomes a DataError."""
    if not path.exists():
        raise DataError(f"{path} does not exist; run `bytecap train` first", path=str(path))
    try:
        with open_tensors(path) as file:
            yield file
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is not a checkpoint of this program ({type(error).__name__}: {error}); delete it to train again",
            path=str(path),
        ) from error


def _digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Digest of the JSON text and of every tensor's name, type, shape and bytes."""
    whole = hashlib.sha256(about.encode())
    for name, value in sorted(tensors.items()):
        whole.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        whole.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest_bytes(whole.digest())


def trained_model(folder: Path) -> tuple[GPT, Checkpoint]:
    """The finished model in a run folder; DataError when training has not finished."""
    saved = load_checkpoint(folder / CHECKPOINT)
    if not saved.progressed.finished:
        raise DataError(f"training in {folder} has not finished; run `bytecap train` with the same --out to go on")
    return saved.model(), saved
