"""Docstrings stand alone: each is a sentence about its own thing, and none needs the name above it to be understood."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bytecap

SOURCE = Path(bytecap.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
HALF_SENTENCES = {"of", "as", "whether", "with", "without"}
"""First words after which the name above has to be read to make a sentence."""


def documented(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Name, line and text of every docstring, also those below constants and fields."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if text := ast.get_docstring(node):
                yield getattr(node, "name", "the module"), getattr(node, "lineno", 1), text
            for owner, below in zip(node.body, node.body[1:], strict=False):
                match owner, below:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(text))):
                        yield ast.unparse(owner).partition(" ")[0], below.lineno, text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_they_stand_alone(path: Path) -> None:
    """None begins in the middle of a sentence, and each ends with one."""
    for name, line, text in documented(ast.parse(path.read_text("utf-8"))):
        first = text.split()[0].strip(",.:;").lower()
        assert first not in HALF_SENTENCES, f"{path.name}:{line} {name}: {text[:60]}"
        assert ">>>" in text or text.rstrip()[-1] in ".:;`)]}|", (
            f"{path.name}:{line} {name} ends with {text.rstrip()[-30:]!r}"
        )
