"""GPTQ at steps of 12/31 standard deviations of the row for MLPs, 13/31 for attention, 15/63 for the embedding.

Source:  openai/parameter-golf #1586.
"""

from bytecap.coding.general import BROTLI
from bytecap.formats.plan import ScaleRule
from bytecap.published.scheme import ATTENTION, EMBEDDING, MLP, Scheme, SchemeInputs, scale_by_deviation, tensor_class
from bytecap.quant.allocation import Shape

_STEPS = {EMBEDDING: (63, 15.0), MLP: (31, 12.0), ATTENTION: (31, 13.0)}
"""Largest integer, and the clip in standard deviations."""


def find_rule(entry: Shape, inputs: SchemeInputs) -> ScaleRule:
    """The row scales of a tensor by its class."""
    levels, deviations = _STEPS[tensor_class(entry)]
    return scale_by_deviation(levels, deviations * inputs.step_scale)


SCHEME = Scheme(
    "GPTQ, steps of 12/31 (MLP), 13/31 (attention), 15/63 (embedding) row deviations", find_rule,
    compressor=BROTLI, calibrated=True,
)  # fmt: skip
