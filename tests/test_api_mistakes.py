"""What `bytecap.fit` refuses, and with which words."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bytecap
from bytecap.core.errors import BudgetError, ConfigError, DataError, NumericsError
from tests.artifact.example import example_file
from tests.modules import Tiny, data_losses, logits_and_labels, next_token, tiny_batches, trained


def test_a_cap_that_cannot_be_met() -> None:
    """The smallest size is named."""
    model, batches = trained()
    with pytest.raises(BudgetError, match="take at least"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=100)
    with pytest.raises(ConfigError, match="is not a size"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes="3 parsecs")


def test_a_progress_of_another_kind() -> None:
    """Is refused before anything is measured."""
    model, batches = trained()
    with pytest.raises(ConfigError, match="progress needs the methods"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=5000, progress=print)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (lambda logits, label: 1.0, "gave a float"),
        (lambda logits, label: logits.mean().square(), r"gave a tensor of torch.float32 \(\)"),
        (lambda logits, label: logits, "gave losses down to -"),
        (lambda logits, label: (label, logits), "gave tensors of torch.int64"),
        (lambda logits, label: (logits, label.float()), r"and torch.float32 \(64,\)"),
        (lambda logits, label: (logits, label, 1), "gave a tuple of Tensor, Tensor, int"),
        (lambda logits, label: (None, label), "gave a tuple of NoneType, Tensor"),
    ],
)
def test_a_loss_of_another_kind(given: Any, found: str) -> None:
    """Is a sentence that says what came and what should."""
    label = torch.zeros(64, dtype=torch.long)
    with pytest.raises(ConfigError, match=rf"{found}.*; it must return \(logits \(N, V\), whole labels"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=lambda m, x: given(m(x), label), cap_bytes=2000)


@pytest.mark.parametrize("given", [lambda out: out[:, 0], lambda out: out.long(), lambda out: out.mean()])
def test_real_outputs_of_another_kind(given: Any) -> None:
    """A row for each position, and numbers."""
    with pytest.raises(ConfigError, match=r"are floating-point numbers \(N, K\), a row for each position"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=lambda m, x: (given(m(x)), None), cap_bytes=2000)
    with pytest.raises(NumericsError, match="gave NaN or infinity"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=lambda m, x: (m(x) / 0, None), cap_bytes=2000)


@pytest.mark.parametrize("cap", [None, True, 2000.0])
def test_caps_that_are_none(cap: Any) -> None:
    """A cap is a whole number or a size; what is fitted is a module."""
    with pytest.raises(ConfigError, match="a whole number of bytes"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=data_losses, cap_bytes=cap)
    nothing: Any = {}
    with pytest.raises(ConfigError, match="no torch module"):
        bytecap.fit(nothing, [torch.randn(64, 3)], loss=data_losses, cap_bytes=2000)


def test_labels_without_a_logit_and_models_without_weights() -> None:
    """Are refused."""
    model, batches = trained()

    def too_large(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        return model(batch), batch + 40

    with pytest.raises(ConfigError, match="one label for each position, below the number of logits"):
        bytecap.fit(model, batches[:1], loss=too_large, cap_bytes=3500)
    with pytest.raises(ConfigError, match="no torch module with parameters"):
        bytecap.fit(nn.Tanh(), batches[:1], loss=data_losses, cap_bytes=3500)


@pytest.mark.parametrize(
    ("given", "found"),
    [({"batches": None}, "batches to go through"), ({"loss": None}, "a function loss"), ({"config": {}}, None),
     ({"config": {"states": 8}}, "a QuantConfig if any")],
)  # fmt: skip
def test_arguments_of_other_kinds(given: dict[str, object], found: str | None) -> None:
    """Are named; an empty config is the default one."""
    model, batches = trained()
    arguments: dict[str, Any] = {"batches": batches[:4], "loss": logits_and_labels, "cap_bytes": 3500, **given}
    if found is None:
        assert bytecap.fit(model, **arguments).size_bytes <= 3500
        return
    with pytest.raises(ConfigError, match=found):
        bytecap.fit(model, **arguments)


def test_batches_that_are_none_and_losses_that_are_nan() -> None:
    """A path, a table, and a loss that is no number."""
    model, batches = trained()
    for given in ("my.txt", {"input_ids": batches[0]}):
        with pytest.raises(ConfigError, match="it must be a list of batches"):
            bytecap.fit(model, given, loss=logits_and_labels, cap_bytes=3500)

    def nan(model: nn.Module, batch: Tensor) -> Tensor:
        return data_losses(model, batch) * float("nan")

    with pytest.raises(NumericsError, match="gave NaN; look at the batch"):
        bytecap.fit(model, batches[:1], loss=nan, cap_bytes=3500)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_whatever_the_caller_is_in(mode: Any) -> None:
    """A notebook that evaluates under `torch.no_grad()` or `torch.inference_mode()` gets the same file."""
    model, batches = trained()
    config = bytecap.QuantConfig(calibration_tokens=512, states=1)
    with mode():
        inside = bytecap.fit(model, batches[:4], loss=logits_and_labels, cap_bytes=3500, config=config)
        assert not torch.is_grad_enabled()
    assert inside.data == bytecap.fit(model, batches[:4], loss=logits_and_labels, cap_bytes=3500, config=config).data


def test_modules_without_values_are_refused() -> None:
    """Lazy modules before their first batch, and modules on the meta device."""
    lazy = nn.Sequential(nn.Embedding(24, 16), nn.LazyLinear(24))
    with pytest.raises(ConfigError, match=r"1\.weight is not initialized; run the model once"):
        bytecap.fit(lazy, tiny_batches(), loss=next_token, cap_bytes=3_000)
    with pytest.raises(ConfigError, match="meta device"):
        bytecap.fit(Tiny().to("meta"), tiny_batches(), loss=next_token, cap_bytes=3_000)


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("generate", ("FILE", None), {}, "the prompt is of type NoneType; give it as a string"),
    ("generate", ("FILE", b"a"), {}, "the prompt is of type bytes"),
    ("generate", ("FILE", "a"), {"tokens": "5"}, "tokens is '5'; it must be a whole number"),
    ("generate", ("FILE", "a"), {"tokens": 5.0}, "tokens is 5.0; it must be a whole number"),
    ("generate", ("FILE", "a"), {"temperature": "hot"}, "temperature is 'hot'; it must be a number"),
    ("generate", ("FILE", "a"), {"seed": None}, "seed is None; it must be a whole number"),
    ("generate", (None, "a"), {}, "given by its path, not by an object of type NoneType"),
    ("score", ("FILE",), {"text": None}, "text names no file"),
    ("score", ("FILE",), {"text": 5}, "text names no file"),
    ("score", ("FILE",), {"text": b"abc"}, "text names no file"),
    ("score", ("FILE",), {"text": [1, 2]}, "text names no file"),
    ("score", ("FILE",), {"text": "TEXT", "stride": "8"}, "stride is '8'; it must be a whole number"),
    ("score", ("FILE",), {"text": "TEXT", "adapt": 3}, "adapt is 3; it must be a list of names"),
    ("score", ("FILE",), {"text": "TEXT", "progress": print}, "progress needs the methods"),
    ("score", (None,), {"text": "TEXT"}, "NoneType lacks reset, log_probs, learn; what is scored must be a .bcap"),
    ("score", (nn.Linear(2, 2),), {"text": "TEXT"}, "Linear lacks reset, log_probs, learn"),
    ("load", (None,), {}, "given by its path, not by an object of type NoneType"),
    ("load_state_dict", (7,), {}, "given by its path, not by an object of type int"),
    ("compare", (None, ["x"]), {}, "it must be a list of run folders"),
    ("compare", ([1], ["x"]), {}, "a run is given as 1; give the path"),
    ("compare", (["x"], ["y"]), {"score": 5}, "score is 5; it must be the name of a score"),
    ("TextConfig", (), {"paths": "a.txt"}, "is the string 'a.txt'; it must be a tuple"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "named", "said"), WRONG)
def test_values_of_other_types(
    name: str, given: tuple[Any, ...], named: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """Each public function says which argument it was and what it must be."""
    (tmp_path / "m.bcap").write_bytes(example_file())
    (tmp_path / "t.txt").write_text("the cap is never exceeded\n")
    real = {"FILE": tmp_path / "m.bcap", "TEXT": tmp_path / "t.txt"}
    words = [real.get(value, value) if isinstance(value, str) else value for value in given]
    options = {key: real.get(value, value) if isinstance(value, str) else value for key, value in named.items()}
    with pytest.raises(ConfigError, match=re.escape(said)):
        getattr(bytecap, name)(*words, **options)


def test_texts_and_folders_in_place_of_files(tmp_path: Path) -> None:
    """A text where its path is needed, however long, and a folder where the file in it is."""
    (tmp_path / "m.bcap").write_bytes(example_file())
    for text in ("The first line.\nThe second.", "word " * 2000):
        with pytest.raises(DataError, match="it reads like a text itself, so write it to a file"):
            bytecap.score(tmp_path / "m.bcap", text=text)
    with pytest.raises(DataError, match=r"give the \.bcap file in it"):
        bytecap.load(tmp_path)
    with pytest.raises(DataError, match=r"give the path of a \.bcap file"):
        bytecap.load(tmp_path / "none.bcap")


def test_what_is_taken_too(tmp_path: Path) -> None:
    """An Artifact where its file is meant, a device of torch."""
    (tmp_path / "m.bcap").write_bytes(example_file())
    (tmp_path / "t.txt").write_text("the cap is never exceeded\n")
    artifact = bytecap.load(tmp_path / "m.bcap")
    weights = bytecap.load_state_dict(artifact)
    assert weights.keys() == bytecap.load_state_dict(tmp_path / "m.bcap").keys()
    by_name = bytecap.score(artifact, text=tmp_path / "t.txt", device="cpu")
    assert bytecap.score(artifact, text=tmp_path / "t.txt", device=torch.device("cpu")).nats == by_name.nats
