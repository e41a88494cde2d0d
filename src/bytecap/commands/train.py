"""`bytecap train`: tokens to a checkpoint."""

from __future__ import annotations

from bytecap.commands.common import Device, Json, Quiet, RunFolder, Verb, open_run
from bytecap.commands.output import print_result
from bytecap.core.distributed import joined


@joined()
def train(folder: RunFolder, *, device: Device = "auto", json: Json = False, quiet: Quiet = False) -> None:
    """Train the model of a prepared run folder, or resume its training."""
    from bytecap.core.device import choose_device
    from bytecap.run import pipeline
    from bytecap.train.checkpoint import CHECKPOINT, load_training_state

    with open_run(folder, quiet) as (recipe, tokens, console):
        pipeline.train_stage(recipe, tokens, folder, choose_device(device), console)
    reached = load_training_state(folder / CHECKPOINT)
    value = {"step": reached.step, "tokens": reached.tokens, "loss": reached.loss}
    found = f"{reached.step:,} steps, {reached.tokens:,} tokens, {reached.loss:.4f} nats per token"
    print_result(value, json, found)


VERB = Verb(train, ("bytecap train runs/new",))
