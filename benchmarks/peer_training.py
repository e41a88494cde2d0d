"""The part of training_speed.py that runs another trainer: openai/parameter-golf's own script, its model and its loop.

The script is not part of this repository. It demands CUDA and bfloat16, so it is loaded with `CHANGES` below, each of
which must be found as often as it says; nothing else of it is touched, and its `main` does the training.
contest_evaluation.py loads it too, with changes of its own.
"""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One replacement in the script."""

    old: str
    new: str
    times: int
    why: str


CHANGES = [
    Change("if not torch.cuda.is_available():", "if False:", 1, "runs on CPU"),
    Change('torch.device("cuda", local_rank)', 'torch.device("cpu")', 1, "runs on CPU"),
    Change("torch.cuda.set_device(device)", "pass", 1, "runs on CPU"),
    Change("torch.cuda.synchronize()", "None", 5, "runs on CPU"),
    Change(
        "enable_math_sdp(False)", "enable_math_sdp(True)", 1, "attention without a fast path where a shape has none"
    ),
    Change('device_type="cuda", dtype=torch.bfloat16, enabled=True', 'device_type="cpu", enabled=False', 3, "float32"),
    Change(".to(device).bfloat16()", ".to(device)", 1, "float32"),
    Change("X = G.bfloat16()", "X = G.float()", 1, "Newton–Schulz in float32"),
    Change("device=params[0].device, dtype=torch.bfloat16", "device=params[0].device", 1, "updates in float32"),
    Change("= torch.compile(zeropower_via_newtonschulz5)", "= zeropower_via_newtonschulz5", 1, "not compiled"),
    Change("torch.compile(base_model, dynamic=False, fullgraph=True)", "base_model", 1, "not compiled"),
    Change('["nvidia-smi"]', '["true"]', 1, "no such program"),
    Change("spm.SentencePieceProcessor(model_file=args.tokenizer_path)", "TOKENIZER", 1, "no tokenizer is needed"),
    Change("grad_accum_steps = 8 // world_size", "grad_accum_steps = ACCUMULATION", 1, "8 is for eight GPUs"),
    Change("        step += 1\n", "        step += 1\n        AFTER_STEP()\n", 1, "time is taken"),
]
"""What is changed in train_gpt.py before it runs."""


class _NoTokenizer:
    """Says of every token that it stands for no bytes; only its validation would need more."""

    def __init__(self, vocabulary: int) -> None:
        self.vocab_size = lambda: vocabulary
        self.is_control = self.is_unknown = self.is_unused = lambda token: True


def load_script(script: Path, changes: Sequence[Change], **names: Any) -> types.ModuleType:
    """The script as a module that knows `names` too, after changes that must be found as often as they say."""
    text = script.read_text(encoding="utf-8")
    for change in changes:
        found = text.count(change.old)
        if found != change.times:
            raise SystemExit(f"{script}: {change.old!r} is there {found} times, needed {change.times}: another version")
        text = text.replace(change.old, change.new)
    module = types.ModuleType("train_gpt")
    module.__dict__.update(__file__=str(script), **names)
    exec(compile(text, str(script), "exec", dont_inherit=True), module.__dict__)
    return module


def train(
    script: Path, settings: dict[str, Any], *, accumulation: int, after_step: Callable[[], None], forward: Any
) -> None:
    """Run the script's `main` in the current folder; `forward` wraps its model's forward pass."""
    tokenizer = _NoTokenizer(settings["vocab_size"])
    module = load_script(script, CHANGES, TOKENIZER=tokenizer, ACCUMULATION=accumulation, AFTER_STEP=after_step)
    for name, value in settings.items():
        assert hasattr(module.Hyperparameters, name), name
        setattr(module.Hyperparameters, name, value)
    module.GPT.forward = forward(module.GPT.forward)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        module.main()
