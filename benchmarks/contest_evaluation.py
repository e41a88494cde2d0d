"""The same weights by our scorer and by openai/parameter-golf's own evaluation code, on the contest's own shard.

usage: python benchmarks/contest_evaluation.py RUN TRAIN_GPT SLIDING_TRAIN_GPT

RUN is a run folder with a model.bcap, of the contest's backbone and shards, its attention free to cross documents:

    bytecap run baseline --out RUN --set text.shards=data/datasets/fineweb10B_sp1024 \\
        --set text.tokenizer=data/tokenizers/fineweb_1024_bpe.model \\
        --set model.across_documents=true --set model.d_ff=384

TRAIN_GPT is the contest's train_gpt.py (its `eval_val`: windows side by side, the tail that fills none left out), and
SLIDING_TRAIN_GPT that of records/track_10min_16mb/2026-03-19_SlidingWindowEval (its `eval_val_sliding`). Neither is
part of this repository. What is changed in them is printed; the weights, the bytes of each token, the windows and the
sums are theirs. Their plain way
takes the mean of a batch in float32; the same code with losses in float64 is shown too.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from peer_training import Change, load_script
from torch import Tensor

from bytecap.artifact.load import load
from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.run.recipe import load as load_recipe
from bytecap.scoring.evaluate import Score, StaticScoring, evaluate
from bytecap.scoring.validation import Validation
from bytecap.text.shards import StreamSlice
from bytecap.text.tokens import load_tokens

ON_CPU = [
    Change('device_type="cuda", dtype=torch.bfloat16, enabled=True', 'device_type="cpu", enabled=False', 3, "float32"),
]
SLIDING_ON_CPU = [
    *ON_CPU,
    Change('device_type="cuda", dtype=torch.bfloat16)', 'device_type="cpu", enabled=False)', 1, "float32"),
]
TAIL = Change(
    "if min(ws + seq_len, total_tokens) - ws >= 1]",
    "if ws + seq_len - stride < total_tokens]",
    1,
    "no target is scored twice; the contest's later records have this line (PR 1218)",
)
IN_FLOAT64 = Change("logits.float()", "logits.double()", 1, "losses in float64")
SLIDING_IN_FLOAT64 = Change("logits.size(-1)).float()", "logits.size(-1)).double()", 1, "losses in float64")


def main() -> None:
    """Print one row for each way of scoring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("train_gpt", type=Path)
    parser.add_argument("sliding_train_gpt", type=Path)
    parser.add_argument("--windows", type=int, help="how many windows of the held-out stream; all whole ones without")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = Case(options.run, options.windows)
    about = f"context {case.context}, stride {case.stride}, {case.model.spec.n_layers} blocks, one file"
    print(f"{case.targets:,} targets, {about}\n")
    for change in (*SLIDING_ON_CPU, TAIL, IN_FLOAT64, SLIDING_IN_FLOAT64):
        print(f"  changed, {change.times} times ({change.why}):\n    - {change.old}\n    + {change.new}")
    print(f"\n{'bits per byte':34s} {'plain':>14s} {'sliding':>14s}   minus ours")
    ours = [case.ours(stride).bits_per_byte for stride in (case.context, case.stride)]
    show("ours", ours, ours)
    script, sliding_script = options.train_gpt, options.sliding_train_gpt
    as_it_is = [case.plain(script, ON_CPU), case.sliding(sliding_script, [*SLIDING_ON_CPU, TAIL])]
    show("theirs, losses in float32", as_it_is, ours)
    in_float64 = [*SLIDING_ON_CPU, TAIL, SLIDING_IN_FLOAT64]
    exact = [case.plain(script, [*ON_CPU, IN_FLOAT64]), case.sliding(sliding_script, in_float64)]
    show("theirs, losses in float64", exact, ours)
    show("theirs, the tail scored again", [math.nan, case.sliding(sliding_script, SLIDING_ON_CPU)], ours)


def show(name: str, bits: list[float], ours: list[float]) -> None:
    """One row, and what it differs by from ours."""
    row = " ".join(f"{value:14.9f}" for value in bits)
    apart = "  ".join(f"{one - other:+.1e}" for one, other in zip(bits, ours, strict=True))
    print(f"{name:34s} {row}   {apart}", flush=True)


class Case:
    """A run's model, tokenizer and held-out tokens, handed to either side."""

    def __init__(self, folder: Path, windows: int | None) -> None:
        recipe, tokens = load_recipe(folder / "recipe.toml"), load_tokens(folder / "tokens")
        self.model: GPT = load(folder / "model.bcap").model()
        spec = self.model.spec
        if spec.block != "baseline" or not spec.across_documents or spec.d_ff % spec.d_model:
            raise SystemExit(
                f"{folder} needs block baseline, model.across_documents = true and a d_ff that is a multiple of d_model"
            )
        assert recipe.score.context is not None
        self.context, self.stride, self.tokens = recipe.score.context, recipe.score.stride, tokens
        stream = tokens.validation_stream()
        most = (len(stream) - 1) // self.context
        self.targets = self.context * (most if windows is None else min(windows, most))
        cut = StreamSlice(stream, 0, self.targets + 1)
        self.validation = Validation.checked(cut, tokens.tokenizer, raw=None)

    def ours(self, stride: int) -> Score:
        """Our score of the model."""
        how = StaticScoring(context=self.context, stride=stride, batch_tokens=8192)
        return evaluate(self.model, self.validation, how, Silent())

    def plain(self, script: Path, changes: Sequence[Change]) -> float:
        """Bits per byte by `eval_val`."""
        module = load_script(script, changes)
        settings = self.settings(module)
        arguments = (0, 1, torch.device("cpu"), 1, self.stream_tokens(module), *self.tables(module))
        return float(module.eval_val(settings, self.theirs(module), *arguments)[1])

    def sliding(self, script: Path, changes: Sequence[Change]) -> float:
        """Bits per byte by `eval_val_sliding`."""
        module = load_script(script, changes)
        settings = self.settings(module)
        arguments = (0, 1, torch.device("cpu"), self.stream_tokens(module), *self.tables(module), self.stride)
        module.__dict__["print"] = lambda *said, **how: None
        return float(module.eval_val_sliding(settings, self.theirs(module), *arguments)[1])

    def settings(self, module: ModuleType) -> Any:
        """Their hyperparameters that an evaluation reads."""
        settings = module.Hyperparameters()
        settings.train_seq_len = self.context
        settings.val_batch_size = 32 * self.context
        return settings

    def stream_tokens(self, module: ModuleType) -> Tensor:
        """The held-out tokens as their loader reads them."""
        shards = [module.load_data_shard(self.tokens.folder / name) for name in self.tokens.validation_shards]
        return torch.cat(shards)[: self.targets + 1]

    def tables(self, module: ModuleType) -> tuple[Tensor, ...]:
        """The bytes of each token as they count them."""
        processor = module.spm.SentencePieceProcessor(model_file=str(self.tokens.folder / self.tokens.tokenizer_path))
        found: tuple[Tensor, ...] = module.build_sentencepiece_luts(
            processor, self.model.spec.vocab_size, torch.device("cpu")
        )
        return found

    def theirs(self, module: ModuleType) -> Any:
        """Their model with our weights."""
        spec = self.model.spec
        model = module.GPT(
            vocab_size=spec.vocab_size, num_layers=spec.n_layers, model_dim=spec.d_model, num_heads=spec.n_heads,
            num_kv_heads=spec.n_kv_heads, mlp_mult=spec.d_ff // spec.d_model, tie_embeddings=spec.tied,
            tied_embed_init_std=0.005, logit_softcap=spec.logit_softcap, rope_base=spec.rope_base,
            qk_gain_init=spec.qk_gain,
        )  # fmt: skip
        model.load_state_dict(their_names(self.model))
        return model


def their_names(model: GPT) -> dict[str, Tensor]:
    """Our weights under the names of train_gpt.py."""
    found: dict[str, Tensor] = {}
    ours = dict(model.named_parameters())
    found["tok_emb.weight"] = ours["embedding"]
    found["skip_weights"] = ours["techniques.unet_skips.weight_SD"]
    if model.head is not None:
        found["lm_head.weight"] = model.head
    parts = {
        "attention_scale": "attn_scale", "mlp_scale": "mlp_scale", "attention.query_gain": "attn.q_gain",
        "attention.query.weight": "attn.c_q.weight", "attention.key.weight": "attn.c_k.weight",
        "attention.value.weight": "attn.c_v.weight", "attention.out.weight": "attn.proj.weight",
        "mlp.up.weight": "mlp.fc.weight", "mlp.down.weight": "mlp.proj.weight",
    }  # fmt: skip
    for block in range(model.spec.n_layers):
        for ours_name, name in parts.items():
            found[f"blocks.{block}.{name}"] = ours[f"blocks.{block}.{ours_name}"]
        found[f"blocks.{block}.resid_mix"] = ours["techniques.residual_mix.mix_L2D"][block]
    return {name: value.detach() for name, value in found.items()}


if __name__ == "__main__":
    main()
