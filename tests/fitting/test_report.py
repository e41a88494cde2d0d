"""The report of a fit: the same fields whoever asked, and those of older versions under today's names."""

import json
from pathlib import Path

import pytest

from bytecap.core.errors import DataError
from bytecap.fitting.report import loss_shares, read_report, report_path
from bytecap.report.fit_table import fit_summary

OLD = {
    "scheme": "bytecap", "bytes": 90, "cap_bytes": 100, "reserve_bytes": 0, "unused_bytes": 10, "predicted_bytes": 91,
    "predicted_increase_nats": 0.5, "kappa": 0.25, "roundings": 1.5, "loss_shares": {"a": 1}, "made_from": "digest",
}  # fmt: skip
"""As bytecap 0.1 wrote it."""


def test_reports_of_version_0_1_are_read(tmp_path: Path) -> None:
    """Under the names of today."""
    path = tmp_path / "model.fit.json"
    path.write_text(json.dumps(OLD))
    report = read_report(path)
    assert (report["step_scale"], report["source_digest"]) == (0.25, "digest")
    assert "kappa" not in report and "made_from" not in report
    assert report["tensors"] == [] and report["seconds"] is report["divergence"] is report["bits_per_weight"] is None
    assert "90 of 100 (10 unused; predicted 91)" in fit_summary([{"file": "x", **report}])


def test_a_small_divergence_keeps_its_digits(tmp_path: Path) -> None:
    """A KL below what five decimals show is no row of zeros."""
    path = tmp_path / "model.fit.json"
    path.write_text(json.dumps(OLD))
    found = {"kl": 7.4e-7, "kl_interval": 0.0, "loss_before": 4.0, "loss_after": 3.9999996, "increase_interval": 2.5e-5}
    row = {"file": "x", **read_report(path), "bits_per_weight": 3.5, "seconds": 1.0, "divergence": found}
    assert "7.4e-07 ± 0.00000 nats per token" in fit_summary([row]) and "7.4e-07 ±" in fit_summary([row, row])
    assert "(-4.0e-07 ± 2.5e-05; predicted +0.50000)" in fit_summary([row])


def test_shares_belong_to_one_checkpoint(tmp_path: Path) -> None:
    """Without a report, or beside one of another checkpoint, no share is known."""
    model = tmp_path / "model.bcap"
    assert report_path(model).name == "model.fit.json" and loss_shares(model, "digest") == {}
    report_path(model).write_text(json.dumps(OLD))
    assert loss_shares(model, "digest") == {"a": 1} and loss_shares(model, "other") == {}


WRONG = {
    "loss_shares": {"a": "x"},
    "tensors": [{}],
    "divergence": {"kl": 1},
    "bits_per_byte": 2,
    "roundings": "many",
    "cap_bytes": None,
    "unused_bytes": None,
}


@pytest.mark.parametrize("text", ["[]", "{", "{}", "1", *(json.dumps(OLD | {n: v}) for n, v in WRONG.items())])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    """By name, with the next step."""
    path = tmp_path / "model.fit.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"model\.fit\.json .*delete it"):
        read_report(path)
