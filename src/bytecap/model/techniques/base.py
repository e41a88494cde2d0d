"""What a technique may see and where it may join.

The seam in use is `route`: a part gets the residual stream before and after each block and returns it. A technique is
one file with a module that subclasses RoutePart and declares its roles, and one line in `TECHNIQUES`.

Letters: B sequences, T positions, D width, K half a head's width here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Context:
    """What one forward pass shares: the first stream, rotary tables, what may be attended to, saved streams."""

    first_BTD: Tensor
    cos_TK: Tensor
    sin_TK: Tensor
    mask_B1TT: Tensor | None
    """True where a query (third axis) may see a key (fourth axis); None means plain causal."""
    saved_BTD: list[Tensor] = field(default_factory=list)


class RoutePart(nn.Module):
    """Joined to the seam `route`; both ends return the stream unchanged unless with_overrides."""

    def before(self, index: int, stream_BTD: Tensor, context: Context) -> Tensor:
        """The stream that block `index` reads."""
        return stream_BTD

    def after(self, index: int, stream_BTD: Tensor, context: Context) -> Tensor:
        """The stream that block `index` leaves."""
        return stream_BTD
