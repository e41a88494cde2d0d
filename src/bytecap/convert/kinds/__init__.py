"""Kinds of checkpoints: what lies in this folder is found (core/parts.py)."""

from __future__ import annotations

from pathlib import Path

from bytecap.convert.kinds.base import Kind
from bytecap.core.errors import ConfigError
from bytecap.core.parts import Parts

KINDS = Parts("kind of checkpoint", __name__, __path__, Kind)  # type: ignore[type-abstract]  # it is only looked up
PYTORCH = "pytorch"
"""The kind of a file whose suffix no other kind claims: PyTorch's checkpoints have any name."""
UNREAD = {".npy": "one array of NumPy without a name", ".tflite": "TFLite", ".msgpack": "Flax", ".pb": "TensorFlow"}
"""Suffixes of what is known and read by no kind."""


def kind_by_suffix(path: Path) -> Kind:
    """The kind that claims the suffix of `path`; ConfigError for a file that is known not to be read."""
    suffix = path.suffix.lower()
    kinds = {suffix: kind for name in KINDS.names() for kind in [KINDS.find(name)()] for suffix in kind.suffixes}
    if suffix in kinds:
        return kinds[suffix]
    if suffix == ".bcap":
        raise ConfigError(
            f"{path} is a fitted file, not a checkpoint; its weights are written by `bytecap export {path} "
            "OUT.safetensors --to safetensors`",
            path=str(path),
        )
    if suffix in UNREAD:
        raise ConfigError(
            f"{path} is a file of {UNREAD[suffix]}, and convert reads {', '.join(sorted(kinds))}; where it can be "
            "opened, write its arrays by name with numpy.savez or safetensors.numpy.save_file",
            path=str(path),
        )
    return KINDS.find(PYTORCH)()
