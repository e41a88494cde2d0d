"""What a file says is shown, and does nothing."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.terminal import visible, visible_json, visible_line

LETTERS = st.text(st.characters(codec="utf-8") | st.sampled_from("\x00\x1b\x9b\r\n\t\u202e\u2066\x7f"))


def test_control_characters_are_spelled_out() -> None:
    """Escapes, lone carriage returns and orders of writing are spelled out; text stays text."""
    assert visible("a\x1b[2J\x9b1m") == "a\\x1b[2J\\x9b1m"
    assert visible("one\r\ntwo\tthree\rfour") == "one\r\ntwo\tthree\\rfour"
    assert visible("na\u00efve \u202egpj.exe \U0001f600") == "na\u00efve \\u202egpj.exe \U0001f600"
    assert visible_line("name\nbytecap: done\r\n\t") == "name\\nbytecap: done\\r\\n\\t"
    assert visible_json('"\x9b\ud800"') == '"\\u009b\\ud800"'


@given(LETTERS)
def test_nothing_that_moves_the_cursor(text: str) -> None:
    """No control character is left beside the kept ones, and JSON says the same as before."""
    assert not [c for c in visible_line(text) if unicodedata.category(c) == "Cc"]
    assert not [c for c in visible(text).replace("\r\n", "\n") if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    dumped = json.dumps([text], ensure_ascii=False)
    assert json.loads(visible_json(dumped)) == [text] and "\x9b" not in visible_json(dumped)
