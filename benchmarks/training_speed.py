"""Where a training step goes, and how much of the machine's matrix-product rate it reaches.

usage: python benchmarks/training_speed.py [STEPS [PATH=VALUE...]]      recipe baseline on track laptop, random tokens

Prints tokens per second, the share of the step that is neither forward nor backward (Muon included; 10 % is much), and
achieved FLOP/s (6 per parameter and token, and attention) as a share of a large float32 matrix product measured in
the same process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.progress import Silent
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train.loop import Trainer, TrainingJob


def product_rate(size: int = 2048, repeats: int = 8) -> float:
    """Best FLOP/s of a float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="?", type=int, default=40, help="at least 4; the first 3 are a warm-up")
    parser.add_argument("overrides", nargs="*", metavar="PATH=VALUE", help="settings of the recipe")
    options = parser.parse_args()
    steps = options.steps
    recipe = recipes.resolve("baseline", track="laptop", overrides=[f"train.steps={steps}", *options.overrides])
    spec = ModelSpec.of(recipe.model, recipe.text.vocab_size)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        writer = ShardWriter(Path(temporary), "train", 1 << 24)
        writer.write(np.random.default_rng(0).integers(4, spec.vocab_size, 200_000).tolist())
        writer.close()
        job = TrainingJob(
            config=recipe.train, spec=spec, stream=TokenStream(writer.paths), bos=1, seed=0, tokens="", made_from=("",)
        )
        trainer = Trainer(job, Path(temporary), torch.device("cpu"), Silent())
        spent: dict[str, list[float]] = {"data": [], "forward": [], "backward": [], "optimizer": []}
        for step in range(steps):
            marks = [time.perf_counter()]
            rows = torch.from_numpy(trainer.batches.next())
            marks.append(time.perf_counter())
            loss = trainer._mean_loss(rows, 0.0)
            marks.append(time.perf_counter())
            loss.backward()
            marks.append(time.perf_counter())
            trainer.optimizers.step(step / steps)
            marks.append(time.perf_counter())
            for name, begin, end in zip(spent, marks, marks[1:], strict=False):
                spent[name].append(end - begin)
    medians = {name: statistics.median(times[3:]) for name, times in spent.items()}
    whole = sum(medians.values())
    tokens = recipe.train.batch * recipe.train.context
    parameters = sum(p.numel() for p in trainer.model.parameters())
    flops = tokens * (6 * parameters + 12 * spec.n_layers * spec.d_model * recipe.train.context)
    peak = product_rate()
    print(f"{torch.get_num_threads()} threads, {parameters:,} parameters, {tokens:,} tokens per step, {steps} steps")
    print("  ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in medians.items()))
    print(f"tokens per second                     {tokens / whole:12,.0f}")
    print(f"neither forward nor backward          {(medians['data'] + medians['optimizer']) / whole:12.1%}")
    print(f"float32 matrix product                {peak / 1e9:12.1f} GFLOP/s")
    print(f"training step                         {flops / whole / 1e9:12.1f} GFLOP/s")
    print(f"step / product                        {flops / whole / peak:12.1%}")


if __name__ == "__main__":
    main()
