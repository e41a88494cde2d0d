"""Which table of a checkpoint holds the weights: as people's trainers write them."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch

from bytecap.convert.tables import choose, find_tables, flatten, unwrap_names
from bytecap.core.errors import ConfigError, DataError

W = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4), "n": torch.tensor(7)}
EMA = {name: value * 2 for name, value in W.items()}
ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 3)}}, "param_groups": [{"lr": 0.1}]}
BY_NAME = {"state": {"a.weight": {"exp_avg": torch.ones(4, 3)}}, "param_groups": [{"params": ["a.weight"]}]}
FORMS: dict[str, tuple[Any, str]] = {
    "bare": (W, "."),
    "ordered": (collections.OrderedDict(W), "."),
    "loop": ({"model": W, "optimizer": ADAM, "epoch": 3, "rng_state": torch.zeros(9, dtype=torch.uint8)}, "model"),
    "named optimizer": ({"optimizer": BY_NAME, "net": W}, "net"),
    "lightning": (
        {
            "epoch": 1, "state_dict": W, "optimizer_states": [ADAM], "lr_schedulers": [{"base_lrs": [0.1]}],
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3), "best_k_models": {}}},
            "loops": {"fit_loop": {"state_dict": {}}}, "hyper_parameters": {"width": 8},
        },
        "state_dict",
    ),
    "deeper": ({"trainer": {"checkpoint": {"model": W}, "curve": torch.ones(100)}}, "trainer.checkpoint.model"),
    "twice the same": ({"model": W, "best": W}, "model"),
    "nested names": ({"embed": {"w": torch.ones(2, 2)}, "head": torch.ones(2, 2)}, "."),
    "vectors alone": ({"model": {"gain": torch.ones(3)}, "seed": 1}, "model"),
    "half": ({"model": {"w": torch.ones(2, 2).bfloat16()}}, "model"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_one_table_is_found_in_any_form(form: str) -> None:
    """One table is meant, whatever lies beside it."""
    root, where = FORMS[form]
    path, table = choose(root, None)
    assert path == where and flatten(table)[0]
    assert choose(root, where)[0] == where


def test_several_tables_are_named_and_a_key_chooses() -> None:
    """What may be meant is named with its size, and a key chooses; dots in keys are no matter."""
    root = {"model": W, "model.ema": EMA, "x": {"y.z": EMA}}
    with pytest.raises(ConfigError, match=r"model \(3 tensors, 17 numbers\), model.ema .*--key model "):
        choose(root, None)
    for key in ("model.ema", "x.y.z"):
        assert choose(root, key)[1]["a.bias"] is EMA["a.bias"]
    split = {"encoder": W, "decoder": W | {"extra": torch.ones(2)}, "epoch": 3}
    with pytest.raises(ConfigError, match="more than one"):
        choose(split, None)
    tensors, left = flatten(choose(split, ".")[1])
    assert len(tensors) == 7 and "encoder.a.weight" in tensors and left == {"epoch": "int"}
    with pytest.raises(ConfigError, match=r"--key nope leads to no weights; there are encoder .*, decoder "):
        choose(split, "nope")


@pytest.mark.parametrize(
    "root", [{}, [], None, 3, "x", torch.ones(3), {"a": 1}, {0: torch.ones(2, 2)}, {"state": {}, "param_groups": []}]
)
def test_a_file_without_named_weights_is_refused(root: Any) -> None:
    """No weights with names: said so."""
    with pytest.raises(DataError, match="no weights with names"):
        choose(root, None)


def test_endless_tables() -> None:
    """A table that holds itself, tables that share tables, and tables nested too deeply all come to an end."""
    circle: dict[str, Any] = {"w": {"a": torch.ones(2, 2)}}
    circle["self"] = circle
    assert list(find_tables(circle)) == ["w"]
    laughs: list[Any] = [torch.ones(1)]
    for _ in range(200):
        laughs = [laughs, laughs]
    assert find_tables({"a": laughs}) == {}
    deep: dict[str, Any] = {"w": torch.ones(2, 2)}
    for _ in range(5000):
        deep = {"x": deep}
    assert find_tables(deep) == {}


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (["module.a", "module.b"], ["a", "b"]),
        (["_orig_mod.a.w", "_orig_mod.b"], ["a.w", "b"]),
        (["module._orig_mod.module.a"], ["a"]),
        (["blocks.0._orig_mod.w", "head"], ["blocks.0.w", "head"]),
        (["_fsdp_wrapped_module.a._checkpoint_wrapped_module.w"], ["a.w"]),
        (["module.a", "b"], ["module.a", "b"]),
        (["a._orig_mod.w", "a.w"], ["a._orig_mod.w", "a.w"]),
        (["module.", "module.b"], ["module.", "module.b"]),
        ([], []),
    ],
)
def test_prefixes_of_wrappers_are_removed(given: list[str], plain: list[str]) -> None:
    """What DataParallel, compile, FSDP and checkpointing put into names goes, unless names would meet."""
    assert unwrap_names(given) == dict(zip(given, plain, strict=True))


def test_what_is_no_weight_says_why() -> None:
    """Whole numbers, and keys that are no names."""
    table = {"w": torch.ones(2, 2, dtype=torch.int8), 3: torch.ones(2, 2)}
    with pytest.raises(DataError, match=r"no weights with names, but a table of w \(int8\), 3, which is no name; save"):
        choose(table, None)
