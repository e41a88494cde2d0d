"""GPTQ at steps of 12.85/31 standard deviations of the row, 20/127 for the embedding.

Source:  openai/parameter-golf #1394.
"""

from bytecap.coding.general import BROTLI
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, is_embedding, scale_by_deviation
from bytecap.quant.allocation import Shape


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    levels, deviations = (127, 20.0) if is_embedding(entry) else (31, 12.85)
    return scale_by_deviation(levels, deviations * inputs.step_scale)


SCHEME = Scheme("GPTQ, steps of 12.85/31 row deviations, embedding 20/127", _rule, compressor=BROTLI, calibrated=True)
