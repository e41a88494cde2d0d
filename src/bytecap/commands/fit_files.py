"""A finished checkpoint under one cap or many, as the command line requests.

In:   a run folder or a .safetensors file, caps or a published scheme, perhaps text.
Out:  `.bcap` files, each with its report beside it, and for several caps their curve; or predictions alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytecap.commands.fit_inputs import FitInputs, FitRequest, open_inputs
from bytecap.core.budget import FileBudget
from bytecap.core.files import refuse_place, write_bytes, write_json
from bytecap.core.progress import Progress
from bytecap.fitting.report import FitReport, report_path
from bytecap.report.curve import curve_svg


def fit_checkpoint(request: FitRequest, progress: Progress) -> dict[str, Any]:
    """Write one file for each cap, or one of a scheme's own size; BudgetError when a cap cannot be met usefully.

    Returns the report of each as `fitted`, and with several caps the paths of their `curve`.
    """
    refuse_place(_path(request, next(iter(request.caps), None)))
    with open_inputs(request, progress) as inputs:
        for budget in inputs.budgets:
            inputs.job.predict(budget, progress)  # a cap that cannot be met is refused before any file is written
        rows = [_write_fit(request, inputs, budget, progress) for budget in inputs.budgets or (None,)]
    return {"fitted": rows, "curve": _write_curve(request, rows, progress)} if request.curve else {"fitted": rows}


def predict_fit(request: FitRequest, progress: Progress) -> dict[str, Any]:
    """Size and loss that each cap would give, as `predicted`: without rounding, or a scheme's by making the file."""
    with open_inputs(request, progress) as inputs:
        return {"predicted": [_prediction(inputs, budget, progress) for budget in inputs.budgets or (None,)]}


def _prediction(inputs: FitInputs, budget: FileBudget | None, progress: Progress) -> dict[str, Any]:
    """The fields of a report that are known without the file."""
    job = inputs.job
    found = None if budget is None else job.predict(budget, progress)
    if found is not None:
        size, step_scale = found.size_bytes, found.step_scale
        loss = None if job.calibration is None else found.loss
    else:
        result = job.fit(budget, progress).result
        size, step_scale, loss = len(result.data), result.plan.step_scale, result.loss
    return {
        "scheme": job.fitter.scheme,
        "cap_bytes": None if budget is None else budget.cap_bytes,
        "reserve_bytes": 0 if budget is None else budget.reserve_bytes,
        "predicted_bytes": size,
        "predicted_increase_nats": loss,
        "step_scale": step_scale,
    }


def _write_fit(request: FitRequest, inputs: FitInputs, budget: FileBudget | None, progress: Progress) -> FitReport:
    """One file with its report beside it."""
    fitted = inputs.job.fit(budget, progress)
    path = _path(request, None if budget is None else budget.cap_bytes)
    report = {"file": str(path), **fitted.report, **inputs.about}
    if request.scheme is not None:
        report["keep_small"] = request.scheme.keep_small
    write_bytes(path, fitted.result.data)
    write_json(report_path(path), report)
    return report


def _write_curve(request: FitRequest, rows: list[FitReport], progress: Progress) -> list[str]:
    """The reports of all caps in one file, and where the models could be compared the picture of them."""
    folder, end = _folder(request), "" if request.scheme is None else f"-{request.scheme.name}"
    paths = [folder / f"curve{end}.json"]
    write_json(paths[0], rows)
    if all(row["divergence"] is not None for row in rows):
        paths.append(folder / f"curve{end}.svg")
        write_bytes(paths[1], curve_svg(rows).encode())
    else:
        progress.note("nothing to compare on, so the curve has no picture; that needs a model of ours and text")
    return [str(path) for path in paths]


def _folder(request: FitRequest) -> Path:
    return request.out if request.curve and request.out is not None else request.folder


def _path(request: FitRequest, cap: int | None) -> Path:
    """The file asked for; otherwise, and with several caps, one named by scheme and cap."""
    if request.out is not None and not request.curve:
        return request.out
    scheme = [request.scheme.name] if request.scheme else []
    return _folder(request) / f"{'-'.join(['model', *scheme, *([str(cap)] if cap is not None else [])])}.bcap"
