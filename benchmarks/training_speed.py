"""Tokens per CPU second of recipe `baseline` in float32, against openai/parameter-golf's own model and loop.

usage: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/training_speed.py [--peer PATH/train_gpt.py] [--shapes 2x96,...]

Each trainer runs in a process of its own on the same random tokens, 8,192 a step, and the processes take their steps by
turns. A row gives the median CPU seconds of a step, ours with documents isolated (which the other does not do); the
share of our step that is neither forward nor backward; and its FLOP/s (6 per parameter and token, and causal attention)
as a share of a large float32 product's in the same process.

The other script is given by its path (repository openai/parameter-golf); `peer_training.py` lists what is changed in it
so that it runs on CPU in float32. --peer-micro says in how many parts it takes its step; its own
number is 8 on one device.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peer_training
import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.products import linear
from bytecap.core.progress import Silent
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train.loop import Trainer, TrainingJob

STEP_TOKENS = 8_192
DOCUMENT_TOKENS = 600
"""Mean length of a document."""
_WARM_UP = 3


@dataclass(frozen=True)
class Shape:
    """What both sides can build."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    mlp_multiple: int
    vocab_size: int
    context: int

    @property
    def flops(self) -> int:
        """Of one step; attention is counted where it may look."""
        d_kv = self.d_model * self.n_kv_heads // self.n_heads
        block = self.d_model * (2 * self.d_model + 2 * d_kv + 2 * self.mlp_multiple * self.d_model)
        parameters = self.n_layers * block + self.vocab_size * self.d_model
        return STEP_TOKENS * (6 * parameters + 6 * self.n_layers * self.d_model * self.context)


SHAPES = {
    "2x96": Shape(2, 96, 1, 1, 5, 2048, 256),
    "5x128": Shape(5, 128, 4, 2, 2, 1024, 256),
    "9x512": Shape(9, 512, 8, 4, 2, 1024, 1024),
    "3x72": Shape(3, 72, 3, 1, 3, 1000, 128),
    "6x192": Shape(6, 192, 3, 3, 4, 8192, 2048),
    "4x240": Shape(4, 240, 5, 1, 3, 4096, 512),
}
"""The demo's, a wider one, the contest's, and three odd ones."""


class Timer:
    """CPU seconds of forward and backward passes since it was last asked."""

    def __init__(self) -> None:
        self.spent = {"forward": 0.0, "backward": 0.0}
        self._begin = 0.0
        backward: Any = torch.Tensor.backward
        torch.Tensor.backward = self.timed("backward")(backward)  # type: ignore[method-assign]

    def timed(self, name: str) -> Callable[[Any], Any]:
        """A wrapper that adds a function's CPU seconds under this name."""

        def wrap(function: Any) -> Any:
            def run(*given: Any, **named: Any) -> Any:
                begin = time.process_time()
                result = function(*given, **named)
                self.spent[name] += time.process_time() - begin
                return result

            return run

        return wrap

    def wait(self) -> None:
        """Tell the step's seconds, then do nothing until the next step is asked for."""
        if self._begin:
            print(
                json.dumps({"step": time.process_time() - self._begin, **self.spent}), file=sys.__stdout__, flush=True
            )
        if sys.stdin.readline() != "step\n":
            os._exit(0)
        self.spent = dict.fromkeys(self.spent, 0.0)
        self._begin = time.process_time()


def write_tokens(folder: Path, shape: Shape) -> None:
    """Random tokens with documents, as training and validation shards."""
    random = np.random.default_rng(0)
    tokens = random.integers(4, shape.vocab_size, 400_000)
    tokens[random.random(tokens.size) < 1 / DOCUMENT_TOKENS] = 1
    for split in ("train", "val"):
        writer = ShardWriter(folder, split, 1 << 24)
        writer.write(tokens.tolist())
        writer.close()


def run_ours(folder: Path, shape: Shape) -> None:
    """Step whenever the other end asks for it."""
    sizes = asdict(shape) | {"d_ff": shape.mlp_multiple * shape.d_model}
    names = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff")
    overrides = [f"model.{name}={sizes[name]}" for name in names]
    overrides += [f"train.batch={STEP_TOKENS // shape.context}", f"train.context={shape.context}", "train.steps=100000"]
    recipe = recipes.resolve("baseline", track="laptop", overrides=overrides)
    keep_freed_memory()
    job = TrainingJob(
        config=recipe.train, spec=ModelSpec.of(recipe.model, shape.vocab_size), bos=1, seed=0, tokens="",
        stream=TokenStream([folder / "fineweb_train_000000.bin"]), made_from=("",),
    )  # fmt: skip
    timer = Timer()
    trainer = Trainer(job, folder, torch.device("cpu"), Silent())
    trainer._loss = timer.timed("forward")(trainer._loss)
    while True:
        timer.wait()
        trainer._step(0.2)


def run_theirs(folder: Path, shape: Shape, script: Path, parts: int, same_allocator: bool) -> None:
    """Their main, which is left only with the process."""
    if same_allocator:
        keep_freed_memory()
    os.chdir(folder)
    timer = Timer()
    settings: dict[str, Any] = {
        "data_path": str(folder), "train_files": str(folder / "fineweb_train_*.bin"),
        "val_files": str(folder / "fineweb_val_*.bin"), "tokenizer_path": "none.model", "val_loss_every": 0,
        "iterations": 100_000, "warmup_steps": 0, "max_wallclock_seconds": 0.0, "vocab_size": shape.vocab_size,
        "num_layers": shape.n_layers, "model_dim": shape.d_model, "num_heads": shape.n_heads,
        "num_kv_heads": shape.n_kv_heads, "mlp_mult": shape.mlp_multiple, "train_seq_len": shape.context,
        "train_batch_tokens": STEP_TOKENS,
    }  # fmt: skip
    wrap = timer.timed("forward")
    # The first step's seconds hold all that comes before it; the first steps are a warm-up.
    timer.wait()
    peer_training.train(script, settings, accumulation=parts, after_step=timer.wait, forward=wrap)


def product_rate(size: int = 2048, repeats: int = 8) -> float:
    """Best FLOP/s of a float32 matrix product, in CPU seconds."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        linear(a, b)
        best = min(best, time.process_time() - begin)
    return 2 * size**3 / best


def measure(name: str, options: argparse.Namespace) -> str:
    """One row of the table."""
    shape = SHAPES[name]
    sides = ["ours", "theirs"] if options.peer else ["ours"]
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with ExitStack() as stack:
        workers = {}
        for side in sides:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_tokens(folder, shape)
            words = [sys.executable, __file__, "--worker", side, "--folder", str(folder), "--shapes", name]
            words += ["--peer", str(options.peer)] if options.peer else []
            words += ["--peer-micro", str(options.peer_micro)] + ["--same-allocator"] * options.same_allocator
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            workers[side] = stack.enter_context(subprocess.Popen(words, **pipes))  # type: ignore[call-overload]
        for _ in range(options.steps):
            for side, worker in workers.items():
                worker.stdin.write("step\n")
                worker.stdin.flush()
                taken[side].append(json.loads(worker.stdout.readline()))
        for worker in workers.values():
            worker.stdin.close()
    return _row(name, shape, {side: rows[_WARM_UP:] for side, rows in taken.items()})


def _row(name: str, shape: Shape, taken: dict[str, list[dict[str, float]]]) -> str:
    ours = statistics.median(row["step"] for row in taken["ours"])
    outside = statistics.median(1 - (row["forward"] + row["backward"]) / row["step"] for row in taken["ours"])
    share = shape.flops / ours / product_rate()
    text = f"{name:>6} {1e3 * ours:9.1f} {STEP_TOKENS / ours:10,.0f} {outside:8.1%} {share:8.1%}"
    if "theirs" in taken:
        theirs = statistics.median(row["step"] for row in taken["theirs"])
        ratios = [t["step"] / o["step"] for t, o in zip(taken["theirs"], taken["ours"], strict=True)]
        best = min(r["step"] for r in taken["theirs"]) / min(r["step"] for r in taken["ours"])
        text += f" {1e3 * theirs:9.1f} {theirs / ours:7.2f} {statistics.median(ratios):8.2f} {best:6.2f}"
    return text


def main() -> None:
    """Print the table, or be one side of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="their train_gpt.py; without it only ours is measured")
    parser.add_argument("--peer-micro", type=int, default=1, help="parts in which theirs takes a step (default 1)")
    parser.add_argument("--same-allocator", action="store_true", help="theirs keeps freed memory as ours does")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="which rows (default all)")
    parser.add_argument("--steps", type=int, default=20, help="of each side; the first 3 are a warm-up")
    parser.add_argument("--worker", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "ours":
        run_ours(options.folder, SHAPES[options.shapes])
    elif options.worker == "theirs":
        run_theirs(
            options.folder, SHAPES[options.shapes], options.peer.resolve(), options.peer_micro, options.same_allocator
        )
    print(f"{torch.get_num_threads()} threads, {STEP_TOKENS:,} tokens a step, {options.steps - _WARM_UP} steps a side")
    print("            ours     tokens  outside  step /    theirs            ratio")
    print(" shape   ms step      per s  fwd+bwd  product  ms step   ratio  by pairs   best")
    for name in options.shapes.split(","):
        print(measure(name, options), flush=True)


if __name__ == "__main__":
    main()
