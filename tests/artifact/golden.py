"""Small files of every version that is still read, kept for ever in tests/golden/bcap.

usage: python -m tests.artifact.golden    writes those of today's version, if they are not there

`facts.json` has a digest of each file's weights, whatever their names and order, and the loss of its model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from bytecap.artifact.attached import Attached
from bytecap.artifact.layout import VERSION, Section, parse, write
from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.coding.general import CODECS
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT, SPEC, example_model, example_tokenizer
from tests.formats.examples import EXAMPLES, shapes_of

FOLDER = Path(__file__).parents[1] / "golden" / "bcap"
FACTS = FOLDER / "facts.json"


def digest_weights(arrays: Iterable[np.ndarray]) -> str:
    """A digest of shapes and float32 values, in any order."""
    each = sorted(
        hashlib.sha256(repr(tuple(one.shape)).encode() + np.ascontiguousarray(one, "<f4").tobytes()).hexdigest()
        for one in arrays
    )
    return hashlib.sha256("".join(each).encode()).hexdigest()


def loss(artifact: Artifact) -> float:
    """Mean loss on two rows of made-up tokens, in nats: names that went to the wrong places would change it."""
    tokens_BT = torch.arange(64).reshape(2, 32) * 7 % SPEC.vocab_size
    with torch.no_grad():
        return float(artifact.model()(tokens_BT[:, :-1], tokens_BT[:, 1:], -1).double().mean())


def with_every_codec(data: bytes) -> bytes:
    """The same file with its sections through one codec after the other; coded ones stay as they are."""
    parsed = parse(data)
    coded = ("blocks.", "codes", "vectors", "group_blocks.", "group_classes")
    sections = [
        Section(size.name, "raw" if size.name.startswith(coded) else CODECS[i % len(CODECS)], parsed.read(size.name))
        for i, size in enumerate(parsed.sizes)
    ]
    return write(parsed.header, sections)


def make() -> dict[str, bytes]:
    """Today's version: a model with its tokenizer, and weights alone in every format and most shapes."""
    raw = ArtifactConfig(cap_bytes=10**6, compressor="raw")
    rng = np.random.default_rng(0)
    tensors = {
        f"{name}.{'x'.join(map(str, shape))}": EXAMPLES[name](rng, shape)
        for name in EXAMPLES
        for shape in shapes_of(name)
        if np.prod(shape) < 3000
    }
    names = iter(tensors)
    model, weights = example_model(), QuantizedModel(tensors, {"twin": next(names), "another": next(names)})
    attached = Attached({"config.json": b"{}", "empty": b"", "tokenizer.json": bytes(range(256))})
    types = dict.fromkeys(tensors, "BF16") | {next(iter(tensors)): "F32"}
    return {
        f"v{VERSION}_model.bcap": with_every_codec(pack(SPEC, model, example_tokenizer(), ABOUT, raw, attached)),
        f"v{VERSION}_weights.bcap": with_every_codec(
            pack(None, weights, b"", ABOUT, raw, Attached(attached.files, types))
        ),
    }


def main() -> None:
    """Write what is not there."""
    facts = json.loads(FACTS.read_text())
    for name, data in make().items():
        if name in facts:
            continue
        artifact = loads(data)
        arrays = [value.numpy() for value in artifact.quantized.state_dict().values()]
        facts[name] = {"weights": digest_weights(arrays)}
        if artifact.spec is not None:
            facts[name]["loss"] = round(loss(artifact), 4)
        (FOLDER / name).write_bytes(data)
        print(f"{name}: {len(data):,} bytes")
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
