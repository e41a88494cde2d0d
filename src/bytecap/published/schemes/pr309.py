"""Eight bits in the first and last two blocks, six in the others; the embedding stays at 16.

Source:  openai/parameter-golf #309.
Differs: its integers are known from its text only: taken are -31 .. 31 and the baseline's clip.
"""

from bytecap.formats.floats import FLOAT32
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import Scheme, SchemeInputs, block_number, is_embedding, scale_by_range
from bytecap.quant.allocation import Shape


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule | None:
    if is_embedding(entry):
        return None
    return scale_by_range(6 if 2 <= block_number(entry) < inputs.blocks - 2 else 8)


SCHEME = Scheme("first and last two blocks 8 bits, others 6, embedding 16, by range", _rule, FLOAT32)
