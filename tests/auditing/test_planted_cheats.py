"""Every planted cheat is caught, wherever it stands and however weak it is; seeds are in the names of the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_cheats import CHEATS, edited

from tests.auditing.subjects import ask, make_subject


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CHEATS)
def test_it_is_caught(name: str, seed: int, tmp_path: Path) -> None:
    """By a rule that names it."""
    planted = CHEATS[name](make_subject(tmp_path), np.random.default_rng(seed))
    report = ask(planted.subject, *planted.caught_by, seed=seed)
    assert report.broken, (name, seed, planted.drawn, [finding.answer.evidence for finding in report.findings])
    assert all(finding.answer.evidence and finding.answer.places for finding in report.broken) or name == "over_cap"


def test_editing_is_light() -> None:
    """At least one word is another, all others are as they were."""
    text = " ".join(f"word{n}" for n in range(500)) + "\n"
    changed = edited(text, 0.0, np.random.default_rng(1))
    assert changed != text and len(set(text.split()) - set(changed.split())) == 1
