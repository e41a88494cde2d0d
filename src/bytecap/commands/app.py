"""The command line: one verb for each room, and `run` for all of them.

Results go to stdout, everything else to stderr. Exit codes: core/errors.py.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, Parameter

from bytecap.core import catalog
from bytecap.core.errors import BackendError, BytecapError, ConfigError, DataError, exit_code_for
from bytecap.core.signals import stop_at_once
from bytecap.core.version import __version__
from bytecap.report.console import Console
from bytecap.report.tables import columns, summary, tensor_table

if TYPE_CHECKING:
    from bytecap.commands.fit_inputs import Request
    from bytecap.run.recipe import Recipe

app = App(
    name="bytecap",
    version=__version__,
    help="The best language model in N bytes.",
    help_format="plaintext",  # no Markdown parser: the command line must start fast
    help_formatter="plain",
)

Set = Annotated[list[str] | None, Parameter(name="--set", negative="", help="path=value, typed by the recipe.")]
Text = Annotated[
    list[str] | None, Parameter(name="--text", negative="", consume_multiple=True, help="Files, folders or globs.")
]
Device = Annotated[str, Parameter(help="auto, cpu or cuda.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout.")]
Quiet = Annotated[bool, Parameter(negative="", help="No progress on stderr.")]
Track = Annotated[str, Parameter(help="Budget and scale: a name from `bytecap recipes`, or a path.")]
Seed = Annotated[int, Parameter(help="Of first weights, order of text, and sample.")]
Out = Annotated[Path | None, Parameter(help="The run folder; an unfinished run in it is continued.")]


@app.command
def run(
    recipe: str = "baseline",
    *,
    track: Track = "laptop",
    text: Text = None,
    set_: Set = None,
    seed: Seed = 0,
    out: Out = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Text in, fitted and scored model out: every room in turn."""
    resolved = _resolve(recipe, track, seed, set_, text)
    from bytecap.run import pipeline

    folder = _folder(resolved, out)
    record = pipeline.run(resolved, folder, device, Console(quiet=quiet))
    _print(record, json, summary(record, str(folder)))


@app.command
def prepare(
    recipe: str = "baseline",
    *,
    track: Track = "laptop",
    text: Text = None,
    set_: Set = None,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run folder and its tokens; the first verb of a run done step by step."""
    resolved = _resolve(recipe, track, seed, set_, text)
    from bytecap.run import pipeline
    from bytecap.run.folder import LOG, enter

    folder, console = _folder(resolved, out), Console(quiet=quiet)
    enter(resolved, folder)
    console.log_to(folder / LOG)
    tokens = pipeline.prepare_stage(resolved, folder, console)
    value = {
        "folder": str(folder),
        "train_tokens": tokens.train_tokens,
        "validation_tokens": tokens.validation_tokens,
        "validation_bytes": tokens.validation_bytes,
        "corpus_digest": tokens.corpus_digest,
    }
    _print(value, json, f"{folder}: {tokens.train_tokens:,} training and {tokens.validation_tokens:,} held-out tokens")


@app.command
def train(folder: Path, *, device: Device = "auto", json: Json = False, quiet: Quiet = False) -> None:
    """Train the model of a prepared run folder, or go on training it."""
    from bytecap.core.device import choose_device
    from bytecap.run import pipeline
    from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint

    recipe, tokens, console = _opened(folder, quiet)
    pipeline.train_stage(recipe, tokens, folder, choose_device(device), console)
    progressed = load_checkpoint(folder / CHECKPOINT).progressed
    value = {"step": progressed.step, "tokens": progressed.tokens, "loss": progressed.loss}
    _print(
        value, json, f"{progressed.step:,} steps, {progressed.tokens:,} tokens, {progressed.loss:.4f} nats per token"
    )


@app.command
def fit(
    checkpoint: Path,
    *,
    cap: str | None = None,
    caps: str | None = None,
    scheme: str | None = None,
    keep_small: int | None = None,
    embedding_step: float | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    text: Text = None,
    tokenizer: Path | None = None,
    reserve: str | None = None,
    compressor: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a checkpoint under a cap: a run folder (alone: as its recipe says) or a .safetensors file.

    Parameters
    ----------
    cap
        Most bytes of the whole file: 250000, 16MB (decimal) or 16MiB.
    caps
        Several caps, separated by commas: one measurement, a file for each, and a curve of bytes and loss.
    scheme
        A published bit plan instead of ours, to compare: int8, pr65, pr219, pr309, pr332, pr1394, pr1586, pr1797 or
        best_published. Without --cap, of its own size; best_published has none.
    keep_small
        With --scheme: matrices of so many elements or fewer stay at 16 bits; 65536 as published, small models need 0.
    embedding_step
        With --scheme best_published: the embedding's step over the matrices', 1.0 unless given.
    out
        The file to write, or model-CAP.bcap in the run's folder; with --caps, the folder for them.
    tokenizer
        The model's SentencePiece file, for --text.
    reserve
        Bytes under the cap that stay free, for code that a contest counts.
    compressor
        brotli, zstd, zlib or lzma, for what is not coded by bytecap itself.
    dry_run
        Print predicted size and loss; no model is written (a run folder keeps what was measured).
    """
    _refuse_empty(text)
    asked = (cap, caps, scheme, keep_small, embedding_step, out, text, tokenizer, reserve, compressor, set_)
    if checkpoint.is_dir() and not dry_run and all(word is None for word in asked):
        value = _fit_run(checkpoint, device, quiet)
        _print(value, json, f"{value['file']}: {value['bytes']:,} of {value['cap_bytes']:,} bytes")
        return
    from bytecap.commands import fit_files as fit_command

    request = fit_command.build_request(
        checkpoint, cap, caps, reserve=reserve, compressor=compressor, scheme=scheme, keep_small=keep_small,
        embedding_step=embedding_step, out=out, text=tuple(text or ()), tokenizer=tokenizer,
        settings=tuple(set_ or ()), device=device,
    )  # fmt: skip
    _fit_request(request, dry_run, json, quiet)


def _fit_request(request: Request, dry_run: bool, json: bool, quiet: bool) -> None:
    from bytecap.commands import fit_files as fit_command
    from bytecap.report import fit_table

    console = Console(quiet=quiet)
    with console.stage("fit"):
        value = (fit_command.predict_fit if dry_run else fit_command.fit_checkpoint)(request, console)
    if dry_run:
        _print(value, json, fit_table.prediction_table(value["predicted"]))
    else:
        _print(value, json, fit_table.fit_summary(value["fitted"], value.get("curve", ())))


def _fit_run(folder: Path, device: str, quiet: bool) -> dict[str, Any]:
    from bytecap.core.device import choose_device
    from bytecap.run import pipeline
    from bytecap.run.folder import MODEL

    recipe, tokens, console = _opened(folder, quiet)
    pipeline.fit_stage(recipe, tokens, folder, choose_device(device), console)
    size, room = (folder / MODEL).stat().st_size, recipe.artifact
    kept = {"cap_bytes": room.size, "reserve_bytes": room.reserve_bytes, "unused_bytes": room.cap - size}
    return {"file": str(folder / MODEL), "bytes": size, **kept}


@app.command
def score(
    path: Path,
    *,
    text: Text = None,
    stride: int | None = None,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bits per byte of a run folder or a .bcap file: on the run's held-out text, or on --text.

    Parameters
    ----------
    stride
        New positions for each window, with --text; a run folder is scored as its recipe says.
    """
    from bytecap.run import use

    _refuse_empty(text)
    file, folder = _artifact(path)
    console = Console(quiet=quiet)
    if text:
        value = use.score_file(file, text, stride=stride, device_name=device, console=console, settings=set_ or ())
    elif folder is None:
        raise ConfigError(f"{file} lies in no run folder, so there is no held-out text; give some with --text PATH")
    elif stride is not None or set_:
        raise ConfigError("--stride and --set go with --text; a run is scored as its recipe says")
    else:
        value = use.score_run(folder, device, console, file)
    _print(
        value, json,
        f"{value['bits_per_byte']:.6f} bits per byte ({value['nats']:.2f} nats over {value['text_bytes']:,} bytes and "
        f"{value['tokens']:,} tokens; context {value['context']}, stride {value['stride']}; "
        f"{value['tokens'] / value['seconds']:,.0f} tokens/s)",
    )  # fmt: skip


@app.command
def generate(
    path: Path,
    prompt: str = "",
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    json: Json = False,
) -> None:
    """Continue a prompt with the model of a run folder or a .bcap file."""
    from bytecap.artifact.load import load
    from bytecap.run import use
    from bytecap.text.tokens import load_tokens

    file, folder = _artifact(path)
    artifact = load(file)
    other = None if folder is None else load_tokens(folder / "tokens").tokenizer_model()
    written = use.generate(artifact, other, prompt, tokens, temperature, seed)
    _print({"text": written}, json, written)


@app.command
def inspect(path: Path, *, json: Json = False) -> None:
    """Where the bytes of a .bcap file (or of a run folder's) go: a line for each tensor."""
    from bytecap.artifact.inspect import tensor_report
    from bytecap.artifact.load import load

    file = _artifact(path)[0]
    artifact = load(file)
    value: dict[str, Any] = {
        "bytes": artifact.size_bytes,
        "made_from": artifact.made_from,
        "model": None if artifact.spec is None else artifact.spec.to_json(),
        "tensors": tensor_report(artifact, _loss_shares(file, artifact.made_from.get("checkpoint"))),
    }
    _print(value, json, tensor_table(value["tensors"]))


@app.command
def recipes(*, json: Json = False) -> None:
    """The recipes and tracks that come with bytecap."""
    rows = []
    for name in catalog.names("recipes"):
        table = catalog.read("recipes", name)
        source = table.get("source", {})
        rows.append((name, source.get("status", ""), table.get("run", {}).get("summary", ""), source.get("url", "")))
    tracks = [(n, catalog.read("tracks", n).get("run", {}).get("summary", "")) for n in catalog.names("tracks")]
    value = {
        "recipes": [dict(zip(("name", "status", "summary", "source"), row, strict=True)) for row in rows],
        "tracks": [dict(zip(("name", "summary"), row, strict=True)) for row in tracks],
    }
    text = columns([("recipe", "status", "what", "source"), *rows]) + "\n\n" + columns([("track", "what"), *tracks])
    _print(value, json, text)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; leaves by SystemExit with the exit code of core/errors.py."""
    stop_at_once()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, exit_on_error=True)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, as in `bytecap inspect FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except BytecapError as error:
        _leave(error, as_json="--json" in given)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        place = error.filename or "the output"
        refused = BackendError(
            f"{place} cannot be used: {error.strerror}; look at its permissions and room, or give another",
            path=str(place),
        )
        _leave(refused, as_json="--json" in given)


def _leave(error: BytecapError, *, as_json: bool) -> NoReturn:
    sys.stdout.flush()
    if as_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": str(error), **_plain(error.values)}}))
    print(f"bytecap: {error}", file=sys.stderr)
    raise SystemExit(exit_code_for(error)) from None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float, type(None)))}


def _loss_shares(file: Path, checkpoint: str | None) -> dict[str, float]:
    """Each tensor's share of the predicted loss, from the report that a fit left beside the file."""
    from bytecap.core.files import read_json
    from bytecap.run.folder import report_path

    path = report_path(file)
    if not path.is_file():
        return {}
    try:
        report = read_json(path)
        return {str(n): float(v) for n, v in report["loss_shares"].items()} if report["made_from"] == checkpoint else {}
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        print(f"bytecap: {path} holds no report of a fit, so no share of the loss is shown", file=sys.stderr)
        return {}


def _print(value: dict[str, Any], as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


def _refuse_empty(text: list[str] | None) -> None:
    if text is not None and not any(text):
        raise ConfigError(
            "--text has nothing behind it; give files, folders or globs (is a variable of the shell unset?)"
        )


def _resolve(recipe: str, track: str, seed: int, overrides: list[str] | None, text: list[str] | None) -> Recipe:
    from bytecap.run.recipe import resolve

    _refuse_empty(text)
    return resolve(recipe, track=track, seed=seed, overrides=overrides, text=text)


def _folder(recipe: Recipe, out: Path | None) -> Path:
    if out is not None:
        return out
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return Path("runs") / f"{Path(recipe.run.recipe).stem}-{stamp}-{recipe.digest[:8]}"


def _opened(folder: Path, quiet: bool) -> tuple[Any, Any, Console]:
    """Recipe and tokens of a run folder, and a console that logs into it."""
    from bytecap.run import recipe as recipe_module
    from bytecap.run.folder import LOG, RECIPE, TOKENS
    from bytecap.text.tokens import load_tokens

    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder} is not a run folder: it has no {RECIPE}; make one with `bytecap prepare`")
    console = Console(quiet=quiet)
    console.log_to(folder / LOG)
    return recipe_module.load(folder / RECIPE), load_tokens(folder / TOKENS), console


def _artifact(path: Path) -> tuple[Path, Path | None]:
    """The file meant by a run folder or a file, and the run folder around it, if any."""
    file = path / "model.bcap" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; give a .bcap file or a run folder in which `bytecap fit` has been run")
    return file, file.parent if (file.parent / "recipe.toml").is_file() else None
