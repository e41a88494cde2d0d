"""Five bits for MLPs, six for attention, by the largest weight of each row; eight for the embedding.

Source:  openai/parameter-golf #219.
Differs: it is stored with zstd, as its authors meant; their runs fell back to zlib, and were over the cap.
"""

from bytecap.coding.general import ZSTD
from bytecap.formats.plan import ScaleRule
from bytecap.published.rounding import ABSMAX
from bytecap.published.scheme import EMBEDDING, MLP, Scheme, SchemeInputs, scale_by_range, tensor_class
from bytecap.quant.allocation import Shape


def _rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    kind = tensor_class(entry)
    return scale_by_range(8, inputs) if kind == EMBEDDING else scale_by_range(5 if kind == MLP else 6, inputs, ABSMAX)


SCHEME = Scheme("MLP 5 bits, attention 6, embedding 8, by range", _rule, compressor=ZSTD)
