"""What scores are measured on: held-out tokens whose byte counts have been checked.

In:   a token stream, its Tokenizer, the raw documents if they are available.
Out:  a Validation; there is no other way to a score, so no score comes from unchecked bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bytecap.core.errors import DataError
from bytecap.text.byte_check import ByteCheck, check_table
from bytecap.text.byte_counts import ByteTable, build_table
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Validation:
    """A checked stream. `byte_stream` holds the bytes of each token where the shards came with such a sidecar."""

    stream: TokenStream
    byte_stream: TokenStream | None
    table: ByteTable
    bos: int
    check: ByteCheck

    def count_targets(self) -> int:
        """Every token but the first is a target; DataError where there is none."""
        if len(self.stream) < 2:
            raise DataError("the validation text has fewer than two tokens; give more text")
        return len(self.stream) - 1

    @classmethod
    def checked(
        cls,
        stream: TokenStream,
        tokenizer: Tokenizer,
        *,
        raw: Iterable[str] | None,
        lossy_declared: bool = False,
        byte_stream: TokenStream | None = None,
    ) -> Validation:
        """Raise DataError when the tokens do not keep the raw documents, or the bytes do not add up.

        `raw` gives the documents of the stream in its order, None if only tokens are available.
        """
        table = build_table(tokenizer)
        if byte_stream is None:
            check = check_table(table, tokenizer, stream, raw=raw, lossy_declared=lossy_declared)
        elif len(byte_stream) != len(stream):
            raise DataError(
                f"the byte sidecar is of another length ({len(byte_stream):,}) than the validation "
                f"tokens ({len(stream):,}); they do not belong together, copy both again"
            )
        else:
            counted = int(byte_stream.read(1, len(byte_stream)).sum())
            check = ByteCheck(counted, None, None)
        return cls(stream, byte_stream, table, tokenizer.bos, check)
