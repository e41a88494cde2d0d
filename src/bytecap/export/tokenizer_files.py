"""A SentencePiece tokenizer of ours as the files that transformers makes a tokenizer from.

In:   a Tokenizer and a folder.
Out:  `tokenizer.model`, `tokenizer_config.json`, and either `tokenizer.json` or code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bytecap.export.remote_code import code_files
from bytecap.text.tokenizer import Tokenizer

MODEL, CONFIG, CODE = "tokenizer.model", "tokenizer_config.json", "tokenization_bytecap"
TEXTS = (
    "The model reads a small text.\n", " two  Spaces\ttab\nNEWLINE\r\n  é é É ’ end \n", "\n\n", "  a",
    "def f(x):\n    return x[1:2048] != 'ab'",
    "NASA fooBar HTTPServer x² ≠ y 漢字 🙂 \u00a0", "",
)  # fmt: skip
"""Texts on which the tokenizer of the library must give our ids."""


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Write the files; what a reader must know."""
    (folder / MODEL).write_bytes(tokenizer.model)
    if _write_llama(tokenizer, folder):
        return []
    config = {
        **_special(tokenizer), "tokenizer_class": "BytecapTokenizer",
        "auto_map": {"AutoTokenizer": [f"{CODE}.BytecapTokenizer", None]},
    }  # fmt: skip
    _write_config(folder, config)
    for name, text in code_files(CODE, ()).items():
        (folder / name).write_text(text, "utf-8")
    return [
        "the tokenizer brings code of its own, which runs with trust_remote_code=True alone: no tokenizer of "
        "transformers gives the same tokens"
    ]


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _special(tokenizer: Tokenizer) -> dict[str, Any]:
    pieces = tokenizer.processor
    ids = {"bos": pieces.bos_id(), "eos": pieces.eos_id(), "unk": pieces.unk_id(), "pad": pieces.pad_id()}
    names = {f"{kind}_token": tokenizer.pieces[token] for kind, token in ids.items() if token >= 0}
    return {**names, "clean_up_tokenization_spaces": False}


def _write_llama(tokenizer: Tokenizer, folder: Path) -> bool:
    """Write the files of a LlamaTokenizer and tell whether it gives our tokens; else nothing is left of them."""
    import transformers  # noqa: PLC0415  (an extra, and slow to import)

    config = {
        **_special(tokenizer),
        "tokenizer_class": "LlamaTokenizer",
        "add_prefix_space": False,
        "legacy": False,
        "add_bos_token": True,
    }
    _write_config(folder, config)
    if tokenizer.transform == "none":
        found = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        ids = [found.encode(text, add_special_tokens=False) for text in TEXTS]
        texts = [found.decode(each, skip_special_tokens=True) for each in ids]
        if ids == [tokenizer.encode(text) for text in TEXTS] and texts == [tokenizer.decode(each) for each in ids]:
            found.save_pretrained(str(folder))  # for its tokenizer.json; what else it writes has less to do with ours
            _write_config(folder, config)
            (folder / MODEL).write_bytes(tokenizer.model)
            return True
    return False
