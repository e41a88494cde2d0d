"""Eight bits in the first and last two blocks, six in the others; the embedding stays at 16.

Source:  openai/parameter-golf #309.
Differs: its integers are known from its text only: taken are -31 .. 31, the baseline's clip and its zlib.
"""

from bytecap.formats.floats import FLOAT32
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, block_number, is_embedding, keep_half, scale_by_range
from bytecap.quant.allocation import Shape


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule | None:
    if is_embedding(entry):
        return keep_half(inputs)
    return scale_by_range(6 if 2 <= block_number(entry) < inputs.blocks - 2 else 8, inputs)


SCHEME = Scheme("first and last two blocks 8 bits, others 6, embedding 16, by range", _rule, FLOAT32)
