"""Six bits for matrices, eight for the embedding, by the range of each row.

Source:  openai/parameter-golf #65.
"""

from bytecap.formats.floats import FLOAT32
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, is_embedding, scale_by_range
from bytecap.quant.allocation import Shape


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    return scale_by_range(8 if is_embedding(entry) else 6, inputs)


SCHEME = Scheme("matrices 6 bits, embedding 8, by range", _rule, FLOAT32)
