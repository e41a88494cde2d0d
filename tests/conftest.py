"""What every test may use: one torch thread, a tiny corpus, and the contest's data where a path to it was given."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.runs import arguments, call

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of programs that tests start: waiting threads take cores from others
settings.register_profile("no_test_asserts_a_time", deadline=None)
settings.load_profile("no_test_asserts_a_time")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--contest-data", type=Path, help="folder with datasets/ and tokenizers/ of Parameter Golf")
    parser.addoption("--multilingual-text", type=Path, help="folder with *.jsonl.gz of text in many languages")


@pytest.fixture(scope="session")
def contest_data(request: pytest.FixtureRequest) -> Path:
    """The contest's real shards and tokenizers; the test is skipped where no path was given."""
    return _given(request, "--contest-data")


@pytest.fixture(scope="session")
def multilingual_text(request: pytest.FixtureRequest) -> Path:
    """Text in many languages; the test is skipped where no path was given."""
    return _given(request, "--multilingual-text")


def _given(request: pytest.FixtureRequest, flag: str) -> Path:
    path: Path | None = request.config.getoption(flag)
    if path is None:
        pytest.skip(f"needs {flag}=PATH")
    return path


WORDS = [
    "the",
    "a",
    "model",
    "byte",
    "token",
    "weight",
    "cap",
    "loss",
    "file",
    "train",
    "fit",
    "score",
    "of",
    "in",
    "under",
    "with",
    "has",
    "and",
    "is",
    "to",
    "one",
    "two",
]


def make_document(seed: int, words: int = 300) -> str:
    """Text that is easy to learn, different for each seed."""
    rng = random.Random(seed)
    lines = []
    while words > 0:
        count = min(words, rng.randint(3, 12))
        lines.append("    " * rng.randint(0, 2) + " ".join(rng.choice(WORDS) for _ in range(count)))
        words -= count
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with forty small documents."""
    folder = tmp_path_factory.mktemp("corpus")
    for seed in range(40):
        (folder / f"document_{seed:02d}.txt").write_text(make_document(seed), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; whoever changes it makes a copy."""
    out = tmp_path_factory.mktemp("runs") / "a"
    assert call(*arguments(corpus, out), "--quiet") == 0
    return out
