"""The table of implementations, row by row, on a GPU that is pretended."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bytecap.core.products import suits
from bytecap.model import attention_choice
from bytecap.model.attention_choice import choose_attention, varlen_obstacle

GPU: Any = SimpleNamespace(device=torch.device("cuda"))
"""All that the choice asks of a weight."""


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with everything, under bfloat16 autocast."""
    varlen_obstacle.cache_clear()
    monkeypatch.setattr(attention_choice, "blocks_pay", lambda *_: False)
    monkeypatch.setattr(attention_choice, "activation_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(attention_choice, "check_varlen", lambda *_: 0.001)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


def choice(d_head: int = 64, *, plain: bool = False) -> str:
    return str(choose_attention(GPU, queries=64, d_head=d_head, plain=plain))


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, while compiling, on a CPU."""
    assert choice() == "varlen" and choice(plain=True) == "sdpa"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert choice() == "sdpa with a document mask"
    monkeypatch.undo()
    weight = torch.zeros(1)
    assert str(choose_attention(weight, queries=8, d_head=8, plain=False)) == "sdpa with a document mask"
    assert str(choose_attention(weight, queries=8, d_head=8, plain=True)) == "sdpa"
    if suits(weight):
        assert str(choose_attention(weight, queries=512, d_head=96, plain=True)) == "blocks of queries"


@pytest.mark.parametrize(
    ("module", "name", "value", "reason"),
    [
        (torch.version, "hip", "6.1", "never tried on ROCm"),
        (torch.backends.cuda, "is_flash_attention_available", lambda: False, "was built without FlashAttention"),
        (torch.cuda, "get_device_capability", lambda _: (7, 5), "has compute capability 7.5"),
        (attention_choice, "activation_dtype", lambda _: torch.float32, "activations are float32"),
        (attention_choice, "check_varlen", lambda *_: 0.3, "failed its check: it is off by 0.3"),
        (attention_choice, "check_varlen", lambda *_: float("nan"), "failed its check: it is off by nan"),
    ],
)
def test_each_obstacle_has_its_sentence(
    module: Any, name: str, value: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each obstacle has a sentence of its own, which stands behind the fallback's name."""
    monkeypatch.setattr(module, name, value)
    found = choice()
    assert found.startswith("sdpa with a document mask (") and reason in found


def test_heads_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Head widths that the kernel does not take; a kernel that raises."""
    assert "heads have 12 channels" in choice(12) and "up to 256" in choice(264)

    def fails(*_: Any) -> float:
        raise RuntimeError("no kernel\n image")

    monkeypatch.setattr(attention_choice, "check_varlen", fails)
    assert "failed its check: no kernel image" in choice(128)
