"""Linear maps make up for what was rounded before them: by least squares, with forward passes alone.

In:   a model, batches, a forward function; then one rounded weight after another, in the order of the pass.
Out:  for each linear map that is not rounded yet, the weight with which its part of the model is nearest to the
      original's.

A weight whose output arrives at a stream S of the model unchanged but for a factor s for each channel (the residual
stream behind an attention's or MLP's last map; otherwise its own output) can cancel whatever of the error Δ = S - Ŝ is
linear in its inputs x̂ of the model rounded so far:

    W + diag(1 / s) E[Δ x̂ᵀ] (E[x̂ x̂ᵀ] + ridge)⁻¹

Where that is, is found by trying: a weight is changed at random, and of all inputs and outputs of modules the last is
taken that moves in proportion. The ridge is chosen on batches that nothing was fitted to, and a weight that would gain
nothing on them stays as it is.

Letters: N positions, O rows (outputs), I columns (inputs) of a weight.
Source:  drift correction and residual compensation of WaterSIC, arXiv 2603.04956, there for Llama's layers by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bytecap.quant.distillation import load, mean_divergence
from bytecap.quant.outputs import ForwardFn

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Place = tuple[str, str]
"""The name of a module and that of its tensor."""
INPUT, OUTPUT = "input", "output"

Gain = Callable[[str, Doubles, Doubles, Doubles], float]
"""What a change of a weight is worth: from its name, the change (O, I), and E[(Δ / s) x̂ᵀ] and E[x̂ x̂ᵀ] on batches that
nothing was fitted to, to a number that is above 0 where the change is of use."""

RIDGES = (0.01, 0.1, 1.0)
"""Shares of the mean square input that are tried as the ridge."""
CHECKED_SHARE = 4
"""One of so many batches is kept to choose the ridge by."""
PROPORTIONAL = 1e-6
"""The squared share of a change that may be out of proportion."""


class _EnoughSeen(BaseException):
    """Ends a forward pass after the last tensor that was asked for."""


@dataclass(frozen=True)
class Compensated:
    """One weight of a linear map, and where its output is compared with the original's."""

    name: str
    module: str
    place: Place
    factor_O: Tensor
    """The part of its output that arrives there."""


@dataclass
class _Moments:
    """Means over positions of one group: x̂ x̂ᵀ, and (Δ / s) x̂ᵀ of each of its weights."""

    inputs_II: Tensor
    errors_OI: dict[str, Tensor]


class Compensator:
    """A copy of a model in which one weight after another is fixed."""

    def __init__(self, model: nn.Module, names: Collection[str], batches: Sequence[Any], forward_fn: ForwardFn) -> None:
        """`names` may change; `batches`, of which at least two are needed, are gone through once for each group."""
        self._model, self._batches, self._forward_fn = model.eval(), batches, forward_fn
        self._n_checked = max(1, len(batches) // CHECKED_SHARE)
        self._student = copy.deepcopy(model).requires_grad_(False)
        self.groups = self._find_groups(set(names)) if len(batches) > 1 else []

    def fix(self, rounded: Mapping[str, Floats]) -> None:
        """Give weights the values that they were rounded to."""
        load(self._student, rounded)

    def divergence(self, weights: Mapping[str, Floats]) -> float:
        """The divergence of a model with these weights from the original, in nats per position, on held-out batches."""
        load(self._student, weights)
        return mean_divergence(self._model, self._student, self._batches[: self._n_checked], self._forward_fn)

    def corrected(self, group: Sequence[Compensated], gain: Gain) -> dict[str, Floats]:
        """New weights of a group, (O, I), with which it makes up for all that is fixed; those that stay are left out.

        A group reads the same inputs, and its weights do not touch each other. `gain` evaluates a change.
        """
        checked, fitted = (
            self._moments(group, part) for part in (self._batches[: self._n_checked], self._batches[self._n_checked :])
        )
        damped = [_solver(fitted.inputs_II, ridge) for ridge in RIDGES]
        found = {}
        for entry in group:
            changes = [(fitted.errors_OI[entry.name] @ inverse_II).cpu().numpy() for inverse_II in damped]
            wanted_OI, inputs_II = checked.errors_OI[entry.name].cpu().numpy(), checked.inputs_II.cpu().numpy()
            gains = [gain(entry.name, change_OI, wanted_OI, inputs_II) for change_OI in changes]
            if max(gains) > 0:
                weight_OI = self._student.get_parameter(entry.name).double().cpu().numpy()
                found[entry.name] = (weight_OI + changes[int(np.argmax(gains))]).astype(np.float32)
        return found

    def _moments(self, group: Sequence[Compensated], batches: Sequence[Any]) -> _Moments:
        inputs, width = (group[0].module, INPUT), self._student.get_parameter(group[0].name).size(1)
        device, positions = next(self._student.parameters()).device, 0
        inputs_II = torch.zeros(width, width, dtype=torch.float64, device=device)
        errors = {e.name: torch.zeros(len(e.factor_O), width, dtype=torch.float64, device=device) for e in group}
        places = {inputs, *(entry.place for entry in group)}
        for batch in batches:
            wanted, seen = (self._watch(model, batch, places) for model in (self._model, self._student))
            x_NI = seen[inputs].flatten(0, -2)
            inputs_II += x_NI.T @ x_NI
            positions += len(x_NI)
            for entry in group:
                error_NO = (wanted[entry.place] - seen[entry.place]).flatten(0, -2)
                errors[entry.name] += error_NO.T @ x_NI
        shares = {e.name: _inverse(e.factor_O)[:, None] / positions for e in group}
        return _Moments(inputs_II / positions, {name: errors[name] * share for name, share in shares.items()})

    def _watch(self, model: nn.Module, batch: Any, places: Collection[Place] | None = None) -> dict[Place, Tensor]:
        """What stands at some places in a pass that ends behind the last of them, or at all, in their order."""
        seen: dict[Place, Tensor] = {}
        often: set[Place] = set()

        def note(place: Place, value: Any) -> None:
            value = value[0] if isinstance(value, tuple) and value else value
            if not isinstance(value, Tensor) or not value.is_floating_point() or (places and place not in places):
                return
            often.update({place} if place in seen else ())
            seen[place] = value.detach()
            if places and len(seen) == len(places):
                raise _EnoughSeen

        hooks = []
        for name, module in model.named_modules():
            if not places or (name, INPUT) in places:
                hooks.append(module.register_forward_pre_hook(lambda _, x, name=name: note((name, INPUT), x)))
            if not places or (name, OUTPUT) in places:
                hooks.append(module.register_forward_hook(lambda _, x, y, name=name: note((name, OUTPUT), y)))
        try:
            with torch.no_grad():
                self._forward_fn(model, batch)
        except _EnoughSeen:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return {place: value for place, value in seen.items() if place not in often}

    @torch.no_grad()
    def _find_groups(self, names: Collection[str]) -> list[list[Compensated]]:
        """Linear maps in the order of the pass, grouped by their inputs and the place where they are compared."""
        probe = self._batches[0]
        probe = probe[:1] if isinstance(probe, Tensor) else probe
        seen = self._watch(self._model, probe)
        groups: list[list[Compensated]] = []
        read: Tensor | None = None
        for module, side in seen:
            name, inputs = f"{module}.weight".removeprefix("."), seen.get((module, INPUT))
            if side != OUTPUT or inputs is None or name not in names or not self._is_linear(module, seen):
                continue
            entry = self._last_in_proportion(name, module, probe, seen)
            own = entry.place == (module, OUTPUT)
            same = read is not None and read.shape == inputs.shape and read.data_ptr() == inputs.data_ptr()
            if same and own:
                groups[-1].append(entry)
            else:
                groups.append([entry])
            read = inputs if own else None
        return groups

    def _is_linear(self, module: str, seen: Mapping[Place, Tensor]) -> bool:
        """Tell a module that multiplies its input by its weight, whatever its class."""
        weight, bias = (getattr(self._model.get_submodule(module), part, None) for part in ("weight", "bias"))
        inputs, outputs = seen[module, INPUT], seen[module, OUTPUT]
        if not isinstance(weight, Tensor) or weight.ndim != 2 or inputs.size(-1) != weight.size(1):
            return False
        if inputs.ndim < 2 or outputs.shape != (*inputs.shape[:-1], weight.size(0)) or inputs.dtype != torch.float32:
            return False
        expected = nn.functional.linear(inputs, weight.detach(), bias)
        return float((expected - outputs).square().sum()) <= PROPORTIONAL * float(outputs.square().sum())

    def _last_in_proportion(self, name: str, module: str, probe: Any, seen: Mapping[Place, Tensor]) -> Compensated:
        """The last place behind a weight that moves in proportion to its output."""
        own, weight = (module, OUTPUT), self._student.get_parameter(name)
        before, generator = weight.clone(), torch.Generator().manual_seed(0)
        noise = torch.randn(weight.shape, generator=generator).to(weight) * before.square().mean().sqrt()
        weight.add_(0.1 * noise)
        moved = self._watch(self._student, probe)
        weight.copy_(before)
        change = (moved[own] - seen[own]).flatten(0, -2)
        found = Compensated(name, module, own, torch.ones_like(change[0], dtype=torch.float64))
        behind = False
        for place, value in seen.items():
            behind = behind or place == own
            there = moved.get(place)
            if not behind or value.shape != seen[own].shape or there is None or there.shape != value.shape:
                continue
            step = (there - value).flatten(0, -2)
            if float(step.square().sum()) <= PROPORTIONAL * float(change.square().sum()):
                continue  # another branch, which does not move
            factor = (step * change).sum(0) / change.square().sum(0).clamp_min(1e-30)
            apart = float((step - factor * change).square().sum())
            if apart <= PROPORTIONAL * float(step.square().sum()):
                found = Compensated(name, module, place, factor.double())
        return found


def _inverse(factor_O: Tensor) -> Tensor:
    """1 / s, or 0 where almost nothing arrives."""
    least = 1e-3 * factor_O.abs().max()
    return torch.where(factor_O.abs() > least, 1 / factor_O, 0.0)


def _solver(inputs_II: Tensor, ridge: float) -> Tensor:
    """(inputs + ridge · mean diagonal)⁻¹."""
    damped = inputs_II.clone()
    damped.diagonal().add_((ridge * damped.diagonal().mean()).clamp_min(1e-30))
    return torch.linalg.inv(damped)  # type: ignore[no-any-return]
