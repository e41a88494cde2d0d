"""Absurd settings by --set, in recipe and track files, and in the recipe of a run folder.

In:   a generator, the valid files, an empty folder.
Out:  exit codes. The input lies in the folder, so that a finding can be kept.
"""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from pathlib import Path
from typing import Any

from tests.fuzz.material import Material
from tests.fuzz.mutate import MARKS, NUMBERS, WORDS, mutate_bytes, mutate_json, strange_value
from tests.runs import call


def recipe(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """Absurd values by --set, in a recipe or track file, and in a run folder's own recipe."""
    table = tomllib.loads((material.run / "recipe.toml").read_text("utf-8"))
    given: list[str] = []
    kind = rng.randrange(4)
    if kind == 0:
        run = folder / "run"
        shutil.copytree(material.run, run)
        (run / "recipe.toml").write_bytes(_wrong_toml(rng, table))
        verb = rng.choice(("score", "train", "generate", "inspect", "fit"))
        return [call(verb, run, *(("--dry-run",) if verb == "fit" else ()))]
    if kind == 1:
        path = folder / "input.toml"
        path.write_bytes(_wrong_toml(rng, {key: table[key] for key in rng.sample(sorted(table), 3)}))
        given = rng.choice((["--track", str(path)], [str(path)]))
    for _ in range(rng.choice((1, 1, 2, 4)) if kind > 1 else 0):
        section = rng.choice(sorted(table))
        name = rng.choice(sorted(table[section]) or ["nothing"])
        value = rng.choice(
            (_toml(strange_value(rng)), rng.choice(WORDS).replace("\ud800", "\udc80"), str(rng.choice(NUMBERS)))
        )
        given.append(f"--set={section}.{name}={value}")
    if rng.random() < 0.1:
        given.append(f"--seed={rng.choice(NUMBERS)}")
    sets = ["--set=text.vocab_size=300"]
    return [call("prepare", "--text", material.corpus, *sets, *given, "--out", folder / "run", "--quiet")]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return MARKS.get(value, json.dumps(value))
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())}}}"
    return "1.5" if value is None else str(value)


def _wrong_toml(rng: random.Random, table: dict[str, Any]) -> bytes:
    changed = mutate_json(rng, table)
    if isinstance(changed, dict):
        lines = []
        for key, rows in changed.items():
            name = key if key.isidentifier() else json.dumps(key)
            if isinstance(rows, dict):
                lines += [f"[{name}]", *(f"{json.dumps(k)} = {_toml(v)}" for k, v in rows.items())]
            else:
                lines.insert(0, f"{name} = {_toml(rows)}")
        text = "\n".join(lines)
    else:
        text = _toml(changed)
    data = text.encode("utf-8", "surrogatepass")
    return mutate_bytes(rng, data) if rng.random() < 0.15 else data
