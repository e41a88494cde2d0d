"""Hooks are called in the order of their names, and phases are those of all of them together."""

import dataclasses

import torch

from bytecap.model.gpt import GPT
from bytecap.text.shards import TokenStream
from bytecap.train.hooks.context import ContextConfig
from bytecap.train.hooks.ema import EMAConfig
from bytecap.train.hooks.recurrence import RecurrenceConfig
from bytecap.train.hooks.swa import SWAConfig
from bytecap.train.run_hooks import RunHooks
from tests.contracts.hooks import MODEL, build_job
from tests.train.test_loop import stream

assert stream  # a fixture


def test_phases_of_all(stream: TokenStream) -> None:
    """Every combination that a run will see, from where it stands; averages have no graph of their own."""
    job = build_job(stream, None)
    hooks = {
        "recurrence": RecurrenceConfig(start=0.35),
        "context": ContextConfig(start=0.5),
        "ema": EMAConfig(start=0.9),
    }
    model = GPT(MODEL)
    found = RunHooks(dataclasses.replace(job, config=dataclasses.replace(job.config, hooks=hooks)), model)
    assert found.phases(0.0) == [0.0, 0.35, 0.5]
    assert found.phases(0.34) == [0.0, 0.35, 0.5] and found.phases(0.35) == [0.35, 0.5] and found.phases(0.9) == [0.5]
    seen = []
    for progress in found.phases(0.0):
        found.before_step(progress, ahead=True)
        active = model.techniques["depth_recurrence"].active
        seen.append((active, tuple(found.rows(torch.zeros(4, 17, dtype=torch.int64), progress).shape)))
    assert seen == [(False, (16, 5)), (True, (16, 5)), (True, (4, 17))]
    assert RunHooks(job, model).phases(0.0) == [0.0]


def test_states_by_name(stream: TokenStream) -> None:
    """Those of a run that goes on; a finished one keeps none of an average."""
    job = build_job(stream, None)
    hooks = {"ema": EMAConfig(), "swa": SWAConfig(start=0.0, every=1)}
    model = GPT(MODEL)
    found = RunHooks(dataclasses.replace(job, config=dataclasses.replace(job.config, hooks=hooks)), model)
    found.after_step(1.0)
    states = found.states()
    assert states.keys() == {"ema", "swa"} and found.states(finished=True) == {}
    assert found.weights().keys() == {"ema", "swa"} and int(states["swa"]["samples"]) == 1
    found.load_states(states, torch.device("cpu"))
    assert torch.equal(found.weights()["swa"]["embedding"], model.embedding)
