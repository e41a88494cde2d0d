"""No saved setting loses its first name or its first default: old files and digests rest on them.

`tests/golden/first_defaults.json` holds them; `python -m tests.contracts.test_first_defaults` adds new fields to it. A
field that is renamed, or gets another default, notes the former one beside itself (core/settings.py).
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.settings import first_default, former_names, is_required, saved_fields, upgraded
from bytecap.core.settings_writer import to_sparse
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES, technique_config
from bytecap.quant.calibration_file import _Header
from bytecap.run.recipe import Recipe
from bytecap.run.recipe_0_1 import DEFAULTS
from bytecap.text.tokens import Tokens
from bytecap.train.checkpoint import Checkpoint
from bytecap.train.hooks import HOOKS, hook_config

SAVED: dict[str, type] = {
    "recipe": Recipe, "model spec": ModelSpec, "checkpoint": Checkpoint, "tokens": Tokens, "calibration": _Header,
    **{f"hook {name}": hook_config(name) for name in HOOKS.names()},
    **{f"technique {name}": technique_config(name) for name in TECHNIQUES.names()},
}  # fmt: skip
RECORDED = Path(__file__).parents[1] / "golden" / "first_defaults.json"
REQUIRED = "required"
FIELDS: dict[str, dataclasses.Field[Any]] = {}
"""By path."""


def first_defaults(cls: type, prefix: str) -> dict[str, Any]:
    """First default of every field by dotted path of first names, as text of JSON."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for field in saved_fields(cls):
        path = f"{prefix}.{(*former_names(field), field.name)[0]}"
        if dataclasses.is_dataclass(hints[field.name]):
            found |= first_defaults(typing.cast(type, hints[field.name]), path)
        else:
            found[path] = REQUIRED if is_required(field) else plain(first_default(field))
            FIELDS[path] = field
    return found


def plain(value: Any) -> Any:
    """As JSON: of tables by name, the settings that differ from their defaults."""
    if isinstance(value, Mapping):
        return {name: to_sparse(entry) if dataclasses.is_dataclass(entry) else entry for name, entry in value.items()}
    return json.loads(json.dumps(value))


def current() -> dict[str, Any]:
    """As the code says today."""
    return {path: value for name, cls in SAVED.items() for path, value in first_defaults(cls, name).items()}


def test_first_defaults_stay() -> None:
    """What was recorded is still so, and what is new is recorded."""
    recorded, now = json.loads(RECORDED.read_text("utf-8")), current()
    for path, value in recorded.items():
        first = upgraded(FIELDS[path], value) if path in FIELDS else value
        assert path in now, f"{path} is gone: files that hold it no longer open; keep it, or note it as a former name"
        assert json.dumps(now[path]) == json.dumps(first), f"the first default of {path} was {value}; note it beside it"
    new = sorted(set(now) - set(recorded))
    assert not new, f"add {', '.join(new)} to {RECORDED.name}: run python -m tests.contracts.test_first_defaults"
    late = [path for path in now if now[path] == REQUIRED and path.rsplit(".", 1)[-1] not in FIRST_REQUIRED]
    assert not late, f"{', '.join(late)} has no default, so no older file opens"


FIRST_REQUIRED = {
    *("vocab_size", "made_from", "tokens", "context", "digest", "corpus_digest", "corpus", "tokenizer"),
    *("tokenizer_digest", "document_length", "train_shards", "train_tokens", "validation_shards", "validation_tokens"),
    *("validation_text", "validation_bytes", "measured_on", "loss", "unigram", "squares", "vectors"),
}
"""Fields without a default since 0.1.0."""


@pytest.mark.parametrize("name", sorted(SAVED))
def test_no_default_hides_none(name: str) -> None:
    """A field that may be None has None as its default: TOML cannot say None otherwise."""

    def look(cls: type) -> None:
        hints = typing.get_type_hints(cls)
        for field in saved_fields(cls):
            if dataclasses.is_dataclass(hints[field.name]):
                look(typing.cast(type, hints[field.name]))
            elif type(None) in typing.get_args(hints[field.name]) and not is_required(field):
                assert field.default is None and first_default(field) is None, field.name

    look(SAVED[name])


def test_settings_of_0_1_are_among_them() -> None:
    """The frozen table of 0.1.0 and the record agree."""

    def paths(table: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in table.items():
            flat |= paths(value, f"{prefix}.{key}") if isinstance(value, dict) else {f"{prefix}.{key}": value}
        return flat

    recorded = json.loads(RECORDED.read_text("utf-8"))
    assert {path: recorded[path] for path in paths(DEFAULTS, "recipe")} == paths(DEFAULTS, "recipe")


if __name__ == "__main__":
    whole = {**current(), **(json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {})}
    lines = [f"{json.dumps(path)}: {json.dumps(value)}" for path, value in sorted(whole.items())]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
