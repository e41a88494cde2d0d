"""Seven, six or five bits by the rank of a tensor's squared gradient; eight for the embedding.

Source:  openai/parameter-golf #332.
Differs: a weight that the calibration never saw has no rank, and gets six bits. The squares are those that training has
         gathered (the hook `squared_gradients`), as in the run; without them, those of the calibration.
"""

from bytecap.coding.general import ZSTD
from bytecap.core.errors import ConfigError
from bytecap.formats.floats import FLOAT32
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, is_embedding, scale_by_range
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration

RANKED_ROWS = 64
"""Fewest rows of a tensor that is ranked."""


def rank_bits(shapes: list[Shape], calibration: Calibration) -> dict[str, int]:
    """Bits by name: the top tenth of tensors by mean squared gradient gets 7, the last fifth 5, the others 6.

    Fractions are of the number of tensors; the embedding takes a rank too, though it is always stored at 8 bits.
    """
    squares = calibration.training_squares or {
        name: curvature.gradient_square for name, curvature in calibration.tensors.items()
    }
    scores = {
        entry.name: squares[entry.name]
        for entry in shapes
        if len(entry.shape) == 2 and entry.shape[0] >= RANKED_ROWS and entry.name in squares
    }
    if not scores:
        raise ConfigError(
            f"scheme pr332 ranks measured tensors of at least {RANKED_ROWS} rows and found none; choose another scheme"
        )
    order = sorted(scores.values())
    low, high = order[len(order) // 5], order[9 * len(order) // 10]
    return {name: 7 if score >= high else 5 if score <= low else 6 for name, score in scores.items()}


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    return scale_by_range(8 if is_embedding(entry) else inputs.bits.get(entry.name, 6), inputs)


SCHEME = Scheme(
    "7, 6 or 5 bits by rank of squared gradient, embedding 8", _rule, FLOAT32, compressor=ZSTD, calibrated=True,
    rank_bits=rank_bits,
)  # fmt: skip
