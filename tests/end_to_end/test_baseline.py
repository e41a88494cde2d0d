"""Recipe baseline against the contest's naive baseline, written again from its description: 30 steps, number by number.

What is written again: start of the weights, forward pass, gradients, Muon with a sum as momentum, Adam, the clip of
nothing, the schedule. What is taken from bytecap: the batches. What the recipe declares as different is set to the
published way here (attention across documents, a momentum without warm-up), or not part of a step (order of the text).

Letters: B sequences, T positions, D width, H query heads, G key/value heads, K head width.
Source:  openai/parameter-golf, `train_gpt.py`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run.recipe import Recipe, resolve
from bytecap.text.batches import TrainBatches
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train.checkpoint import load_checkpoint
from bytecap.train.loop import Trainer, TrainingJob

STEPS, VOCAB, BOS = 30, 61, 1
SHAPES = [(5, 32, 4, 2, 64), (2, 24, 2, 1, 48)]
"""Blocks, width, heads, key/value heads, hidden width of the MLP."""

Weights = dict[str, Tensor]


def published_recipe(shape: tuple[int, int, int, int, int]) -> Recipe:
    """The recipe at the contest's scale, a small shape, a few steps."""
    names = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff")
    overrides = [f"model.{name}={value}" for name, value in zip(names, shape, strict=True)]
    overrides += ["model.across_documents=true", "train.optimizer.momentum_warmup=0", "train.optimizer.warmdown=0.4"]
    overrides += [f"train.steps={STEPS}", "train.batch=4", "train.micro_batch=4", "train.context=16", "score.stride=16"]
    return resolve("baseline", track="one_gpu", overrides=overrides)


@pytest.fixture
def stream(tmp_path: Path) -> TokenStream:
    """Random documents."""
    writer = ShardWriter(tmp_path, "train", 1 << 20)
    random = torch.Generator().manual_seed(0)
    for _ in range(200):
        first = int(torch.randint(2, VOCAB, (), generator=random))
        writer.write([BOS, *(2 + (first + 3 * i) % (VOCAB - 2) for i in range(25))])
    writer.close()
    return TokenStream(writer.paths)


# ---- the naive baseline, again ----


def rms(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + torch.finfo(x.dtype).eps)


def turn(x_BTHK: Tensor) -> Tensor:
    """Rotary positions on two halves of a head."""
    half = x_BTHK.size(-1) // 2
    frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = (torch.arange(x_BTHK.size(1), dtype=torch.float64)[:, None] * frequency).to(x_BTHK.dtype)[None, :, None]
    one, two = x_BTHK[..., :half], x_BTHK[..., half:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.cat([one * cos + two * sin, two * cos - one * sin], dim=-1)


def attend(x_BTD: Tensor, w: Weights, at: str, heads: int, groups: int) -> Tensor:
    """Causal attention, one head and one position at a time."""
    batch, length, width = x_BTD.shape
    k = width // heads
    query = turn(rms((x_BTD @ w[f"{at}.query.weight"].T).view(batch, length, heads, k)))
    query = query * w[f"{at}.query_gain"][:, None]
    key = turn(rms((x_BTD @ w[f"{at}.key.weight"].T).view(batch, length, groups, k)))
    value = (x_BTD @ w[f"{at}.value.weight"].T).view(batch, length, groups, k)
    rows = []
    for t in range(length):
        found = []
        for head in range(heads):
            group = head * groups // heads
            score_BT = (key[:, : t + 1, group] * query[:, t, head][:, None]).sum(-1) / math.sqrt(k)
            found.append((torch.softmax(score_BT, dim=-1)[:, :, None] * value[:, : t + 1, group]).sum(1))
        rows.append(torch.cat(found, dim=-1))
    return torch.stack(rows, dim=1) @ w[f"{at}.out.weight"].T


def logits(tokens_BT: Tensor, w: Weights, spec: ModelSpec) -> Tensor:
    """U-Net over blocks, mixed with the first stream; tied head, softcap 30."""
    x = first = rms(w["embedding"][tokens_BT])
    kept: list[Tensor] = []
    mix, half = w["techniques.residual_mix.mix_L2D"], spec.n_layers // 2
    for number in range(spec.n_layers):
        at = f"blocks.{number}"
        if number >= half and kept:
            x = x + w["techniques.unet_skips.weight_SD"][number - half] * kept.pop()
        x = mix[number, 0] * x + mix[number, 1] * first
        x = x + w[f"{at}.attention_scale"] * attend(rms(x), w, f"{at}.attention", spec.n_heads, spec.n_kv_heads)
        hidden = torch.relu(rms(x) @ w[f"{at}.mlp.up.weight"].T) ** 2
        x = x + w[f"{at}.mlp_scale"] * (hidden @ w[f"{at}.mlp.down.weight"].T)
        if number < half:
            kept.append(x)
    return 30.0 * torch.tanh(rms(x) @ w["embedding"].T / 30.0)


def orthogonal(x: Tensor) -> Tensor:
    """Five Newton-Schulz steps."""
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


class PublishedOptimizers:
    """Muon for the matrices of blocks, Adam for all else, in 64 bits."""

    def __init__(self, weights: Weights) -> None:
        self.sums = {name: torch.zeros_like(value) for name, value in weights.items()}
        self.squares = {name: torch.zeros_like(value) for name, value in weights.items()}
        self.steps = 0

    @torch.no_grad()
    def step(self, weights: Weights, rate: float) -> None:
        """One update with the rates of the contest times `rate`."""
        self.steps += 1
        for name, value in weights.items():
            gradient, memory = value.grad, self.sums[name]
            assert gradient is not None
            if name.startswith("blocks.") and value.ndim == 2:
                memory.mul_(0.95).add_(gradient)
                update = orthogonal(gradient + 0.95 * memory)
                value -= 0.04 * rate * max(1.0, value.size(0) / value.size(1)) ** 0.5 * update
            else:
                memory.mul_(0.9).add_(0.1 * gradient)
                self.squares[name].mul_(0.95).add_(0.05 * gradient**2)
                one, two = memory / (1 - 0.9**self.steps), self.squares[name] / (1 - 0.95**self.steps)
                value -= (0.05 if name == "embedding" else 0.04) * rate * one / (two.sqrt() + 1e-8)
            value.grad = None


# ---- the comparison ----


def trained(recipe: Recipe, stream: TokenStream, folder: Path) -> tuple[ModelSpec, Weights, list[float]]:
    """Weights and losses of bytecap."""
    spec = ModelSpec.of(recipe.model, VOCAB)
    job = TrainingJob(
        config=recipe.train, spec=spec, stream=stream, bos=BOS, seed=0, tokens="t", made_from=("x",)
    )  # fmt: skip
    folder.mkdir()
    Trainer(job, folder, torch.device("cpu"), Silent()).run()
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return spec, load_checkpoint(folder / "checkpoint.safetensors").weights, losses


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_thirty_steps(shape: tuple[int, int, int, int, int], stream: TokenStream, tmp_path: Path) -> None:
    """Losses, weights and logits are those of the other program."""
    recipe = published_recipe(shape)
    spec, found, losses = trained(recipe, stream, tmp_path / "run")
    torch.manual_seed(0)
    weights = {name: value.detach().double().requires_grad_() for name, value in GPT(spec).named_parameters()}
    assert weights.keys() == found.keys()
    optimizers = PublishedOptimizers(weights)
    batches = TrainBatches(stream, batch=4, context=16, seed=0)
    for step in range(STEPS):
        rows_BT = torch.from_numpy(batches.next())
        chances = torch.log_softmax(logits(rows_BT[:, :-1], weights, spec), dim=-1)
        loss = -chances.gather(-1, rows_BT[:, 1:, None]).mean()
        loss.backward()
        assert losses[step] == pytest.approx(loss.item(), abs=2e-4), step
        left = (STEPS - step) / STEPS
        optimizers.step(weights, min(1.0, left / recipe.train.optimizer.warmdown))
    assert losses[-1] < losses[0] - 0.5
    model = GPT(spec)
    model.load_state_dict(found)
    rows_BT = torch.from_numpy(batches.next())[:, :-1]
    mine = model.logits(model.hidden(rows_BT, BOS))
    theirs = logits(rows_BT, weights, spec)
    assert (mine - theirs).abs().max() < 5e-3 * theirs.abs().max()


def test_start_of_the_weights() -> None:
    """Uniform within one over the root of the inputs, zero where a block ends, the embedding normal with 0.005."""
    torch.manual_seed(0)
    spec = ModelSpec.of(published_recipe((4, 128, 4, 2, 256)).model, 512)
    for name, value in GPT(spec).state_dict().items():
        if name == "embedding":
            assert value.std().item() == pytest.approx(0.005, rel=0.02) and abs(value.mean().item()) < 1e-4
        elif name.endswith(("out.weight", "down.weight")):
            assert not value.any()
        elif value.ndim == 2 and name.startswith("blocks."):
            bound = value.size(1) ** -0.5
            assert 0.99 * bound < value.abs().max() <= bound
            assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
        elif "mix" in name:
            assert (value[:, 0] == 1).all() and not value[:, 1].any()
        else:
            assert (value == (1.5 if name.endswith("query_gain") else 1.0)).all()


def test_settings_of_the_contest() -> None:
    """At the contest's scale, what the published script has as its defaults."""
    recipe = resolve("baseline", track="contest_16mb")
    optimizer, model = recipe.train.optimizer, recipe.model
    assert (optimizer.matrix_lr, optimizer.embedding_lr, optimizer.scalar_lr) == (0.04, 0.05, 0.04)
    assert (optimizer.momentum_start, optimizer.momentum, optimizer.adam_betas) == (0.85, 0.95, (0.9, 0.95))
    assert (model.n_layers, model.d_model, model.n_heads, model.n_kv_heads, model.d_ff) == (9, 512, 8, 4, 1024)
    assert (model.rope_base, model.qk_gain, model.logit_softcap, model.embedding_std) == (10_000, 1.5, 30, 0.005)
    assert (recipe.text.vocab_size, recipe.train.batch * recipe.train.context, recipe.train.context) == (
        1024, 524_288, 1024,
    )  # fmt: skip
    assert optimizer.clip_norm is None and optimizer.matrix_weight_decay == 0
