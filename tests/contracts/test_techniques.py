"""What every technique owes: it is live, causal, isolated by document, has roles, compiles, and survives its files.

The list is the folder: a technique that is nothing but a file is tested all the same.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bytecap.model import techniques
from bytecap.model.hooks import HOOKS
from bytecap.model.techniques import TECHNIQUES
from bytecap.model.techniques.base import Technique
from tests.contracts.techniques import (
    build_random,
    check_causal_and_isolated,
    check_compiles,
    check_live,
    check_low_precision,
    check_neutral,
    check_roles,
    check_skips,
    check_streams,
    check_survives,
    check_trains,
    compute_logits,
)

NAMES = TECHNIQUES.names()


@pytest.mark.parametrize("name", NAMES)
def test_its_output_changes_the_logits(name: str) -> None:
    """Its output changes the logits."""
    check_live(name)


@pytest.mark.parametrize("name", NAMES)
def test_causal_and_isolated(name: str) -> None:
    """No future, no other document."""
    check_causal_and_isolated(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_through_a_cache(name: str) -> None:
    """The same through a cache."""
    check_streams(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_without_the_first_positions(name: str) -> None:
    """The same without the first positions."""
    check_skips(name)


@pytest.mark.parametrize("name", NAMES)
def test_roles_are_complete(name: str) -> None:
    """Complete."""
    check_roles(name)


@pytest.mark.parametrize("name", NAMES)
def test_survives_checkpoint_and_file(name: str, tmp_path: Path) -> None:
    """Checkpoint and `.bcap`."""
    check_survives(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiles_to_one_graph(name: str) -> None:
    """One graph."""
    check_compiles(name)


@pytest.mark.parametrize("name", NAMES)
def test_neutral_at_start_where_it_says_so(name: str) -> None:
    """Where it claims so."""
    check_neutral(name)


@pytest.mark.parametrize("name", NAMES)
def test_low_precision(name: str) -> None:
    """Parameters are cast to the stream's type."""
    check_low_precision(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls(name: str) -> None:
    """The loss falls."""
    check_trains(name)


def test_all_together() -> None:
    """Whatever order they are named in, they run in one."""
    assert len(NAMES) >= 4
    one, other = build_random(*NAMES), build_random(*reversed(NAMES))
    assert list(one.techniques) == list(other.techniques)
    assert list(one.techniques).index("residual_mix") > list(one.techniques).index("unet_skips")
    assert torch.equal(compute_logits(one), compute_logits(other))
    check_streams(*NAMES)
    check_skips(*NAMES)


@pytest.mark.slow
def test_all_compile_together() -> None:
    """The backward pass is traced too, once for all of them."""
    check_compiles(*NAMES, backend="aot_eager")


HEAD = """
    from dataclasses import dataclass
    from typing import ClassVar
    import torch
    from torch import nn
    from bytecap.model.roles import Role
    from bytecap.model.techniques.base import Technique, TechniqueConfig

    class Added(Technique):
"""
GOOD = """
        roles: ClassVar[dict[str, Role]] = {"scale_D": Role.SCALAR}
        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.scale_D = nn.Parameter(torch.ones(spec.d_model))
        def after(self, stream_BTD, visit, context):
            return stream_BTD + self.scale_D * context.previous(stream_BTD)
"""
SLOW_START = """
        starts_neutral = True
        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.scale_D = nn.Parameter(torch.full((spec.d_model,), 0.01))
        roles: ClassVar[dict[str, Role]] = {"scale_D": Role.SCALAR}
        def before(self, stream_BTD, visit, context): return stream_BTD + self.scale_D
"""
UPCAST = """
        def before(self, stream_BTD, visit, context): return stream_BTD + torch.ones(stream_BTD.size(-1))
"""
DEAD = "        def before(self, stream_BTD, visit, context): return stream_BTD + 0"
FUTURE = "        def before(self, stream_BTD, visit, context): return stream_BTD + stream_BTD.roll(-1, 1)"
LEAK = """
        def before(self, stream_BTD, visit, context):
            return stream_BTD + nn.functional.pad(stream_BTD[:, :-1], (0, 0, 1, 0))
"""
ROLELESS = """
        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.scale_D = nn.Parameter(torch.ones(spec.d_model))
        def before(self, stream_BTD, visit, context): return stream_BTD * self.scale_D
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files count as techniques."""
    techniques.__path__.append(str(tmp_path))
    yield tmp_path
    techniques.__path__.remove(str(tmp_path))


def add(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(textwrap.dedent(HEAD) + body.replace("\n    ", "\n").removeprefix("    "))


@pytest.mark.slow
def test_a_file_is_all_it_takes(folder: Path, tmp_path: Path) -> None:
    """Found, built, and right; no list had to be told."""
    add(folder, "added_good", GOOD)
    assert "added_good" in TECHNIQUES.names()
    for check in (check_live, check_causal_and_isolated, check_streams, check_skips, check_roles, check_compiles):
        check("added_good")
    check_survives("added_good", tmp_path)


@pytest.mark.parametrize(
    ("body", "check", "message"),
    [
        (DEAD, check_live, "changes nothing"),
        (FUTURE, check_causal_and_isolated, "looks into the future"),
        (LEAK, check_causal_and_isolated, "reaches another document"),
        (LEAK, check_streams, "gives other logits in chunks"),
        (UPCAST, check_low_precision, "leaves the stream in torch.float32"),
        (SLOW_START, check_neutral, "claims to start neutral"),
        (ROLELESS, check_roles, "Added has the parameters scale_D, and its `roles` give none"),
    ],
)
def test_mistakes_are_found(folder: Path, body: str, check: object, message: str) -> None:
    """A technique that is dead, looks ahead, leaks over documents or forgets a role fails its check."""
    name = f"added_{abs(hash(body))}"
    add(folder, name, body)
    with pytest.raises((AssertionError, TypeError), match=message):
        check(name)  # type: ignore[operator]


def test_every_hook_is_documented_and_returns_what_it_is_given() -> None:
    """The base changes nothing."""
    assert len(HOOKS) == 14
    for hook in HOOKS:
        assert getattr(Technique, hook).__doc__
        value = object()
        count = getattr(Technique, hook).__code__.co_argcount - 2
        assert getattr(Technique, hook)(None, value, *[None] * count) is value


@pytest.mark.parametrize("name", NAMES)
def test_knows_no_neighbour(name: str) -> None:
    """What two techniques share lies outside of both."""
    package = techniques.__name__
    source = (Path(techniques.__path__[0]) / f"{name}.py").read_text("utf-8")
    assert set(re.findall(rf"{package}\.(\w+)", source)) == {"base"}
    assert not re.search(rf"{package} import", source)


def test_a_file_holds_one_technique(folder: Path) -> None:
    """None or two is a mistake of whoever wrote it."""
    (folder / "added_none.py").write_text("")
    with pytest.raises(TypeError, match="holds 0 subclasses of Technique"):
        TECHNIQUES.find("added_none")
