"""Parts that are a file each in a folder of the package, such as techniques: their names, and the class in a file.

A file is imported when its part is asked for, and listed nowhere: what lies in the folder is there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bytecap.core.errors import ConfigError, nearest
from bytecap.core.units import counted

T = TypeVar("T")


@dataclass(frozen=True)
class Parts(Generic[T]):
    """The files of one folder; each but `base` holds one subclass of `base_class`."""

    kind: str
    """What a part is called in messages, such as "technique"."""
    package: str
    folders: Iterable[str]
    """The package's `__path__`."""
    base_class: type[T]

    def names(self) -> list[str]:
        """The names of all parts, sorted."""
        return sorted(module.name for module in pkgutil.iter_modules(self.folders) if module.name != "base")

    def module_name(self, name: str) -> str:
        """The module of a part."""
        return f"{self.package}.{name}"

    def find(self, name: str) -> type[T]:
        """The class in the file `name`; ConfigError with the nearest name when there is none."""
        known, shown = self.names(), ascii(name[:80])
        if name not in known:
            raise ConfigError(f"there is no {self.kind} {shown}{nearest(name[:80], known)}; known: {', '.join(known)}")
        module = importlib.import_module(self.module_name(name))
        types = [value for value in vars(module).values() if isinstance(value, type)]
        classes = [t for t in types if t.__module__ == module.__name__ and issubclass(t, self.base_class)]
        if len(classes) != 1:
            raise TypeError(
                f"{module.__file__} holds {counted(len(classes), 'subclass', 'subclasses')} of "
                f"{self.base_class.__name__}; one file is one {self.kind}"
            )
        return classes[0]
