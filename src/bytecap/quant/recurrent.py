"""LSTM, GRU and RNN written out as linear maps, so that whoever watches linear maps sees their packed gates.

In:   the arguments of torch's own fused functions, and the function that does a linear map.
Out:  what torch's functions give.

Letters: B rows, T steps, H hidden size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Linear, Tensor, State, Sequence[Any]], State]
"""From a linear map, what the input gives to the gates, the state, and the recurrent weights to the next state."""


def _lstm_step(linear: Linear, given: Tensor, state: State, weights: Sequence[Any]) -> State:
    hidden, cell = state
    i, f, g, o = (given + linear(hidden, weights[0], weights[1])).chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    hidden = o.sigmoid() * cell.tanh()
    return (hidden if len(weights) < 3 else linear(hidden, weights[2], None)), cell


def _gru_step(linear: Linear, given: Tensor, state: State, weights: Sequence[Any]) -> State:
    r, z, n = given.chunk(3, dim=-1)
    hr, hz, hn = linear(state[0], weights[0], weights[1]).chunk(3, dim=-1)
    update = (z + hz).sigmoid()
    return ((1 - update) * (n + (r + hr).sigmoid() * hn).tanh() + update * state[0],)


def _rnn_step(linear: Linear, given: Tensor, state: State, weights: Sequence[Any], *, rectified: bool) -> State:
    both = given + linear(state[0], weights[0], weights[1])
    return (both.relu() if rectified else both.tanh(),)


_STEPS: dict[str, Step] = {
    "lstm": _lstm_step, "gru": _gru_step, "rnn_tanh": functools.partial(_rnn_step, rectified=False),
    "rnn_relu": functools.partial(_rnn_step, rectified=True),
}  # fmt: skip
LAYERS = {getattr(torch, name): step for name, step in _STEPS.items()}
CELLS = {getattr(torch, f"{name}_cell"): step for name, step in _STEPS.items()}
ARGUMENTS = 9
"""Those of a layer over a tensor; over a packed sequence there are as many, but the second is no state."""


def is_written_out(func: Any, args: Sequence[Any]) -> bool:
    """Tell what `run_layers` and `run_cell` can take the place of; packed sequences they cannot."""
    return func in CELLS or (func in LAYERS and len(args) == ARGUMENTS and isinstance(args[2], (list, tuple)))


def run_cell(func: Any, linear: Linear, args: Sequence[Any]) -> Any:
    """One step of a cell: `torch.lstm_cell` and its kind."""
    x, state, w_ih, w_hh, b_ih, b_hh = (*args, None, None)[:6]
    state = tuple(state) if isinstance(state, (list, tuple)) else (state,)
    found = CELLS[func](linear, linear(x, w_ih, b_ih), state, (w_hh, b_hh))
    return found if len(found) > 1 else found[0]


def run_layers(func: Any, linear: Linear, args: Sequence[Any]) -> Any:
    """All layers and directions of `torch.lstm` and its kind, without dropout."""
    x, given, weights, biases, layers, _, _, both_ways, batch_first = args
    states = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    ways = 2 if both_ways else 1
    per_way = len(weights) // (layers * ways)
    out, last = (x.transpose(0, 1) if batch_first else x), []
    for layer in range(layers):
        halves = []
        for way in range(ways):
            place = layer * ways + way
            mine = weights[place * per_way : (place + 1) * per_way]
            state = tuple(one[place] for one in states)
            steps, state = _run(LAYERS[func], linear, out, state, mine, biased=biases, backwards=way == 1)
            halves.append(steps)
            last.append(state)
        out = torch.cat(halves, dim=-1)
    ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    return (out.transpose(0, 1) if batch_first else out), *ends


def _run(
    step: Step, linear: Linear, x_TBI: Tensor, state: State, weights: Sequence[Tensor], *, biased: bool, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: the outputs (T, B, H) and the last state."""
    w_ih, w_hh, *rest = weights
    b_ih, b_hh, *projection = rest if biased else (None, None, *rest)
    gates_TBG = linear(x_TBI, w_ih, b_ih)
    outputs = []
    for given in reversed(gates_TBG.unbind()) if backwards else gates_TBG.unbind():
        state = step(linear, given, state, (w_hh, b_hh, *projection))
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state
