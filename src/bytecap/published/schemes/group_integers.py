"""Symmetric integers of 2 to 8 bits with a scale for each 32, 64 or 128 columns of a row, rounded to nearest.

Source:  GPTQ, arXiv 2210.17323 (the baseline RTN with groups); ZeroQuant, arXiv 2206.01861.
Differs: the embedding is quantized like every matrix, and the integers are coded close to their entropy, so a file has
         fewer bits than its name says.
"""

from bytecap.coding.general import BROTLI
from bytecap.formats.per_group import GROUP_SIZES, MAX_BITS, MIN_BITS
from bytecap.published.scheme import Scheme

FAMILY = {
    f"int{bits}_group{size}": Scheme(
        f"{bits} bits, a scale for each {size} columns of a row, rounded to nearest",
        lambda entry, inputs: None,
        compressor=BROTLI,
        group=(bits, size),
    )
    for size in GROUP_SIZES
    for bits in range(MIN_BITS, MAX_BITS + 1)
}
