"""What a comparison says in each of its cases."""

from typing import Any

import pytest

from bytecap.report.comparison import comparison_text, verdict_sentence

RUN = {
    "path": "runs/a", "seed": 0, "bits_per_byte": 1.0, "nats_per_token": 2.0, "bytes": 99, "cap_bytes": 100,
    "train_seconds": 9.0, "steps": 90, "step_milliseconds": 100.0, "train_tokens": 900, "tokens_per_second": 100.0,
    "hardware": "a laptop",
}  # fmt: skip
FOUND = {"mean": -0.5, "standard_error": 0.1, "freedom": 3.0, "p": 0.01, "low": -0.8, "high": -0.2}

EQUAL = {"decided_by": "documents", "verdict": "not distinguishable"}


def comparison(**changes: Any) -> dict[str, Any]:
    side = {"runs": [RUN], **{u: {"mean": 1.0, "spread": 0.1, "runs": 1} for u in ("bits_per_byte", "nats_per_token")}}
    text = {
        "score": "after",
        "text_bytes": 5000,
        "corpus": "a text",
        "corpus_digest": "01",
        "paired_by": "seed",
        "documents": 7,
    }
    value = {
        "verdict": "better", "decided_by": "welch", "seeds_needed": 4, "equal_bytes": True, "bars": {}, "settings": {},
        "tests": {"welch": {"bits_per_byte": FOUND}}, "sides": {"runs": side, "against": side},
        "warnings": [], "text": text, **changes,
    }  # fmt: skip
    return {**value, "summary": verdict_sentence(value)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "better: -0.5000 bits per byte (95 % interval -0.8000 to -0.2000; Welch, over runs, 1 run against 1 run"),
        ({"verdict": "not distinguishable"}, "About 4 seeds on each side would be needed"),
        ({"verdict": "not distinguishable", "seeds_needed": None}, "No number of seeds up to 1,000"),
        ({"decided_by": None, "seeds_needed": None, "verdict": "not distinguishable"}, "At least 2 seeds on each side"),
        ({"equal_bytes": False}, "NOT AT EQUAL BYTES"),
        ({"decided_by": "documents", "tests": {"documents": {"bits_per_byte": FOUND}}}, "of documents like these"),
        ({**EQUAL, "tests": {"documents": {"bits_per_byte": FOUND}}}, "More documents would be needed"),
        ({**EQUAL, "tests": {"documents": {"bits_per_byte": {**FOUND, "low": 0.0, "high": 0.0}}}}, "has the same loss"),
    ],
)  # fmt: skip
def test_each_case_has_its_sentence(changes: dict[str, Any], said: str) -> None:
    """Each case has its sentence, which ends the page as well."""
    value = comparison(**changes)
    assert said in value["summary"] and " ".join(value["summary"].split()) in " ".join(comparison_text(value).split())


def test_the_page_shows_everything_compared() -> None:
    """Runs, hardware, tests, settings and notes all stand on it; long lists of settings are cut."""
    tests = {n: {"bits_per_byte": FOUND, "nats_per_token": FOUND} for n in ("welch", "paired", "documents")}
    settings = {f"train.s{number}": [number, None] for number in range(15)}
    page = comparison_text(comparison(tests=tests, settings=settings, warnings=["the hardware differs"]))
    for said in (
        "a laptop", "100.0", "paired, over runs of equal seeds", "documents (7; of these runs alone)", "decides",
        "train.s11", "and 3 more", "NOTE  the hardware differs", "5,000 held-out bytes",
    ):  # fmt: skip
        assert said in page
    assert "train.s12" not in page
