"""What a GPU has to show, in one run of a few minutes: it agrees with the CPU, then how fast recipes train there.

usage: python benchmarks/gpu.py [--recipes baseline,gradient_guided,adaptive_clip] [--steps 10] [--peak-tflops 989]

First loss and gradients of each recipe's model at the laptop's shape, random weights, on the device against the CPU: in
float32, and under autocast with the attention that training takes, whose kernel is checked against attention with a
mask before it is named. Then training steps at the contest's shapes (track `one_gpu`) on random tokens with
documents of 900 on average, compiled: milliseconds, tokens a second, FLOP/s (6 per parameter, visit and token, and
causal attention over the whole window) as a share of the peak, and the most memory, in each phase with a graph of its
own. With `--device cpu` and small shapes (`--set model.d_model=32`) it only shows that the script works.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bytecap.core.device import autocast
from bytecap.core.progress import Silent
from bytecap.model.attention_choice import choose_attention
from bytecap.model.gpt import GPT
from bytecap.model.mean_loss import mean_loss
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train.loop import Trainer, TrainingJob

BOS, DOCUMENT_TOKENS = 1, 900
CONTEXT = 256
"""Positions of a row where the device is compared with the CPU."""


def random_tokens(count: int, vocab_size: int) -> np.ndarray:
    """Tokens with documents."""
    random = np.random.default_rng(0)
    tokens = random.integers(4, vocab_size, count)
    tokens[random.random(count) < 1 / DOCUMENT_TOKENS] = BOS
    return tokens


def loss_and_gradients(model: GPT, rows_BT: Tensor, *, low: bool) -> list[Tensor]:
    """On the model's device, as float32 on the CPU; under autocast where `low`."""
    model.zero_grad(set_to_none=True)
    device = model.embedding.device
    with autocast(device) if low else torch.autocast(device.type, enabled=False):
        loss = mean_loss(model, rows_BT[:, :-1].to(device), rows_BT[:, 1:].to(device), BOS)
    loss.backward()  # type: ignore[no-untyped-call]
    return [loss.detach().cpu(), *(p.grad.float().cpu() for p in model.parameters() if p.grad is not None)]


def compare(name: str, device: torch.device, sets: list[str]) -> str:
    """Differences of the loss, and of all gradients as a share of their length."""
    found = recipes.resolve(name, track="laptop", overrides=sets)
    torch.manual_seed(0)
    spec = ModelSpec.of(found.model, found.text.vocab_size)
    model = GPT(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    rows_BT = torch.from_numpy(random_tokens(4 * (CONTEXT + 1), spec.vocab_size)).view(4, -1)
    expected, said = loss_and_gradients(model, rows_BT, low=False), [f"{name:<17}"]
    model.to(device)
    length = torch.cat([g.flatten() for g in expected[1:]]).norm()
    for kind, low in (("float32", False), ("autocast", True)):
        got = loss_and_gradients(model, rows_BT, low=low)
        away = torch.cat([(a - b).flatten() for a, b in zip(got[1:], expected[1:], strict=True)]).norm()
        said.append(
            f"{kind}: loss {float(got[0] - expected[0]):+.1e} of {expected[0]:.3f}, gradients {away / length:.1e}"
        )
    with autocast(device):
        plain = spec.across_documents
        said.append(str(choose_attention(model.embedding, queries=CONTEXT, d_head=spec.d_head, plain=plain)))
    return "  ".join(said)


def flops_of_token(model: GPT, context: int) -> float:
    """Of forward and backward pass in the order of visits that is switched on now."""
    spec, order = model.spec, model.techniques.order(list(range(model.spec.n_layers)))
    visited = sum(p.numel() for block in order for p in model.blocks[block].parameters() if p.ndim == 2)
    return 6.0 * (visited + spec.vocab_size * spec.d_model + len(order) * spec.d_model * context)


def time_steps(name: str, device: torch.device, options: argparse.Namespace) -> list[str]:
    """A line for each phase with a graph of its own."""
    found = recipes.resolve(name, track="one_gpu", overrides=["train.steps=1000000", *options.set])
    spec, config = ModelSpec.of(found.model, found.text.vocab_size), found.train
    hooks = {hook: its for hook, its in config.hooks.items() if hook == "recurrence"}
    rows = config.micro_batch or config.batch
    config = dataclasses.replace(config, batch=rows, hooks=hooks, exported_weights="last")
    said = []
    with tempfile.TemporaryDirectory() as folder:
        writer = ShardWriter(Path(folder), "train", 1 << 24)
        writer.write(random_tokens(40 * config.batch * config.context, spec.vocab_size).tolist())
        writer.close()
        job = TrainingJob(
            config=config, spec=spec, bos=BOS, seed=0, tokens="", stream=TokenStream(writer.paths), made_from=("",)
        )
        trainer = Trainer(job, Path(folder), device, Silent())
        for progress in trainer.hooks.phases(0.0):
            spent = _seconds(trainer, progress, options.steps, device)
            tokens = config.batch * config.context
            used = flops_of_token(trainer.model, config.context) * tokens / spent / (options.peak_tflops * 1e12)
            memory = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
            state = trainer.state
            said.append(
                f"{name:<17}from {progress:.2f}: {1e3 * spent:.1f} ms a step of {tokens:,} tokens, "
                f"{tokens / spent:,.0f} tokens/s, {100 * used:.1f} % of {options.peak_tflops:,.0f} TFLOP/s, "
                f"{memory:.1f} GB, compiled in {state.compile_seconds:.0f} s with {_graph_breaks()} graph breaks, "
                f"{', '.join(state.attention)}"
            )
    return said


def _graph_breaks() -> int:
    """Breaks of all graphs so far; a recipe should have none."""
    return sum(torch._dynamo.utils.counters["graph_break"].values()) if "torch._dynamo" in sys.modules else 0


def _seconds(trainer: Trainer, progress: float, steps: int, device: torch.device) -> float:
    """Median seconds of a step, after three that are not counted."""
    spent = []
    for _ in range(3 + steps):
        begin = time.perf_counter()
        trainer._step(progress)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent[3:])


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recipes", default="baseline,gradient_guided,adaptive_clip")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of bfloat16 products: 989 of an H100 or H200")
    parser.add_argument("--set", action="append", default=[], help="a setting of every recipe, as for bytecap run")
    options = parser.parse_args()
    device, names = torch.device(options.device), options.recipes.split(",")
    for name in names:
        print(compare(name, device, options.set), flush=True)
    for name in names:
        for line in time_steps(name, device, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
