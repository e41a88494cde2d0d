"""A Hugging Face model measured and fitted: the same job as that of any module, with a file that is complete in itself.

In:   a Folder, text or none, settings.
Out:  a FitJob.

Letters: B windows, T positions, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bytecap.artifact.attached import Attached
from bytecap.artifact.load import Artifact
from bytecap.artifact.pack import ArtifactConfig, Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.digest import digest_json
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.fitting.job import Container, FitJob, build_job
from bytecap.fitting.measure import (
    BATCH_TOKENS,
    DISTILL_SEED,
    batch_positions,
    batch_shape,
    comparison_windows,
    note_worse_than_guessing,
    text_windows,
)
from bytecap.fitting.report import COMPARED_TOKENS, HELD_OUT_SHARE, MIN_COMPARED, Comparison
from bytecap.fitting.sequential import StartAdaptation
from bytecap.fitting.source import WeightSource
from bytecap.fitting.true_loss import CHECKED_POSITIONS, TrueLoss
from bytecap.huggingface.folder import Folder, read_small, tokenizer_digest
from bytecap.huggingface.model import CausalModel, load_artifact, model_logits
from bytecap.huggingface.texts import TokenizedText
from bytecap.quant.adaptation import make_adapter
from bytecap.quant.allocation import MIN_CALIBRATION_TOKENS, MODEL, QuantConfig
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.spill import is_spilling
from bytecap.quant.statistics import Calibration
from bytecap.scoring.divergence import Divergence, divergence
from bytecap.text.shards import StreamSlice, TokenStream

CHECK_SEED = 2_000_003
"""Added to a seed for the order of the windows on which a fit is held against the loss."""


@dataclass(frozen=True, kw_only=True)
class FolderFit:
    """The options of a fit that its caller chooses."""

    quant: QuantConfig
    artifact: ArtifactConfig
    context: int
    """Positions of a window."""
    seed: int


@dataclass(frozen=True)
class ModelComparison(Comparison):
    """Held-out tokens on which a fitted Hugging Face model is compared with its original."""

    model: CausalModel
    trust_code: bool

    def measure(self, source: WeightSource, artifact: Artifact) -> Divergence | None:
        """KL divergence and loss on evenly spaced windows; None with too little text."""
        if len(self.stream) < MIN_COMPARED:
            return None
        fitted = load_artifact(artifact, trust_code=self.trust_code)
        fitted.module.to(next(self.model.module.parameters()).device)
        return divergence(self.model.logits, fitted.logits, self.windows())

    def windows(self) -> Iterator[Tensor]:
        """The windows (B, T + 1) that are compared, on the model's device."""
        device = next(self.model.module.parameters()).device
        return _compared(self.stream, self.context, device, self.model.facts.vocab_size)


@dataclass(frozen=True)
class FolderInputs:
    """A model with what it is measured and compared on."""

    folder: Folder
    model: CausalModel
    source: WeightSource
    text: TokenizedText | None
    how: FolderFit

    @property
    def _cut(self) -> int:
        assert self.text is not None
        return len(self.text.tokens) - len(self.text.tokens) // HELD_OUT_SHARE

    def container(self) -> Container:
        """What the file holds in addition to the weights."""
        names_held = [*(shape.name for shape in self.source.shapes), *self.source.aliases]
        types = {name: self.model.dtypes[name] for name in names_held}
        provenance = Provenance(
            recipe_digest="", corpus_digest=digest_json(""), checkpoint_digest=self.source.digest,
            tokenizer_digest=tokenizer_digest(self.folder.path),
            lossless=self.text is not None and self.text.bytes is not None, context=self.how.context,
        )  # fmt: skip
        return Container(provenance, self.how.artifact, None, Attached(_attached_files(self.folder, self.how), types))

    def comparison(self) -> ModelComparison | None:
        """The end of the text; None without one."""
        if self.text is None:
            return None
        end, context = len(self.text.tokens), self.how.context
        held_out, bytes_per_token = StreamSlice(self.text.tokens, self._cut, end), None
        if self.text.bytes is not None and len(held_out) >= MIN_COMPARED:
            rows = _compared(StreamSlice(self.text.bytes, self._cut, end), context, torch.device("cpu"), None)
            bytes_per_token = float(torch.cat([each[:, 1:].flatten() for each in rows]).double().mean()) or None
        return ModelComparison(held_out, self.text.bos, context, bytes_per_token, self.model, self.folder.trust_code)

    def measured(self) -> TokenStream | None:
        """The part of the text that is measured on."""
        return None if self.text is None else StreamSlice(self.text.tokens, 0, self._cut)


def _attached_files(folder: Folder, how: FolderFit) -> dict[str, bytes]:
    """The files of a folder that the file holds in addition to weights."""
    names = folder.model_files
    return read_small(folder.path, [*names, *folder.tokenizer_files] if how.artifact.embed_tokenizer else names)


def refuse_impossible(folder: Folder, how: FolderFit, budgets: Iterable[FileBudget]) -> None:
    """Raise BudgetError, before weights are read, where config and tokenizer alone are over a budget."""
    empty = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False,
        context=how.context,
    )  # fmt: skip
    Container(empty, how.artifact, None, Attached(_attached_files(folder, how))).refuse_impossible(None, budgets)


def _compared(stream: TokenStream, context: int, device: torch.device, vocab_size: int | None) -> Iterator[Tensor]:
    """The windows that are compared, of tokens or of their bytes."""
    positions = batch_positions(vocab_size, 4 * BATCH_TOKENS)
    return comparison_windows(stream, tokens=COMPARED_TOKENS, context=context, device=device, positions=positions)


def make_job(inputs: FolderInputs, progress: Progress) -> FitJob:
    """The job of our own fit: measured where there is text, else by the size of each weight."""
    quant = inputs.how.quant
    calibration = measure(inputs, progress)
    if calibration is None:
        progress.note("nothing is measured, so the steps of each matrix follow the size of its own weights")
    adaptation = _adaptation(inputs) if quant.adapts else None
    return build_job(
        inputs.source, calibration, quant, inputs.container(), adaptation, inputs.comparison(),
        None if calibration is None else make_true_loss(inputs, calibration),
    )  # fmt: skip


def make_true_loss(inputs: FolderInputs, calibration: Calibration) -> TrueLoss | None:
    """The loss itself on windows in another order than they are measured in.

    None where so little was measured that these show nothing else, and where memory is to be spared.
    """
    stream, how = inputs.measured(), inputs.how
    if stream is None or how.quant.adapts or calibration.min_damping > 0 or is_spilling():
        return None
    positions = batch_positions(inputs.model.facts.vocab_size)
    steps, batch, context = batch_shape(len(stream), CHECKED_POSITIONS, how.context, positions)
    module = inputs.model.module
    device, seed = next(module.parameters()).device, how.seed + CHECK_SEED
    rows = itertools.islice(text_windows(stream, batch=batch, context=context, seed=seed, device=device), steps)
    return TrueLoss(module, forward_fn, list(rows), inputs.source.aliases)


def measure(inputs: FolderInputs, progress: Progress, *, squares: bool = False) -> Calibration | None:
    """Curvature of every weight on windows of the text; None where there is none or nothing is to be measured.

    With `squares` also the squared gradients by which published schemes rank weights.
    """
    stream, how = inputs.measured(), inputs.how
    if stream is None or how.quant.calibration_tokens == 0:
        return None
    if len(stream) < MIN_CALIBRATION_TOKENS:
        raise DataError(
            f"the calibration text has {counted(len(stream), 'token')}, at least {MIN_CALIBRATION_TOKENS:,} are needed"
            "; give more text, or none",
            tokens=len(stream),
        )
    positions = batch_positions(inputs.model.facts.vocab_size)
    steps, batch, context = batch_shape(len(stream), how.quant.calibration_tokens, how.context, positions)
    module = inputs.model.module
    device = next(module.parameters()).device
    rows = itertools.islice(text_windows(stream, batch=batch, context=context, seed=how.seed, device=device), steps)
    options = CalibrationOptions(
        sampled=how.quant.labels == MODEL, generator=torch.Generator(device).manual_seed(how.seed), squares=squares,
        total_tokens=steps * batch * context,
    )  # fmt: skip
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        found = calibrate(
            module, rows, forward_fn, source_digest=inputs.source.digest, progress=progress, options=options
        )  # fmt: skip
    note_worse_than_guessing(found, inputs.model.facts.vocab_size, progress)
    return found


def forward_fn(module: nn.Module, rows_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and labels (N,) for (B, T + 1) windows."""
    return model_logits(module, rows_BT[:, :-1]).flatten(0, 1), rows_BT[:, 1:].flatten()


def _adaptation(inputs: FolderInputs) -> StartAdaptation | None:
    """The distillation or compensation that is asked for, on windows in another order than they are measured in."""
    stream, how = inputs.measured(), inputs.how
    if stream is None and how.quant.distill_steps:
        raise ConfigError("quant.distill_steps needs text to train on; give --text")
    if stream is None:
        return None
    wanted = how.quant.distill_steps * BATCH_TOKENS or how.quant.compensation_tokens
    count, batch, context = batch_shape(len(stream), wanted, how.context)
    module = inputs.model.module

    def begin(names: list[str]) -> Any:
        device, seed = next(module.parameters()).device, how.seed + DISTILL_SEED
        rows = text_windows(stream, batch=batch, context=context, seed=seed, device=device)
        return make_adapter(module, names, rows, forward_fn, how.quant, count)

    return begin
