"""From the options of `bytecap fit` to a FitRequest; options that contradict each other are refused before any work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bytecap.artifact.layout import MAGIC
from bytecap.commands.fit_inputs import FitRequest
from bytecap.core.errors import ConfigError
from bytecap.core.units import parse_bytes
from bytecap.fitting.report import report_path
from bytecap.published.scheme_plan import SchemeOptions
from bytecap.run.folder import OWN, RECIPE
from bytecap.text.config import READING

if TYPE_CHECKING:
    from bytecap.commands.common import TextOptions
    from bytecap.commands.fit import FitOptions

FOLLOWED_ALWAYS = ("artifact.compressor", "artifact.embed_tokenizer", "run.seed", "train.context")
FOLLOWED = ("quant.", *FOLLOWED_ALWAYS)
FOLLOWED_BY_SCHEMES = ("quant.calibration_tokens", "quant.labels", *FOLLOWED_ALWAYS)
"""Settings that a fit follows, and that of a published scheme, apart from how a given text is read."""


def build_request(checkpoint: Path, how: FitOptions, options: TextOptions) -> FitRequest:
    """The request behind the options of a command line; ConfigError where they contradict each other."""
    chosen = [] if how.compressor is None else [f"artifact.compressor={how.compressor}"]
    chosen += ["artifact.embed_tokenizer=false"] if how.tokenizer_outside else []
    request = FitRequest(
        checkpoint=checkpoint,
        caps=_caps(how.cap, how.caps),
        reserve=None if how.reserve is None else parse_bytes(how.reserve),
        curve=how.caps is not None,
        scheme=_scheme(how.scheme, how.keep_small, how.embedding_step),
        out=how.out,
        text=tuple(options.text or ()),
        tokenizer=how.tokenizer,
        settings=(*(options.set_ or ()), *chosen),
        device=options.device,
        trust_code=how.trust_code,
        dequantize=how.dequantize,
    )
    _refuse_contradictions(request)
    return request


def _caps(cap: str | None, caps: str | None) -> tuple[int, ...]:
    """Sizes in bytes from --cap or --caps; ConfigError for both, or for commas that group digits."""
    if cap is not None and caps is not None:
        raise ConfigError("--cap and --caps exclude each other; give one of them")
    sizes = [cap] if cap is not None else [part for part in (caps or "").split(",") if part.strip()]
    thousands = all(re.fullmatch(r"\s*[0-9]{3}\s*", size) for size in sizes[1:])
    if len(sizes) > 1 and thousands and sizes[0].strip().isdigit():
        raise ConfigError(
            f"--caps {caps} reads as {len(sizes)} caps, because commas separate caps; write 250000 or 250kB"
        )
    return tuple(map(parse_bytes, sizes))


def _scheme(name: str | None, keep_small: int | None, embedding_step: float | None) -> SchemeOptions | None:
    """The published scheme that was asked for; ConfigError for options of a scheme without one."""
    if name is None and (keep_small is not None or embedding_step is not None):
        raise ConfigError("--keep-small and --embedding-step belong to published schemes; give --scheme NAME too")
    if name is None:
        return None
    if keep_small is not None and keep_small < 0:
        raise ConfigError(f"--keep-small is {keep_small}; it must not be negative")
    given = {"keep_small": keep_small, "embedding_step": embedding_step}
    return SchemeOptions(name, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]


def _refuse_contradictions(request: FitRequest) -> None:
    """Raise ConfigError where parts of a request contradict each other."""
    if request.reserve and not request.caps and request.scheme is not None:
        raise ConfigError("--reserve needs a cap to be kept free under; give --cap")
    followed = FOLLOWED if request.scheme is None else FOLLOWED_BY_SCHEMES
    _refuse_settings(request.settings, (*followed, *READING) if request.text else followed)
    _refuse_places(request)


def _refuse_settings(settings: tuple[str, ...], followed: tuple[str, ...]) -> None:
    """Raise ConfigError for a setting that a fit does not follow, or has a flag for."""
    for word in settings:
        path = word.partition("=")[0].strip()
        if path in ("artifact.cap_bytes", "artifact.reserve_bytes"):
            flag = "--cap" if path == "artifact.cap_bytes" else "--reserve"
            raise ConfigError(f"--set {path} is not for a fit; give {flag}", key=path)
        if not path.startswith(followed):
            raise ConfigError(f"--set {path} changes nothing in this fit; {', '.join(followed)} do", key=path)


def _refuse_places(request: FitRequest) -> None:
    """Raise ConfigError where the output would overwrite something else."""
    out = request.out
    if out is None:
        return
    if request.curve and out.is_file():
        raise ConfigError(f"--caps writes several files and {out} is one; give a folder with --out")
    if not request.curve and out.is_dir():
        raise ConfigError(f"{out} is a folder; give the file to write, such as {out / 'model.bcap'}")
    if os.path.realpath(out) == os.path.realpath(request.checkpoint):
        raise ConfigError(f"--out {out} would overwrite the checkpoint; give another file")
    if (out.parent / RECIPE).is_file() and {out.name, report_path(out).name} & {*OWN}:
        raise ConfigError(f"{out} is a file of the run itself; give another name, such as {out.parent / 'small.bcap'}")
    if not request.curve and out.exists() and not _is_bcap(out):
        raise ConfigError(f"--out {out} is a file of another kind and would be lost; give another name")


def _is_bcap(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
