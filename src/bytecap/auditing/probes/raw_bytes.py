"""The bytes that a score is divided by are those of the text: each document comes back, and the sums are equal.

Rule: B1. Source: openai/parameter-golf #2138, where bytes of a transformed text were counted (0.979, truly 1.067).
"""

from __future__ import annotations

import numpy as np

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept, not_asked, recorded
from bytecap.auditing.subject import Ids, Question, ScoredText
from bytecap.core.errors import DataError
from bytecap.core.units import counted
from bytecap.text.byte_check import check_table
from bytecap.text.shards import TokenStream


class RawBytes(Probe):
    """Asks text/byte_check.py, as every score of ours does before it is given."""

    needs = ("text",)

    def ask(self, question: Question) -> Answer:
        """The message of a failed check names the tokens that are counted wrongly."""
        text = question.text
        if text.lost:
            return recorded(f"no bits per byte are given, for {text.lost}")
        if text.token_bytes is not None:
            return _by_document(text, text.token_bytes)
        if question.subject.tokenizer is None:
            return not_asked(question.subject.why_missing("tokenizer"))
        counter = question.tokenizer
        try:
            check = check_table(
                counter.table, counter.tokenizer, text.stream, raw=text.raw, lossy_declared=text.lossy_declared
            )
        except DataError as error:
            return broken(str(error), error.values.get("percent"), "%")
        if text.claimed_bytes not in (None, check.counted):
            return broken(
                f"the score was divided by {text.claimed_bytes:,} bytes, the tokens stand for {check.counted:,}",
                100.0 * (text.claimed_bytes / max(1, check.counted) - 1.0) if text.claimed_bytes else None, "%",
            )  # fmt: skip
        raw = "raw text not available" if check.raw is None else f"raw text {check.raw:,} bytes"
        return kept(f"{check.counted:,} bytes counted, {check.decoded:,} decoded, {raw}", check.counted, "bytes")


def _by_document(text: ScoredText, token_bytes: TokenStream) -> Answer:
    """Each document decoded and compared with the raw text, and the bytes of its tokens with its own."""
    assert text.raw is not None and text.decode is not None, "bytes of tokens come with the documents they are of"
    tokens_N, bytes_N = (stream.read(0, len(stream)) for stream in (text.stream, token_bytes))
    begins = np.flatnonzero(tokens_N == text.bos).tolist() if text.bos in tokens_N else [0]
    raws = list(text.raw) if len(begins) == len(text.raw) else ["".join(text.raw)]
    ends = [*begins[1:], len(tokens_N)] if len(raws) == len(begins) else [len(tokens_N)]
    places, total = list[str](), int(bytes_N.sum())
    for number, (begin, end, raw) in enumerate(zip(begins, ends, raws, strict=False), start=1):
        worth, size = int(bytes_N[begin:end].sum()), len(raw.encode())
        if worth != size:
            places.append(f"document {number:,}: {worth:,} bytes counted, {size:,} in the text")
        elif len(raws) == len(text.raw) and text.decode(_own(tokens_N[begin:end], text.bos)) != raw:
            places.append(f"document {number:,} does not come back from its tokens")
    size = sum(len(raw.encode()) for raw in text.raw)
    evidence = f"{counted(len(raws), 'document')}, {total:,} bytes counted, raw text {size:,}"
    return broken(evidence, len(places), "documents", places) if places else kept(evidence, total, "bytes")


def _own(tokens_N: Ids, bos: int) -> list[int]:
    """The tokens of a document behind the one that begins it."""
    found: list[int] = tokens_N.tolist()
    return found[1:] if found[:1] == [bos] else found
