"""`bytecap score`: a file and a text to bits per byte."""

from __future__ import annotations

from typing import Annotated

from bytecap.commands.common import (
    SETTINGS,
    Artifact,
    Device,
    Json,
    Quiet,
    Set,
    Text,
    Verb,
    find_artifact,
    refuse_empty_text,
    whole_number,
)
from bytecap.commands.output import print_result
from bytecap.core.errors import ConfigError
from bytecap.report.console import Console

Stride = Annotated[
    int | None,
    whole_number(SETTINGS, "New positions for each window, with --text; a run folder is scored as its recipe says."),
]


def score(
    path: Artifact,
    *,
    text: Text = None,
    stride: Stride = None,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bits per byte of a run folder or a .bcap file: on the run's held-out text, or on --text."""
    from bytecap.run import use

    refuse_empty_text(text)
    file, folder = find_artifact(path)
    console = Console(quiet=quiet)
    if text:
        value = use.score_file(file, text, stride=stride, device_name=device, console=console, settings=set_ or ())
    elif folder is None:
        raise ConfigError(f"{file} lies in no run folder, so there is no held-out text; give some with --text PATH")
    elif stride is not None or set_:
        raise ConfigError("--stride and --set go with --text; a run is scored as its recipe says")
    else:
        value = use.score_run(folder, device, console, file)
    found = (
        f"{value['bits_per_byte']:.6f} bits per byte ({value['nats']:.2f} nats over {value['text_bytes']:,} bytes and "
        f"{value['tokens']:,} tokens; context {value['context']}, stride {value['stride']}; "
        f"{value['tokens'] / value['seconds']:,.0f} tokens/s)"
    )
    print_result(value, json, found)


VERB = Verb(
    score,
    (
        "bytecap score runs/demo",
        "bytecap score model.bcap --text my.txt --stride 16",
    ),
)
