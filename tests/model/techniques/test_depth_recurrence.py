"""Depth recurrence gives the published order, equals a model with copied blocks, and can be switched."""

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.depth_recurrence import DepthRecurrence, DepthRecurrenceConfig

SHAPE = {"vocab_size": 20, "d_model": 8, "n_heads": 2, "n_kv_heads": 1, "d_ff": 12}
TOKENS_BT = torch.tensor([[1, 5, 6, 7, 1, 9]])


def build(n_layers: int, **techniques: object) -> GPT:
    return GPT(ModelSpec(**SHAPE, n_layers=n_layers, techniques=techniques))  # type: ignore[arg-type]


def randomize(model: GPT) -> GPT:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_published_order() -> None:
    """Seventeen visits in #1586, eight of them in the first half."""
    spec = ModelSpec(**SHAPE, n_layers=11)  # type: ignore[arg-type]
    technique = DepthRecurrence(DepthRecurrenceConfig(), spec)
    expected = [0, 1, 2, 3, 4, 5, 3, 4, *[5, 3, 4, 5, 6, 7, 8, 9, 10]]
    assert technique.order(list(range(11))) == expected
    model = ModelConfig(n_layers=11, techniques=with_defaults("depth_recurrence", "gated_skips"))
    assert model.visits == expected
    assert GPT(ModelSpec.of(model, 20)).techniques["gated_skips"].weight_SD.shape == (8, 512)


def test_equals_copied_blocks() -> None:
    """A block that runs three times is three blocks with the same weights."""
    model = randomize(build(3, depth_recurrence=DepthRecurrenceConfig(blocks="1-1")))
    long = build(5)
    weights = {n: w for n, w in model.state_dict().items() if not n.startswith("blocks")}
    for place, block in enumerate([0, 1, 1, 1, 2]):
        weights |= {f"blocks.{place}.{n}": w for n, w in model.blocks[block].state_dict().items()}
    long.load_state_dict(weights)
    assert torch.equal(model.hidden(TOKENS_BT, 1), long.hidden(TOKENS_BT, 1))


@pytest.mark.slow
def test_can_be_switched() -> None:
    """The same parameters in either order, also those of the skips; a compiled model follows the switch."""
    techniques = {"depth_recurrence": DepthRecurrenceConfig(blocks="1-2 of 4"), **with_defaults("gated_skips")}
    model = randomize(build(4, **techniques))
    recurrence = model.techniques["depth_recurrence"]
    assert isinstance(recurrence, DepthRecurrence) and recurrence.active
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    losses = []
    for active in (True, False, True):
        recurrence.active = active
        losses.append(model(TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], 1))
        torch.testing.assert_close(compiled(TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], 1), losses[-1])
    torch.compiler.reset()
    assert torch.equal(losses[0], losses[2]) and not torch.allclose(losses[0], losses[1])
    off = build(4, **(techniques | {"depth_recurrence": DepthRecurrenceConfig(blocks="1-2 of 4", active=False)}))
    off.load_state_dict(model.state_dict())
    assert torch.equal(off(TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], 1), losses[1])


def test_impossible_repeats_are_refused() -> None:
    """Blocks that there are not, and repeats that repeat nothing."""
    for blocks in ("3-5", "some"):
        with pytest.raises(ConfigError, match=r"techniques\.depth_recurrence: blocks .*model\.n_layers, which is 4"):
            ModelConfig(n_layers=4, techniques={"depth_recurrence": DepthRecurrenceConfig(blocks=blocks)})
    with pytest.raises(ConfigError, match=r"depth_recurrence: repeats is 1; it must lie between 2"):
        ModelConfig(techniques={"depth_recurrence": DepthRecurrenceConfig(repeats=1)})
