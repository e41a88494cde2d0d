"""What a target of an export is: code that writes a file for another program, and compares what it wrote.

A target is one file in this folder with one subclass of Target; its name is the word behind `--to`, and nothing lists
it (docs/extending.md).

In:   an ExportSource and a path where nothing is.
Out:  a file or a folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bytecap.export.source import ExportSource


class Target(ABC):
    """Base of all targets."""

    makes: ClassVar[str]
    """What is written, in a few words for messages and for the help."""
    suffix: ClassVar[str] = ""
    """The end that the name of the file must have, with the dot; empty where a folder is made."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules that `write` and `check` import and that are no dependencies of bytecap; they are looked for first."""
    extra: ClassVar[str] = ""
    """The extra of bytecap that installs them."""

    @abstractmethod
    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Write the model to `place`, which is not there yet; one sentence for each thing that a reader must know.

        ConfigError for a model that the target cannot hold, before anything is written, with what it would need.
        """

    @abstractmethod
    def check(self, source: ExportSource, place: Path) -> str:
        """Read `place` back as the program that it is for would, and say what was compared, with numbers.

        NumericsError where that is not what the file holds. Nothing has its place until this has returned.
        """
