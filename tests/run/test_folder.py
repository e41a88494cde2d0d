"""A run folder belongs to one recipe and one writer, keeps its seconds, and knows what it still lacks."""

import dataclasses
from pathlib import Path

import pytest

from bytecap.core.errors import BackendError, ConfigError, DataError
from bytecap.core.files import read_json, write_json
from bytecap.run.folder import MODEL, RECORD, SECONDS, TOKENS, claim_folder, find_model, load_seconds, timed
from bytecap.run.recipe import Recipe, resolve
from bytecap.text.tokens import MANIFEST
from bytecap.train.checkpoint import CHECKPOINT, Checkpoint, TrainingState, save_checkpoint
from tests.model.test_gpt import SPEC


def recipe(*overrides: str) -> Recipe:
    return resolve("baseline", track="laptop", seed=0, overrides=list(overrides), text=["x"])


def test_a_folder_with_products_is_refused_to_another_recipe(tmp_path: Path) -> None:
    """The differing settings are named; one without products takes the corrected recipe."""
    one, other = recipe(), recipe("train.steps=7", "model.n_layers=4")
    claim_folder(one, tmp_path)
    claim_folder(one, tmp_path)
    claim_folder(other, tmp_path)
    (tmp_path / RECORD).touch()
    with pytest.raises(ConfigError, match=r"holds a run of another recipe .* differing: .*train\.steps"):
        claim_folder(one, tmp_path)
    claim_folder(other, tmp_path)


def test_seconds_add_up_over_restarts_and_errors(tmp_path: Path) -> None:
    """Each stage's are the sum of all its tries, in the order in which stages began."""
    for stage in ("fit", "score", "fit"):
        with timed(tmp_path, stage):
            pass
    with pytest.raises(ValueError, match="mine"), timed(tmp_path, "fit"):
        raise ValueError("mine")
    assert list(load_seconds(tmp_path)) == ["fit", "score"]
    write_json(tmp_path / SECONDS, {"fit": 100})
    with timed(tmp_path, "fit"):
        pass
    assert 100 < load_seconds(tmp_path)["fit"] < 101


def test_an_error_is_worth_more_than_its_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk so full that not even the seconds can be saved does not hide what has happened."""

    def full(*_: object) -> None:
        raise BackendError("cannot save")

    monkeypatch.setattr("bytecap.run.folder.write_json", full)
    with pytest.raises(ValueError, match="mine"), timed(tmp_path, "fit"):
        raise ValueError("mine")
    with pytest.raises(BackendError, match="cannot save"), timed(tmp_path, "fit"):
        pass


@pytest.mark.parametrize("value", [[], 1, {"fit": "long"}, {"fit": None}, {"fit": True}])
def test_seconds_of_another_shape(tmp_path: Path, value: object) -> None:
    """Refused before the stage works, with the next step."""
    write_json(tmp_path / SECONDS, value)
    with pytest.raises(DataError, match=r"seconds\.json is not what .*; delete it"), timed(tmp_path, "fit"):
        raise AssertionError("entered")
    assert read_json(tmp_path / SECONDS) == value


def test_what_a_folder_lacks_is_named_with_the_next_verb(tmp_path: Path) -> None:
    """From an empty folder to a fitted one."""

    def lacks(words: str) -> None:
        with pytest.raises(DataError, match=words):
            find_model(tmp_path)

    lacks("is not a run folder: it has no recipe.toml; give a .bcap file")
    claim_folder(recipe(), tmp_path)
    lacks("its text has not been prepared; run `bytecap run` or `bytecap prepare`")
    write_json(tmp_path / TOKENS / MANIFEST, {})
    lacks("its model has not been trained to the end; run `bytecap train ")
    for finished in (False, True):
        state = dataclasses.replace(TrainingState(step=1, loss=1.0), finished=finished)
        saved = Checkpoint(spec=SPEC, made_from="x", tokens="t", context=16, progressed=state)
        save_checkpoint(tmp_path / CHECKPOINT, saved)
        lacks("has not been fitted; run `bytecap fit " if finished else "has not been trained to the end")
    (tmp_path / MODEL).touch()
    assert find_model(tmp_path) == tmp_path / MODEL
