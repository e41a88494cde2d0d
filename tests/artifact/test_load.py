"""A file whose layout is sound but whose content does not fit its model is refused."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.artifact.inspect import tensor_rows
from bytecap.artifact.layout import Section, parse, write
from bytecap.artifact.load import load, loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.errors import DataError, FormatError
from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import FloatTensor
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT, SPEC, example_file, example_model

PARSED = parse(example_file())
RAW = {name: PARSED.read(name) for name in PARSED.stored}


def changed(header: Any = None, **sections: bytes | None) -> bytes:
    """The example with another header or other sections."""
    parts = {**RAW, **sections}
    kept = [Section(name, "raw", data) for name, data in parts.items() if data is not None]
    return write(PARSED.header if header is None else header, kept)


def with_model(**changes: Any) -> dict[str, Any]:
    return {**PARSED.header, "model": {**PARSED.header["model"], **changes}}


def with_row(index: int, column: int, value: Any) -> dict[str, Any]:
    header = copy.deepcopy(PARSED.header)
    header["tensors"][index][column] = value
    return header


MATRIX = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[1] == "row_column")
NAN = np.full(len(RAW["float16"]) // 2, np.nan, "<f2").view(np.uint8).reshape(-1, 2).T.tobytes()
EVEN = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[1] == "per_tensor")
LOW_RANK = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[1] == "low_rank_corrected")
FREE = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[1:] == ["row_column", 1])
ROWS = SPEC.n_kv_heads * SPEC.d_head


def factors(place: int, value: int) -> bytes:
    """The factors with another integer."""
    data = bytearray(RAW["factors"])
    data[place] = value % 256
    return bytes(data)


FORGERIES: list[tuple[bytes, str]] = [
    (changed(with_model(n_layers=10**9)), "n_layers is 1000000000"),
    (changed(with_model(d_model=10**9)), "d_model is 1000000000"),
    (changed(with_model(d_model=-8)), "d_model is -8"),
    (changed(with_model(d_ff=13)), "."),
    (changed(with_model(techniques=["x"])), "there is no technique"),
    (changed(with_model(techniques=["unet_skips"] * 9)), "names one twice"),
    (changed(with_model(embedding_std=-1.0)), "embedding_std is -1.0; it must lie between"),
    (changed(with_model(rope_base=float("nan"))), "NaN is no number"),
    (changed(with_model(qk_gain=10**400)), "a number has 401 digits"),
    (changed({**PARSED.header, "model": 3}), "must be a table"),
    (changed({**PARSED.header, "tensors": []}), r"a row for 0 of the \d+ tensors"),
    (changed({**PARSED.header, "model": None, "tensors": [["a", "float16", 16, "x", [2]]] * 2}), "stands twice"),
    (changed({**PARSED.header, "tensors": PARSED.header["tensors"] + PARSED.header["tensors"][:1]}), "stands twice"),
    (changed({**PARSED.header, "tensors": [[]] * 100_000}), "at most one for each byte"),
    (changed(with_row(0, 0, "other")), "does not fit any tensor of this model"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a\ud800", "float16", 16, "x", [2]]]}),
        "cannot be printed",
    ),
    (changed({**PARSED.header, "model": None, "tensors": [["a", "float16", 16, "\x1b[2J", [2]]]}), "cannot be printed"),
    (changed(with_row(0, 2, [1 << 40, 8])), "does not describe a tensor"),
    (changed(with_row(0, 1, "pickle")), "format that this shape cannot have"),
    (changed(with_row(0, 2, 16)), "raw bytes, needed"),
    (changed(with_row(1, 2, 7)), "format that this shape"),
    (changed(with_row(MATRIX, 2, 5)), "format that this shape"),
    (changed(with_row(MATRIX, 2, True)), "."),
    (changed(with_row(FREE, 2, True)), "does not describe a tensor"),
    (changed(None, codes=None), "section 'codes' is missing"),
    (changed(None, codes=RAW["codes"][:40]), "."),
    (changed(None, codes=RAW["codes"] + b"\1junk"), "do not end where their bytes end"),
    (changed(None, vectors=RAW["vectors"] + b"\1junk"), "do not end where their bytes end"),
    (changed(None, tokenizer=b"x"), "holds two tokenizers"),
    (changed({**PARSED.header, "more": 1}), "the header must hold written_by, model, tensors, made_from"),
    (changed({k: v for k, v in PARSED.header.items() if k != "lossless"}), "the header must hold"),
    (changed({**PARSED.header, "lossless": "maybe"}), "must be true or false"),
    (changed({**PARSED.header, "context": True}), "1 to 16,384 tokens"),
    (changed({**PARSED.header, "made_from": {}}), "must give the digests of recipe, corpus"),
    (changed(None, codes=b"\xff\xff\xff\xff" + RAW["codes"][4:]), "a step that is not a positive number"),
    (changed(None, codes=bytes(4) + RAW["codes"][4:]), "a step that is not a positive number"),
    (changed(None, codes=b"\0\0\x7f\x7f" + RAW["codes"][4:]), "query.weight are too large for 32 bits"),
    (changed(None, **{"blocks.matrix": RAW["blocks.matrix"] + b"\0"}), "do not add up"),
    (changed(None, **{"blocks.matrix": RAW["blocks.matrix"][:-1]}), "do not add up"),
    (changed(None, **{"blocks.matrix": b""}), "cut short"),
    (changed(None, **{"blocks.matrix": RAW["blocks.matrix"] + bytes(1 << 18)}), "'blocks.matrix' declares .* at most"),
    (changed(None, vectors=None), "section 'vectors' is missing"),
    (changed(None, vectors=RAW["vectors"][:7]), "section 'vectors' is cut short"),
    (changed(None, vectors=b"\xff\xff\x7f\x7f" + RAW["vectors"][4:]), "too large for 32 bits"),
    (changed(None, vectors=bytes(4) + RAW["vectors"][4:]), "not a positive number"),
    (changed(None, vectors=RAW["vectors"][:8] + b"\xff" * 40), "."),
    (changed(with_row(EVEN, 2, 8)), "format that this shape"),
    (changed(with_row(EVEN, 1, "float16")), "section 'float16' declares"),
    (changed(None, scales=RAW["scales"] + b"\0\0"), "raw bytes, needed"),
    (changed(None, scales=RAW["scales"][:-2]), "raw bytes, needed"),
    (changed(None, factors=None), "section 'factors' is missing"),
    (changed(None, factors=RAW["factors"][:-1]), "section 'factors' declares .* raw bytes, needed"),
    (changed(None, factors=RAW["factors"] + b"\0"), "section 'factors' declares .* raw bytes, needed"),
    (changed(None, factors=factors(0, 2)), "factor of tensor blocks.0.attention.value.weight does not fit 2 bits"),
    (changed(None, factors=factors(4 * ROWS - 1, -3)), "does not fit 2 bits"),
    (changed(None, factors=factors(4 * ROWS, 8)), "does not fit 4 bits"),
    (changed(None, factors=factors(len(RAW["factors"]) - 1, -9)), "blocks.1.attention.value.weight does not fit 4"),
    (changed(None, factor_scales=RAW["factor_scales"][:-2]), "section 'factor_scales' declares"),
    (changed(None, factor_scales=None), "section 'factor_scales' is missing"),
    (changed(None, factor_scales=b"\xff" * len(RAW["factor_scales"])), "value.weight holds NaN or infinity"),
    (changed(with_row(LOW_RANK, 1, "per_channel")), "section 'scales'|section 'factors' declares"),
    (changed(with_row(LOW_RANK, 2, 32)), "format that this shape"),
    (changed(with_row(MATRIX, 1, "low_rank_corrected")), "section 'scales' declares"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "low_rank_corrected", 8, "x", [2, 2, 2]]]}),
        "format that this shape",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "low_rank_corrected", 8, "x", [512, 512]]]}),
        "section 'symbols.x' is missing",
    ),
    (changed(None, float32=RAW["float32"][:-4]), "raw bytes, needed"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "float16", 16, "x", [1 << 30, 1 << 20]]]}),
        "does not describe a tensor",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "float16", 16, "x", [1 << 20, 1 << 20]]]}),
        "to hold tensors this large it must have 8,589,918,208",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "row_column", 8, "x", [1 << 20, 1 << 10]]]}),
        "to hold tensors this large",
    ),
    (changed(None, float16=RAW["float16"][:-1]), "raw bytes, needed"),
    (changed(None, float16=NAN), "holds NaN or infinity"),
    (changed(None, other=b"x"), "section 'other' belongs to no tensor"),
    (changed({**PARSED.header, "made_from": [1]}), "made_from"),
    (changed({**PARSED.header, "made_from": {**PARSED.header["made_from"], "recipe": "\x1b[2J"}}), "printable letters"),
    (changed({**PARSED.header, "written_by": "x" * 65}), "printable letters"),
    (changed({**PARSED.header, "context": 0}), "1 to 16,384 tokens"),
    (changed({**PARSED.header, "context": 1 << 40}), "1 to 16,384 tokens"),
]


@pytest.mark.parametrize(("data", "message"), FORGERIES)
def test_forged_headers_are_refused_each_with_its_message(data: bytes, message: str) -> None:
    """Each with its own sentence, none with a traceback of another kind."""
    with pytest.raises(FormatError, match=message):
        loads(data)


def test_whole_numbers_for_floats() -> None:
    """JSON has one kind of number; the model has floats."""
    spec = loads(changed(with_model(qk_gain=1, rope_base=10**17))).model().spec
    assert type(spec.qk_gain) is float and spec.rope_base == 1e17


def test_missing_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    """The path stands in the message; a missing file is not a damaged one."""
    path = tmp_path / "model.bcap"
    with pytest.raises(DataError, match=r"cannot read .*model.bcap: No such file"):
        load(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(
        FormatError, match=r"model.bcap: this is not a .bcap file, as .* make one of a checkpoint with `bytecap fit"
    ):
        load(path)
    path.write_bytes(example_file())
    assert load(path).size_bytes == path.stat().st_size


def test_weights_alone() -> None:
    """A file without a model gives its weights, and says so when a model is asked for."""
    artifact = loads(example_file(spec=None))
    assert artifact.spec is None and len(artifact.quantized.state_dict()) == len(PARSED.header["tensors"])
    with pytest.raises(DataError, match="weights without a model"):
        artifact.model()


def test_what_a_model_adapts_by() -> None:
    """Strategy and settings of the default score lie in the header, and nothing where there are none."""
    plain = pack(SPEC, example_model(), b"", ABOUT, ArtifactConfig())
    about = dataclasses.replace(ABOUT, strategy="streaming", adapt={"lora": {"rank": 4}})
    found = loads(pack(SPEC, example_model(), b"", about, ArtifactConfig()))
    assert (found.strategy, found.adapt) == ("streaming", {"lora": {"rank": 4}})
    assert (loads(plain).strategy, loads(plain).adapt) == ("", {}) and b"adapt" not in plain
    with pytest.raises(FormatError, match="the header's adapt must be a table of at most 4,096 letters"):
        loads(pack(SPEC, example_model(), b"", dataclasses.replace(ABOUT, adapt={"x": "y" * 5000}), ArtifactConfig()))


STORED: dict[str, StoredTensor] = {
    name: FloatTensor("matrix", np.full((2, 3), value, np.float16)) for name, value in (("a", 1.0), ("b", 2.0))
}
TWINS = {"c": "a", "d": "a"}


def with_aliases(aliases: object, spec: bool = False) -> bytes:
    """A file with this table of aliases, whatever it holds."""
    data = pack(None, QuantizedModel(STORED, TWINS), b"", ABOUT, ArtifactConfig(compressor="raw"))
    parsed = parse(example_file(compressor="raw") if spec else data)
    sections = [Section(name, "raw", parsed.read(name)) for name in parsed.stored]
    return write(parsed.header | {"aliases": aliases}, sections)


def test_tensors_with_two_names() -> None:
    """Each name has its own numbers, a row of no bytes, and its share of the bound on memory; version 5."""
    data = with_aliases(TWINS)
    artifact = loads(data)
    state = artifact.quantized.state_dict()
    assert parse(data).version == 5 and list(state) == ["a", "b", "c", "d"]
    assert torch.equal(state["c"], state["a"]) and torch.equal(state["d"], torch.ones(2, 3))
    state["c"][0, 0] = 7
    assert state["a"][0, 0] == 1
    rows = {row.name: row for row in tensor_rows(artifact)}
    assert rows["c"].coded_bytes == 0 and rows["c"].format == "same as a" and rows["c"].shape == (2, 3)
    assert sum(row.coded_bytes for row in rows.values()) == len(data)
    once, twice = (QuantizedModel(STORED, aliases).min_file_bytes for aliases in ({}, TWINS))
    assert once == twice == 0
    wide: dict[str, StoredTensor] = {"a": FloatTensor("matrix", np.zeros((1 << 11, 1 << 10), np.float16))}
    assert QuantizedModel(wide).min_file_bytes == 0 and QuantizedModel(wide, {"b": "a"}).min_file_bytes == 1 << 14


@pytest.mark.parametrize("aliases", [{}, [], None, {"c": "e"}, {"a": "b"}, {"c": "a", "d": "c"}, {"c": 1}, {"\n": "a"}])
def test_aliases_that_cannot_be(aliases: object) -> None:
    """Of no tensor, of another alias, under a name that is taken or cannot be printed."""
    with pytest.raises(FormatError, match="alias"):
        loads(with_aliases(aliases))


def test_our_models_have_no_aliases() -> None:
    """Their tensors are those that the model spec names."""
    with pytest.raises(FormatError, match="a file without a model"):
        loads(with_aliases({"c": "embedding"}, spec=True))


def test_many_aliases_of_a_large_tensor() -> None:
    """A small file cannot ask for the memory of a thousand copies."""
    zeros: dict[str, StoredTensor] = {"a": PerTensorQuantized("scalar", np.zeros(1 << 20, np.int16), 1.0)}
    data = pack(None, QuantizedModel(zeros, {f"b{i}": "a" for i in range(1000)}), b"", ABOUT, ArtifactConfig())
    with pytest.raises(FormatError, match="to hold tensors this large"):
        loads(data)
