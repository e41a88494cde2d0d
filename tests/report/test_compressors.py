"""Compressors on held-out text: all of it where it is short, an even sample, told as one, where it is long."""

from __future__ import annotations

import gzip
import lzma

import pytest

from bytecap.report import compressors
from bytecap.report.compressors import baseline_sizes, compressor_baselines
from tests.conftest import make_document
from tests.progress import Notes

DOCUMENTS = [make_document(seed, words=40 + seed) for seed in range(23)]


def slow(documents: list[str]) -> dict[str, dict[str, float]]:
    """The same figures, one after the other."""
    size = sum(len(document.encode()) for document in documents)
    whole = "".join(documents).encode()
    return {
        "whole": {"gzip": 8 * len(gzip.compress(whole, 9)) / size},
        "per_document": {"gzip": sum(8 * len(gzip.compress(document.encode(), 9)) for document in documents) / size},
    }


def test_short_text_is_compressed_as_a_whole() -> None:
    """Every document counts, empty ones apart; nothing is noted, and progress never goes back."""
    heard = Notes()
    found = compressor_baselines([*DOCUMENTS, ""], heard)
    for way, figures in slow(DOCUMENTS).items():
        assert found[way]["gzip"] == pytest.approx(figures["gzip"], rel=1e-12)
    size = sum(len(document.encode()) for document in DOCUMENTS)
    assert found["sample"] == {"documents": 23, "of_documents": 23, "bytes": size, "of_bytes": size}
    assert not heard.notes and heard.shares == sorted(heard.shares) and len(heard.shares) == 24
    assert compressor_baselines([], heard) == {} == compressor_baselines([""], heard)


@pytest.mark.parametrize(("limit", "value"), [("MAX_DOCUMENTS", 8), ("MAX_BYTES", 2_000)])
def test_long_text_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """Every so many-th document within the limit, said once and in the result."""
    monkeypatch.setattr(compressors, limit, value)
    heard = Notes()
    found = compressor_baselines(DOCUMENTS, heard)
    size = sum(len(document.encode()) for document in DOCUMENTS)
    step = next(n for n in range(1, 24) if (24 / n <= value if limit == "MAX_DOCUMENTS" else size / n <= value))
    taken = [document for place, document in enumerate(DOCUMENTS) if place % step == 0]
    assert 1 < len(taken) < 23 and found["per_document"]["gzip"] == slow(taken)["per_document"]["gzip"]
    assert found["sample"]["documents"] == len(taken) and found["sample"]["of_documents"] == 23
    assert heard.notes == [f"compressors are tried on {len(taken)} of 23 held-out documents"]


def test_a_dictionary_as_large_as_the_text_changes_nothing() -> None:
    """xz with its 64 MiB needs most of its time to clear them; a text knows no more than itself."""
    for document in DOCUMENTS:
        data = document.encode()
        assert baseline_sizes(data)["xz"] == len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def test_they_shrink_repeated_text() -> None:
    """The three that everyone knows, smaller than a text that repeats itself."""
    sizes = baseline_sizes(b"one two three " * 500)
    assert list(sizes) == ["gzip", "xz", "zstd-19"] and all(20 < size < 200 for size in sizes.values())
