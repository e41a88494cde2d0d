"""One way to a fit: its file is read back, its report complete, and a useless model is refused with the useful size."""

import dataclasses
from typing import Any

import pytest
import torch

from bytecap.artifact.attached import Attached
from bytecap.artifact.load import loads
from bytecap.artifact.pack import Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.errors import BudgetError
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container, FitJob, build_job, refuse_small, refuse_small_caps
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import source_from_module
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.calibration import calibrate
from tests.modules import logits_and_labels_flat, trained
from tests.progress import Notes

PROVENANCE = Provenance(
    recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
)
CONTAINER = Container(PROVENANCE)


def job_of(*, outlier: float = 0.0) -> FitJob:
    """A job of a small trained model; `outlier` replaces one of its weights."""
    model, batches = trained()
    with torch.no_grad():
        if outlier:
            model.up.weight[0, 0] = outlier
    source = source_from_module(model)
    calibration = calibrate(
        model, batches[:4], logits_and_labels_flat, source_digest=source.digest, progress=Silent()
    )  # fmt: skip
    return build_job(source, calibration, QuantConfig(), CONTAINER)


def with_unigram(job: FitJob, margin: float) -> FitJob:
    """The same job with token frequencies that are worse than the model by `margin` nats only."""
    assert job.calibration is not None
    return dataclasses.replace(
        job, calibration=dataclasses.replace(job.calibration, unigram=job.calibration.loss + margin)
    )


def test_report_and_file() -> None:
    """The report says what the file is; what is not known is None."""
    budget = FileBudget(3_000, 100)
    fitted = job_of().fit(budget, Silent())
    report: dict[str, Any] = fitted.report
    assert report["bytes"] == fitted.artifact.size_bytes == len(fitted.result.data) <= 2_900
    assert (report["cap_bytes"], report["reserve_bytes"]) == (3_000, 100)
    assert report["unused_bytes"] == 2_900 - report["bytes"] >= 0
    assert sum(report["loss_shares"].values()) == pytest.approx(1.0)
    assert report["divergence"] is None and report["bits_per_byte"] is None
    assert sum(row["coded_bytes"] for row in report["tensors"]) == report["bytes"]


def test_a_weight_far_larger_than_the_others() -> None:
    """Where no size helps, the search for one ends."""
    with pytest.raises(BudgetError, match=r"and at [0-9,]+ still"):
        with_unigram(job_of(outlier=3e4), 1e-9).predict(FileBudget(3_500), Silent())


def test_what_comes_out_worse_than_promised_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the real rounding counts too; the size that would do is scaled by what the prediction missed."""
    job = job_of()
    assert isinstance(job.fitter, SizeSearch)
    loss = job.fit(FileBudget(3_000), Silent()).result.loss
    assert loss is not None
    estimate = SizeSearch.estimate

    def rosy(*arguments: Any) -> Any:
        found = estimate(*arguments)
        return dataclasses.replace(found, loss=found.loss / 3)

    monkeypatch.setattr(SizeSearch, "estimate", rosy)
    job.fitter._known.clear()
    with pytest.raises(BudgetError, match="worse than token frequencies alone") as caught:
        with_unigram(job, loss / 2).fit(FileBudget(3_000), Silent())
    assert caught.value.values["useful_bytes"] > 3_000


def test_a_cap_below_any_file_is_refused_before_training() -> None:
    """Whatever the weights will be."""
    source = source_from_module(trained()[0])
    with pytest.raises(BudgetError, match="at least"):
        refuse_small(source, QuantConfig(), CONTAINER, FileBudget(200))
    refuse_small(source, QuantConfig(), CONTAINER, FileBudget(20_000))


def test_what_is_said_of_a_fit() -> None:
    """Weights that calibration never reached, with what they got; and what takes the bytes of a file that cannot be."""
    job = job_of()
    assert job.calibration is not None
    known = {name: curvature for name, curvature in job.calibration.tensors.items() if name != "up.weight"}
    calibration = dataclasses.replace(job.calibration, tensors=known, distinct=0)
    unreached = build_job(job.source, calibration, QuantConfig(states=8), CONTAINER)
    notes = Notes()
    fitted = unreached.fit(FileBudget(3_000), notes)
    bits = next(row["bits_per_weight"] for row in fitted.report["tensors"] if row["name"] == "up.weight")
    (said,) = [text for text in notes.notes if "never reached" in text]
    assert said.endswith(f"(bits per weight: up.weight {bits:.2f})") and bits > 1
    with pytest.raises(BudgetError, match=r"rounded to zero \(header and tokenizer \d+, [a-z.]+weight \d+"):
        job.fit(FileBudget(300), Silent())


def test_whole_numbers_and_truth_values_come_back_in_their_types() -> None:
    """Buffers of a module, also one of no axes and one under two names; without any the file says nothing of types."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8))
    model.register_buffer("mask", torch.rand(3, 4) > 0.5)
    places = torch.arange(5, dtype=torch.int16)
    model.register_buffer("places", places)
    model.register_buffer("same", places)
    model.register_buffer("pixels", torch.arange(256, dtype=torch.uint8))
    source = source_from_module(model)
    artifact = build_job(source, None, QuantConfig(), CONTAINER).fit(FileBudget(2_000), Silent()).artifact
    state = loads(artifact.data).state_dict()
    assert {name: value.dtype for name, value in state.items()} == {n: v.dtype for n, v in model.state_dict().items()}
    for name in ("mask", "places", "same", "pixels", "1.num_batches_tracked"):
        assert torch.equal(state[name], model.state_dict()[name])
    assert source_from_module(torch.nn.Linear(4, 4)).dtypes == {}


def test_what_is_impossible_is_known_before_anything_is_measured() -> None:
    """Caps below the header, below what is attached, and below the smallest file of the weights."""
    source = source_from_module(torch.nn.Linear(64, 64))
    with pytest.raises(BudgetError, match=r"at least .* \(header and attached files"):
        CONTAINER.refuse_impossible(None, [FileBudget(9_999), FileBudget(10)])
    large = dataclasses.replace(CONTAINER, attached=Attached({"some.bin": torch.rand(500).numpy().tobytes()}))
    with pytest.raises(BudgetError, match="at least"):
        large.refuse_impossible(None, [FileBudget(1_000)])
    smallest = SizeSearch(build_job(source, None, QuantConfig(), CONTAINER).fitter.problem, CONTAINER.packer(source))  # type: ignore[attr-defined]
    size = smallest.smallest().size_bytes
    with pytest.raises(BudgetError, match=f"at least {size:,} bytes"):
        refuse_small_caps(source, QuantConfig(), CONTAINER, [FileBudget(10_000), FileBudget(size - 1)])
    refuse_small_caps(source, QuantConfig(), CONTAINER, [FileBudget(size)])
