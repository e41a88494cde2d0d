"""Turning the dial until the file is just under the cap, on real packed bytes.

In:   a Calibration, the weights, a cap, and a function that packs a QuantizedModel and gives its bytes.
Out:  the plan, the quantized model and the file.

The size falls by about one bit per weight when the step doubles, so Newton steps along that slope come close in two
or three packings; what brackets the cap is then closed in by interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bytecap.core.errors import BudgetError
from bytecap.core.progress import Progress
from bytecap.grids.plan import BitPlan
from bytecap.grids.tensor import QuantizedModel
from bytecap.quant.allocation import COARSEST_DIAL, FINEST_DIAL, QuantConfig, allocate
from bytecap.quant.rounding import round_model
from bytecap.quant.statistics import Calibration

MOST_PACKINGS = 14
SLACK_BYTES = 64
SLACK_SHARE = 0.0002
FIRST_DIAL = 0.4

Pack = Callable[[QuantizedModel], bytes]


@dataclass(frozen=True)
class Landed:
    """A file under the cap and what it was made with."""

    plan: BitPlan
    model: QuantizedModel
    data: bytes
    packings: int


class Fitter:
    """One checkpoint, any number of dials."""

    def __init__(self, weights: dict[str, Tensor], calibration: Calibration, config: QuantConfig, pack: Pack) -> None:
        self._weights, self._calibration = weights, calibration
        self._config, self._pack = config, pack
        self.packings = 0

    def at(self, dial: float) -> Landed:
        """The file at one position of the dial."""
        plan = allocate(self._calibration, dial, self._config)
        model = round_model(self._weights, plan, self._calibration.made_from)
        self.packings += 1
        return Landed(plan, model, self._pack(model), self.packings)

    def smallest(self) -> int:
        """Bytes of the smallest file that this model, tokenizer and header can make."""
        return len(self.at(COARSEST_DIAL).data)

    def land(self, cap_bytes: int, progress: Progress) -> Landed:
        """The largest file found that is at most `cap_bytes`; BudgetError when there is none."""
        refuse_small_cap(self.smallest(), cap_bytes)
        best: Landed | None = None
        low, high = math.log2(FINEST_DIAL), math.log2(COARSEST_DIAL)  # the answer lies between
        position = math.log2(FIRST_DIAL)
        slack = max(SLACK_BYTES, int(SLACK_SHARE * cap_bytes))
        for _ in range(MOST_PACKINGS):
            found = self.at(2.0**position)
            size = len(found.data)
            progress.update(found.packings, MOST_PACKINGS + 1, f"step {2.0**position:.4f} σ: {size:,} bytes")
            if size <= cap_bytes:
                high = position
                best = found if best is None or size > len(best.data) else best
                if cap_bytes - size <= slack or position <= math.log2(FINEST_DIAL):
                    break
            else:
                low = position
            slope = max(found.model.weights / 8.0, 1.0)
            # Aim half the slack below the cap, and stay strictly inside what is still open.
            position += (size - cap_bytes + slack / 2) / slope
            if low == math.log2(FINEST_DIAL) and position <= low:
                position = low
            elif not low < position < high:
                position = (low + high) / 2
        return best if best is not None else self.at(2.0**high)


def refuse_small_cap(smallest_bytes: int, cap_bytes: int) -> None:
    """BudgetError when even the smallest file is over the cap."""
    if smallest_bytes > cap_bytes:
        raise BudgetError(
            f"a cap of {cap_bytes:,} bytes cannot be met: this model, tokenizer and header take at least "
            f"{smallest_bytes:,} bytes with every weight rounded to zero. Raise --set artifact.cap_bytes, or lower "
            "model.n_layers, model.d_model or text.vocab_size",
            smallest_bytes=smallest_bytes,
            cap_bytes=cap_bytes,
        )
