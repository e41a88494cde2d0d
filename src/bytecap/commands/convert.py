"""`bytecap convert`: a checkpoint of another kind to safetensors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import ARGUMENTS, OUTPUT, SETTINGS, Dequantize, Json, Verb, option
from bytecap.commands.output import print_result
from bytecap.core.units import counted

if TYPE_CHECKING:
    from bytecap.convert.job import Converted

Source = Annotated[
    Path,
    option(
        ARGUMENTS,
        "A file of PyTorch (.pt, .pth, .ckpt, .bin), safetensors, NumPy (.npz, .pkl), Keras (.h5, .keras), ONNX or "
        "GGUF, a model.safetensors.index.json, or a folder with a checkpoint of Hugging Face.",
    ),
]
File = Annotated[Path, option(OUTPUT, "The .safetensors file to write.")]
Key = Annotated[
    str | None,
    option(SETTINGS, "Which weights, where the file holds several: keys joined by dots, or . for the whole."),
]
MAX_SHOWN = 12


def convert(source: Source, out: File, *, key: Key = None, dequantize: Dequantize = False, json: Json = False) -> None:
    """Weights out of a checkpoint of any kind into one .safetensors file, which `fit` reads; no code is run."""
    from bytecap.convert import job

    done = job.convert(source, out, key, dequantize=dequantize)
    print_result(dataclasses.asdict(done), json, _summary(done, source))


def _summary(done: Converted, source: Path) -> str:
    where = str(source) if done.key == "." else f"{done.key} of {source}"
    lines = [
        f"{done.file}: {counted(done.tensors, 'tensor')}, {counted(done.numbers, 'number')}, {done.bytes:,} bytes, "
        f"from {where}"
    ]
    if done.renamed:
        lines.append(f"{counted(done.renamed, 'name')} lost what wrappers had put into them (module., _orig_mod.)")
    if done.dequantized:
        taken = ", ".join(f"{count:,} of {title}" for title, count in done.dequantized.items())
        lines.append(f"quantized weights as the numbers they stand for, at 32 bits: {taken}")
    if done.quantized:
        lines.append(f"still quantized ({', '.join(done.quantized)}), which fit refuses; --dequantize writes numbers")
    if done.left_out:
        shown = [f"{name} ({kind})" for name, kind in list(done.left_out.items())[:MAX_SHOWN]]
        more = len(done.left_out) - len(shown)
        lines.append(f"left out: {', '.join(shown)}{f' and {more:,} more' if more else ''}")
    return "\n".join(lines)


VERB = Verb(
    convert,
    (
        "bytecap convert checkpoint.pt checkpoint.safetensors",
        "bytecap convert last.ckpt ema.safetensors --key ema.module",
        "bytecap convert llama/model.safetensors.index.json llama.safetensors",
        "bytecap convert weights.h5 weights.safetensors",
        "bytecap convert llama-gptq/ floats.safetensors --dequantize",
    ),
)
