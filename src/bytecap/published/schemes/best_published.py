"""The best of the published recipes under any cap: GPTQ, unclipped, one step in row deviations for all tensors.

Source:  openai/parameter-golf #1394 and #1586, activation order as in #508.
"""

from bytecap.coding.general import BROTLI
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, is_embedding, scale_by_deviation
from bytecap.quant.allocation import Shape

UNCLIPPED = 32_767
"""The largest integer that 16 bits hold."""


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    step = inputs.step_scale * (inputs.embedding_step if is_embedding(entry) else 1.0)
    return scale_by_deviation(UNCLIPPED, step * UNCLIPPED)


SCHEME = Scheme(
    "GPTQ in activation order, nothing clipped, one step in row deviations for all", _rule,
    compressor=BROTLI, calibrated=True, own_size=False, embedding_step=True,
)  # fmt: skip
