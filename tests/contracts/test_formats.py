"""What every stored format must do; a new one is found in the table by itself."""

import dataclasses
import inspect
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.artifact.inspect import tensor_rows
from bytecap.artifact.layout import Section, parse, write
from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.errors import FormatError
from bytecap.formats.base import StoredTensor, TensorEntry
from bytecap.formats.floats import FloatTensor
from bytecap.formats.plan import TensorPlan
from bytecap.formats.size_estimate import coded_bytes
from bytecap.formats.table import FORMATS, estimate_size, format_of
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT
from tests.formats.examples import EXAMPLES, SHAPES, shapes_of

each_format = pytest.mark.parametrize("name", FORMATS)
OTHER = FloatTensor("scalar", np.arange(3, dtype=np.float32))


def example(name: str, seed: int, shape: tuple[int, ...] | None = None) -> StoredTensor:
    """A random tensor of a format."""
    assert name in EXAMPLES, f"add an example of {name} to tests/formats/examples.py"
    rng = np.random.default_rng(seed)
    shapes = list(shapes_of(name))
    return EXAMPLES[name](rng, shapes[int(rng.integers(len(shapes)))] if shape is None else shape)


def packed(tensors: dict[str, StoredTensor], compressor: str = "raw") -> bytes:
    """A file of these tensors."""
    return pack(None, QuantizedModel(tensors), b"", ABOUT, ArtifactConfig(compressor=compressor))


def same(one: Any, other: Any) -> bool:
    """Equal in every field, to the bit."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return bool(one == other)


@each_format
@settings(max_examples=15)
@given(st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    """Tensors of several shapes and roles, between tensors of every other format, come back to the last bit."""
    seeds = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True))
    tensors: dict[str, StoredTensor] = {}
    for i, seed in enumerate(seeds):
        tensor = example(name, seed)
        inner = tensor.scaled if hasattr(tensor, "scaled") else tensor
        object.__setattr__(inner, "role", f"role{seed % 2}")
        tensors |= {f"{name}.{i}": tensor, f"other.{i}": example(list(FORMATS)[seed % len(FORMATS)], seed)}
    found = loads(packed(tensors)).quantized
    assert list(found.tensors) == list(tensors)
    for key, tensor in tensors.items():
        assert same(tensor, found.tensors[key])
        weights = tensor.weights()
        assert weights.dtype == np.float32 and weights.shape == tensor.shape
        assert weights.tobytes() == found.tensors[key].weights().tobytes()


@each_format
@pytest.mark.parametrize("seed", range(3))
def test_size_estimate(name: str, seed: int) -> None:
    """What a tensor is estimated to take is what it takes behind the usual compressor, within a fifth."""
    tensors = {"a": example(name, seed, (120, 150)), "b": example(name, seed, (90, 31))}
    estimate = sum(coded_bytes({key: estimate_size(tensor) for key, tensor in tensors.items()}).values())
    stored = sum(size.stored for size in parse(packed(tensors, "brotli")).sizes)
    assert estimate == pytest.approx(stored, rel=0.2, abs=60)


@each_format
def test_inspect_accounts_for_every_byte(name: str) -> None:
    """A few printable words, and every byte of every section is somebody's."""
    tensors = {"a": example(name, 1), "b": example(name, 2), "c": OTHER}
    data = packed(tensors, "zlib")
    rows = {row.name: row for row in tensor_rows(loads(data))}
    assert rows["a"].format.isprintable() and 0 < len(rows["a"].format) < 60
    assert sum(row.coded_bytes for row in rows.values()) == len(data)
    assert sum(rows[key].coded_bytes for key in tensors) == sum(size.stored for size in parse(data).sizes)
    assert all(rows[key].coded_bytes > 0 for key in tensors)


@each_format
@pytest.mark.parametrize("seed", range(4))
def test_plain_parts_have_the_declared_sizes(name: str, seed: int) -> None:
    """What a tensor writes is what its entry says it will read."""
    tensor, found = example(name, seed), FORMATS[name]
    assert format_of(tensor) is found and found.allows(tensor.shape, found.detail(tensor))
    entry = TensorEntry("a", tensor.role, tensor.shape, name, found.detail(tensor))
    sizes = found.plain_sizes(entry)
    assert {section: len(data) for section, data in found.plain_parts(tensor).items()} == sizes
    assert all(size % section.number_bytes == 0 for section, size in sizes.items())


@each_format
@pytest.mark.parametrize("seed", range(4))
def test_malformed_sections(name: str, seed: int) -> None:
    """A section that is missing, cut, empty, longer or doubled is refused; noise in it is refused or read, no more.

    By more than a few bytes: an adaptive stream reads ahead, so its last bytes are held by the checksum alone.
    """
    tensor = example(name, seed)
    parsed = parse(packed({"a": tensor, "b": example(name, seed + 1)}))
    raw = {section: parsed.read(section) for section in parsed.stored}
    rng = np.random.default_rng(seed)

    def changed(section: str, data: bytes | None) -> bytes:
        parts = {**raw, section: data}
        return write(parsed.header, [Section(key, "raw", part) for key, part in parts.items() if part is not None])

    for section, data in raw.items():
        for wrong in (None, b"", data[: len(data) // 2], data + b"\1" * 12, data * 2):
            with pytest.raises(FormatError):
                loads(changed(section, wrong))
        for wrong in (b"\xff" * len(data), bytes(len(data)), rng.bytes(len(data))):
            try:
                loads(changed(section, wrong))
            except FormatError:
                continue
    with pytest.raises(FormatError, match="belongs to no tensor"):
        loads(changed("more", b"x"))


@each_format
def test_other_shapes_and_details_are_refused(name: str) -> None:
    """Nothing is read by a format that says it cannot be."""
    header = parse(packed({"a": example(name, 0)})).header
    found, refused = FORMATS[name], 0
    for shape in [*SHAPES, (), (2, 2, 2), (1 << 22,)]:
        for detail in (-1, 0, 1, 5, 8, 16, 32, 64, 1 << 40):
            if not found.allows(shape, detail):
                refused += 1
                with pytest.raises(FormatError, match="format that this shape cannot have"):
                    loads(write({**header, "tensors": [["a", name, detail, "x", list(shape)]]}, []))
    assert refused


@each_format
def test_work_is_bounded_by_the_size_of_the_file(name: str) -> None:
    """A file of a few hundred bytes cannot declare a tensor that would take gigabytes or minutes."""
    header = parse(packed({"a": example(name, 0)})).header
    detail = header["tensors"][0][2]
    for shape in ((1 << 24, 1 << 10), (1 << 20, 1 << 10), (1 << 23, 1), (1, 1 << 24)):
        rows = [[f"a{i}", name, detail, "x", list(shape)] for i in range(16)]
        with pytest.raises(FormatError, match=r"to hold tensors this large|this shape cannot have"):
            loads(write({**header, "tensors": rows}, []))


def test_every_format_is_exemplified() -> None:
    """The table and the examples name the same formats, each once."""
    assert set(EXAMPLES) == set(FORMATS)
    for name, found in FORMATS.items():
        assert found.name == name and name.isidentifier() and list(shapes_of(name))
        assert math.prod(next(shapes_of(name))) >= 1


BEGIN = "<!-- formats: written by tests/contracts/test_formats.py from the formats' docstrings -->\n"
END = "<!-- end of"
PAGE = Path(__file__).parents[2] / "docs" / "artifact_format.md"


def page() -> str:
    """The part of the page that is written from docstrings: a heading and the text for each."""
    parts = dict[str, list[str]]()
    for name, found in FORMATS.items():
        parts.setdefault(inspect.cleandoc(type(found).__doc__ or ""), []).append(f"`{name}`")
    texts = []
    for text, names in parts.items():
        first, _, rest = text.partition("\n\n")
        texts.append(f"### {', '.join(names)}\n\n{first}\n\n{rest}")
    return "\n" + "\n\n".join(texts) + "\n\n"


def test_the_page_is_that_of_the_docstrings() -> None:
    """docs/artifact_format.md holds every format's docstring; `python -m tests.contracts.test_formats` writes them."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    assert rest.partition(END)[0] == page(), "run python -m tests.contracts.test_formats"
    assert before and all(len((type(found).__doc__ or "").splitlines()) > 3 for found in FORMATS.values())


def test_the_guide_makes_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/extending.md, in the table, stores what it should and refuses what it must."""
    guide = (PAGE.parent / "extending.md").read_text("utf-8").partition("## A stored format")[2]
    source = guide.partition("```python\n")[2].partition("```")[0]
    module = types.ModuleType("bfloat16")
    monkeypatch.setitem(sys.modules, "bfloat16", module)
    exec(compile(source, "docs/extending.md", "exec"), module.__dict__)
    (found,) = module.FORMATS
    monkeypatch.setitem(FORMATS, found.name, found)
    weight = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    tensor = found.nearest(TensorPlan(name="a", role="scalar", shape=weight.shape, format=found.name), weight)
    assert np.abs(tensor.weights() - weight).max() < 2**-8 * np.abs(weight).max()
    data = packed({"a": tensor, "b": OTHER, "c": tensor}, "zlib")
    assert same(loads(data).quantized.tensors["c"], tensor) and tensor_rows(loads(data))[0].format == found.name
    assert estimate_size(tensor).own_bytes <= 2 * weight.size
    with pytest.raises(FormatError, match="holds NaN or infinity"):
        loads(packed({"a": dataclasses.replace(tensor, halves=tensor.halves | 0x7F80)}))


if __name__ == "__main__":
    head, _, tail = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + page() + END + tail.partition(END)[2], "utf-8")
