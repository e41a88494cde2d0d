"""Text of unknown origin, made safe to show: what a file says must not move the cursor or forge a line."""

from __future__ import annotations

import re

_CONTROLS = re.compile(
    "\r(?!\n)|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 without line feeds, DEL, C1 (0x9b begins escapes too)
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # order of writing, line separators, lone surrogates
)


def visible(text: str, *, keep: str = "\t") -> str:
    r"""`text` with its control characters written as escapes; line feeds (also after `\r`) and `keep` stay.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def visible_line(text: str) -> str:
    r"""Make the control characters of a text visible that must stay one line: a name, a message.

    >>> visible_line("name\nbytecap: done")
    'name\\nbytecap: done'
    """
    return visible(text.replace("\r", "\\r").replace("\n", "\\n"), keep="")


def visible_json(text: str) -> str:
    r"""JSON with the control characters in its strings escaped as JSON knows them.

    >>> visible_json('{"name": "\x9b2J"}')
    '{"name": "\\u009b2J"}'
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
