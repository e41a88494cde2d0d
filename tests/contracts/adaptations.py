"""What every adaptation owes, as checks that take its name: tests/contracts/test_adaptations.py runs them over all.

Letters: N targets of a stream, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.core.progress import Silent
from bytecap.core.settings_reader import from_sparse
from bytecap.core.settings_writer import to_sparse
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations import ADAPTATIONS
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from bytecap.scoring.engine import Engine, EnginePredictor
from bytecap.scoring.evaluate import Score
from bytecap.scoring.ledger import SUM_TOLERANCE, Chunk, Ledger
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.validation import Validation
from bytecap.text.byte_check import ByteCheck
from tests.model.test_gpt import random_model
from tests.scoring.test_evaluate import TABLE, stream_of

BOS, CONTEXT, CHUNK = 1, 16, 8
SMALL: dict[str, Any] = {"chunk": CHUNK, "rank": 4, "rate": 0.1, "phase_tokens": 2 * CHUNK, "row": CHUNK}
"""Values of settings with these names: quick on a tiny model, and fast enough to be seen within 60 tokens."""


def default_config(name: str, **settings: Any) -> AdaptationConfig:
    """Its settings, small."""
    config = ADAPTATIONS.find(name).config_class()
    known = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **{k: v for k, v in {**SMALL, **settings}.items() if k in known})


def has(name: str, setting: str) -> bool:
    """Return whether an adaptation has a setting."""
    return setting in {field.name for field in dataclasses.fields(ADAPTATIONS.find(name).config_class)}


def make_ids(seed: int = 0, lengths: tuple[int, ...] = (27, 1, 9, 40)) -> list[int]:
    """Documents that repeat themselves, so that there is something to learn."""
    random = np.random.default_rng(seed)
    ids = []
    for length in lengths:
        phrase = random.integers(2, 50, 7)
        ids += [BOS, *(int(phrase[i % 7]) for i in range(length - 1))]
    return ids


def rows(
    ids: list[int],
    folder: Path,
    config: AdaptationConfig | None,
    name: str = "",
    model: GPT | None = None,
    strategy: Strategy = STREAMING,
) -> Tensor:
    """What is predicted for each target, (N, V), by the engine as a Predictor, chunk by chunk."""
    adaptations = [] if config is None else [ADAPTATIONS.find(name)(config)]
    engine = Engine(model or random_model(), adaptations, bos=BOS, context=CONTEXT, strategy=strategy)
    return engine_rows(engine, ids, folder)


def engine_rows(engine: Engine, ids: list[int], folder: Path) -> Tensor:
    """What an engine predicts for each target, (N, V)."""
    folder.mkdir(exist_ok=True, parents=True)
    ledger, predictor = Ledger(stream_of(folder, ids), TABLE, BOS), EnginePredictor(engine)
    predictor.reset()
    found = []
    for start in range(0, len(ids) - 1, CHUNK):
        chunk = Chunk((start,), (min(CHUNK, len(ids) - 1 - start),))
        found.append(predictor.log_probs(ledger.inputs(chunk)[0]))
        predictor.learn(ledger.commit(chunk, found[-1][None]))
    ledger.close()
    return torch.cat(found)


def build_validation(folder: Path, ids: list[int]) -> Validation:
    """A text of these tokens; its bytes are a test's."""
    folder.mkdir(exist_ok=True, parents=True)
    return Validation(stream_of(folder, ids), None, TABLE, BOS, ByteCheck(0, None, None))


def score(folder: Path, name: str, ids: list[int], rows: int, **settings: Any) -> Score:
    """A score with so many documents side by side."""
    how = AdaptiveScoring(
        adapt={name: default_config(name, **settings)},
        context=CONTEXT,
        batch_tokens=rows * CONTEXT,
        strategy="windows",
    )
    return evaluate_adaptive(random_model(), build_validation(folder, ids), how, Silent())


def check_causal(name: str, folder: Path) -> None:
    """Both ways of knowing what came before."""
    for strategy in (WINDOWS, STREAMING):
        check_causal_rows(name, folder / strategy, strategy)


def check_causal_rows(name: str, folder: Path, strategy: Strategy) -> None:
    """What is predicted for a target has the same bits whatever it is and whatever follows; without that, nearly."""
    folder.mkdir(exist_ok=True, parents=True)
    ids, config = make_ids(), default_config(name)
    whole_NV, random = rows(ids, folder / "whole", config, name, strategy=strategy), np.random.default_rng(1)
    for place in (1, 11, 24, 45, 70):
        changed = [*ids[:place], *(i if i == BOS else int(random.integers(2, 50)) for i in ids[place:])]
        flipped_NV = rows(changed, folder / f"flip{place}", config, name, strategy=strategy)
        assert torch.equal(flipped_NV[:place], whole_NV[:place]), f"{name} saw the target at {place}, or one behind it"
        cut_NV = rows(ids[: place + 1], folder / f"cut{place}", config, name, strategy=strategy)
        assert torch.allclose(cut_NV, whole_NV[:place], atol=1e-5), (
            f"{name} gives other numbers when the text ends there"
        )


def check_normalized(name: str, folder: Path) -> None:
    """Every row sums to one in float64."""
    sums_N = rows(make_ids(), folder, default_config(name), name).double().exp().sum(dim=-1)
    assert ((sums_N - 1).abs() <= SUM_TOLERANCE).all(), name


def check_live(name: str, folder: Path) -> None:
    """It changes what is predicted, and the model it was given stays as it was."""
    model, ids = random_model(), make_ids()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    adapted_NV = rows(ids, folder, default_config(name), name, model)
    assert not torch.allclose(adapted_NV, rows(ids, folder / "static", None), atol=1e-4), f"{name} changes nothing"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), name
    assert all(parameter.requires_grad for parameter in model.parameters()), name


def check_reset(name: str, folder: Path) -> None:
    """A document is scored as if it stood alone, unless a setting keeps what was learned before it."""
    first, second = make_ids(2, (4 * CHUNK,)), make_ids(2, (30,))
    alone_NV = rows(second, folder / "alone", default_config(name, across_documents=False), name)
    after_NV = rows(first + second, folder / "after", default_config(name, across_documents=False), name)
    if ADAPTATIONS.find(name)(default_config(name, across_documents=False)).across_documents:
        assert not torch.allclose(after_NV[4 * CHUNK :], alone_NV, atol=1e-4), f"{name} keeps nothing across documents"
        return
    assert torch.allclose(after_NV[4 * CHUNK :], alone_NV, atol=1e-5), f"{name} keeps something across documents"
    if has(name, "across_documents"):
        kept_NV = rows(first + second, folder / "kept", default_config(name, across_documents=True), name)
        assert not torch.allclose(kept_NV[4 * CHUNK :], alone_NV, atol=1e-4), f"{name} keeps nothing across documents"


def check_lanes(name: str, folder: Path) -> None:
    """Documents side by side are scored as one after the other."""
    ids = make_ids(3, (40, 5, 1, 33, 12, 2, 26))
    alone, together = (score(folder / str(rows), name, ids, rows) for rows in (1, 3))
    assert alone.documents is not None and together.documents is not None
    assert np.allclose(alone.documents.nats_D, together.documents.nats_D, rtol=1e-5), name


def check_settings(name: str, folder: Path) -> None:
    """Its settings survive a file."""
    config = default_config(name)
    assert from_sparse(type(config), to_sparse(config), origin="a file") == config, name
