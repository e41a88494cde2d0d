"""Files of every version that is still read give the weights that they always gave, and damage to them is damage."""

import json
import random
import struct
import zlib

import numpy as np
import pytest

from bytecap.artifact.layout import READABLE, VERSION
from bytecap.artifact.load import loads
from bytecap.coding.general import compress, decompress
from bytecap.core.errors import FormatError
from bytecap.formats.table import FORMATS, format_of
from tests.artifact.golden import FACTS, FOLDER, digest_weights, loss
from tests.fuzz.containers import Container, read_container, write_container
from tests.fuzz.mutate import dump_json, mutate_bytes, mutate_json

FILES = json.loads(FACTS.read_text())
each_file = pytest.mark.parametrize("name", FILES)


@each_file
def test_weights_for_ever(name: str) -> None:
    """Every weight to the last bit, each in its place."""
    artifact = loads((FOLDER / name).read_bytes())
    state = artifact.quantized.state_dict()
    assert digest_weights(value.numpy() for value in state.values()) == FILES[name]["weights"]
    if "loss" in FILES[name]:
        assert loss(artifact) == pytest.approx(FILES[name]["loss"], rel=1e-4)
    if name.startswith("v5"):
        assert artifact.attached == {"config.json": b"{}", "empty": b"", "tokenizer.json": bytes(range(256))}
    if name == "v5_weights.bcap":
        assert sorted(set(artifact.dtypes.values())) == ["BF16", "F32"] and artifact.dtypes.keys() == state.keys()


def test_every_version_and_format() -> None:
    """A model and weights of each version that is read; in today's every format. Older and newer ones are refused."""
    assert set(FILES) == {f"v{version}_{what}.bcap" for version in READABLE for what in ("model", "weights")}
    newest = loads((FOLDER / f"v{VERSION}_weights.bcap").read_bytes())
    assert {format_of(tensor).name for tensor in newest.quantized.tensors.values()} == set(FORMATS)
    data = (FOLDER / f"v{VERSION}_weights.bcap").read_bytes()
    for version, advice in ((1, "an older"), (VERSION + 1, "a newer")):
        with pytest.raises(FormatError, match=f"format version {version} .* install {advice} bytecap"):
            loads(data[:4] + struct.pack("<H", version) + data[6:])


@each_file
@pytest.mark.parametrize("seed", range(60))
def test_damage_inside_the_checksums(name: str, seed: int) -> None:
    """Random changes with checksums repaired: FormatError, or finite weights of the shapes that the file declares."""
    rng = random.Random(f"{name} {seed}")
    container = read_container((FOLDER / name).read_bytes())
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.4:
            container.header = mutate_json(rng, container.header)
        elif isinstance(container.header, dict):
            damage_section(rng, container)
    data = write_container(container.version, dump_json(rng, container.header), container.sections)
    try:
        artifact = loads(data)
    except FormatError as error:
        assert str(error).isprintable()
        return
    for tensor in artifact.quantized.tensors.values():
        weights = tensor.weights()
        assert weights.shape == tensor.shape and np.isfinite(weights).all()


def damage_section(rng: random.Random, container: Container) -> None:
    """Other bytes in one section, as it is stored or as it is unpacked, under a right checksum."""
    try:
        at = rng.randrange(len(container.sections))
        row, stored = container.table[at], container.sections[at]
        codec, raw_size = str(row[1]), int(row[3])
        if rng.random() < 0.7:
            raw = mutate_bytes(rng, decompress(codec, stored, raw_size))
            raw = (raw + bytes(raw_size))[:raw_size] if rng.random() < 0.6 else raw
            stored, raw_size = compress(codec, raw), len(raw)
        else:
            stored = mutate_bytes(rng, stored)
    except Exception:  # an earlier change has left no sound section
        return
    container.sections[at] = stored
    row[2:] = [len(stored), raw_size, zlib.crc32(stored)]
