"""`bytecap score`: a file and a text to bits per byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import (
    SETTINGS,
    TEXT_OPTIONS,
    Artifact,
    TextOptions,
    Verb,
    find_artifact,
    refuse_empty_text,
    whole_number,
)
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, together, world
from bytecap.core.errors import ConfigError
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.text.config import TextConfig

Stride = Annotated[
    int | None,
    whole_number(SETTINGS, "New positions for each window, with --text; a run folder is scored as its recipe says."),
]


@joined()
def score(
    path: Artifact,
    *,
    options: TextOptions = TEXT_OPTIONS,
    stride: Stride = None,
) -> None:
    """Bits per byte of a run folder or a .bcap file: on the run's held-out text, or on --text."""
    from bytecap.artifact.load import load
    from bytecap.run.scoring import score_run
    from bytecap.scoring.score_text import score_text

    with together():
        refuse_empty_text(options.text)
        file, folder = find_artifact(path)
        reading = _reading(options.text, options.set_ or ()) if options.text else None
        if reading is None and folder is None:
            raise ConfigError(f"{file} lies in no run folder, so there is no held-out text; give some with --text PATH")
        if reading is None and (stride is not None or options.set_):
            raise ConfigError("--stride and --set go with --text; a run is scored as its recipe says")
    console = Console(quiet=options.quiet or not world().is_main)
    with console.stage("score"):
        if reading is not None:  # of several processes one does it; a run folder is scored by all
            value = from_main(
                lambda: score_text(
                    load(file), reading, stride=stride, device=options.device, progress=console
                ).to_json()
            )
        else:
            assert folder is not None
            value = score_run(folder, artifact=file, device=options.device, progress=console).to_json()
    found = (
        f"{value['bits_per_byte']:.6f} bits per byte ({value['nats']:.2f} nats over {value['text_bytes']:,} bytes and "
        f"{value['tokens']:,} tokens; context {value['context']}, stride {value['stride']}; "
        f"{value['tokens'] / value['seconds']:,.0f} tokens/s)"
    )
    print_result(value, options.json, found)


def _reading(text: Sequence[str], settings: Sequence[str]) -> TextConfig:
    """How `text` is read; ConfigError for a setting that says nothing about it."""
    from bytecap.run.recipe import Recipe, with_overrides
    from bytecap.text.config import READING

    for word in settings:
        if word.partition("=")[0].strip() not in READING:
            raise ConfigError(f"--set {word} changes nothing here; {', '.join(READING)} do")
    return dataclasses.replace(with_overrides(Recipe(), list(settings)).text, paths=tuple(text))


VERB = Verb(
    score,
    (
        "bytecap score runs/demo",
        "bytecap score model.bcap --text my.txt --stride 16",
    ),
)
