"""What is stored once: tied parameters and copies, in bare files and in modules; what only looks alike is not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bytecap.artifact.load import loads
from bytecap.core.budget import FileBudget
from bytecap.core.progress import Silent
from bytecap.fitting.aliases import equal_tensors, tied_names
from bytecap.fitting.job import Container, build_job
from bytecap.fitting.source import open_checkpoint, source_from_module
from bytecap.quant.allocation import QuantConfig
from tests.artifact.example import ABOUT

torch.manual_seed(0)
LARGE, OTHER = torch.randn(60, 24), torch.randn(24, 30)


class Tied(nn.Module):
    """An embedding that is also the head, a shared layer, a buffer that is saved twice, and a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(60, 24), nn.Linear(24, 60, bias=False)
        self.one, self.copy = nn.Linear(24, 24), nn.Linear(24, 24)
        self.two = self.one
        self.head.weight = self.embedding.weight
        self.copy.load_state_dict(self.one.state_dict())
        places = torch.arange(7)
        self.register_buffer("places", places)
        self.register_buffer("again", places)

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.copy(self.two(self.one(self.embedding(ids)).tanh()).tanh())
        out: Tensor = self.head(hidden)
        return out


def slow_twins(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Each name with the first equal one, every pair compared number by number."""
    found: dict[str, str] = {}
    for name, value in tensors.items():
        for known, earlier in tensors.items():
            if known == name:
                break
            same = earlier.shape == value.shape and earlier.tolist() == value.tolist()
            if same and known not in found and len(np.unique(value.numpy())) > 1:
                found[name] = known
                break
    return found


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_found_as_by_comparing_every_pair(seed: int) -> None:
    """Against every pair compared: many small tensors of few values, some of which are equal."""
    draw = np.random.default_rng(seed)
    shapes = [(2,), (1, 2), (2, 1), (3,), (70,), (35, 2)]
    tensors = {
        f"t{i}": torch.from_numpy(draw.integers(0, 2, shapes[draw.integers(len(shapes))]).astype(np.float32))
        for i in range(40)
    }
    tensors["last"] = tensors["t1"].clone()
    late = torch.arange(100.0)
    tensors |= {"a": late, "b": torch.cat((late[:99], late[:1])), "c": late.clone(), "d": late.view(10, 10).T}
    assert equal_tensors(tensors, ()) == slow_twins(tensors) != {}
    assert "c" not in equal_tensors(tensors, {"c"}), "what stays as it is and what is rounded are apart"


def test_names_that_a_module_ties() -> None:
    """Further names of parameters, of shared modules and of buffers; nothing that is not saved."""
    model = Tied()
    model.register_buffer("unsaved", model.get_buffer("places"), persistent=False)
    wanted = {"head.weight": "embedding.weight", "two.weight": "one.weight", "two.bias": "one.bias", "again": "places"}
    assert tied_names(model) == wanted
    assert set(source_from_module(model).aliases) == {*wanted, "copy.weight", "copy.bias"}


def fitted(path: Path, tensors: dict[str, Tensor], cap: int) -> dict[str, Tensor]:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    job = build_job(open_checkpoint(path), None, QuantConfig(states=8), Container(ABOUT))
    return loads(job.fit(FileBudget(cap), Silent()).result.data).quantized.state_dict()


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_a_bare_file_with_twins(tmp_path: Path) -> None:
    """The second name costs a few bytes of header, so the error is that of a file without it."""
    one = fitted(tmp_path / "w.safetensors", {"wte": LARGE, "w": OTHER}, 1500)
    two = fitted(tmp_path / "w.safetensors", {"wte": LARGE, "head": LARGE.clone(), "w": OTHER}, 1500)
    assert torch.equal(two["wte"], two["head"]) and error(two["wte"], LARGE) < 1.1 * error(one["wte"], LARGE)


def test_a_module_with_twins() -> None:
    """A fit with data gives every name of the module, ties and copies equal, and loads strictly."""
    import bytecap

    model = Tied()
    batches = [torch.randint(0, 60, (4, 17)) for _ in range(8)]
    file = bytecap.fit(
        model, batches, loss=lambda m, b: (m(b[:, :-1]).flatten(0, 1), b[:, 1:].flatten()), cap_bytes=2500,
        config=QuantConfig(calibration_tokens=512, states=8),
    )  # fmt: skip
    state = file.quantized.state_dict()
    model.load_state_dict(state)
    assert torch.equal(state["head.weight"], state["embedding.weight"])
    assert torch.equal(state["copy.weight"], state["one.weight"]) and state["again"].tolist() == list(range(7))
