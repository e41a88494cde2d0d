"""A Progress that remembers what it was told."""

from __future__ import annotations


class Notes:
    """Keeps the notes, and how far the work was at each update."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shares: list[float] = []

    def update(self, done: float, total: float, text: str = "") -> None:
        self.shares.append(done / total if total else 0.0)

    def note(self, text: str) -> None:
        self.notes.append(text)
