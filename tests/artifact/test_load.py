"""A file whose layout is sound but whose content does not fit its model is refused."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytecap.artifact.layout import Section, parse, write
from bytecap.artifact.load import load, loads
from bytecap.core.errors import DataError, FormatError
from tests.artifact.example import example_file

PARSED = parse(example_file())
RAW = {name: PARSED.section(name) for name in PARSED.stored}


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


MATRIX = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[3] == "steps")
NAN = np.full(len(RAW["float16"]) // 2, np.nan, "<f2").view(np.uint8).reshape(-1, 2).T.tobytes()
EVEN = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[3] == "even")
LOW_RANK = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[3] == "row_scales_low_rank")
FREE = next(i for i, row in enumerate(PARSED.header["tensors"]) if row[3] == "steps" and row[4] == 1)
ROWS = PARSED.header["tensors"][LOW_RANK][2][0]


def factors(place: int, value: int) -> bytes:
    """The factors with another integer."""
    data = bytearray(RAW["factors"])
    data[place] = value % 256
    return bytes(data)


FORGERIES: list[tuple[bytes, str]] = [
    (changed(with_model(n_layers=10**9)), "n_layers is 1000000000"),
    (changed(with_model(d_model=10**9)), "d_model is 1000000000"),
    (changed(with_model(d_model=-8)), "d_model is -8"),
    (changed(with_model(d_ff=13)), "does not fit"),
    (changed(with_model(techniques=["x"])), "there is no technique"),
    (changed(with_model(techniques=["unet_skips"] * 9)), "names one twice"),
    (changed(with_model(embedding_std=-1.0)), "embedding_std is -1.0; it must lie between"),
    (changed(with_model(rope_base=float("nan"))), "rope_base is nan"),
    (changed(with_model(qk_gain=10**400)), "qk_gain is too large"),
    (changed({**PARSED.header, "model": 3}), "must be a table"),
    (changed({**PARSED.header, "tensors": []}), "must have"),
    (changed({**PARSED.header, "model": None, "tensors": PARSED.header["tensors"][:1] * 2}), "stands twice"),
    (changed(with_row(0, 0, "other")), "does not fit embedding"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a\ud800", "x", [2], "float16", 16]]}),
        "cannot be printed",
    ),
    (changed({**PARSED.header, "model": None, "tensors": [["a", "\x1b[2J", [2], "float16", 16]]}), "cannot be printed"),
    (changed(with_row(0, 2, [1 << 40, 8])), "does not fit embedding"),
    (changed(with_row(0, 3, "pickle")), "impossible grid"),
    (changed(with_row(0, 4, 16)), "raw bytes, needed"),
    (changed(with_row(1, 4, 7)), "impossible grid"),
    (changed(with_row(MATRIX, 4, 5)), "impossible grid"),
    (changed(with_row(MATRIX, 4, True)), "."),
    (changed(with_row(FREE, 4, True)), "does not fit blocks"),
    (changed(None, codes=None), "section 'codes' is missing"),
    (changed(None, codes=RAW["codes"][:40]), "."),
    (changed(None, codes=RAW["codes"] + b"\1junk"), "do not end where their bytes end"),
    (changed(None, vectors=RAW["vectors"] + b"\1junk"), "do not end where their bytes end"),
    (changed(None, tokenizer=b"x"), "holds two tokenizers"),
    (changed({**PARSED.header, "more": 1}), "the header must hold context, lossless, made_from"),
    (changed({k: v for k, v in PARSED.header.items() if k != "lossless"}), "the header must hold"),
    (changed({**PARSED.header, "lossless": "maybe"}), "must be true or false"),
    (changed({**PARSED.header, "context": True}), "1 to 65,536 tokens"),
    (changed({**PARSED.header, "made_from": {}}), "must give the digests of recipe, corpus"),
    (changed(None, codes=b"\xff\xff\xff\xff" + RAW["codes"][4:]), "a step is not a positive number"),
    (changed(None, codes=bytes(4) + RAW["codes"][4:]), "a step is not a positive number"),
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
    (changed(with_row(EVEN, 4, 8)), "impossible grid"),
    (changed(with_row(EVEN, 3, "float16")), "section 'float16' declares"),
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
    (changed(with_row(LOW_RANK, 3, "row_scales")), "section 'scales'|section 'factors' declares"),
    (changed(with_row(LOW_RANK, 4, 32)), "impossible grid"),
    (changed(with_row(MATRIX, 3, "row_scales_low_rank")), "section 'scales' declares"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "x", [2, 2, 2], "row_scales_low_rank", 8]]}),
        "impossible grid",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "x", [512, 512], "row_scales_low_rank", 8]]}),
        "belongs to no tensor",
    ),
    (changed(None, float32=RAW["float32"][:-4]), "raw bytes, needed"),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "x", [1 << 30, 1 << 20], "float16", 16]]}),
        "does not fit any",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "x", [1 << 20, 1 << 20], "float16", 16]]}),
        "more than",
    ),
    (
        changed({**PARSED.header, "model": None, "tensors": [["a", "x", [1 << 20, 1 << 10], "steps", 8]]}),
        "more than",
    ),
    (changed(None, float16=RAW["float16"][:-1]), "raw bytes, needed"),
    (changed(None, float16=NAN), "holds NaN or infinity"),
    (changed(None, other=b"x"), "section 'other' belongs to no tensor"),
    (changed({**PARSED.header, "made_from": [1]}), "made_from"),
    (changed({**PARSED.header, "context": 0}), "1 to 65,536 tokens"),
    (changed({**PARSED.header, "context": 1 << 40}), "1 to 65,536 tokens"),
]


@pytest.mark.parametrize(("data", "message"), FORGERIES)
def test_forgeries(data: bytes, message: str) -> None:
    """Each with its own sentence, none with a traceback of another kind."""
    with pytest.raises(FormatError, match=message):
        loads(data)


def test_whole_numbers_for_floats() -> None:
    """JSON has one kind of number; the model has floats."""
    spec = loads(changed(with_model(qk_gain=1, rope_base=10**29))).model().spec
    assert type(spec.qk_gain) is float and spec.rope_base == 1e29


def test_files(tmp_path: Path) -> None:
    """The path stands in the message; a missing file is not a damaged one."""
    path = tmp_path / "model.bcap"
    with pytest.raises(DataError, match=r"cannot read .*model.bcap: No such file"):
        load(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(FormatError, match=r"model.bcap: this is not a .bcap file"):
        load(path)
    path.write_bytes(example_file())
    assert load(path).size_bytes == path.stat().st_size


def test_weights_alone() -> None:
    """A file without a model gives its weights, and says so when a model is asked for."""
    artifact = loads(changed({**PARSED.header, "model": None}))
    assert artifact.spec is None and len(artifact.quantized.state_dict()) == len(PARSED.header["tensors"])
    with pytest.raises(FormatError, match="weights without a model"):
        artifact.model()
