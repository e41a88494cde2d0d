"""A text's score by a model that adapts while it is scored, or by anybody's predictor.

In:   an Engine or a Predictor, a Validation.
Out:  a Score, with the settings that it was made with.

Documents run side by side, one in each row of the batch, in canonical order: the next document of the stream takes the
first row that is free. Groups of neighbouring documents are worked off one after the other, each from a fresh start, so
that a group's numbers depend on no other and processes may share them. Where something is kept over documents, all are
one group in one row.

Letters: B rows, T positions of a chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from bytecap.core.device import threads_at_most
from bytecap.core.distributed import together, world
from bytecap.core.errors import NumericsError
from bytecap.core.progress import Part, Progress
from bytecap.core.settings_writer import to_full
from bytecap.core.stopwatch import Stopwatch
from bytecap.core.units import bits_per_byte
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations import build_adaptations
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.documents import document_begins
from bytecap.scoring.engine import DEFAULT_CHUNK, Engine, chunk_threads
from bytecap.scoring.evaluate import CANONICAL, Order, Score, Scoring, StaticScoring, evaluate
from bytecap.scoring.kept_groups import KeptGroups
from bytecap.scoring.ledger import Chunk, Ledger
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.predictor import Predictor, next_log_probs
from bytecap.scoring.streaming import streaming_reach
from bytecap.scoring.validation import Validation

FAR_ABOVE = 1.05
"""An adapted score that is so many times that of the model alone has diverged."""
GROUP_TOKENS = 1 << 15
"""A group of documents has about so many tokens."""


class Span(NamedTuple):
    """The inputs of one document: positions `begin` to `end` - 1 of the stream."""

    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class AdaptiveScoring(Scoring):
    """How a model is scored while it adapts. `batch_tokens` says how many documents run side by side, `stride` which
    windows a stream stands for.
    """

    adapt: Mapping[str, AdaptationConfig]
    strategy: Strategy = STREAMING
    order: Order = CANONICAL

    def static(self) -> StaticScoring:
        """How the model alone is scored by the same strategy."""
        return StaticScoring(
            context=self.context, stride=self.stride, batch_tokens=self.batch_tokens, strategy=self.strategy
        )

    def plain(self) -> StaticScoring:
        """How the model alone is scored in windows that do not overlap."""
        return StaticScoring(context=self.context, stride=self.context, batch_tokens=self.batch_tokens)

    def engine(self, model: GPT, bos: int, text_V: Sequence[str] = ()) -> Engine:
        """The engine for a model; `text_V` is the text of each token, where it is known."""
        context = (
            self.context if self.strategy == WINDOWS else streaming_reach(self.context, min(self.stride, self.context))
        )
        adaptations = build_adaptations(self.adapt)
        return Engine(model, adaptations, bos=bos, context=context, strategy=self.strategy, text_V=text_V)


def evaluate_adaptive_and_static(
    model: GPT, validation: Validation, how: AdaptiveScoring, progress: Progress, kept: KeptGroups | None = None
) -> Score:
    """Score a model while it adapts, and also as it is: by the same strategy, and in plain windows.

    A score far above that of the model alone is marked and noted. Raises what `evaluate_adaptive` raises.
    """
    adapted = evaluate_adaptive(model, validation, how, Part(progress, "adapted", 0, 3), kept)
    alike = "sliding" if how.strategy == WINDOWS else how.strategy
    passes = {alike: how.static(), "plain": how.plain()}
    static = {
        name: evaluate(model, validation, static_how, Part(progress, name, index, 3))
        for index, (name, static_how) in enumerate(passes.items(), 1)
    }
    fault = divergence_fault(adapted, static[alike])
    if fault:
        progress.note(fault)
    return dataclasses.replace(adapted, static=static, fault=fault)


def divergence_fault(adapted: Score, static: Score) -> str:
    """What is wrong with a score whose adaptations have made it far worse; empty where they have not."""
    if adapted.bits_per_byte <= FAR_ABOVE * static.bits_per_byte:
        return ""
    return (
        f"adapting by {', '.join(adapted.adapt)} has diverged: {adapted.bits_per_byte:.4f} bits per byte, where the "
        f"model alone has {static.bits_per_byte:.4f}; lower its rate, or score without it"
    )


def evaluate_adaptive(
    model: GPT, validation: Validation, how: AdaptiveScoring, progress: Progress, kept: KeptGroups | None = None
) -> Score:
    """Score every target exactly once, each before anything learns from it.

    Several processes share the groups of documents, and each gets the score that one process would give, to the last
    bit. Groups that are `kept` from a score that was stopped are not scored again; the seconds do not know of it.
    NumericsError where an adaptation diverges until its loss is no number.
    """
    ledger, engine = open_ledger(validation), how.engine(model, validation.bos, validation.table.text_V)
    spans = document_spans(validation)
    if how.order != CANONICAL:
        progress.note(
            f"documents are taken {how.order.replace('_', ' ')}, not in the order of the text; the score says so"
        )
        spans, kept = sorted(spans, key=lambda span: span.begin - span.end), None
    groups = [spans] if engine.in_order else list(group_spans(spans))
    rows = engine.max_rows(max(1, how.batch_tokens // how.context))
    stopwatch, meter = Stopwatch(), _Meter(progress, ledger.targets)
    with together(), _naming(how.adapt), threads_at_most(chunk_threads(model) if rows == 1 else None):
        for number, group in enumerate(groups):
            if number % world().size != world().rank:
                continue
            part = ledger.part()
            if kept is None or not kept.restore(number, part):
                score_group(engine, part, group, rows=min(rows, len(group)), meter=meter)
                if kept is not None and len(groups) > 1:
                    kept.keep(number, part)
            ledger.add(part)
    adapt = {name: to_full(config) for name, config in how.adapt.items()}
    stride = engine.chunk if how.strategy == WINDOWS else how.stride
    score = _score(
        ledger, stopwatch, context=how.context, stride=stride, strategy=how.strategy, order=how.order, adapt=adapt
    )
    if kept is not None and world().is_main:
        kept.forget()
    return score


def score_group(engine: Engine, ledger: Ledger, group: Sequence[Span], *, rows: int, meter: _Meter) -> None:
    """Documents from a fresh start, side by side."""
    waiting = iter(group)
    running = [[*next(waiting)] for _ in range(rows)]
    engine.begin(rows)
    fresh = list(range(rows))
    while running:
        for row in fresh:
            engine.reset(row)
        counts = [min(engine.chunk, end - place) for place, end in running]
        chunk = Chunk(tuple(place for place, _ in running), tuple(counts))
        scored = ledger.commit(chunk, engine.log_probs(ledger.inputs(chunk)))
        engine.learn(scored)
        meter.add(scored.tokens)
        running = [[place + count, end] for (place, end), count in zip(running, counts, strict=True)]
        ended = [row for row, (place, end) in enumerate(running) if place == end]
        refilled = {row: [*span] for row, span in zip(ended, waiting, strict=False)}
        kept = [row for row in range(len(running)) if row not in ended or row in refilled]
        if kept and len(kept) < len(running):
            engine.keep(kept)
        fresh = [index for index, row in enumerate(kept) if row in refilled]
        running = [refilled.get(row, running[row]) for row in kept]


def evaluate_predictor(
    predictor: Predictor, validation: Validation, progress: Progress, *, chunk: int = DEFAULT_CHUNK
) -> Score:
    """Score any predictor, `chunk` tokens of the stream at a time; NumericsError names the position of a wrong row."""
    ledger, stopwatch = open_ledger(validation), Stopwatch()
    meter = _Meter(progress, ledger.targets)
    vocab_size = int(predictor.vocab_size)
    predictor.reset()
    for start in range(0, ledger.targets, chunk):
        asked = Chunk((start,), (min(chunk, ledger.targets - start),))
        scored = ledger.commit(asked, next_log_probs(predictor, ledger.inputs(asked)[0], vocab_size)[None])
        predictor.learn(scored)
        meter.add(scored.tokens)
    return _score(ledger, stopwatch, context=0, stride=chunk, strategy="predictor")


def open_ledger(validation: Validation) -> Ledger:
    """The ledger of a text; DataError when it has nothing to score."""
    validation.count_targets()
    return Ledger(validation.stream, validation.table, validation.bos, validation.byte_stream)


def document_spans(validation: Validation) -> list[Span]:
    """The documents of a stream that have a target, in its order."""
    begins, last = document_begins(validation.stream, validation.bos).tolist(), len(validation.stream) - 1
    return [Span(b, e) for b, e in zip(begins, [*begins[1:], last], strict=True) if b < e]


def group_spans(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Documents that follow each other, of GROUP_TOKENS together."""
    group: list[Span] = []
    for span in spans:
        group.append(span)
        if sum(end - begin for begin, end in group) >= GROUP_TOKENS:
            yield group
            group = []
    if group:
        yield group


@contextmanager
def _naming(adapt: Mapping[str, AdaptationConfig]) -> Iterator[None]:
    """Say of a number that is none what the model was adapting by."""
    try:
        yield
    except NumericsError as error:
        if not adapt:
            raise
        raise NumericsError(
            f"while the model adapted by {', '.join(adapt)}, {error}; if the model alone has a score, lower the "
            "rate of what adapts it",
            **error.values,
        ) from error


class _Meter:
    """Tells how far a score is."""

    def __init__(self, progress: Progress, targets: int) -> None:
        self._progress, self._targets, self._done, self._stopwatch = progress, targets, 0, Stopwatch()

    def add(self, tokens: int) -> None:
        self._done = min(self._targets, self._done + tokens * world().size)
        rate = self._done / max(self._stopwatch.seconds, 1e-9)
        self._progress.update(self._done, self._targets, f"{rate:,.0f} tokens/s")


def _score(ledger: Ledger, stopwatch: Stopwatch, **how: Any) -> Score:
    totals = ledger.close()
    return Score(
        bits_per_byte=bits_per_byte(totals.nats, totals.text_bytes), nats=totals.nats, text_bytes=totals.text_bytes,
        tokens=totals.tokens, seconds=stopwatch.seconds, documents=totals.documents, **how,
    )  # fmt: skip
