"""The bytes that a file may have: a cap, and a part of it that stays free.

In:   the cap and the reserve in bytes.
Out:  the most bytes of the file, how near to it a fit must come, and a refusal of what no file can meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bytecap.core.errors import BudgetError, ConfigError

MIN_SLACK_BYTES, SLACK_SHARE = 64, 0.0002
"""A fit has arrived when at most so many bytes, or this share of the cap, are left."""
MAX_SHOWN = 5
"""Names that one sentence lists at most."""
OverCap: TypeAlias = Literal["shrink", "refuse"]
"""What is done where the file of a published scheme is over the cap: its steps grow, or it is refused."""
SHRINK: Literal["shrink"] = "shrink"
REFUSE: Literal["refuse"] = "refuse"


@dataclass(frozen=True)
class FileBudget:
    """A cap in bytes on a file together with a reserve, for instance of code that a contest counts with it.

    Raises ConfigError where nothing is left for the file.

    >>> FileBudget(16_000_000, reserve_bytes=60_000).file_bytes
    15940000
    """

    cap_bytes: int
    reserve_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse a cap or a reserve that leaves no file."""
        if self.cap_bytes < 1:
            raise ConfigError(
                f"a cap of {self.cap_bytes} bytes leaves nothing for a file; give a larger one, such as 16MB"
            )
        if self.reserve_bytes < 0:
            raise ConfigError(f"the reserve is {self.reserve_bytes} bytes; it must not be negative")
        if self.reserve_bytes >= self.cap_bytes:
            raise ConfigError(
                f"a cap of {self.cap_bytes:,} bytes with {self.reserve_bytes:,} reserved leaves nothing for the file; "
                "raise the cap or lower the reserve"
            )

    @property
    def file_bytes(self) -> int:
        """The most bytes that the file itself may have."""
        return self.cap_bytes - self.reserve_bytes


def slack_bytes(file_bytes: int) -> int:
    """The most bytes that may stay unused under a cap of `file_bytes` when a size search stops."""
    return max(MIN_SLACK_BYTES, int(SLACK_SHARE * file_bytes))


def refuse_small_cap(
    smallest_bytes: int, file_bytes: int, kept: Sequence[str] = (), parts: Sequence[tuple[str, int]] = ()
) -> None:
    """Raise BudgetError when even the smallest file is larger than `file_bytes`.

    `kept` names tensors that are never rounded to a few bits, where those take most of it; `parts` what takes how many
    of its bytes, the largest first.
    """
    if smallest_bytes > file_bytes:
        way_out = "train a model with fewer or narrower layers or a smaller vocabulary"
        if kept:
            shown = ", ".join([*kept[:MAX_SHOWN], ".."] if len(kept) > MAX_SHOWN else kept)
            way_out = f"leave out what the model can do without: most of it is kept at 16 bits or more ({shown})"
        raise BudgetError(
            f"a cap of {file_bytes:,} bytes cannot be met: this model, tokenizer and header take at least "
            f"{smallest_bytes:,} bytes, with every weight of linear maps and embeddings rounded to zero"
            f"{_largest(parts)}. Raise the cap, or {way_out}",
            smallest_bytes=smallest_bytes,
            cap_bytes=file_bytes,
        )


def _largest(parts: Sequence[tuple[str, int]]) -> str:
    """The parts with the most bytes, in brackets."""
    shown = [f"{name} {size:,}" for name, size in parts[:MAX_SHOWN]]
    return f" ({', '.join(shown)}{', ..' if len(parts) > MAX_SHOWN else ''})" if shown else ""
