"""The run record: the one schema of what a run did. docs/run_record.md tells it to readers.

In:   what the rooms left.
Out:  `record.json`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything a reader needs to judge and repeat a run."""

    schema: int
    """Version of this schema."""
    program: str
    """Name and version of what made it."""
    recipe: dict[str, Any]
    """Every setting, resolved."""
    recipe_digest: str
    """Hash of `recipe`."""
    corpus: dict[str, Any]
    """Name, digest (scores compare only where it is equal), training tokens, validation documents, tokens and bytes,
    vocabulary, length at which texts were cut, skipped documents by reason."""
    hardware: dict[str, Any]
    """Device, threads, Python, PyTorch, system."""
    seconds: dict[str, float]
    """Wall time of each room; `train` by its own clock, over all restarts, without compilation and checkpoints."""
    model: dict[str, Any]
    """Parameters, by role."""
    training: dict[str, Any]
    """Steps, tokens, tokens per second, epochs of the text, last loss in nats per token."""
    artifact: dict[str, Any]
    """Bytes, cap, unused room, bits per weight (whole file), κ, predicted bytes and increase of
    the loss in nats per token, bytes of each section."""
    byte_check: dict[str, Any]
    """Validation bytes as the table counts them, as decoded, and raw (null where not at hand)."""
    scores: dict[str, dict[str, Any]]
    """`before` and `after` fitting, sliding as the recipe says; `before_plain` and `after_plain` with windows that do
    not overlap. Each: bits_per_byte, nats, text_bytes, tokens, context, stride, seconds."""
    compressors: dict[str, dict[str, float]]
    """Bits per byte of the same text: `whole` as one file, `per_document` as the sum over documents."""
    sample: dict[str, str]
    """`prompt`, the beginning of the first held-out document, and how the fitted model `continued` it."""
    files: dict[str, str]
    """Where things are, relative to the run folder."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)
