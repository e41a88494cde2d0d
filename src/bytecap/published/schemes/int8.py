"""Eight bits everywhere, by the range of each row: the naive baseline of the contest.

Source:  openai/parameter-golf, `train_gpt.py`.
"""

from bytecap.formats.floats import FLOAT32
from bytecap.published.scheme import Scheme, scale_by_range

SCHEME = Scheme(
    "8 bits everywhere, by range: the naive baseline", lambda entry, inputs: scale_by_range(8, inputs), FLOAT32
)
