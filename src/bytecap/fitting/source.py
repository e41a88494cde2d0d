"""What is fitted: weights by name with their roles, and the model around them where there is one.

In:   a torch module, a checkpoint of ours, or plain safetensors.
Out:  a WeightSource; what cannot be weights is refused by name.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import torch
from torch import Tensor, nn

from bytecap.artifact.load import WHOLE_TYPES
from bytecap.convert.dequantize import quantized_layouts, refuse_lone_parts
from bytecap.core.digest import digest_arrays
from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.core.units import counted
from bytecap.fitting.aliases import equal_tensors, tied_names
from bytecap.formats.base import MAX_NAME, MAX_WIDTH
from bytecap.model.gpt import GPT
from bytecap.model.renames import first_name
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.quant.allocation import Shape
from bytecap.train.checkpoint import load_checkpoint, open_tensors
from bytecap.train.hooks import squared_gradients

MAX_WEIGHT, MAX_EXACT_INTEGER = 1e15, 1 << 24
"""Size beyond which a tensor holds something else than weights, and beyond which 32 bits do not hold whole numbers."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WeightSource:
    """What is fitted."""

    weights: dict[str, Floats]
    shapes: list[Shape]
    digest: str
    model: GPT | None
    """The model around the weights; None if there are only weights."""
    context: int | None = None
    """Positions that it was trained on, where that is known."""
    training_squares: dict[str, float] = field(default_factory=dict)
    """Mean squared gradients by name, where training has gathered them."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names of weights that are stored once, each with the name in `weights`."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """The type of each tensor as safetensors names it, if one of them holds no floating-point numbers."""

    @property
    def spec(self) -> ModelSpec | None:
        """The shape of the model; None where there are only weights."""
        return None if self.model is None else self.model.spec


def source_from_module(model: nn.Module) -> WeightSource:
    """The weights of a model, with roles: declared ones, or what the modules' types say."""
    for name, parameter in model.named_parameters():
        _refuse_unreadable(name, parameter)
        if not parameter.is_floating_point():
            raise DataError(
                f"parameter {name} is of type {parameter.dtype}; fit the model before it is quantized", tensor=name
            )
    parameters = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
    roles = {n: str(r) for n, r in parameter_roles(model).items()} if isinstance(model, GPT) else _roles_by_type(model)
    kept = set(model.state_dict())
    for name, buffer in model.named_buffers():
        if name in kept:
            _refuse_unreadable(name, buffer)
    buffers = {name: value.detach().cpu() for name, value in model.named_buffers() if name in kept}
    _refuse_inexact(buffers)
    tensors = {name: _as_float32(name, value) for name, value in (parameters | buffers).items()}
    if isinstance(model, GPT):
        return _build_source(tensors, roles | dict.fromkeys(buffers, str(Role.SCALAR)), model, buffers)
    source = _build_source(tensors, roles | dict.fromkeys(buffers, str(Role.SCALAR)), None, buffers)
    tied = {name: source.aliases.get(known, known) for name, known in tied_names(model).items()}
    dtypes = _types_if_whole(parameters | buffers | {name: model.state_dict()[name] for name in tied})
    return dataclasses.replace(source, aliases={**source.aliases, **tied}, dtypes=dtypes)


def open_checkpoint(
    path: Path, *, finished: bool = False, tokens: str | None = None, made_from: Collection[str] | None = None
) -> WeightSource:
    """A checkpoint of ours with its model, or plain safetensors without one.

    If asked, a finished one, trained on `tokens` (a digest), and made from one of the digests in `made_from`.
    """
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        target = shlex.quote(str(path.with_suffix(".safetensors")))
        raise ConfigError(
            f"{path} is a file of PyTorch's own kind, which can hold more than weights; run `bytecap convert "
            f"{shlex.quote(str(path))} {target}` and fit what that writes",
            path=str(path),
        )
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; give a .safetensors file, or a run folder after `bytecap train`", path=str(path)
        )
    if path.suffix == ".bcap":
        raise DataError(
            f"{path} is fitted already; fit the checkpoint that it was made from, or `bytecap export` its weights with "
            "--to safetensors and fit those",
            path=str(path),
        )
    try:
        with open_tensors(path) as file:
            if "bytecap" in (file.metadata() or {}):
                saved = load_checkpoint(path)
                if finished and not saved.progressed.finished:
                    raise DataError(f"training in {path.parent} has not finished; run `bytecap train` to go on")
                if tokens is not None and saved.tokens != tokens:
                    raise DataError(
                        f"{path} was trained on tokens {saved.tokens}, beside it lie tokens {tokens}; put back "
                        "those it was trained on, or fit it outside this folder with --text and --tokenizer",
                        path=str(path),
                    )
                if made_from is not None and saved.made_from not in made_from:
                    raise DataError(
                        f"{path} was not trained with the recipe beside it, which was changed since; put back the "
                        "recipe.toml that it was trained with, and give --cap and --set for another fit",
                        path=str(path),
                    )
                squares = squared_gradients.mean_squares(saved.hooks.get(squared_gradients.NAME, {}))
                source = source_from_module(saved.model())
                return dataclasses.replace(source, context=saved.context, training_squares=squares)
            return _as_stored(file, path)
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a safetensors file ({error}); give one, or make one with `bytecap convert`", path=str(path)
        ) from error


def _build_source(
    tensors: dict[str, Tensor], roles: dict[str, str], model: GPT | None, exact: Collection[str] = ()
) -> WeightSource:
    for name, value in tensors.items():
        leave_out = "register the buffer with persistent=False" if model is None and name in exact else "leave it out"
        if not torch.isfinite(value).all():
            what = f"; {leave_out}" if name in exact else "; the checkpoint cannot be fitted"
            raise NumericsError(f"tensor {name} holds NaN or infinity{what}", tensor=name)
        if value.numel() == 0 or max(value.shape, default=0) > MAX_WIDTH:
            raise DataError(
                f"tensor {name} of shape {tuple(value.shape)} is empty or wider than {MAX_WIDTH:,}; {leave_out}",
                tensor=name,
            )
        if (largest := float(value.abs().max())) > MAX_WEIGHT:
            raise NumericsError(
                f"tensor {name} holds values up to {largest:.3g}, which are no weights (a mask?); {leave_out}",
                tensor=name,
            )
        if not name.isprintable() or len(name) > MAX_NAME:
            raise DataError(
                f"a tensor has the name {name[:80]!a}, of {counted(len(name), 'letter')}; rename it to at most "
                f"{MAX_NAME:,} that can be printed",
                tensor=name,
            )
    weights = {name: np.asarray(value.numpy(), np.float32, order="C") for name, value in tensors.items()}
    techniques = () if model is None else model.spec.techniques
    digest = digest_arrays({first_name(name, techniques): value for name, value in weights.items()})
    aliases = equal_tensors(tensors, exact) if model is None else {}
    weights = {name: value for name, value in weights.items() if name not in aliases}
    shapes = [Shape(name, roles[name], value.shape, exact=name in exact) for name, value in weights.items()]
    return WeightSource(weights, shapes, digest, model, aliases=aliases)


def _as_stored(file: Any, path: Path) -> WeightSource:
    """Weights without a model; whole numbers are kept as they are."""
    tensors = {name: _read(file, name) for name in file.keys()}  # noqa: SIM118
    if not tensors:
        raise DataError(f"{path} holds no tensors; give another file", path=str(path))
    for layout, name in quantized_layouts(tensors).items():
        raise DataError(
            f"the weights in {path} are quantized already ({layout}, such as {name}); give --dequantize to fit "
            "the numbers that they stand for, or fit the original at 16 or 32 bits",
            path=str(path),
        )
    refuse_lone_parts(tensors)
    whole = {name for name, value in tensors.items() if not value.is_floating_point()}
    _refuse_inexact({name: tensors[name] for name in whole})
    floats = {name: _as_float32(name, value) for name, value in tensors.items()}
    roles = {name: str(Role.SCALAR) if name in whole else _role_by_shape(value) for name, value in floats.items()}
    return dataclasses.replace(_build_source(floats, roles, None, whole), dtypes=_types_if_whole(tensors))


def _read(file: Any, name: str) -> Tensor:
    try:
        tensor: Tensor = file.get_tensor(name)
    except RuntimeError:  # several numbers in a byte, as 4-bit floats have
        raise _unreadable(name, file.get_slice(name).get_dtype()) from None
    return tensor


def _unreadable(name: str, kind: object) -> DataError:
    return DataError(
        f"tensor {name} is of type {kind}, which cannot be read as numbers; store it at 16 or 32 bits, or leave it out",
        tensor=name,
    )


def _types_if_whole(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The type of each tensor; none where all are floating point, which come back as float32."""
    names = {kind: name for name, kind in WHOLE_TYPES.items()}
    if not any(value.dtype in names for value in tensors.values()):
        return {}
    return {name: names.get(value.dtype, "F32") for name, value in tensors.items()}


def _refuse_unreadable(name: str, value: Tensor) -> None:
    """Raise an error for a tensor of a module that holds no dense values yet, or none at all."""
    if nn.parameter.is_lazy(value):
        raise ConfigError(
            f"parameter {name} is not initialized; run the model once on a batch, which gives lazy modules their shapes"
        )
    if value.is_meta:
        raise ConfigError(f"tensor {name} is on the meta device and has no values; load the weights first")
    if value.layout != torch.strided or value.is_quantized:
        what = value.dtype if value.is_quantized else value.layout
        raise DataError(f"tensor {name} is stored as {what}; make it dense and floating point first", tensor=name)


def _as_float32(name: str, value: Tensor) -> Tensor:
    """The values at 32 bits; DataError for a type that cannot be read as numbers."""
    try:
        return value.float()
    except (RuntimeError, NotImplementedError):
        raise _unreadable(name, value.dtype) from None


def _refuse_inexact(tensors: Mapping[str, Tensor]) -> None:
    """Raise DataError for what 32-bit floating point cannot hold as it is."""
    for name, value in tensors.items():
        if value.is_complex():
            raise DataError(f"tensor {name} holds complex numbers; store their real view instead", tensor=name)
        if not value.is_floating_point() and value.numel() and int(value.long().abs().max()) > MAX_EXACT_INTEGER:
            raise DataError(
                f"tensor {name} holds whole numbers beyond {MAX_EXACT_INTEGER:,}, which are no weights; leave it out",
                tensor=name,
            )


def _roles_by_type(model: nn.Module) -> dict[str, str]:
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return {
        name: str(Role.EMBEDDING) if id(parameter) in embeddings else _role_by_shape(parameter)
        for name, parameter in model.named_parameters()
    }


def _role_by_shape(value: Tensor) -> str:
    return str(Role.MATRIX if value.ndim >= 2 else Role.SCALAR)
