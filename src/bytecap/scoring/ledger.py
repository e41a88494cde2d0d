"""The ledger of a score: every target once, its loss written down before anything may learn from it.

In:   the stream, bytes of its tokens, log probabilities of a predictor, a chunk at a time.
Out:  a `Scored` for each chunk, which nothing else can make; at the end the sums.

A predictor is shown the inputs of a chunk and never its last target. Only `Ledger.commit`, which has the predictor's
log probabilities, looks the targets up; what learns takes a `Scored` and nothing else. So to score first
and learn later is a matter of types, not of discipline.

Letters: B rows (documents side by side), T positions of a chunk, V vocabulary.
Source:  the conditions of openai/parameter-golf's issue 1017: causal, normalized, score before update, one pass.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.core.distributed import all_reduce
from bytecap.core.errors import ConfigError, NumericsError
from bytecap.scoring.documents import DocumentScores, DocumentSums
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import TokenStream

SUM_TOLERANCE = 1e-5
"""How far from 1 the probabilities of a position may sum up, as rounding to float32 lets them."""
_SEAL = object()
"""What only `Ledger` passes to `Scored`."""


@dataclass(frozen=True)
class Chunk:
    """The positions that are scored together: `counts[b]` inputs of row b from position `starts[b]` of the stream."""

    starts: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def length(self) -> int:
        """T: positions of the longest row, to which the others are padded."""
        return max(self.counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """A chunk whose loss is in the ledger. Positions that pad a row are not in `counted_BT`; their values mean nothing.

    TypeError for whoever makes one without a ledger.
    """

    inputs_BT: Tensor
    targets_BT: Tensor
    nats_BT: Tensor
    """The loss that was committed, float64 on CPU."""
    counted_BT: Tensor
    """True where a target was scored; in each row first those, then padding."""
    positions_BT: npt.NDArray[np.int64]
    """Where in the stream each target lies."""
    seal: dataclasses.InitVar[object]
    loss_BT: Tensor | None = None
    """The loss with the graph of the pass that was scored, where something needs gradients; else None."""

    def __post_init__(self, seal: object) -> None:
        """Nothing but a ledger and a part of a Scored is one."""
        if seal is not _SEAL:
            raise TypeError("a Scored comes from Ledger.commit alone: what learns must have been scored")

    @property
    def tokens(self) -> int:
        """How many targets were scored."""
        return int(self.counted_BT.sum())

    def with_graph(self, log_probs_BTV: Tensor) -> Scored:
        """The same with `loss_BT`, from log probabilities of this chunk that gradients flow through."""
        targets_BT1 = self.targets_BT[..., None].to(log_probs_BTV.device)
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Scored(**{**fields, "loss_BT": -log_probs_BTV.gather(-1, targets_BT1).squeeze(-1)}, seal=_SEAL)

    def part(self, first: int, end: int) -> Scored:
        """The positions `first` to `end` - 1 of each row."""
        cut = slice(first, end)
        return Scored(
            inputs_BT=self.inputs_BT[:, cut], targets_BT=self.targets_BT[:, cut], nats_BT=self.nats_BT[:, cut],
            counted_BT=self.counted_BT[:, cut], positions_BT=self.positions_BT[:, cut],
            loss_BT=None if self.loss_BT is None else self.loss_BT[:, cut], seal=_SEAL,
        )  # fmt: skip


def require_once(times_N: npt.NDArray[np.uint8]) -> None:
    """RuntimeError unless every target was scored once."""
    if not (times_N == 1).all():
        raise RuntimeError("a position was not scored, or scored twice")


def join(parts: Sequence[Scored]) -> Scored:
    """Neighbouring parts of the same rows as one."""
    if len(parts) == 1:
        return parts[0]
    losses = [part.loss_BT for part in parts if part.loss_BT is not None]

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], dim=1)

    return Scored(
        inputs_BT=joined("inputs_BT"), targets_BT=joined("targets_BT"), nats_BT=joined("nats_BT"),
        counted_BT=joined("counted_BT"), positions_BT=np.concatenate([part.positions_BT for part in parts], axis=1),
        loss_BT=torch.cat(losses, dim=1) if len(losses) == len(parts) else None, seal=_SEAL,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a finished ledger says."""

    nats: float
    text_bytes: int
    tokens: int
    documents: DocumentScores


class Ledger:
    """Holds the stream, and counts every target exactly once."""

    def __init__(self, stream: TokenStream, table: ByteTable, bos: int, byte_stream: TokenStream | None = None) -> None:
        self._stream, self._table, self._byte_stream, self.bos = stream, table, byte_stream, bos
        self._times_N = np.zeros(self.targets, np.uint8)
        self._documents = DocumentSums(stream, bos)

    def part(self) -> Ledger:
        """An empty ledger of the same stream, for documents whose sums are added by themselves."""
        part = copy.copy(self)
        part._times_N, part._documents = np.zeros_like(self._times_N), self._documents.empty()
        return part

    def add(self, part: Ledger) -> None:
        """Take over what a part has written down."""
        for mine, its in zip(self.arrays, part.arrays, strict=True):
            mine += its

    @property
    def targets(self) -> int:
        """Every token but the first is one."""
        return len(self._stream) - 1

    def inputs(self, chunk: Chunk) -> Tensor:
        """What a predictor is shown, (B, T) ids; behind the end of a row stands BOS, which is never scored."""
        return self._read(chunk)[0]

    def commit(self, chunk: Chunk, log_probs_BTV: Tensor) -> Scored:
        """Write down the loss of a chunk from the natural log probabilities of what follows each of its inputs.

        NumericsError, with the position and what was found, for ones that do not sum to one, or give the target no
        probability; ConfigError for another number of rows.
        """
        inputs_BT, targets_BT, counted_BT, positions_BT = self._read(chunk)
        if log_probs_BTV.shape[:2] != targets_BT.shape or log_probs_BTV.ndim != 3:
            raise ConfigError(
                f"{' by '.join(map(str, targets_BT.shape))} tokens were answered by log probabilities of shape "
                f"{tuple(log_probs_BTV.shape)}; give one row over the vocabulary for each token"
            )
        if log_probs_BTV.size(2) <= (highest := int(targets_BT.max())):
            raise ConfigError(
                f"the text has token {highest}, and log probabilities were given for {log_probs_BTV.size(2):,} tokens; "
                "model and tokenizer do not belong together"
            )
        log_probs_BTV = log_probs_BTV.detach().cpu()
        _refuse_sums(log_probs_BTV, counted_BT, positions_BT)
        nats_BT = -log_probs_BTV.gather(-1, targets_BT[..., None]).squeeze(-1).double()
        _refuse_infinite(nats_BT, counted_BT, positions_BT)
        for row, count in enumerate(chunk.counts):
            first = int(positions_BT[row, 0])
            self._times_N[first - 1 : first - 1 + count] += 1
            if (self._times_N[first - 1 : first - 1 + count] > 1).any():
                raise RuntimeError(f"a position from {first} on was scored twice")
            counts_T = self._bytes(first, inputs_BT[row, :count].numpy(), targets_BT[row, :count].numpy())
            self._documents.add(first, nats_BT[row, :count].numpy(), counts_T)
        return Scored(
            inputs_BT=inputs_BT, targets_BT=targets_BT, nats_BT=nats_BT, counted_BT=counted_BT,
            positions_BT=positions_BT, seal=_SEAL,
        )  # fmt: skip

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All that has been written down, to be saved, restored in place, and added up over processes."""
        return (self._times_N, *self._documents.arrays)

    def close(self) -> Totals:
        """The sums over all processes; RuntimeError where a position was not scored, or scored twice."""
        all_reduce([torch.from_numpy(values) for values in self.arrays])
        require_once(self._times_N)
        documents = self._documents.scores()
        return Totals(
            nats=math.fsum(documents.nats_D), text_bytes=int(documents.bytes_D.sum()), tokens=self.targets,
            documents=documents,
        )  # fmt: skip

    def _read(self, chunk: Chunk) -> tuple[Tensor, Tensor, Tensor, npt.NDArray[np.int64]]:
        """Inputs, targets, which of them count, and where in the stream the targets lie."""
        starts_B1, counts_B1 = np.array(chunk.starts)[:, None], np.array(chunk.counts)[:, None]
        inputs_BT = np.full((len(starts_B1), chunk.length), self.bos, np.int64)
        targets_BT = np.zeros_like(inputs_BT)
        for row, (start, count) in enumerate(zip(chunk.starts, chunk.counts, strict=True)):
            ids = self._stream.read(start, count + 1)
            inputs_BT[row, :count], targets_BT[row, :count] = ids[:-1], ids[1:]
        places_T = np.arange(chunk.length)
        counted_BT = torch.from_numpy(places_T < counts_B1)
        return torch.from_numpy(inputs_BT), torch.from_numpy(targets_BT), counted_BT, starts_B1 + 1 + places_T

    def _bytes(
        self, first: int, inputs_T: npt.NDArray[np.int64], targets_T: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.integer]:
        if self._byte_stream is None:
            return self._table.count(inputs_T, targets_T)
        return self._byte_stream.read(first, len(targets_T))


def _refuse_sums(log_probs_BTV: Tensor, counted_BT: Tensor, positions_BT: npt.NDArray[np.int64]) -> None:
    """Raise NumericsError for a row whose probabilities do not sum to one within SUM_TOLERANCE, added up in float64."""
    sums_BT = log_probs_BTV.exp().sum(dim=-1, dtype=torch.float64)
    wrong_BT = ~((sums_BT - 1).abs() <= SUM_TOLERANCE) & counted_BT
    if not wrong_BT.any():
        return
    row, place = map(int, wrong_BT.nonzero()[0])
    position, found = int(positions_BT[row, place]), float(sums_BT[row, place])
    if math.isnan(found):
        raise NumericsError(
            f"the log probabilities of position {position:,} of the text are no numbers (NaN); give finite logits, or "
            "train again with a lower rate",
            position=position,
        )
    raise NumericsError(
        f"the probabilities of position {position:,} of the text sum to {found:.8g}, and must to 1 within "
        f"{SUM_TOLERANCE:g}; give log probabilities over the whole vocabulary in float32 or better, as of log_softmax",
        position=position, sum=found,
    )  # fmt: skip


def _refuse_infinite(nats_BT: Tensor, counted_BT: Tensor, positions_BT: npt.NDArray[np.int64]) -> None:
    """Raise NumericsError where the target had no probability at all."""
    wrong_BT = ~torch.isfinite(nats_BT) & counted_BT
    if wrong_BT.any():
        row, place = map(int, wrong_BT.nonzero()[0])
        position = int(positions_BT[row, place])
        raise NumericsError(
            f"the loss at position {position:,} of the text is infinite: its token was given no probability; give "
            "every token some",
            position=position,
        )
