"""Every file that scoring opens is counted, and together they are at most the cap.

Rule: A1. Source: openai/parameter-golf #1412, over its cap once code was counted, and #1835.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.findings import Answer
from bytecap.auditing.opened_files import opened
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, recorded
from bytecap.auditing.subject import Question
from bytecap.core.settings import bounds


@dataclass(frozen=True, kw_only=True)
class CountedFilesConfig(ProbeConfig):
    """The cap of the rules."""

    cap_bytes: int | None = field(default=None, metadata=bounds(1))
    """Most bytes of all files together; None: the cap that the score claims."""


class CountedFilesProbe(Probe):
    """Adds up the files that are named and those that were seen being opened."""

    config_class = CountedFilesConfig
    needs = ("files",)
    asked_last = True

    def __init__(self, config: CountedFilesConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Bytes kept free for code count as used."""
        files = question.files
        named = {path.resolve() for path in files.paths}
        seen = set(opened(question).files) - named
        sizes = {path: path.stat().st_size for path in sorted(named | seen) if path.is_file()}
        total = sum(sizes.values()) + files.reserve_bytes
        cap = self.config.cap_bytes or files.cap_bytes
        listed = " + ".join(f"{path.name} {size:,}" for path, size in sizes.items())
        listed += f" + {files.reserve_bytes:,} kept free for code" if files.reserve_bytes else ""
        if cap is None:
            return recorded(f"{listed}; there is no cap", total, "bytes")
        if total > cap:
            names = [str(path) for path in sizes]
            return broken(f"{listed} are {total:,} bytes, the cap is {cap:,}", total, "bytes", names)
        return kept(f"{listed} are {total:,} of {cap:,} bytes", total, "bytes")
