"""How a room tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one room; implementations may draw it, log it or drop it."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """`done` of `total` (same unit), with a few words on the state."""

    def note(self, text: str) -> None:
        """One line worth keeping."""


class Silent:
    """A Progress that drops everything."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Dropped."""

    def note(self, text: str) -> None:
        """Dropped."""
