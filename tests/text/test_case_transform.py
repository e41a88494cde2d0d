"""Every text comes back from the case transform, equals a slow one, and keeps its bytes wherever it is cut."""

import gzip
import hashlib
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.text.case_transform import (
    END,
    ESCAPE,
    MARKS,
    ONE,
    RUN,
    SMALL,
    STAND_INS,
    factor_case,
    restore_case,
    without_marks,
)  # fmt: skip

ODDITIES = [
    "", "a", "A", " A", "  A", "AB", " AB ab Ab aB ABa AbA A.B A_B AB9C", "The cat of NASA\nThe END", "fooBarBAZqux",
    "HTTPServer IDs XMLs", "ΟΔΟΣ Οδός ΣΑΣ σας ς Σ", "İstanbul IĞDIR ısı Iı İi", "Straße STRASSE STRAẞE ẞß",
    "ǅ Ǆ ǆ Ǉ ǈ ǉ", "\u212a K k \u212b Å å \u2126 Ω ω", "Ⱥ ⱥ Ⱦ ⱦ Ɐ ɐ", "E\u0301CO\u0308LE e\u0301", "ﬁ ﬀ ŉ ǰ ΐ",
    "ᾈ ᾳ ῼ Ὠ", "ԱՐև և", "ϴ θ Θ ϑ µ Μ μ ſ S s", "Ა ა ᲀ Ꭰ ꭰ", "𐐀 𐐨 𝐀 Ａ ａ 🄰 🅐 Ⓐ ⓐ",
    "\x00A\x00B\r\n\tC", "\u2028A\u2029B\x85C",
    *MARKS, *STAND_INS.values(), "".join(MARKS), f"A{ONE}B{RUN}c{END}D{ESCAPE}", f"{ESCAPE}{ESCAPE}A", f" {ONE} A",
    f"AB{END}c", f"AB{ESCAPE}{STAND_INS[ONE]}c", "\ud800A",
]  # fmt: skip


def slow(text: str) -> str:
    """One character after the other, looking left and right."""
    out: list[str] = []
    for i, character in enumerate(text):
        if character in MARKS:
            out += [ESCAPE, STAND_INS[character]]
        elif character not in SMALL:
            out.append(character)
        else:
            begins = i == 0 or text[i - 1] not in SMALL
            ends = i + 1 == len(text) or text[i + 1] not in SMALL
            if begins:
                space = [out.pop()] if out and out[-1] == " " else []
                out += [ONE if ends else RUN, *space]
            out.append(SMALL[character])
            if ends and not begins and i + 1 < len(text) and text[i + 1] in SMALL.values():
                out.append(END)
    return "".join(out)


def check(text: str) -> None:
    made = factor_case(text)
    assert made == slow(text)
    assert restore_case(made) == text
    assert not any(character in SMALL for character in made)
    bytes_of = [len(part.encode("utf-8", "surrogatepass")) for part in (text, *map(without_marks, made))]
    assert bytes_of[0] == sum(bytes_of[1:])  # even cut into single characters


@pytest.mark.parametrize("text", ODDITIES)
def test_oddities_come_back(text: str) -> None:
    """Final sigma, dotted I, sharp s, digraphs, combining marks, signs that look like letters, the marks themselves."""
    check(text)


LETTERS = "AaBb ZzÉéΣσςİıẞßǅǆ\u0301Ꭰ_9.\n" + "".join(MARKS) + "".join(STAND_INS.values())


@given(st.one_of(st.text(), st.text(alphabet=LETTERS), st.text(alphabet="ABab " + "".join(MARKS))))
def test_every_text_comes_back(text: str) -> None:
    """Any text at all, and texts full of what the transform acts on."""
    check(text)


@given(st.text(alphabet="ab \n" + "".join(MARKS) + "".join(STAND_INS.values())))
def test_what_a_model_writes_is_always_text(text: str) -> None:
    """Marks in places where no text has them are left out; what comes out survives the way there and back."""
    check(restore_case(text))


def test_every_letter_that_is_touched() -> None:
    """One capital, one small letter, of equal length; all of them at once; the same letters for every Python."""
    assert len(set(SMALL.values())) == len(SMALL) == 584
    for capital, small in SMALL.items():
        assert (capital.lower(), small.upper(), len(capital.encode())) == (small, capital, len(small.encode()))
        assert unicodedata.category(capital) == "Lu" or capital in "ǄǇǊǱ", capital
    check("".join(SMALL))
    check(" ".join(SMALL) + "".join(small + capital for capital, small in SMALL.items()))
    pairs = "".join(capital + small for capital, small in SMALL.items())
    assert hashlib.sha256(pairs.encode()).hexdigest()[:16] == "d5ff2fd35e4a19a7"


def test_readable_by_eye() -> None:
    """The examples of the module's docstring."""
    shown = str.maketrans({ONE: "^", RUN: "^^", ESCAPE: "!", END: "$"})
    for text, expected in (
        ("The cat of NASA", "^the cat of^^ nasa"),
        ("fooBar, HTTPServer", "foo^bar,^^ https$erver"),
        (f"a {ONE}", f"a !{STAND_INS[ONE]}"),
    ):
        assert factor_case(text).translate(shown) == expected


def test_real_text_of_many_languages(multilingual_text: Path) -> None:
    """The Universal Declaration of Human Rights in every language of the folder."""
    for path in sorted(multilingual_text.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                for value in json.loads(line).values():
                    if isinstance(value, str):
                        check(value)
