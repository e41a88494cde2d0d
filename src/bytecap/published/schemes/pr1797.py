"""The plan of #1586 with a low-rank correction of the three tensors that lost most.

Source:  openai/parameter-golf #1797; the correction is in `published/low_rank.py`.
"""

from bytecap.coding.general import BROTLI
from bytecap.published.scheme import Scheme
from bytecap.published.schemes.pr1586 import find_rule

SCHEME = Scheme(
    "pr1586 with a low-rank repair of the three tensors that lost most", find_rule,
    compressor=BROTLI, calibrated=True, low_rank=True,
)  # fmt: skip
