"""What a process of its own would find in a folder of a Llama model, found in this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bytecap.export.clean_process import Opened


def open_here(folder: Path, tokens: Sequence[Tensor], texts: Sequence[str]) -> Opened:
    """As `open_in_clean_process` does it; only for folders without code."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if not texts:
        with torch.no_grad():
            return Opened(type(model).__name__, "", [model(rows_BT).logits for rows_BT in tokens], [], [])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(rows_BT).logits for rows_BT in tokens]
    ids = [tokenizer.encode(text) for text in texts]
    back = [str(tokenizer.decode(each, skip_special_tokens=True)) for each in ids]
    return Opened(type(model).__name__, type(tokenizer).__name__, logits, ids, back)
