"""Reports what is needed to read the file and is not in the count: a tokenizer beside it, code that has no bytes kept.

Rule: a grey point of the contest, which charges neither tokenizer nor transform code.
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, kept, recorded
from bytecap.auditing.subject import Question


class UncountedBytes(Probe):
    """Looks at what the count leaves out."""

    needs = ("files",)

    def ask(self, question: Question) -> Answer:
        """Told and never accused."""
        files = question.files
        missing = [f"{path.name} ({path.stat().st_size:,} bytes)" for path in files.uncounted if path.is_file()]
        if not files.reserve_bytes:
            missing.append("code: none of the cap is kept for it")
        if not missing:
            return kept(f"tokenizer and {files.reserve_bytes:,} bytes for code are in the count")
        return recorded(f"not in the count: {'; '.join(missing)}", len(missing), "parts")
