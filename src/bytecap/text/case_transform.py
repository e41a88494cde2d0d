"""Case factored out of text: letters in lower case and four marks that say which were not, and back without loss.

In:   text.
Out:  text with a mark before each capital or run of capitals, so that `The` and `the` are one word; or the original.

    The cat of NASA        ^the cat of^^ nasa        ^ one capital, ^^ a run of them; before the space of their word
    fooBar, HTTPServer     foo^bar,^^ https$erver    $ ends a run where a small letter follows
    a mark in the text     ! and its stand-in        so every text comes back

The marks are private characters, U+F5C0 (^), U+F5C1 (^^), U+F5C2 (!) and U+F5C3 ($); the stand-in of one that is in the
text itself is U+F5C4 to U+F5C7. Only letters are touched whose small letter is one character of as many bytes in UTF-8
and has no other capital; the others (İ, ẞ, ǅ, the Kelvin sign) stay as they are. So a piece of transformed text stands
for as many bytes as it has without its marks, wherever it is cut. The letters are looked for where no place is free for
another, so that every version of Unicode from 7 on, and every Python, finds the same.

Source:  the idea is openai/parameter-golf #1729 (CaseOps).
Differs: marks stand before the space, not behind it; a run may end inside a word.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Transform: TypeAlias = Literal["none", "case"]
"""What may be done to text before it is cut into pieces."""
MARKS = ONE, RUN, ESCAPE, END = "\uf5c0", "\uf5c1", "\uf5c2", "\uf5c3"
"""One capital follows; a run of capitals follows; a mark of the text itself follows; the run ends."""
STAND_INS = dict(zip(MARKS, "\uf5c4\uf5c5\uf5c6\uf5c7", strict=True))

_CAPITALS = (
    (0x41, 0x5A), (0xC0, 0x24F), (0x370, 0x377), (0x37F, 0x37F), (0x386, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1),
    (0x3A3, 0x52F), (0x531, 0x556), (0x1E00, 0x1EFF),
)  # fmt: skip
"""Where capitals are looked for: Latin, Greek, Cyrillic, Armenian."""


def _find_pairs() -> dict[str, str]:
    """Each capital that has one small letter of the same length, which has no other capital."""
    pairs = {}
    for first, last in _CAPITALS:
        for capital in map(chr, range(first, last + 1)):
            small = capital.lower()
            same = len(small) == 1 and small != capital and len(small.encode()) == len(capital.encode())
            if same and small.upper() == capital:
                pairs[capital] = small
    return pairs


SMALL = _find_pairs()
"""The small letter of each capital."""
_TO_SMALL = str.maketrans(SMALL)
_TO_CAPITAL = str.maketrans({small: capital for capital, small in SMALL.items()})
_A, _a = f"[{''.join(SMALL)}]", f"[{''.join(SMALL.values())}]"
_TRANSFORM = re.compile(f"( ?)({_A}+)(?=({_a})?)|[{''.join(MARKS)}]")
_RESTORE = re.compile(f"{ESCAPE}(.?)|{ONE}( ?)({_a}?)|{RUN}( ?)({_a}*)|{END}", re.DOTALL)
_ORIGINALS = {stand_in: mark for mark, stand_in in STAND_INS.items()}


def factor_case(text: str) -> str:
    """The text in small letters, with marks.

    >>> restore_case(factor_case("The NASA"))
    'The NASA'
    >>> without_marks(factor_case("The NASA"))
    'the nasa'
    """
    return _TRANSFORM.sub(_transform, text)


def restore_case(text: str) -> str:
    """The original of a transformed text; marks that stand where `factor_case` puts none are left out."""
    return _RESTORE.sub(_restore, text)


def without_marks(text: str) -> str:
    """A transformed text without its marks: as many bytes as the original."""
    return text.translate(_NO_MARKS)


_NO_MARKS = str.maketrans(dict.fromkeys(MARKS))


def _transform(found: re.Match[str]) -> str:
    space, run, small = found.groups()
    if run is None:
        return ESCAPE + STAND_INS[found[0]]
    if len(run) == 1:
        return ONE + space + run.translate(_TO_SMALL)
    return RUN + space + run.translate(_TO_SMALL) + (END if small else "")


def _restore(found: re.Match[str]) -> str:
    escaped, *parts = found.groups()
    if escaped is not None:
        return _ORIGINALS.get(escaped, escaped)
    return "".join(part.translate(_TO_CAPITAL) for part in parts if part)
