"""`bytecap fit`: a finished checkpoint under a cap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from bytecap.commands.common import (
    ARGUMENTS,
    OUTPUT,
    SETTINGS,
    TEXT_OPTIONS,
    Dequantize,
    TextOptions,
    TrustCode,
    Verb,
    is_model_folder,
    open_run,
    option,
    refuse_empty_text,
    size,
    whole_number,
)
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, world
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.commands.fit_inputs import FitRequest


SIZE = Group("Size", sort_key=1)
SCHEME = Group("Published schemes, to compare", sort_key=2)

Checkpoint = Annotated[
    Path,
    option(ARGUMENTS, "A run folder (alone: as its recipe says), a Hugging Face folder or a .safetensors file."),
]
Cap = Annotated[str | None, size(SIZE, "Most bytes of the whole file: 250000, 16MB (decimal) or 16MiB.")]
Caps = Annotated[
    str | None,
    size(SIZE, "Several caps, separated by commas: one measurement, a file for each, a curve of bytes and loss."),
]
Reserve = Annotated[str | None, size(SIZE, "Bytes under the cap that stay free, for code that a contest counts.")]
Scheme = Annotated[
    str | None,
    option(
        SCHEME,
        "A published bit plan instead of ours: int8, pr65, pr219, pr309, pr332, pr1394, pr1586, pr1797, "
        "best_published, or group-wise integers such as int4_group64. Without --cap, of its own size; best_published "
        "has none.",
    ),
]
KeepSmall = Annotated[
    int | None,
    whole_number(
        SCHEME,
        "Matrices of so many elements or fewer stay at 16 bits; 65536 as published, small models need 0.",
    ),
]
EmbeddingStep = Annotated[
    float | None, option(SCHEME, "With best_published: the embedding's step over the matrices', 1.0 unless given.")
]
Tokenizer = Annotated[Path | None, option(SETTINGS, "The model's SentencePiece file, for --text.")]
TokenizerOutside = Annotated[
    bool,
    option(SETTINGS, "The tokenizer does not lie in the file and does not count; whoever reads it needs it."),
]
Compressor = Annotated[
    str | None, option(SETTINGS, "brotli, zstd, zlib or lzma, for what is not coded by bytecap itself.")
]
File = Annotated[
    Path | None,
    option(
        OUTPUT,
        "The file to write, or model-CAP.bcap in the run's folder; with --caps, the folder for them.",
        name=["--out", "-o"],
    ),
]
DryRun = Annotated[
    bool,
    option(OUTPUT, "Print predicted size and loss; no model is written (a run folder keeps what was measured)."),
]
LowMemory = Annotated[
    bool,
    option(SETTINGS, "Curvature goes to temporary files, and one tensor at a time is rounded; the same file."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options that only `fit` has: sizes, a published scheme, how the checkpoint is read, what is written."""

    cap: Cap = None
    caps: Caps = None
    scheme: Scheme = None
    keep_small: KeepSmall = None
    embedding_step: EmbeddingStep = None
    out: File = None
    tokenizer: Tokenizer = None
    tokenizer_outside: TokenizerOutside = False
    trust_code: TrustCode = False
    dequantize: Dequantize = False
    reserve: Reserve = None
    compressor: Compressor = None
    dry_run: DryRun = False
    low_memory: LowMemory = False


FIT_OPTIONS = FitOptions()


@joined()
def fit(checkpoint: Checkpoint, *, how: FitOptions = FIT_OPTIONS, options: TextOptions = TEXT_OPTIONS) -> None:
    """Fit a finished checkpoint under a cap, without training it again."""
    from bytecap.quant.spill import spilling

    def fit_as_asked() -> None:
        from bytecap.commands.fit_request import build_request

        refuse_empty_text(options.text)
        _fit_request(build_request(checkpoint, how, options), how.dry_run, options)

    nothing_else = dataclasses.replace(how, low_memory=False) == FIT_OPTIONS and (options.text, options.set_) == (
        None,
        None,
    )
    with spilling(how.low_memory):
        if checkpoint.is_dir() and nothing_else and not is_model_folder(checkpoint):
            _fit_run(checkpoint, options)
        else:  # of several processes one does it; the fit of a run folder measures with all
            from_main(fit_as_asked)


def _fit_request(request: FitRequest, dry_run: bool, options: TextOptions) -> None:
    from bytecap.commands.fit_files import fit_checkpoint, predict_fit
    from bytecap.report import fit_table

    console = Console(quiet=options.quiet)
    with console.stage("fit"):
        value = (predict_fit if dry_run else fit_checkpoint)(request, console)
    if dry_run:
        print_result(value, options.json, fit_table.prediction_table(value["predicted"]))
    else:
        print_result(value, options.json, fit_table.fit_summary(value["fitted"], value.get("curve", ())))


def _fit_run(folder: Path, options: TextOptions) -> None:
    """Fit a run folder as its recipe says."""
    from bytecap.core.device import choose_device
    from bytecap.fitting.report import read_report, report_path
    from bytecap.report import fit_table
    from bytecap.run import pipeline
    from bytecap.run.folder import MODEL

    with open_run(folder, options.quiet) as (recipe, tokens, console):
        pipeline.fit_stage(recipe, tokens, folder, choose_device(options.device), console)
    if not world().is_main:
        return
    report = {"file": str(folder / MODEL), **read_report(report_path(folder / MODEL))}
    print_result({"fitted": [report]}, options.json, fit_table.fit_summary([report]))


VERB = Verb(
    fit,
    (
        "bytecap fit runs/demo --cap 200kB -o small.bcap",
        "bytecap fit runs/demo --caps 100kB,150kB,250kB -o curve/",
        "bytecap fit checkpoint.safetensors --cap 16MB",
        "bytecap fit gpt2/ --cap 40MB --text my_folder -o gpt2.bcap",
        "bytecap fit runs/demo --scheme pr1586 --keep-small 0 --dry-run",
    ),
)
