"""Causal language models of many architectures of transformers, each fitted at the size of plain int4 and zstd-19.

Every model is small, made by transformers' own classes and trained here for seconds on TEXT (a folder), with a
byte-level BPE of 512 tokens trained on it too. `plain` rounds each row of each matrix to 4-bit integers with a 16-bit
scale, keeps vectors at 16 bits, and goes through zstd-19; the cap is its size and what our file holds beside weights
(config and tokenizer), which both need. KL(original || rounded) in nats per token on the last tenth of TEXT, which
nothing was trained or measured on.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
import zstandard
from tokenizers import decoders, models, pre_tokenizers, trainers

from bytecap.artifact.inspect import tensor_rows
from bytecap.artifact.pack import ArtifactConfig
from bytecap.core.budget import FileBudget
from bytecap.core.errors import BytecapError
from bytecap.core.progress import Silent
from bytecap.fitting.job import FitJob
from bytecap.fitting.source import source_from_module
from bytecap.huggingface.fitting import FolderFit, FolderInputs, make_job
from bytecap.huggingface.folder import open_folder
from bytecap.huggingface.model import load_folder, model_logits
from bytecap.huggingface.own_text import write_own_text
from bytecap.huggingface.texts import TokenizedText, tokenize
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.quant.allocation import QuantConfig
from bytecap.scoring.divergence import divergence
from bytecap.text.config import TextConfig

VOCABULARY, CONTEXT, STEPS, BATCH = 512, 128, 200, 16
WIDTH, INNER, LAYERS, HEADS = 64, 160, 2, 4
LLAMA = {
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
}  # fmt: skip
HEAD = {"head_dim": 16}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
STATE = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT},
    "llama": LLAMA, "mistral": LLAMA, "qwen2": LLAMA, "qwen3": LLAMA | HEAD, "gemma": LLAMA | HEAD,
    "gemma2": LLAMA | HEAD, "gemma3_text": LLAMA | HEAD, "phi": LLAMA | {"num_key_value_heads": HEADS},
    "phi3": LLAMA | {"pad_token_id": 0}, "gpt_neox": LLAMA, "olmo": LLAMA, "stablelm": LLAMA, "cohere": LLAMA,
    "starcoder2": LLAMA, "granite": LLAMA,
    "opt": {
        "hidden_size": WIDTH, "ffn_dim": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "word_embed_proj_dim": WIDTH, "max_position_embeddings": CONTEXT,
    },
    "bloom": {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "falcon": {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS},
    "mpt": {"d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "max_seq_len": CONTEXT},
    "gptj": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT, "rotary_dim": 16},
    "gpt_neo": {
        "hidden_size": WIDTH, "num_layers": LAYERS, "num_heads": HEADS, "max_position_embeddings": CONTEXT,
        "attention_types": [[["global", "local"], 1]],
    },
    "gpt_bigcode": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT},
    "mixtral": LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": LLAMA | EXPERTS | {"shared_expert_intermediate_size": 64}, "qwen3_moe": LLAMA | EXPERTS | HEAD,
    "olmoe": LLAMA | EXPERTS | {"num_key_value_heads": HEADS},
    "mamba": STATE | {"state_size": 8},
    "mamba2": STATE | HEAD | {"state_size": 8, "num_heads": 8, "n_groups": 1},
    "rwkv": STATE | {"attention_hidden_size": WIDTH, "intermediate_size": INNER, "context_length": CONTEXT},
    "recurrent_gemma": LLAMA | {"lru_width": WIDTH, "attention_window_size": 64, "num_key_value_heads": 1},
}  # fmt: skip
"""What differs from the defaults of each config."""


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Any:
    """A byte-level BPE as GPT-2 has it."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|end|>", eos_token="<|end|>")


def train_model(kind: str, tokens_N: np.ndarray[Any, Any]) -> Any:
    """A model of one architecture, trained on the text but its last tenth."""
    torch.manual_seed(0)
    ids = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **SHAPES[kind] | ids), experts_implementation="eager"
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    random = np.random.default_rng(0)
    last = len(tokens_N) - len(tokens_N) // 10 - CONTEXT - 1
    for _ in range(STEPS):
        starts = random.integers(last, size=BATCH)
        rows_BT = torch.from_numpy(np.stack([tokens_N[start : start + CONTEXT] for start in starts]))
        loss = model(input_ids=rows_BT, labels=rows_BT, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def plain_int4(module: torch.nn.Module) -> int:
    """Round a module in place; bytes of its integers, scales and vectors behind zstd-19."""
    integers, floats = [], []
    for parameter in module.parameters():
        if parameter.ndim < 2:
            half = parameter.half()
            floats.append(half.numpy().tobytes())
            parameter.copy_(half.float())
            continue
        rows_OI = parameter.flatten(0, -2) if parameter.size(-1) > 8 else parameter.flatten(1)  # experts; short kernels
        scale_O1 = (rows_OI.abs().amax(dim=1, keepdim=True) / 7).half().float()
        integers_OI = (rows_OI / scale_O1.clamp_min(1e-12)).round().clamp(-7, 7)
        nibbles = (integers_OI.to(torch.int8).flatten().numpy() + 7).astype(np.uint8)
        nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
        integers.append((nibbles[::2] + 16 * nibbles[1::2]).tobytes())
        floats.append(scale_O1.half().numpy().tobytes())
        parameter.copy_((integers_OI * scale_O1).view_as(parameter))
    compressor = zstandard.ZstdCompressor(level=19)
    return sum(len(compressor.compress(b"".join(part))) for part in (integers, floats))


def opened(folder: Path, text: TokenizedText) -> FolderInputs:
    """The model of a folder, ready to be fitted."""
    how = FolderFit(quant=QuantConfig(calibration_tokens=65_536), artifact=ArtifactConfig(), context=CONTEXT, seed=0)
    checked = open_folder(folder)
    model = load_folder(checked, Silent())
    return FolderInputs(checked, model, source_from_module(model.module), text, how)


def beside_weights(job: FitJob, cap: int) -> int:
    """Bytes of a file that hold no weights."""
    artifact = job.fit(FileBudget(cap), Silent()).artifact
    return sum(row.coded_bytes for row in tensor_rows(artifact) if not row.role)


def measure(folder: Path, text: TokenizedText) -> Iterator[str]:
    """Cells of a row: weights, bytes, loss of the original; KL of plain, bare, fitted with own text and with text."""
    inputs = opened(folder, text)
    weights = sum(value.size for value in inputs.source.weights.values())
    fitted = make_job(inputs, Silent())
    rounded = load_folder(open_folder(folder), Silent()).module
    bytes_plain = plain_int4(rounded)
    cap = bytes_plain + beside_weights(fitted, 2 * bytes_plain)
    comparison = inputs.comparison()
    assert comparison is not None
    windows = comparison.windows()
    plain = divergence(inputs.model.logits, lambda tokens_BT: model_logits(rounded, tokens_BT), windows)
    own = write_own_text(inputs.model, tokens=16_384, context=CONTEXT, seed=0, progress=Silent())
    others = []
    for measured in (None, own):
        job = make_job(dataclasses.replace(inputs, text=measured), Silent())
        kl = comparison.measure(inputs.source, job.fit(FileBudget(cap), Silent()).artifact)
        assert kl is not None
        others.append(kl.kl)
    found = fitted.fit(FileBudget(cap), Silent()).report["divergence"]
    yield f"{weights:,}"
    yield f"{bytes_plain:,}"
    yield f"{plain.loss_before:.3f}"
    yield f"{plain.kl:.4f}"
    yield f"{others[0]:.4f} ({others[0] / plain.kl:.2f})"
    yield f"{others[1]:.5f} ({others[1] / plain.kl:.3f})"
    yield f"{found['kl']:.5f} ({found['kl'] / plain.kl:.3f})"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="a folder of text")
    parser.add_argument("out", help="where the models are kept, a folder for each")
    parser.add_argument("kinds", nargs="*", metavar="MODEL_TYPE", help="all unless some are named")
    options = parser.parse_args()
    text, out, kinds = options.text, options.out, options.kinds
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    config = TextConfig(paths=(text,))
    found = sorted(path for path in Path(text).rglob("*") if path.suffix in (".txt", ".md", ".py"))
    made = train_tokenizer([path.read_text("utf-8") for path in found])
    tokens = tokenize(config, HuggingFaceTokenizer(made), Silent())
    print("| model_type | weights | plain int4, bytes | loss | plain's KL | bare | own text | with text |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in kinds or SHAPES:
        folder, begin = Path(out) / kind, time.process_time()
        try:
            if not (folder / "config.json").exists():
                train_model(kind, tokens.tokens.read(0, len(tokens.tokens))).save_pretrained(folder)
                made.save_pretrained(folder)
            print(f"| {kind} | {' | '.join(measure(folder, tokens))} |", flush=True)
        except BytecapError as error:
            print(f"| {kind} | {error} |", flush=True)
        print(f"{kind}: {time.process_time() - begin:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
