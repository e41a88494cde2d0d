"""What a file of this folder knows of the one way in which it stores a tensor: bytes and back, size, limits, words.

In:   stored tensors; or entries of a file's tensor table and the bytes of its sections.
Out:  sections of bytes; or stored tensors, FormatError for anything that a writer would not have made.

A section is either **plain**: the bytes of one tensor after another, split by `plain_sizes` and stored behind a general
compressor; or **coded**: made by a format from all of its tensors together. docs/extending.md walks through a new
format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import FormatError
from bytecap.formats.size_estimate import SizeEstimate, compressed_bytes

if TYPE_CHECKING:
    from bytecap.formats.plan import TensorPlan

MAX_SYMBOL = 32_767
ROW_OF_BLOCK = 16
"""What a row of a block costs to decode, in integers of an adaptive stream, however few columns it has."""
MAX_WIDTH, MAX_NAME = 1 << 24, 1024
"""Numbers of an axis, and letters of a tensor's name."""
LARGEST = 1e38
"""No weight may come near the end of float32."""


class StoredTensor(Protocol):
    """A tensor as a file holds it."""

    @property
    def role(self) -> str:
        """What the tensor is for; tensors of one role share probability tables."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""

    def weights(self) -> npt.NDArray[np.float32]:
        """The weights, the same to the bit on every machine."""


@dataclass(frozen=True)
class TensorEntry:
    """What a file's tensor table says of one tensor, known before its numbers are read."""

    name: str
    role: str
    shape: tuple[int, ...]
    format: str
    detail: int
    """The one number that the format needs besides the shape: states of a trellis, bits of an integer."""


@dataclass(frozen=True)
class Plain:
    """A plain section."""

    name: str
    number_bytes: int = 1
    """Bytes of each number; above 1 the section holds all first bytes, then all second bytes, and so on."""


Parts = Mapping[Plain, bytes]
"""What one tensor has in each plain section."""


class CodedSections(Protocol):
    """The coded sections of a file that is read."""

    def read(self, name: str, *, at_most: int) -> bytes:
        """The raw bytes of a section; FormatError when it is missing, or declares more than `at_most`."""


T = TypeVar("T", bound=StoredTensor)


class StoredFormat(ABC, Generic[T]):
    """One way of storing tensors; its docstring is its page of the file format."""

    name: str
    stored_class: type[T]

    def stores(self, tensor: StoredTensor) -> bool:
        """Return whether a stored tensor is of this format."""
        return type(tensor) is self.stored_class

    @abstractmethod
    def detail(self, tensor: T) -> int:
        """The number for the tensor table."""

    @abstractmethod
    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """Return whether a tensor of this shape and detail can exist; sizes are positive."""

    @abstractmethod
    def describe(self, tensor: T) -> str:
        """What `bytecap inspect` says, such as `15 levels x row scale`."""

    def serial_numbers(self, shape: tuple[int, ...], detail: int) -> int:
        """How many integers a reader decodes one at a time, a million a second; a file's size bounds them.

        What else takes a reader's time counts as so many: a row of a block as `ROW_OF_BLOCK`.
        """
        return 0

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
        """Round each number to the nearest by the plan; as floats where integers cannot hold them.

        Formats whose integers are found in another way (with feedback, by a published run's rule) have none of this.
        """
        raise NotImplementedError(self.name)

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """Bytes of a tensor in each plain section that it uses."""
        return {}

    def plain_parts(self, tensor: T) -> dict[Plain, bytes]:
        """A tensor's bytes for each plain section; the keys and sizes are those of `plain_sizes`."""
        return {}

    def coded_sections(self, tensors: Sequence[T]) -> dict[str, bytes]:
        """The coded sections of all tensors of this format, which stand in the model's order."""
        return {}

    @abstractmethod
    def read(self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections) -> list[T]:
        """All tensors of this format back, each part of the size that `plain_sizes` gave; FormatError for the rest."""

    def estimate(self, tensor: T) -> SizeEstimate:
        """The bytes that a tensor will take, within a few percent."""
        parts = self.plain_parts(tensor).items()
        return SizeEstimate(sum(compressed_bytes(data, section.number_bytes) for section, data in parts))

    def section_costs(self, tensors: Mapping[str, T]) -> dict[str, dict[str, float]]:
        """By section, what each tensor takes in it up to a common factor: how `inspect` shares out a section."""
        costs: dict[str, dict[str, float]] = {}
        for name, tensor in tensors.items():
            for section, data in self.plain_parts(tensor).items():
                costs.setdefault(section.name, {})[name] = compressed_bytes(data, section.number_bytes)
        return costs


def read_floats(entry: TensorEntry, data: bytes, kind: str) -> Any:
    """Finite numbers of a little-endian type such as `<f2`, flat; FormatError for NaN and infinity."""
    values = np.frombuffer(data, kind).astype(kind[1:])
    if not np.isfinite(values).all():
        raise FormatError(f"tensor {entry.name} holds NaN or infinity")
    return values


def read_steps(data: bytes, count: int, section: str) -> tuple[npt.NDArray[np.float32], bytes]:
    """The float32 steps at the head of a coded section, and what follows them; FormatError unless all are positive."""
    if len(data) < 4 * count:
        raise FormatError(f"section {section!r} is cut short")
    steps = np.frombuffer(data, "<f4", count).astype(np.float32)
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise FormatError(f"section {section!r} has a step that is not a positive number")
    return steps, data[4 * count :]


def count_levels(symbols: npt.NDArray[np.integer]) -> int:
    """How many integers lie from the least to the largest, both counted."""
    return int(symbols.max()) - int(symbols.min()) + 1
