"""Models of transformers' classes, trained here in minutes: GPT-2, Llama, a mixture of experts, a vision transformer.

In:   transformers, Python's documentation as characters, scikit-learn's digits; seeds are fixed.
Out:  one function for each checkpoint; its weights are kept as FOLDER/trained/NAME.safetensors and used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, find, rows
from public_models.inputs import sentences

CONTEXT, STEPS = 64, 600
ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
SMALL: dict[str, Any] = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}


class Logits(nn.Module):
    """A model of transformers, of which only the logits are wanted."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x).logits
        return logits


def _train(path: Path, model: nn.Module, batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]) -> None:
    """Fill the model from the file, or train it and write the file."""
    if not path.exists():
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, STEPS)
        for _, (x, y) in zip(range(STEPS), batches(), strict=False):
            loss = F.cross_entropy(rows(model.train()(x)), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        path.parent.mkdir(exist_ok=True)
        save_file({name: value.clone().contiguous() for name, value in model.state_dict().items()}, path)
    model.load_state_dict(load_file(path))


def _characters(folder: Path, name: str, make: Callable[[Any, int], nn.Module]) -> Checkpoint:
    """A language model of characters: trained on nine tenths of the text, measured on it, compared on the rest."""
    import transformers  # noqa: PLC0415  (its start is slow)

    text = sentences()
    known = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([known[c] for c in text])
    seen, left = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    torch.manual_seed(0)
    model = Logits(make(transformers, len(known)))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            windows = seen.unfold(0, CONTEXT + 1, 1)[torch.randint(len(seen) - CONTEXT, (24,))]
            yield windows[:, :-1], windows[:, 1:]

    _train(folder / "trained" / f"{name}.safetensors", model, batches)
    windows = torch.cat([part.unfold(0, CONTEXT, CONTEXT)[:64] for part in (seen, left)])
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    return Checkpoint(f"{name}, trained here", "transformers 5", weights, model, list(windows.split(8)), rows)


def gpt2(folder: Path) -> Checkpoint:
    """Transposed linear maps with a packed attention, learned positions, a tied head."""

    def make(t: Any, size: int) -> nn.Module:
        shape = t.GPT2Config(vocab_size=size, n_positions=CONTEXT, n_embd=96, n_layer=2, n_head=4, **ENDS)
        model: nn.Module = t.GPT2LMHeadModel(shape)
        return model

    return _characters(folder, "gpt2", make)


def llama(folder: Path) -> Checkpoint:
    """Rotary positions, fewer keys than queries, gated linear units."""

    def make(t: Any, size: int) -> nn.Module:
        shape = t.LlamaConfig(vocab_size=size, num_key_value_heads=2, max_position_embeddings=CONTEXT, **SMALL, **ENDS)
        model: nn.Module = t.LlamaForCausalLM(shape)
        return model

    return _characters(folder, "llama", make)


def mixtral(folder: Path) -> Checkpoint:
    """Eight experts of which two are chosen, all in tensors of three axes."""

    def make(t: Any, size: int) -> nn.Module:
        wanted = SMALL | {
            "intermediate_size": 128,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            **ENDS,
        }
        model: nn.Module = t.MixtralForCausalLM(t.MixtralConfig(vocab_size=size, num_local_experts=8, **wanted))
        return model

    return _characters(folder, "mixtral", make)


def vit(folder: Path) -> Checkpoint:
    """Patches of digits through a transformer with a class token."""
    import transformers  # noqa: PLC0415

    table = np.loadtxt(find(folder, "sklearn/datasets/data/digits.csv.gz"), delimiter=",", dtype=np.float32)
    table = np.random.default_rng(0).permutation(table)[:1_792]
    pictures, kinds = torch.tensor(table[:, :64]).reshape(-1, 1, 8, 8) / 16, torch.tensor(table[:, 64]).long()
    torch.manual_seed(0)
    package: Any = transformers
    shape = package.ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **SMALL)
    model = Logits(package.ViTForImageClassification(shape))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            chosen = torch.randint(896, (64,))
            yield pictures[chosen], kinds[chosen]

    _train(folder / "trained" / "vit.safetensors", model, batches)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    return Checkpoint("vit, trained here", "transformers 5", weights, model, list(pictures.split(64)), rows)
