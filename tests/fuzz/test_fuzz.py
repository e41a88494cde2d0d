"""The fuzzing command: that it finds what is there to be found, repeats itself, and reaches what it means to reach."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.artifact.example import example_file, example_tokenizer
from tests.fuzz import bounded
from tests.fuzz.bounded import run_bounded
from tests.fuzz.containers import read_container, read_safetensors, write_container, write_safetensors
from tests.fuzz.mutate import (
    NESTED_OF_A_TOKENIZER,
    dump_json,
    mutate_bytes,
    mutate_json,
    mutate_message,
    read_message,
    write_message,
)
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]


def _allocate() -> list[int]:
    return [len(bytearray(4 << 30)) * 0]


def _spin() -> list[int]:
    while True:
        pass


def _crash() -> list[int]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def _escape() -> list[int]:
    print("\x1b[2J")
    return [0]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    ("work", "finding"),
    [
        (lambda: [0, 5], ""),
        (lambda: [0, 1], "exit code 1"),
        (lambda: [int("x")], "ValueError"),
        (_allocate, "MemoryError"),
        (_spin, "processor time"),
        (_crash, "died of SIGSEGV"),
        (_escape, "reaches the terminal"),
    ],
)
def test_each_way_to_break_the_property_is_seen(
    work: Callable[[], list[int]], finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to break the property is seen; what keeps it is not."""
    monkeypatch.setattr(bounded, "CPU_SECONDS", 1)
    found = run_bounded(work, tmp_path / "output.txt").finding
    assert finding in found and bool(found) == bool(finding)


def test_containers_are_put_together_as_they_were() -> None:
    """Nothing changed gives the same parts again, and a file that the product reads."""
    one = read_container(example_file())
    other = read_container(write_container(one.version, json.dumps(one.header), one.sections))
    assert (other.version, other.header, other.sections) == (one.version, one.header, one.sections)
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    assert read_safetensors(write_safetensors(json.dumps(header), b"abcd")) == (header, b"abcd")
    assert write_message(read_message(example_tokenizer())) == example_tokenizer()


def test_changes_follow_from_the_seed() -> None:
    """The same seed gives the same change, another one another; the value that is changed stays as it is."""
    value = {"a": [1, 2, {"b": "text"}], "c": None}
    model = example_tokenizer()

    def changes(seed: int) -> tuple[bytes, str, bytes]:
        rng = random.Random(seed)
        text = dump_json(rng, mutate_json(rng, value))
        return mutate_bytes(rng, bytes(99)), text, mutate_message(rng, model, NESTED_OF_A_TOKENIZER)

    seen = {changes(seed) for seed in range(200)}
    assert changes(3) == changes(3) and len(seen) > 190
    assert value == {"a": [1, 2, {"b": "text"}], "c": None}


@pytest.mark.slow
def test_every_target_runs(tmp_path: Path) -> None:
    """A few inputs of each kind, without a finding."""
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "1", "--seed", "30", "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"\n{name} " in done.stdout for name in TARGETS)
