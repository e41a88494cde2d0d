"""A Hugging Face model as probes ask it: in windows within documents, as it is scored, with what its tokens stand for.

In:   an Opening, the files that count, texts.
Out:  a Subject.

Letters: N tokens of a stream, T positions of a chunk, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bytecap.artifact.load import load
from bytecap.auditing.subject import (
    CountedFiles,
    Ids,
    MemoryStream,
    Part,
    ScoredModel,
    ScoredText,
    Subject,
    TrainingText,
)
from bytecap.core.progress import Progress, Silent
from bytecap.huggingface.folder import tokenizer_files
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.scored import Opened, Opening, open_model
from bytecap.huggingface.scoring import DEFAULT_STRIDE, segments
from bytecap.huggingface.texts import NO_BOS, tokenize
from bytecap.scoring.ledger import Scored
from bytecap.scoring.windows import Window
from bytecap.text.config import TextConfig
from bytecap.text.survey import open_corpus

EXPERT_NATS = 1e-4
"""By how much numbers of a mixture of experts may differ and count as equal."""
_EXPERTS = "its experts take the tokens of a window together, and sums of other shapes are rounded otherwise"
NOT_APPLICABLE: dict[Part, str] = {
    "tokenizer": "does not apply: no table says how many bytes a Hugging Face tokenizer's pieces stand for, they are "
    "counted and checked for each document (B1)",
    "clocks": "does not apply: nothing was trained or timed here, the model came from a Hugging Face folder",
    "origin": "does not apply: the model came from a Hugging Face folder and no recipe",
}
"""Why questions are not asked of such a model."""


@dataclass(frozen=True)
class GivenTexts:
    """The texts that go with a model alone."""

    held_out: TextConfig | None = None
    training: TextConfig | None = None


def hugging_face_subject(opening: Opening, path: Path, texts: GivenTexts, progress: Progress) -> Subject:
    """The model in the file or folder at `path`, and the texts that are given with it."""
    opened, training = open_model(opening, progress), texts.training
    bos = NO_BOS if opened.tokenizer.bos is None else opened.tokenizer.bos
    outside = opening.tokenizer
    uncounted = () if outside is None else tuple(outside / name for name in tokenizer_files(outside))

    def load_model() -> CausalModel:
        origin = path if path.is_dir() else load(path)
        return open_model(dataclasses.replace(opening, origin=origin), Silent()).model

    def training_documents() -> Iterator[str]:
        assert training is not None, "asked where it is given"
        return open_corpus(training, training.paths).documents()

    return Subject(
        name=str(path),
        model=make_scored_model(load_model, opened, bos),
        text=None if texts.held_out is None else _text(texts.held_out, opened, bos, progress),
        training=None if training is None else TrainingText(documents=training_documents),
        files=CountedFiles(paths=folder_files(path) if path.is_dir() else (path,), uncounted=uncounted),
        not_applicable=NOT_APPLICABLE,
    )


def folder_files(folder: Path) -> tuple[Path, ...]:
    """The files of a folder that count: those that lie in it, without what belongs to version control."""
    return tuple(sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")))


def make_scored_model(load_model: Callable[[], CausalModel], opened: Opened, bos: int) -> ScoredModel:
    """The model with the plan of its score; if no token begins a text, all documents are one, which is reported."""
    model, context = opened.model, opened.context
    vocab_size = int(model.logits(_one_token(model.module)).size(-1))

    def plan(tokens_N: Ids, _bos: int, /) -> Iterator[Window]:
        found = segments(MemoryStream(tokens_N), bos, context, min(DEFAULT_STRIDE, context))
        yield from sorted(Window(each.start, each.length, each.skip) for each in found)

    return ScoredModel(
        make=lambda: ModelWindows(load_model(), vocab_size=vocab_size, bos=bos, context=context),
        vocab_size=vocab_size, bos=max(bos, 0), plan=plan, context=context, across_documents=bos == NO_BOS,
        tolerance=EXPERT_NATS if has_experts(model.module) else 0.0, why_inexact=_EXPERTS,
    )  # fmt: skip


class ModelWindows:
    """What huggingface/scoring.py computes, asked chunk by chunk; nothing is learned.

    Windows stand where those of a long text do. The last one of a score, which ends with the text, may begin earlier.
    """

    def __init__(self, model: CausalModel, *, vocab_size: int, bos: int, context: int) -> None:
        self._model, self._bos, self._context = model, bos, context
        self._past_T = torch.zeros(0, dtype=torch.int64)
        self._read = 0
        self.vocab_size = vocab_size

    def reset(self) -> None:
        """Forget everything."""
        self._past_T, self._read = self._past_T[:0], 0

    @torch.no_grad()
    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """Natural log probabilities of the token after each of these, (T, V), each by its own document alone."""
        begins = (tokens_T == self._bos).nonzero().flatten().tolist()
        edges = sorted({0, *begins, len(tokens_T)})
        device = next(self._model.module.parameters()).device
        parts = list[Tensor]()
        for start, end in itertools.pairwise(edges):
            seen = 0 if start in begins else min(self._seen(), len(self._past_T))
            past_T = self._past_T[len(self._past_T) - seen :]
            window_T = torch.cat([past_T, tokens_T[start:end]])
            parts.append(self._model.logits(window_T[None].to(device))[0, start - end :].log_softmax(dim=-1).cpu())
            self._past_T, self._read = window_T[-self._context :], self._read + end - start
        return torch.cat(parts)

    def _seen(self) -> int:
        """Tokens of the window that lie before the next one."""
        context, stride = self._context, min(DEFAULT_STRIDE, self._context)
        beyond = max(0, self._read + 1 - context)
        return self._read - -(-beyond // stride) * stride

    def learn(self, scored: Scored) -> None:
        """Nothing is learned."""


def has_experts(module: nn.Module) -> bool:
    """Tell a mixture of experts, in which tokens behind a place are in the same products as those before it."""
    return any("expert" in name.lower() for name, _ in module.named_modules())


def _one_token(module: nn.Module) -> Tensor:
    return torch.zeros((1, 1), dtype=torch.int64, device=next(module.parameters()).device)


def _text(text: TextConfig, opened: Opened, bos: int, progress: Progress) -> ScoredText:
    """The given text as the model's tokens, with the bytes of each or why there are none."""
    found, tokenizer = tokenize(text, opened.tokenizer, progress), opened.tokenizer
    tokens_N = found.tokens.read(0, len(found.tokens))
    counts_N = None if found.bytes is None else found.bytes.read(0, len(found.bytes))
    return ScoredText(
        stream=MemoryStream(tokens_N), bos=bos, raw=list(open_corpus(text, text.paths).documents()),
        token_bytes=None if counts_N is None else MemoryStream(counts_N), lost=found.lost, decode=tokenizer.recovered,
    )  # fmt: skip
