"""Reports the seconds that no limit covers: compilation, fitting and packing, preparing text.

Rule: A5, and what the organizers of the contest tolerated. Source: openai/parameter-golf #1530; its records spend 65 to
100 s on packing, 20 to 24 on unpacking and some 138 on compiling.
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, kept, recorded
from bytecap.auditing.subject import Question


class TimeOutsideClocks(Probe):
    """Reads all other clocks."""

    needs = ("clocks",)

    def ask(self, question: Question) -> Answer:
        """Told and never accused."""
        outside = question.clocks.outside
        if not outside:
            return kept("nothing was spent outside the clocks", 0.0, "s")
        listed = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in outside.items())
        return recorded(f"outside the clocks: {listed}", sum(outside.values()), "s")
