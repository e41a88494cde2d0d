"""What is audited: the known parts of a score, and what a probe gets of them.

In:   a model that can be asked, the text that it was scored on, its training text, files, clocks, origin.
Out:  a Question for each probe.

Letters: N tokens of a stream.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from bytecap.scoring.predictor import Predictor
from bytecap.scoring.windows import Window
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer

CHUNK = 64
"""Tokens that a model gets at once by default."""
Ids: TypeAlias = npt.NDArray[np.int64]
Part: TypeAlias = Literal["model", "text", "tokenizer", "training", "files", "clocks", "origin"]
MISSING: dict[Part, str] = {
    "model": "there is no model to ask",
    "text": "the held-out text is not available; give it with --text PATH",
    "tokenizer": "the tokenizer is not available",
    "training": "the training text is not available; give it with --training-text PATH, or audit the run folder",
    "files": "it is not known which files the score is made of",
    "clocks": "no times are known; audit the run folder",
    "origin": "it is not known how the score was made; audit the run folder",
}
"""Why a question cannot be asked without a part, and what to give."""


class Plan(Protocol):
    """The order in which the targets of a stream are scored: windows of inputs, of which the first few are context."""

    def __call__(self, tokens_N: Ids, bos: int, /) -> Iterable[Window]:
        """Windows in the order in which they are scored."""


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """A model that can be asked, and how it is asked when it is scored."""

    make: Callable[[], Predictor]
    """Makes the Predictor; called again where a probe watches it being made."""
    vocab_size: int
    bos: int
    plan: Plan
    context: int | None = None
    """Tokens that are always seen; older ones may be forgotten. None: nothing is ever forgotten."""
    across_documents: bool = False
    """True where it is published that a document sees the ones before it."""
    restarts: bool = False
    """True where nothing is carried from one document to the next, so that any of them may be scored by itself."""
    published_order: str = ""
    """The order in which documents are taken, where it is published that it is not that of the text."""
    tolerance: float = 0.0
    """By how much losses and probabilities may differ and count as equal; 0: every bit counts."""
    why_inexact: str = ""
    """Why not every bit counts."""
    threads: int | None = None
    """Threads of PyTorch that it is asked with; None: as many as there are."""


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """The text that a score is over."""

    stream: TokenStream
    bos: int
    raw: Sequence[str] | None = None
    """Raw documents in the order of the stream, if they are available."""
    lossy_declared: bool = False
    claimed_tokens: int | None = None
    """Targets that the score says it is over."""
    claimed_bytes: int | None = None
    """Bytes that the score was divided by."""
    claimed_nats_D: npt.NDArray[np.float64] | None = None
    """Loss of each document, as the score says."""
    contradictions: tuple[str, ...] = ()
    """Figures of the claim that contradict each other."""
    token_bytes: TokenStream | None = None
    """Bytes of each token of the stream, where no table has them by piece."""
    lost: str = ""
    """Why no bits per byte are given; empty where they are."""
    decode: Callable[[list[int]], str] | None = None
    """Tokens to text, where no `tokenizer` of ours has it."""


@dataclass(frozen=True, kw_only=True)
class TrainingText:
    """The text that a model was trained on."""

    documents: Callable[[], Iterator[str]]
    """Gives the documents from the first one, at each call."""
    decoded: bool = False
    """True where they come back from tokens, so that held-out documents must do so too to be compared."""
    note: str = ""
    """What a reader must know, such as which part it is."""


@dataclass(frozen=True, kw_only=True)
class ByteCounter:
    """A tokenizer and the bytes that its tokens are said to stand for."""

    tokenizer: Tokenizer
    table: ByteTable


@dataclass(frozen=True, kw_only=True)
class CountedFiles:
    """Every file that scoring opens, the held-out text and installed libraries apart."""

    paths: tuple[Path, ...]
    cap_bytes: int | None = None
    reserve_bytes: int = 0
    """Kept free for code under that cap."""
    uncounted: tuple[Path, ...] = ()
    """Files that are needed for reading and not counted, such as a tokenizer of the contest's."""


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """Seconds that were measured; None if they were not."""

    training: float | None = None
    training_limit: float | None = None
    evaluation: float | None = None
    calibration: float | None = None
    """Seconds after training in which training text was read again, as a fit does."""
    outside: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds that no limit covers, by what they were spent on."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a score came about."""

    recipe_digest: str
    seed: int
    others: Mapping[int, str] = dataclasses.field(default_factory=dict)
    """Digests of the settings, the seed apart, of all runs that were made with it, by seed; this one too."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whatever is known of one score; probes whose part is None are not asked."""

    name: str
    model: ScoredModel | None = None
    text: ScoredText | None = None
    tokenizer: ByteCounter | None = None
    training: TrainingText | None = None
    files: CountedFiles | None = None
    clocks: Clocks | None = None
    origin: Origin | None = None
    not_applicable: Mapping[Part, str] = dataclasses.field(default_factory=dict)
    """Why a part that is None can never be there; what a user could give is in MISSING."""

    def why_missing(self, part: Part) -> str:
        """What is said of a question that needs a part which is None."""
        return self.not_applicable.get(part, MISSING[part])


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a probe is given: the subject, and chance of its own."""

    subject: Subject
    rng: np.random.Generator
    """Where positions, tokens and documents come from; the same seed draws the same."""
    memory: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What probes of one audit found and others may use."""

    @property
    def model(self) -> ScoredModel:
        """The model, for probes that need it."""
        assert self.subject.model is not None, "the probe does not say that it needs the model"
        return self.subject.model

    @property
    def text(self) -> ScoredText:
        """The text, for probes that need it."""
        assert self.subject.text is not None, "the probe does not say that it needs the text"
        return self.subject.text

    @property
    def tokenizer(self) -> ByteCounter:
        """The tokenizer, for probes that need it."""
        assert self.subject.tokenizer is not None, "the probe does not say that it needs the tokenizer"
        return self.subject.tokenizer

    @property
    def training(self) -> TrainingText:
        """The training text, for probes that need it."""
        assert self.subject.training is not None, "the probe does not say that it needs the training text"
        return self.subject.training

    @property
    def files(self) -> CountedFiles:
        """The files, for probes that need them."""
        assert self.subject.files is not None, "the probe does not say that it needs the files"
        return self.subject.files

    @property
    def clocks(self) -> Clocks:
        """The clocks, for probes that need them."""
        assert self.subject.clocks is not None, "the probe does not say that it needs the clocks"
        return self.subject.clocks

    @property
    def origin(self) -> Origin:
        """The origin, for probes that need it."""
        assert self.subject.origin is not None, "the probe does not say that it needs the origin"
        return self.subject.origin


class MemoryStream(TokenStream):
    """A stream of tokens that lies in memory."""

    def __init__(self, tokens_N: Ids) -> None:
        self._tokens_N = np.ascontiguousarray(tokens_N, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._tokens_N.size)

    def read(self, start: int, length: int) -> Ids:
        """Up to `length` tokens from `start`."""
        return self._tokens_N[start : start + length]


def in_chunks(tokens_N: Ids, bos: int) -> Iterator[Window]:
    """The plan of a model that reads its stream once, from its beginning to its end, `CHUNK` tokens at a time."""
    targets = len(tokens_N) - 1
    for start in range(0, targets, CHUNK):
        yield Window(start, min(CHUNK, targets - start), 0)
