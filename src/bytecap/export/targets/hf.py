"""A folder that `transformers` opens: the one that the file was made from, or a model of ours with its tokenizer.

A model of ours that is Llama-shaped becomes a `LlamaForCausalLM`. Any other brings the code that runs it, copied from
the installed bytecap, and opens with `trust_remote_code=True`; where it is opened bytecap is not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bytecap.export.clean_process import open_in_clean_process
from bytecap.export.original_folder import fitted_weights, write_original
from bytecap.export.our_folder import compare_tokens, write_ours
from bytecap.export.source import ExportSource, compare_logits
from bytecap.export.targets.base import Target
from bytecap.export.tokenizer_files import TEXTS
from bytecap.huggingface.model import model_logits

PROBES = ((1, 1), (2, 9), (1, 40))


class HuggingFace(Target):
    """`AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)`."""

    makes = "a folder that transformers opens"
    libraries: ClassVar[tuple[str, ...]] = ("transformers",)
    extra = "hf"

    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Config, weights, tokenizer; and for a model of ours that is no Llama model its code."""
        if source.is_hugging_face:
            return write_original(source, place)
        _ = source.tokenizer  # refused before there is a folder
        place.mkdir()
        return write_ours(source, place)

    def check(self, source: ExportSource, place: Path) -> str:
        """Logits on rows of several lengths, and tokens of several texts, in a process without bytecap."""
        rows = source.probes(PROBES)
        if source.is_hugging_face:
            module = fitted_weights(source).module
            expected = [model_logits(module, tokens_BT) for tokens_BT in rows]
        else:
            expected = [source.logits(tokens_BT) for tokens_BT in rows]
        opened = open_in_clean_process(place, rows, () if source.is_hugging_face else TEXTS)
        pairs = zip(opened.logits, expected, strict=True)
        error = max(compare_logits(found_BTV, expected_BTV, "transformers") for found_BTV, expected_BTV in pairs)
        said = (
            f"logits of {opened.model} are those of the file within {error:.1g} of the largest on rows of "
            f"{', '.join(str(tokens_BT.size(1)) for tokens_BT in rows)} tokens"
        )
        if not source.is_hugging_face:
            compare_tokens(source, opened)
            said += f", and {opened.tokenizer} gives its tokens"
        return f"{said}, in a process without bytecap"
