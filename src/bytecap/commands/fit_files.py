"""A finished checkpoint under one cap or many, as the command line asks.

In:   a run folder or a .safetensors file, caps or a published scheme, perhaps text.
Out:  `.bcap` files, each with a `.fit.json` beside it, and for several caps their curve; or predictions alone.
"""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

from bytecap.artifact.inspect import tensor_report
from bytecap.artifact.layout import MAGIC
from bytecap.artifact.load import Artifact
from bytecap.commands.fit_inputs import FitInputs, Request, open_inputs
from bytecap.core.errors import ConfigError
from bytecap.core.files import refuse_place, write_bytes, write_json
from bytecap.core.progress import Progress
from bytecap.core.units import bits_per_byte, bits_per_weight, parse_bytes
from bytecap.fitting.job import fit_report, fit_to_size, predict_useful, read_back
from bytecap.fitting.measure import comparison_windows
from bytecap.fitting.size_search import FitResult, Fitter, Prediction
from bytecap.published.scheme_fitter import SchemeResult
from bytecap.quant.allocation import SCHEME
from bytecap.report.curve import curve_svg
from bytecap.run.folder import OWN, RECIPE, report_path
from bytecap.scoring.divergence import Divergence, divergence
from bytecap.text.config import READING

Predictions = dict[int | None, Prediction]

COMPARED_TOKENS, MIN_COMPARED = 16_384, 64
"""Positions on which the fitted model is compared with the original, and how many there must be."""
FOLLOWED_ALWAYS = ("artifact.compressor", "artifact.embed_tokenizer", "run.seed", "train.context")
FOLLOWED = ("quant.", *FOLLOWED_ALWAYS)
FOLLOWED_BY_SCHEMES = ("quant.calibration_tokens", "quant.labels", *FOLLOWED_ALWAYS)
"""Settings that a fit follows, and that of a published scheme, beside how a given text is read."""


def build_request(
    checkpoint: Path, cap: str | None, caps: str | None, *, reserve: str | None, compressor: str | None, **others: Any
) -> Request:
    """A request from the words of a command line; ConfigError when they make no sense together."""
    if cap is not None and caps is not None:
        raise ConfigError("--cap and --caps exclude each other; give one of them")
    words = [cap] if cap is not None else [part for part in (caps or "").split(",") if part.strip()]
    if (
        len(words) > 1
        and all(re.fullmatch(r"\s*[0-9]{3}\s*", word) for word in words[1:])
        and words[0].strip().isdigit()
    ):
        raise ConfigError(f"--caps {caps} reads as {len(words)} caps, commas part them; write 250000 or 250kB")
    sizes, kept = tuple(parse_bytes(word) for word in words), None if reserve is None else parse_bytes(reserve)
    if kept and not sizes and others["scheme"] is not None:
        raise ConfigError("--reserve needs a cap to be kept free under; give --cap")
    followed = FOLLOWED if others["scheme"] is None else FOLLOWED_BY_SCHEMES
    _refuse_settings(others["settings"], (*followed, *READING) if others.get("text") else followed)
    _refuse_scheme_options(others["scheme"], others["keep_small"], others["embedding_step"])
    _refuse_places(checkpoint, others["out"], many=caps is not None)
    if compressor is not None:
        others["settings"] = (*others["settings"], f"artifact.compressor={compressor}")
    others = {name: value for name, value in others.items() if value is not None}
    return Request(checkpoint=checkpoint, caps=sizes, reserve=kept, curve=caps is not None, **others)


def fit_checkpoint(request: Request, progress: Progress) -> dict[str, Any]:
    """One file for each cap, or one of a scheme's own size; BudgetError when a cap cannot be met usefully.

    Returns what `.fit.json` says of each as `fitted`, and with several caps the paths of their `curve`.
    """
    refuse_place(_path(request, None))
    with open_inputs(request, progress) as material:
        predicted = _predictions(material, progress)
        rows = [_one(request, material, cap, predicted, progress) for cap in material.caps or (None,)]
    if not request.curve:
        return {"fitted": rows}
    folder, end = _folder(request), "" if request.scheme is None else f"-{request.scheme}"
    paths = [folder / f"curve{end}.json"]
    write_json(paths[0], rows)
    if all(row["divergence"] is not None for row in rows):
        paths.append(folder / f"curve{end}.svg")
        write_bytes(paths[1], curve_svg(rows).encode())
    else:
        progress.note("nothing to compare on, so the curve has no picture; that needs a model of ours and text")
    return {"fitted": rows, "curve": [str(path) for path in paths]}


def predict_fit(request: Request, progress: Progress) -> dict[str, Any]:
    """Size and loss that each cap would give, as `predicted`: without rounding, or a scheme's by making the file."""
    rows = []
    with open_inputs(request, progress) as material:
        predicted = _predictions(material, progress)
        for cap in material.caps or (None,):
            if cap in predicted:
                size, step_scale, loss = predicted[cap].size_bytes, predicted[cap].step_scale, predicted[cap].loss
                known: float | None = None if material.calibration is None else loss
            else:
                made = _fit_one(material, cap, predicted, progress)
                size, step_scale, known = len(made.data), made.plan.step_scale, made.loss
            whole = material.with_reserve(cap)
            row = {"scheme": request.scheme or SCHEME, "cap_bytes": whole, "reserve_bytes": material.reserve}
            rows.append({**row, "predicted_bytes": size, "step_scale": step_scale, "predicted_increase_nats": known})
    return {"predicted": rows}


def _one(
    request: Request, material: FitInputs, cap: int | None, predicted: Predictions, progress: Progress
) -> dict[str, Any]:
    """One file with its report beside it."""
    begin = time.perf_counter()
    result = _fit_one(material, cap, predicted, progress)
    whole = material.with_reserve(cap)
    path = _path(request, whole)
    artifact, about = read_back(result), fit_report(result, whole, material.reserve)
    found = _compared(material, artifact)
    report = {
        "file": str(path),
        **about,
        "bits_per_weight": bits_per_weight(len(result.data), result.model.weights),
        "divergence": None if found is None else found.to_json(),
        "bits_per_byte": _bits(material, found),
        "seconds": time.perf_counter() - begin,
        "tensors": tensor_report(artifact, about["loss_shares"]),
    }
    if material.calibration is None:
        report["predicted_increase_nats"] = None
    if request.scheme is not None:
        report["keep_small"] = request.keep_small
    write_bytes(path, result.data)
    write_json(report_path(path), report)
    return report


def _fit_one(
    material: FitInputs, cap: int | None, predicted: Predictions, progress: Progress
) -> FitResult | SchemeResult:
    if isinstance(material.fitter, Fitter):
        assert cap is not None, "our own fit has no size of its own"
        return fit_to_size(
            material.fitter, material.calibration, cap, predicted[cap], material.start_adaptation, progress
        )
    return material.fitter.own() if cap is None else material.fitter.fit_to_size(cap, progress)


def _predictions(material: FitInputs, progress: Progress) -> Predictions:
    """What each cap will give, of our own fit; a cap that cannot be met usefully is refused before any is written."""
    predicted: Predictions = {}
    for cap in material.caps:
        if isinstance(material.fitter, Fitter):
            predicted[cap] = predict_useful(material.fitter, material.calibration, cap, progress)
        else:
            material.fitter.refuse_small(cap)
    return predicted


def _refuse_scheme_options(scheme: str | None, keep_small: int | None, embedding_step: float | None) -> None:
    if scheme is None and (keep_small is not None or embedding_step is not None):
        raise ConfigError("--keep-small and --embedding-step belong to published schemes; give --scheme NAME too")
    if keep_small is not None and keep_small < 0:
        raise ConfigError(f"--keep-small is {keep_small}; it must not be negative")


def _refuse_settings(settings: tuple[str, ...], followed: tuple[str, ...]) -> None:
    """ConfigError for a setting that a fit does not follow, or has a flag for."""
    for word in settings:
        path = word.partition("=")[0].strip()
        if path in ("artifact.cap_bytes", "artifact.reserve_bytes"):
            flag = "--cap" if path == "artifact.cap_bytes" else "--reserve"
            raise ConfigError(f"--set {path} is not for a fit; give {flag}", key=path)
        if not path.startswith(followed):
            raise ConfigError(f"--set {path} changes nothing in this fit; {', '.join(followed)} do", key=path)


def _refuse_places(checkpoint: Path, out: Path | None, *, many: bool) -> None:
    if out is None:
        return
    if many and out.is_file():
        raise ConfigError(f"--caps writes several files and {out} is one; give a folder with --out")
    if not many and out.is_dir():
        raise ConfigError(f"{out} is a folder; give the file to write, such as {out / 'model.bcap'}")
    if out.resolve() == checkpoint.resolve():
        raise ConfigError(f"--out {out} would overwrite the checkpoint; give another file")
    if (out.parent / RECIPE).is_file() and {out.name, report_path(out).name} & {*OWN}:
        raise ConfigError(f"{out} is a file of the run itself; give another name, such as {out.parent / 'small.bcap'}")
    if out.exists() and not _is_ours(out):
        raise ConfigError(f"--out {out} is a file of another kind and would be lost; give another name")


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _compared(material: FitInputs, artifact: Artifact) -> Divergence | None:
    if material.compare is None or material.source.model is None:
        return None
    stream, bos = material.compare
    if len(stream) < MIN_COMPARED:
        return None
    original = material.source.model.eval()
    context, device = material.recipe.train.context, next(original.parameters()).device
    windows = comparison_windows(stream, tokens=COMPARED_TOKENS, context=context, device=device)
    return divergence(original, artifact.model().to(device), windows, bos)


def _bits(material: FitInputs, found: Divergence | None) -> dict[str, float] | None:
    """The divergence again, in bits per byte of text, where the bytes of a token are known."""
    if found is None or material.bytes_per_token is None:
        return None
    names = ("kl", "kl_interval", "loss_before", "loss_after", "increase_interval")
    values = dataclasses.asdict(found)
    return {name: bits_per_byte(values[name], 1) / material.bytes_per_token for name in names}


def _folder(request: Request) -> Path:
    own = request.checkpoint if request.checkpoint.is_dir() else request.checkpoint.parent
    return request.out if request.curve and request.out is not None else own


def _path(request: Request, cap: int | None) -> Path:
    """The file asked for; otherwise, and with several caps, one named by scheme and cap."""
    if request.out is not None and not request.curve:
        return request.out
    parts = ["model", *([request.scheme] if request.scheme else []), *([str(cap)] if cap is not None else [])]
    return _folder(request) / f"{'-'.join(parts)}.bcap"
