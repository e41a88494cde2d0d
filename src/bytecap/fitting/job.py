"""One fit, whoever asks for it: a run, the command line or Python.

In:   weights, what was measured of them, a Fitter; a budget in bytes.
Out:  a FitResult whose file was read back, and the report of it as JSON values.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bytecap.artifact.attached import NOTHING, Attached
from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.pack import ArtifactConfig, Provenance, pack
from bytecap.core.budget import MAX_SHOWN, FileBudget, refuse_small_cap
from bytecap.core.errors import BudgetError
from bytecap.core.progress import Progress
from bytecap.fitting.checked_search import CheckedSearch
from bytecap.fitting.problem import build_problem
from bytecap.fitting.report import Comparison, FitReport, make_report
from bytecap.fitting.result import FitResult, Fitter, Prediction
from bytecap.fitting.sequential import StartAdaptation
from bytecap.fitting.size_search import Pack, SizeSearch
from bytecap.fitting.source import WeightSource
from bytecap.fitting.true_loss import TrueLoss
from bytecap.formats.base import StoredTensor
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.spec import ModelSpec
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.statistics import Calibration
from bytecap.text.tokenizer import Tokenizer

LARGEST_HEADER = 1 << 16
"""More bytes than a header needs in practice: a cap that leaves more than these for it needs no closer look."""


@dataclass(frozen=True)
class Container:
    """What a file holds in addition to the weights."""

    provenance: Provenance
    config: ArtifactConfig = field(default_factory=ArtifactConfig)
    tokenizer: Tokenizer | None = None
    attached: Attached = NOTHING

    def packer(self, source: WeightSource) -> Pack:
        """The function from a quantized model of `source` to the bytes of its file."""

        attached = self.attached
        if source.dtypes and not attached.dtypes:
            attached = dataclasses.replace(attached, dtypes=source.dtypes)

        def packed(model: QuantizedModel) -> bytes:
            model = dataclasses.replace(model, aliases=source.aliases)
            tokenizer = b"" if self.tokenizer is None else self.tokenizer.model
            return pack(source.spec, model, tokenizer, self.provenance, self.config, attached)

        return packed

    def refuse_impossible(self, spec: ModelSpec | None, budgets: Iterable[FileBudget]) -> None:
        """Raise BudgetError where the file is over a budget even without weights: known before any work."""
        tokenizer = b"" if self.tokenizer is None else self.tokenizer.model
        most = sum(map(len, self.attached.files.values())) + len(tokenizer) + LARGEST_HEADER
        for budget in budgets:
            if budget.file_bytes < most:
                empty = pack(spec, QuantizedModel({}), tokenizer, self.provenance, self.config, self.attached)
                refuse_small_cap(len(empty), budget.file_bytes, parts=[("header and attached files", len(empty))])


@dataclass(frozen=True)
class Fitted:
    """A finished fit."""

    result: FitResult
    artifact: Artifact
    """The file as anybody reads it."""
    report: FitReport


@dataclass(frozen=True)
class FitJob:
    """One checkpoint, one way to fit it, any number of budgets."""

    source: WeightSource
    calibration: Calibration | None
    fitter: Fitter
    comparison: Comparison | None = None
    """Held-out text on which the file is compared with the original."""

    def predict(self, budget: FileBudget, progress: Progress) -> Prediction | None:
        """What a budget will give; None where only making the file tells.

        Raises BudgetError where the budget cannot be met, or only by a model worse than token frequencies alone.
        """
        found = self.fitter.predict(budget.file_bytes, progress)
        if found is not None:
            self._refuse_worse_than_unigram(budget.file_bytes, found.loss, found.loss, progress)
        return found

    def fit(self, budget: FileBudget | None, progress: Progress) -> Fitted:
        """The largest file within the budget, or one of a scheme's own size for None; raises what `predict` raises."""
        begin = time.perf_counter()
        found = None if budget is None else self.predict(budget, progress)
        result = self.fitter.fit(None if budget is None else budget.file_bytes, progress)
        if budget is not None and found is not None and result.loss is not None:
            self._refuse_worse_than_unigram(budget.file_bytes, result.loss, found.loss, progress)
        artifact = read_back(result, self.source.aliases)
        seconds = time.perf_counter() - begin
        divergence = None if self.comparison is None else self.comparison.measure(self.source, artifact)
        progress.update(1, 1, f"{artifact.size_bytes:,} bytes")
        report = make_report(result, artifact, budget, divergence, self.comparison, seconds)
        if (unreached := self._unreached_note(report)) is not None:
            progress.note(unreached)
        return Fitted(result, artifact, report)

    def _unreached_note(self, report: FitReport) -> str | None:
        """What the tensors got that the calibration text never reached; None where it reached all."""
        if self.calibration is None or not isinstance(self.fitter, SizeSearch):
            return None
        names = self.fitter.problem.unreached
        if not names:
            return None
        bits = {row["name"]: row["bits_per_weight"] for row in report["tensors"]}
        shown = [f"{name} {bits[name]:.2f}" for name in names[:MAX_SHOWN]]
        more = [f"and {len(names) - MAX_SHOWN} more"] if len(names) > MAX_SHOWN else []
        return (
            "the calibration text never reached some tensors, which have steps by the size of their own weights, as "
            f"is usual among the others (bits per weight: {', '.join([*shown, *more])})"
        )

    def _refuse_worse_than_unigram(self, file_bytes: int, loss: float, predicted: float, progress: Progress) -> None:
        """Raise BudgetError where `loss` makes the model useless, with the size from which it would be of use."""
        known = self.calibration
        if known is None or known.unigram <= known.loss or loss <= known.unigram - known.loss:
            return
        missed = max(loss / max(predicted, 1e-12), 1.0)
        useful = self._useful_bytes(file_bytes, (known.unigram - known.loss) / missed, progress)
        raise BudgetError(
            f"at {file_bytes:,} bytes the fitted model would lose about {loss:.2f} nats per token more than the "
            f"original's {known.loss:.2f}, and be worse than token frequencies alone ({known.unigram:.2f}); from about "
            f"{useful:,} bytes it is not. Raise the cap or train a smaller model",
            useful_bytes=useful,
            cap_bytes=file_bytes,
        )

    def _useful_bytes(self, file_bytes: int, most_loss: float, progress: Progress) -> int:
        """The size from which the predicted loss is at most `most_loss`; BudgetError where no size helps."""
        assert isinstance(self.fitter, SizeSearch), "only our own fit predicts a loss"
        found = self.fitter.predict(file_bytes, progress)
        while found.loss > most_loss:
            finer = self.fitter.finer(file_bytes, found.step_scale, progress)
            if finer.size_bytes <= found.size_bytes:
                raise BudgetError(
                    f"at {file_bytes:,} bytes the fitted model would be worse than token frequencies alone, and at "
                    f"{found.size_bytes:,} still: some weights are so much larger than others of their tensor that "
                    "16-bit integers do not reach them. Train the model longer, or remove the outliers",
                    cap_bytes=file_bytes,
                )
            found = finer
        return found.size_bytes


def build_job(
    source: WeightSource,
    calibration: Calibration | None,
    config: QuantConfig,
    container: Container,
    start_adaptation: StartAdaptation | None = None,
    comparison: Comparison | None = None,
    true_loss: TrueLoss | None = None,
) -> FitJob:
    """The job of our own fit: a size search over one multiplier of all steps, checked on a loss where there is one.

    Compensation needs a calibration.
    """
    if calibration is None and not config.distill_steps:
        start_adaptation = None
    problem, packer = build_problem(source, calibration, config), container.packer(source)
    if true_loss is None or calibration is None or start_adaptation is not None:
        search = SizeSearch(problem, packer, start_adaptation)
    else:
        search = CheckedSearch(problem, packer, true_loss=true_loss)
    return FitJob(source, calibration, search, comparison)


def read_back(result: FitResult, aliases: Mapping[str, str]) -> Artifact:
    """Read the file as anybody will; it gives back the weights that went into it, to the last bit."""
    artifact, wanted = loads(result.data), result.model.tensors
    found = artifact.quantized.tensors
    same = found.keys() == wanted.keys() and artifact.quantized.aliases == aliases
    if not same or not all(_is_equal(found[name], wanted[name]) for name in wanted):
        raise RuntimeError("the file does not give back the weights that went into it")
    return artifact


def _is_equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Tell equal weights; what is stored alike has them, and need not be multiplied out."""
    return _stored_alike(one, other) or np.array_equal(one.weights(), other.weights())


def _stored_alike(one: object, other: object) -> bool:
    """True for equal numbers, arrays, and objects whose fields are alike."""
    if type(one) is not type(other):
        return False
    if not dataclasses.is_dataclass(one):
        return np.array_equal(one, other)  # type: ignore[arg-type]
    return all(_stored_alike(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))


def refuse_small_caps(
    source: WeightSource, config: QuantConfig, container: Container, budgets: Collection[FileBudget]
) -> None:
    """Refuse what `refuse_small` does, of several caps, before anything is measured; it looks only where one may be."""
    attached = sum(map(len, container.attached.files.values())) + LARGEST_HEADER
    most = attached + sum(weight.size for weight in source.weights.values()) // 8
    container.refuse_impossible(source.spec, budgets)
    if small := [budget for budget in budgets if budget.file_bytes < most]:
        refuse_small(source, config, container, min(small, key=lambda budget: budget.file_bytes))


def refuse_small(source: WeightSource, config: QuantConfig, container: Container, budget: FileBudget) -> None:
    """Raise BudgetError where even the smallest file of these weights is over the budget, whatever their values."""
    search = SizeSearch(build_problem(source, None, config), container.packer(source))
    search.refuse_small_cap(budget.file_bytes)
