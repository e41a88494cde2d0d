"""Scoring tokens per second: plain windows, sliding ones with stride 64, streaming, and another program's sliding ones.

usage: python benchmarks/scoring_speed.py [TOKENS] [--document TOKENS] [--peer train_gpt.py] [PATH=VALUE...]

Recipe baseline on track laptop, with overrides; random weights, random tokens, documents of about `--document` tokens.
`--peer` is a script of openai/parameter-golf with a sliding evaluation, such as that of its record
2026-03-19_MixedQuant_Int6Int8_SlidingWindow: the same weights are put into its model, its own function scores them, and
the mean loss of the targets that both score is compared. Times are of the processor, each the least of three.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.scoring.evaluate import Score, StaticScoring, evaluate
from bytecap.scoring.validation import Validation
from bytecap.text.byte_check import ByteCheck
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import ShardWriter, TokenStream

BOS, STRIDE = 1, 64
CHANGES = {
    'torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=True)': "torch.autocast('cpu', enabled=False)"
}
"""What is changed in the peer's script: float32 on a CPU instead of bfloat16 on CUDA."""
NAMES = {
    "embedding": "tok_emb.weight", "techniques.unet_skips.weight_SD": "skip_weights", "attention_scale": "attn_scale",
    "attention.query_gain": "attn.q_gain", "attention.query": "attn.c_q", "attention.key": "attn.c_k",
    "attention.value": "attn.c_v", "attention.out": "attn.proj", "mlp.up": "mlp.fc", "mlp.down": "mlp.proj",
}  # fmt: skip
"""Our names and the peer's, as parts of a parameter's name."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", nargs="?", type=int, default=60_000)
    parser.add_argument("overrides", nargs="*", metavar="PATH=VALUE", help="settings of the recipe")
    parser.add_argument("--document", type=int, default=700, help="mean tokens of a document (%(default)s)")
    parser.add_argument("--peer", type=Path, help="a script of openai/parameter-golf with a sliding evaluation")
    options = parser.parse_intermixed_args()
    recipe = recipes.resolve("baseline", track="laptop", overrides=options.overrides)
    spec, context = ModelSpec.of(recipe.model, recipe.text.vocab_size), recipe.train.context
    keep_freed_memory()
    torch.manual_seed(0)
    model = GPT(spec).requires_grad_(False).eval()
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    ids = random_ids(options.tokens, options.document, spec.vocab_size)
    ways: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        stream = write_stream(ids, Path(temporary))
        validation = Validation(stream, None, flat_table(spec.vocab_size), BOS, ByteCheck(0, None, None))
        sliding = StaticScoring(context=context, stride=STRIDE, batch_tokens=recipe.score.batch_tokens)
        ways["plain"] = partial(evaluate, model, validation, replace(sliding, stride=context), Silent())
        ways["stride 64"] = partial(evaluate, model, validation, sliding, Silent())
        ways["streaming"] = partial(evaluate, model, validation, replace(sliding, strategy="streaming"), Silent())
        if options.peer is not None:
            ways["peer, stride 64"] = peer_scorer(options.peer, model, context, ids)
        results, seconds = time_each(ways)
    kind = "across documents" if spec.across_documents else "isolated"
    print(
        f"{torch.get_num_threads()} threads, context {context}, {len(ids) - 1:,} tokens, {spec.n_layers} blocks of "
        f"{spec.d_model}, attention {kind}"
    )
    for name, taken in seconds.items():
        print(f"{name:16} {(len(ids) - 1) / taken:10,.0f} tokens/s, {taken / seconds['stride 64']:.3f} times stride 64")
    if options.peer is not None:
        mean = mean_of_peers_targets(model, results["stride 64"], ids, context)
        print(f"mean loss of the same targets: {mean:.7f} nats, peer's {results['peer, stride 64'][0]:.7f}")


def time_each(ways: dict[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, float]]:
    """Results, and the least seconds of three rounds in which each has its turn."""
    results, seconds = dict[str, Any](), dict.fromkeys(ways, float("inf"))
    for _ in range(3):
        for name, way in ways.items():
            begin = time.process_time()
            results[name] = way()
            seconds[name] = min(seconds[name], time.process_time() - begin)
    return results, seconds


def random_ids(tokens: int, document: int, vocab_size: int) -> Tensor:
    """A stream that begins with BOS; documents have from 0 to twice the mean length."""
    random = np.random.default_rng(0)
    ids = random.integers(4, vocab_size, tokens + 1)
    ends = np.cumsum(random.integers(1, 2 * document, tokens // max(1, document // 4) + 1))
    ids[[0, *ends[ends < tokens]]] = BOS
    return torch.from_numpy(ids)


def write_stream(ids: Tensor, folder: Path) -> TokenStream:
    """The tokens as a shard."""
    writer = ShardWriter(folder, "val", 1 << 24)
    writer.write(ids.tolist())
    writer.close()
    return TokenStream(writer.paths)


def flat_table(size: int) -> ByteTable:
    """One byte for each token."""
    nothing = np.zeros(size, np.bool_)
    return ByteTable(np.ones(size, np.int64), nothing, nothing, drops_first_space=False)


def peer_scorer(script: Path, model: GPT, context: int, ids: Tensor) -> Callable[[], Any]:
    """The peer's own function on its own model with our weights."""
    text = script.read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        if old not in text:
            raise SystemExit(f"{script}: {old!r} is not there: another version")
        text = text.replace(old, new)
    peer = types.ModuleType("train_gpt")
    exec(compile(text, str(script), "exec", dont_inherit=True), peer.__dict__)
    spec, size = model.spec, model.spec.vocab_size
    theirs = peer.GPT(
        vocab_size=size, num_layers=spec.n_layers, model_dim=spec.d_model, num_heads=spec.n_heads,
        num_kv_heads=spec.n_kv_heads, mlp_mult=spec.d_ff // spec.d_model, tie_embeddings=True,
        tied_embed_init_std=0.005, logit_softcap=spec.logit_softcap, rope_base=spec.rope_base,
        qk_gain_init=spec.qk_gain,
    ).eval()  # fmt: skip
    weights = dict[str, Tensor]()
    for name, weight in model.state_dict().items():
        if name == "techniques.residual_mix.mix_L2D":
            weights |= {f"blocks.{block}.resid_mix": mix_2D for block, mix_2D in enumerate(weight)}
            continue
        for ours, its in NAMES.items():
            name = name.replace(ours, its)
        weights[name] = weight
    theirs.load_state_dict(weights)
    args = types.SimpleNamespace(train_seq_len=context)
    ones, never = torch.ones(size, dtype=torch.int16), torch.zeros(size, dtype=torch.bool)
    return lambda: peer.eval_val_sliding_window(
        args, theirs, 0, 1, torch.device("cpu"), ids, ones, never, never, STRIDE
    )


def mean_of_peers_targets(model: GPT, score: Score, ids: Tensor, context: int) -> float:
    """The peer leaves out all but the last stride of its first window, and what does not fill a stride at the end."""
    first_T = model(ids[None, :context], ids[None, 1 : context + 1], BOS)[0, : context - STRIDE]
    assert (len(ids) - 1 - context) % STRIDE == 0, f"give {context} + n * {STRIDE} tokens, which the peer scores whole"
    return (score.nats - float(first_T.double().sum())) / (score.tokens - len(first_T))


if __name__ == "__main__":
    main()
