"""`bytecap export`: a `.bcap` file into what another program reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import ARGUMENTS, SETTINGS, Artifact, Json, TrustCode, Verb, find_artifact, option
from bytecap.commands.output import print_result
from bytecap.core.units import counted

if TYPE_CHECKING:
    from bytecap.export.job import Exported
    from bytecap.text.tokenizer import Tokenizer

Place = Annotated[Path, option(ARGUMENTS, "What to write: a file, or for hf a folder; nothing may be there.")]
To = Annotated[
    str,
    option(
        SETTINGS,
        "safetensors (weights by name), hf (a folder of transformers), onnx (tokens to logits), gguf (llama.cpp).",
    ),
]


def export(path: Artifact, out: Place, *, to: To, trust_code: TrustCode = False, json: Json = False) -> None:
    """Write the model of a .bcap file for another program, read back and compared before it has its place."""
    from bytecap.artifact.load import load
    from bytecap.export import job

    file, folder = find_artifact(path)
    done = job.export(load(file), to, out, _tokenizer(folder), trust_code=trust_code)
    print_result(dataclasses.asdict(done), json, _summary(done, file))


def _tokenizer(folder: Path | None) -> Tokenizer | None:
    """The tokenizer of the run around the file, where there is one."""
    from bytecap.run.folder import TOKENS
    from bytecap.text.tokens import load_tokens

    return load_tokens(folder / TOKENS).tokenizer if folder is not None and (folder / TOKENS).is_dir() else None


def _summary(done: Exported, file: Path) -> str:
    lines = [
        f"{done.place}: {done.bytes:,} bytes in {counted(len(done.files), 'file')}, "
        f"{done.growth:.1f} times the {done.bcap_bytes:,} bytes of {file}",
        f"checked: {done.checked}",
        *done.notes,
    ]
    return "\n".join(lines)


VERB = Verb(
    export,
    (
        "bytecap export model.bcap model.safetensors --to safetensors",
        "bytecap export runs/demo demo_hf --to hf",
        "bytecap export model.bcap model.onnx --to onnx",
    ),
)
