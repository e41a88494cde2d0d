"""Scoring tokens per second: plain windows against sliding ones with stride 64.

usage: python benchmarks/scoring_speed.py [TOKENS [PATH=VALUE...]]

Recipe baseline on track laptop, with overrides; fresh weights, random tokens.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.scoring.evaluate import evaluate
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import ShardWriter, TokenStream


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", nargs="?", type=int, default=60_000)
    parser.add_argument("overrides", nargs="*", metavar="PATH=VALUE", help="settings of the recipe")
    options = parser.parse_args()
    tokens = options.tokens
    recipe = recipes.resolve("baseline", track="laptop", overrides=options.overrides)
    spec = ModelSpec.of(recipe.model, recipe.text.vocab_size)
    model = GPT(spec)
    size = spec.vocab_size
    table = ByteTable(
        np.ones(size, np.int64), np.zeros(size, np.bool_), np.zeros(size, np.bool_), drops_first_space=False
    )
    with tempfile.TemporaryDirectory() as temporary:
        writer = ShardWriter(Path(temporary), "val", 1 << 24)
        writer.write(np.random.default_rng(0).integers(4, size, tokens + 1).tolist())
        writer.close()
        stream = TokenStream(writer.paths)
        context = recipe.train.context
        rates = {}
        for stride in (context, context, 64):  # the first is a warm-up
            score = evaluate(
                model, stream, table, bos=1, context=context, stride=stride, batch_tokens=recipe.score.batch_tokens,
                progress=Silent(),
            )  # fmt: skip
            rates[stride] = score.tokens / score.seconds
    print(f"{torch.get_num_threads()} threads, context {context}, {tokens:,} tokens")
    print(f"plain      {rates[context]:10,.0f} tokens/s")
    print(f"stride 64  {rates[64]:10,.0f} tokens/s, {rates[context] / rates[64]:.2f} times slower than plain")


if __name__ == "__main__":
    main()
