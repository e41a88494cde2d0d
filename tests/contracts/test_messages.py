"""What users read: a number that may be 1 stands with its noun in the singular."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bytecap

SOURCE = Path(bytecap.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
AT_LEAST_TWO = {
    "artifact/header.py tensors",
    "artifact/layout.py bytes",
    "artifact/layout.py digits",
    "coding/general.py bytes",
    "commands/fit_request.py caps",
    "convert/kinds/base.py axes",
    "core/units.py digits",
    "published/scheme_fitter.py bytes",
}
"""Nouns whose number is above a limit where they are written."""


def counts_with_plurals(tree: ast.Module) -> Iterator[str]:
    """The noun of each `{len(...)} nouns` in an f-string."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, behind in zip(node.values, node.values[1:], strict=False):
            match value, behind:
                case ast.FormattedValue(ast.Call(ast.Name("len"))), ast.Constant(str(text)) if plural := re.match(
                    r" ([a-z]+s)\b", text
                ):
                    yield plural[1]


def test_counts_are_found() -> None:
    """The search sees a count with a plural behind it, and none that `counted` writes."""
    tree = ast.parse("f'{len(found)} tensors, {len(found):,} rows, {counted(len(found), \"tensor\")} {len(found)} of'")
    assert list(counts_with_plurals(tree)) == ["tensors", "rows"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_one_is_no_plural(path: Path) -> None:
    """No message speaks of 1 tensors: `core.units.counted` writes a number with its noun."""
    name = path.relative_to(SOURCE).as_posix()
    nouns = {f"{name} {noun}" for noun in counts_with_plurals(ast.parse(path.read_text("utf-8")))}
    assert nouns <= AT_LEAST_TWO
