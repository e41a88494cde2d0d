"""What a probe is: one question about a score, asked mechanically, and the settings with which it is asked.

A probe is one file in this folder: a frozen dataclass of settings, and one subclass of Probe that names it. The file's
name is the probe's name in rule sets (`probe = "target_flip"`); nothing else lists it. A probe never guesses: where a
part of the subject that it `needs` is not available it is not asked, and the report says what to give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bytecap.auditing.findings import BROKEN, KEPT, NOT_ASKED, RECORDED, Answer, shown_places
from bytecap.auditing.subject import Part, Question


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """The settings of a probe; one without any keeps this class empty."""


class Probe:
    """Base of all probes."""

    config_class: ClassVar[type[ProbeConfig]] = ProbeConfig
    """The settings."""
    needs: ClassVar[tuple[Part, ...]] = ()
    """Parts of the subject without which the question cannot be asked."""

    asked_last: ClassVar[bool] = False
    """True for a probe that looks at what all others have seen."""

    def __init__(self, config: ProbeConfig) -> None:
        """Take settings of `config_class`."""

    def ask(self, question: Question) -> Answer:
        """Ask it of `question.subject`, which has every part that the probe needs."""
        raise NotImplementedError


def kept(evidence: str, figure: float | int | None = None, unit: str = "", places: list[str] | None = None) -> Answer:
    """The rule holds wherever it was asked."""
    return Answer(verdict=KEPT, evidence=evidence, figure=figure, unit=unit, places=shown_places(places or []))


def recorded(
    evidence: str, figure: float | int | None = None, unit: str = "", places: list[str] | None = None
) -> Answer:
    """Something that a reader of the score should know and that is no offence."""
    return Answer(verdict=RECORDED, evidence=evidence, figure=figure, unit=unit, places=shown_places(places or []))


def broken(evidence: str, figure: float | int | None = None, unit: str = "", places: list[str] | None = None) -> Answer:
    """The rule does not hold; `places` says where."""
    return Answer(verdict=BROKEN, evidence=evidence, figure=figure, unit=unit, places=shown_places(places or []))


def not_asked(why: str) -> Answer:
    """The question has no answer here; `why` says what is missing."""
    return Answer(verdict=NOT_ASKED, evidence=why)
