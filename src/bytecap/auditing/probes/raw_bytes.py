"""The bytes that a score is divided by are those of the text: each document comes back, and the sums are equal.

Rule: B1. Source: openai/parameter-golf #2138, where bytes of a transformed text were counted (0.979, truly 1.067).
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.errors import DataError
from bytecap.text.byte_check import check_table


class RawBytes(Probe):
    """Asks text/byte_check.py, as every score of ours does before it is given."""

    needs = ("text", "tokenizer")

    def ask(self, question: Question) -> Answer:
        """The message of a failed check names the tokens that are counted wrongly."""
        text, counter = question.text, question.tokenizer
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
        beside = "raw text not at hand" if check.raw is None else f"raw text {check.raw:,} bytes"
        return kept(f"{check.counted:,} bytes counted, {check.decoded:,} decoded, {beside}", check.counted, "bytes")
