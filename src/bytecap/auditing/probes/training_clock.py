"""Training, with every read of training data in it, ends within its limit.

Rule: A3. Source: openai/parameter-golf, Issue #677; #1868 was run again with a reserve of 8 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, not_asked, recorded
from bytecap.auditing.subject import Question
from bytecap.core.settings import bounds


@dataclass(frozen=True, kw_only=True)
class TrainingClockConfig(ProbeConfig):
    """The limit of the rules."""

    seconds: float | None = field(default=None, metadata=bounds(0))
    """Most seconds; None: those that the recipe gives itself."""
    with_calibration: bool = False
    """What is read of the training text after training counts too, as for the Hessians of a fit."""


class TrainingClock(Probe):
    """Reads the training clock."""

    config_class = TrainingClockConfig
    needs = ("clocks",)

    def __init__(self, config: TrainingClockConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Equal is within."""
        clocks = question.clocks
        limit = clocks.training_limit if self.config.seconds is None else self.config.seconds
        if clocks.training is None:
            return not_asked("it is not known how long training took")
        spent, said = clocks.training, f"training took {clocks.training:.1f} s"
        if self.config.with_calibration and clocks.calibration is not None:
            spent += clocks.calibration
            said += f" and calibration at most {clocks.calibration:.1f} s"
        if limit is None:
            return recorded(f"{said}; there is no limit", spent, "s")
        return (kept if spent <= limit else broken)(f"{said}, of {limit:g} s", spent, "s")
