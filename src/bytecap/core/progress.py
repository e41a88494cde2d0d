"""How a stage reports its progress, without knowing who shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one stage; implementations may draw it, log it or ignore it."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Report `done` of `total` (same unit), with a few words on the state."""

    def note(self, text: str) -> None:
        """One line worth keeping."""


class Part:
    """One of several equal parts of a stage's work, as a Progress of its own."""

    def __init__(self, whole: Progress, name: str, index: int, parts: int) -> None:
        self._whole, self._name, self._index, self._parts = whole, name, index, parts

    def update(self, done: float, total: float, text: str = "") -> None:
        """Pass the state on as that of the whole stage."""
        self._whole.update(self._index + (done / total if total else 0.0), self._parts, f"{self._name}: {text}")

    def note(self, text: str) -> None:
        """Pass the line on."""
        self._whole.note(text)


class Silent:
    """A Progress that drops everything."""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
