"""bytecap: the best language model in N bytes.

    fit(model, batches, loss=..., cap_bytes="4MB")   any torch module into a file of at most N bytes: an Artifact
    load(path)                                       a `.bcap` file: an Artifact
    load_state_dict(path)                            its weights by name, for any torch module
    score(file, text=...)                            bits per byte of a file's model or a Predictor on any text: a Score
    generate(file, prompt)                           text that continues a prompt
    compare(runs, against)                           is one set of runs better than another: a RunComparison
    audit(run_or_file)                               the rules of an honest score, asked of a run, a file or any model

Errors are one tree under BytecapError. Torch is imported when the first of these names is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bytecap.core.errors import (
    BackendError,
    BudgetError,
    BytecapError,
    ConfigError,
    DataError,
    FormatError,
    NumericsError,
    RuleError,
    Stopped,
)
from bytecap.core.version import __version__

__all__ = [
    "Artifact",
    "BackendError",
    "BudgetError",
    "BytecapError",
    "ConfigError",
    "DataError",
    "FormatError",
    "NumericsError",
    "Predictor",
    "QuantConfig",
    "RuleError",
    "RunComparison",
    "Score",
    "Stopped",
    "TextConfig",
    "__version__",
    "audit",
    "compare",
    "fit",
    "generate",
    "load",
    "load_state_dict",
    "score",
]

if TYPE_CHECKING:
    from bytecap.api import fit, generate, score
    from bytecap.artifact.load import Artifact, load, load_state_dict
    from bytecap.auditing.audit import audit
    from bytecap.quant.allocation import QuantConfig
    from bytecap.run.compare import RunComparison, compare
    from bytecap.scoring.evaluate import Score
    from bytecap.scoring.predictor import Predictor
    from bytecap.text.config import TextConfig

_LAZY = {
    **dict.fromkeys(("fit", "generate", "score"), "bytecap.api"),
    "audit": "bytecap.auditing.audit",
    **dict.fromkeys(("Artifact", "load", "load_state_dict"), "bytecap.artifact.load"),
    **dict.fromkeys(("RunComparison", "compare"), "bytecap.run.compare"),
    "QuantConfig": "bytecap.quant.allocation",
    "Predictor": "bytecap.scoring.predictor",
    "Score": "bytecap.scoring.evaluate",
    "TextConfig": "bytecap.text.config",
}
"""Names that bring torch or numpy in, and where they live."""


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is asked for."""
        if name not in _LAZY:
            raise AttributeError(f"module 'bytecap' has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
