"""What every adaptation owes: causal, normalized, live, reset at documents, the same side by side, settings in files.

The list is the folder: an adaptation that is nothing but a file is tested all the same.
"""

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bytecap.scoring import adaptations
from bytecap.scoring.adaptations import ADAPTATIONS
from tests.contracts.adaptations import (
    check_causal,
    check_lanes,
    check_live,
    check_normalized,
    check_reset,
    check_settings,
)

CHECKS = (check_causal, check_normalized, check_live, check_reset, check_lanes, check_settings)


@pytest.mark.parametrize("name", ADAPTATIONS.names())
@pytest.mark.parametrize("check", CHECKS)
def test_every_adaptation(check: Callable[[str, Path], None], name: str, tmp_path: Path) -> None:
    """All checks over all files."""
    check(name, tmp_path)


HEAD = """
    import torch
    from bytecap.scoring.adaptations.base import Adaptation

    class Added(Adaptation):
        seen = 0
"""
SEES_ITS_TARGET = """
        def logits(self, logits_BTV, hidden_BTD, inputs_BT):
            return logits_BTV + torch.nn.functional.one_hot(inputs_BT.roll(-1, 1), logits_BTV.size(-1))
"""
NOT_NORMALIZED = """
        def mix(self, log_probs_BTV, inputs_BT):
            return log_probs_BTV + 0.001
"""
SILENT = "        pass"
FORGETS_NOTHING = """
        def learn(self, scored):
            self.seen += scored.tokens
        def logits(self, logits_BTV, hidden_BTD, inputs_BT):
            return logits_BTV * (1 + self.seen / 100)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files count as adaptations."""
    adaptations.__path__.append(str(tmp_path))
    yield tmp_path
    adaptations.__path__.remove(str(tmp_path))


def test_the_checks_find_faults(folder: Path) -> None:
    """One that looks ahead, one that sums to more than one, one that does nothing, one that keeps all."""
    faults = {
        "sees_its_target": (SEES_ITS_TARGET, check_causal, "saw the target"),
        "not_normalized": (NOT_NORMALIZED, check_normalized, "sum to"),
        "silent_one": (SILENT, check_live, "changes nothing"),
        "forgets_nothing": (FORGETS_NOTHING, check_reset, "keeps something across documents"),
    }
    for name, (body, check, message) in faults.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(HEAD + body))
        with pytest.raises(Exception, match=message):
            check(name, folder / "streams")
