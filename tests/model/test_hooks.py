"""Every hook of every technique is called in its place, and only where it is overridden."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bytecap.model import techniques
from bytecap.model.gpt import GPT
from bytecap.model.hooks import HOOKS
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.base import Visit

SPEC = {"vocab_size": 20, "n_layers": 2, "d_model": 8, "n_heads": 2, "n_kv_heads": 1, "d_ff": 12}
PROBE = """
from bytecap.model.techniques.base import Technique

class Probe(Technique):
    calls = []
    def embed(self, x, context): return self.seen("embed", x)
    def first(self, x, context): return self.seen("first", x)
    def order(self, blocks): return [*blocks, 0]
    def before(self, x, visit, context): return self.seen("before", x, visit)
    def query(self, x, visit, context): return self.seen("query", x, visit)
    def key(self, x, visit, context): return self.seen("key", x, visit)
    def value(self, x, visit, context): return self.seen("value", x, visit)
    def heads(self, x, attended, visit, context): return self.seen("heads", x, visit, *attended)
    def attention_output(self, x, visit, context): return self.seen("attention_output", x, visit)
    def mlp_input(self, x, visit, context): return self.seen("mlp_input", x, visit)
    def mlp_output(self, x, visit, context): return self.seen("mlp_output", x, visit)
    def after(self, x, visit, context): return self.seen("after", x, visit)
    def logits(self, x): return self.seen("logits", x)
    def softcap(self, cap, x): return self.seen("softcap", x) * 0 + cap
    def seen(self, hook, x, *more):
        self.calls.append((hook, x, *more))
        return x
"""


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[None]:
    """A technique that writes down what it is given."""
    (tmp_path / "hook_probe.py").write_text(PROBE)
    techniques.__path__.append(str(tmp_path))
    yield
    techniques.__path__.remove(str(tmp_path))


def test_places_and_shapes(probe: None) -> None:
    """In the order of the forward pass, with the documented shapes, a block visited twice among them."""
    torch.manual_seed(0)
    model = GPT(ModelSpec(**SPEC, techniques=with_defaults("hook_probe")))  # type: ignore[arg-type]
    calls = type(model.techniques["hook_probe"]).calls  # type: ignore[attr-defined]
    model.logits(model.hidden(torch.tensor([[1, 2, 3]]), 1))
    visits = [Visit(0, 0, 3), Visit(1, 1, 3), Visit(2, 0, 3)]
    block = ["before", "key", "value", "query", "heads", "attention_output", "mlp_input", "mlp_output", "after"]
    expected = [
        ("embed",),
        ("first",),
        *((hook, visit) for visit in visits for hook in block),
        ("logits",),
        ("softcap",),
    ]
    assert [(call[0], *call[2:3]) for call in calls] == expected
    shapes = {call[0]: tuple(call[1].shape) for call in calls}
    assert set(shapes) == set(HOOKS) - {"order"}
    assert shapes["query"] == (1, 3, 2, 4) and shapes["key"] == (1, 3, 1, 4)
    assert shapes["value"] == (1, 1, 3, 4) and shapes["heads"] == (1, 2, 3, 4) and shapes["logits"] == (1, 3, 20)
    assert shapes["softcap"] == (1, 3, 20)
    assert all(
        shape == (1, 3, 8)
        for hook, shape in shapes.items()
        if hook not in ("query", "key", "value", "heads", "logits", "softcap")
    )
    heads = next(call for call in calls if call[0] == "heads")
    assert heads[3].shape == (1, 3, 8) and heads[4].shape == (1, 1, 3, 4)


def slow_previous(x_BTD: Tensor, tokens: list[list[int]], bos: int) -> Tensor:
    found_BTD = torch.zeros_like(x_BTD)
    for b, row in enumerate(tokens):
        for t in range(1, len(row)):
            if row[t] != bos:
                found_BTD[b, t] = x_BTD[b, t - 1]
    return found_BTD


@pytest.mark.parametrize("across", [False, True])
def test_previous_is_zero_at_a_documents_first_token(across: bool) -> None:
    """For numbers, vectors and matrices at each position, also where attention crosses documents."""
    tokens = [[1, 5, 6, 1, 1, 7], [4, 1, 9, 5, 8, 2]]
    context = GPT(ModelSpec(**SPEC, across_documents=across))._context(torch.tensor(tokens), 1)  # type: ignore[arg-type]
    for shape in ((2, 6), (2, 6, 3), (2, 6, 3, 2)):
        x_BTD = torch.arange(1, 1 + torch.Size(shape).numel()).view(shape)
        assert torch.equal(context.previous(x_BTD), slow_previous(x_BTD, tokens, 1))
