"""Several processes at one job, started by torchrun as a user starts them.

    python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.processes NAME FOLDER

calls the function NAME below in each; what they find they write into FOLDER.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bytecap.commands.output import exit_with_error
from bytecap.core import distributed
from bytecap.core.errors import BytecapError, ConfigError, DataError, Stopped
from bytecap.core.progress import Silent
from bytecap.core.signals import stop_at_once
from bytecap.fitting.measure import CalibrationText, measure
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.published.scheme_plan import training_grids
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.calibration_file import save_calibration
from bytecap.quant.statistics import Calibration
from bytecap.run.grids import model_shapes
from bytecap.scoring import adaptive, streaming
from bytecap.scoring.adaptations.lora import LoRAConfig
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from bytecap.scoring.evaluate import Score, StaticScoring, evaluate
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.validation import Validation
from bytecap.text.byte_check import ByteCheck
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.base import HookConfig
from bytecap.train.hooks.context import ContextConfig
from bytecap.train.hooks.ema import EMAConfig
from bytecap.train.hooks.fake_quantization import FakeQuantizationConfig
from bytecap.train.hooks.squared_gradients import SquaredGradientsConfig
from bytecap.train.hooks.swa import SWAConfig
from bytecap.train.loop import Trainer, TrainingJob
from bytecap.train.optimizers import OptimizerConfig
from bytecap.train.sharding import gather_tensors
from tests.train.test_loop import SignalAt

ROOT = Path(__file__).parents[1]
SPEC = ModelSpec(vocab_size=50, n_layers=3, d_model=16, n_heads=4, n_kv_heads=2, d_ff=24)
STEPS = 30
CALIBRATIONS = (10_000, 2_000)
"""Tokens of three batches, and of one: more and fewer than two processes."""


def torchrun(processes: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in so many processes; without colours, so that sentences can be found."""
    source = str(Path(distributed.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": f"{source}:{ROOT}"}
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    return subprocess.run(
        [sys.executable, *start, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip


def make_stream(folder: Path) -> TokenStream:
    """Text with a pattern, written once: each token is followed by the next."""
    path = folder / "text"
    if not path.exists():
        path.mkdir()
        writer = ShardWriter(path, "train", 1 << 20)
        for start in np.random.default_rng(0).integers(2, 50, 300).tolist():
            writer.write([1, *((start + i) % 48 + 2 for i in range(20))])
        writer.close()
    return TokenStream(sorted(path.iterdir()))


def make_validation(folder: Path) -> Validation:
    """That text as if its bytes had been checked."""
    table = ByteTable(np.arange(50) % 5, np.arange(50) % 3 == 0, np.arange(50) < 4, True)
    return Validation(make_stream(folder), None, table, 1, ByteCheck(0, None, None))


def make_trainer(folder: Path, out: str, progress: Any = None, made_from: str = "x", **changes: Any) -> Trainer:
    """A short run with everything that has to be exact over processes: clip, decay, accumulation, hooks."""
    optimizer = OptimizerConfig(clip_norm=0.5, matrix_weight_decay=0.1)
    hooks: dict[str, HookConfig] = {
        "context": ContextConfig(start=0.3),
        "ema": EMAConfig(decay=0.8, start=0.2),
        "fake_quantization": FakeQuantizationConfig(start=0.5, noise=True),  # rounding would turn 1e-6 into a step
        "squared_gradients": SquaredGradientsConfig(share=0.5),
        "swa": SWAConfig(start=0.5, every=3),
    }
    values = {"steps": STEPS, "batch": 8, "micro_batch": 1, "context": 16, "checkpoint_seconds": 1e9, **changes}
    config = TrainConfig(optimizer=optimizer, hooks=hooks, **values)
    job = TrainingJob(
        config=config, spec=SPEC, stream=make_stream(folder), bos=1, seed=0, tokens="t", made_from=(made_from,),
        grids=training_grids("int8", model_shapes(SPEC), keep_small=0),
    )  # fmt: skip
    (folder / out).mkdir(exist_ok=True)
    return Trainer(job, folder / out, torch.device("cpu"), progress or Silent())


def train(folder: Path) -> None:
    """To the end, going on where a checkpoint is."""
    make_trainer(folder, f"of_{distributed.world().size}").run()


def kill(folder: Path) -> None:
    """Rank 1 is gone after step 12; a checkpoint is saved after each step."""
    progress = SignalAt(12, signal.SIGKILL) if distributed.world().rank == 1 else Silent()
    make_trainer(folder, "killed", progress, checkpoint_seconds=0).run()


def stop(folder: Path) -> None:
    """Rank 1 alone gets a signal after step 20, and all stop; the checkpoint is that of `kill`."""
    progress = SignalAt(20, signal.SIGTERM) if distributed.world().rank == 1 else Silent()
    make_trainer(folder, "killed", progress).run()


def scored(folder: Path, strategy: Strategy = WINDOWS) -> Score:
    """The score of a random model, in batches of many windows and of few, or streamed in several parts."""
    torch.manual_seed(3)
    streaming.PART_TOKENS = 1_000
    how = StaticScoring(context=24, stride=7, batch_tokens=100, strategy=strategy)
    return evaluate(GPT(SPEC), make_validation(folder), how, Silent())


def adapted(folder: Path) -> Score:
    """The score of a random model with adapters for each document, in several groups of documents."""
    torch.manual_seed(3)
    how = AdaptiveScoring(adapt={"lora": LoRAConfig(rank=2, chunk=8, rate=0.01)}, context=24, batch_tokens=100)
    adaptive.GROUP_TOKENS = 1_000
    return evaluate_adaptive(GPT(SPEC), make_validation(folder), how, Silent())


def measured(folder: Path, tokens: int) -> Calibration:
    """The curvature of a random model on about so many tokens."""
    torch.manual_seed(4)
    text = CalibrationText(make_stream(folder), 1, 24, 5)
    return measure(GPT(SPEC), text, QuantConfig(calibration_tokens=tokens), "c0ffee", Silent())


def evaluated(folder: Path) -> None:
    """Score and curvature; of much text, and of less than there are processes for."""
    score, size = scored(folder), distributed.world().size
    with_adapters, streamed = adapted(folder).nats, scored(folder, STREAMING).nats
    assert distributed.gather(streamed) == [streamed] * size
    assert distributed.gather(with_adapters) == [with_adapters] * size
    assert distributed.gather([score.nats, score.text_bytes]) == [[score.nats, score.text_bytes]] * size
    calibrations = [measured(folder, tokens) for tokens in CALIBRATIONS]
    if distributed.world().is_main:
        (folder / "score.json").write_text(json.dumps(score.to_json()))
        (folder / "adapted.json").write_text(json.dumps(with_adapters))
        (folder / "streamed.json").write_text(json.dumps(streamed))
        for index, calibration in enumerate(calibrations):
            save_calibration(folder / f"{index}.safetensors", calibration)


def train_on_different_tokens(folder: Path) -> str:
    """What rank 0 says about it; the others exit silently."""
    try:
        make_trainer(folder, "differ", made_from=f"tokens {distributed.world().rank}", batch=3)
    except (DataError, SystemExit) as error:
        return str(error)
    return "nothing"


def collect(folder: Path) -> None:
    """Every collective once; each rank writes what it got, and at last all but rank 0 fail."""
    world = distributed.world()
    rank = float(world.rank)
    numbers, whole = torch.full((2,), rank), torch.tensor([world.rank + 1])
    distributed.all_reduce([numbers, whole])
    spread = torch.full((2,), rank)
    distributed.broadcast([spread])
    found = {
        "share": list(world.share(5)),
        "different": train_on_different_tokens(folder),
        "words": distributed.gather({"rank": world.rank, "text": "é" * world.rank}),
        "numbers": distributed.gather_numbers([rank, -rank]),
        "sum": [numbers.tolist(), whole.tolist()],
        "stack": distributed.all_gather(torch.full((1, 2), rank)).tolist(),
        "spread": spread.tolist(),
        "tensors": {
            name: [str(value.dtype), value.tolist()]
            for name, value in gather_tensors(
                {f"of {world.rank}": torch.full((world.rank + 1,), world.rank, dtype=torch.int64)}, torch.device("cpu")
            ).items()
        },
        "from_main": distributed.from_main(lambda: [distributed.world().size, world.rank]),
    }
    (folder / f"collected_{world.rank}.json").write_text(json.dumps(found))
    with distributed.together():
        if world.rank:
            raise ConfigError(f"rank {world.rank} of {world.size} has failed")


if __name__ == "__main__":
    try:
        with stop_at_once(), distributed.joined():
            globals()[sys.argv[1]](Path(sys.argv[2]))
    except (BytecapError, Stopped) as error:
        exit_with_error(error, as_json=False)
