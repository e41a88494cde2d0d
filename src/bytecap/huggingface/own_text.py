"""Text that a model writes itself, to measure it on if no text is given.

In:   a CausalModel, how many tokens.
Out:  a TokenizedText.

What a model writes at temperature 1 is drawn from the distribution that its fit must keep: KL(original || fitted) on it
is the divergence of whole texts.

Letters: B texts side by side, T tokens of each.
Source:  LLM-QAT, arXiv 2305.17888, which trains on such text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bytecap.core.progress import Progress
from bytecap.huggingface.library import library_errors, transformers
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.texts import NO_BOS, TokenArray, TokenizedText

MAX_OWN_TOKENS = 16_384
"""Tokens that a model writes at most: each costs a pass."""
SIDE_BY_SIDE, LONGEST = 32, 256


def write_own_text(model: CausalModel, *, tokens: int, context: int, seed: int, progress: Progress) -> TokenizedText:
    """About `tokens` tokens, texts of at most `context` behind one another; the same seed writes the same."""
    library, module, size = transformers(), model.module, max(model.facts.vocab_size, 2)
    length = max(2, min(context, LONGEST))
    rounds = max(1, round(min(tokens, MAX_OWN_TOKENS) / (SIDE_BY_SIDE * length)))
    device = next(module.parameters()).device
    begin = _begin(module)
    how = library.GenerationConfig(
        do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=length - 1, min_new_tokens=length - 1,
        eos_token_id=None, pad_token_id=0, bos_token_id=begin,
    )  # fmt: skip
    written = list[np.ndarray[Any, Any]]()
    with torch.random.fork_rng(range(torch.cuda.device_count())), torch.no_grad():
        torch.manual_seed(seed)
        for number in range(rounds):
            first_B1 = torch.randint(size, (SIDE_BY_SIDE, 1), device=device)
            if begin is not None:
                first_B1 = torch.full_like(first_B1, begin)
            with library_errors(library, "text of the model's own"):
                rows_BT = module.generate(  # type: ignore[operator]
                    first_B1, generation_config=how, attention_mask=torch.ones_like(first_B1)
                )
            written.append(rows_BT.cpu().numpy().astype(np.int32).reshape(-1))
            progress.update(number + 1, rounds, f"{(number + 1) * SIDE_BY_SIDE * length:,} tokens written by the model")
    stream_N = np.concatenate(written)
    return TokenizedText(TokenArray(stream_N), None, "", 0, NO_BOS if begin is None else begin)


def _begin(module: Any) -> int | None:
    """The token that the model's texts begin with, by its config; None where it names none."""
    for name in ("bos_token_id", "eos_token_id"):
        found = getattr(module.config, name, None)
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, int) and found >= 0:
            return found
    return None
