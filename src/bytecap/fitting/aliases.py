"""Tensors that are stored once although they have two names: tied parameters, and copies equal to the last bit.

In:   a torch module, or tensors by name.
Out:  for each further name the first one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from torch import Tensor, nn

COMPARED_FIRST = 64
"""Numbers of a tensor by which most of those that differ are distinguished."""


def tied_names(model: nn.Module) -> dict[str, str]:
    """The further names under which a module saves one and the same parameter or buffer."""
    saved, first, found = set(model.state_dict()), dict[int, str](), dict[str, str]()
    everything = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, value in everything:
        known = first.setdefault(id(value), name)
        if known != name and name in saved:
            found[name] = known
    return found


def equal_tensors(tensors: Mapping[str, Tensor], exact: Collection[str]) -> dict[str, str]:
    """The tensors that hold what an earlier one of the same shape holds; `exact` names those kept as they are.

    Tensors of one value throughout, as gains and biases begin with, are left apart: they cost next to nothing, and what
    they stand for differs.
    """
    alike, found = dict[object, list[str]](), dict[str, str]()
    for name, value in tensors.items():
        flat = value.flatten()
        if flat.numel() < 2 or bool((flat == flat[0]).all()):
            continue
        begin = np.ascontiguousarray(flat[:COMPARED_FIRST].float().numpy()).tobytes()
        earlier = alike.setdefault((value.shape, name in exact, begin), [])
        same = next((known for known in earlier if bool((tensors[known] == value).all())), None)
        if same is None:
            earlier.append(name)
        else:
            found[name] = same
    return found
