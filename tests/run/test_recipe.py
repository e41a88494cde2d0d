"""Recipes are read strictly, resolved completely, and survive their file."""

import tomllib
from pathlib import Path

import pytest
import torch

from bytecap.core import catalog
from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes


@pytest.mark.parametrize("name", catalog.names("recipes"))
@pytest.mark.parametrize("track", catalog.names("tracks"))
def test_every_recipe_on_every_track(name: str, track: str, tmp_path: Path) -> None:
    """Resolves, builds, and comes back from TOML with the same digest."""
    recipe = recipes.resolve(name, track=track, seed=3)
    assert (recipe.run.recipe, recipe.run.track, recipe.run.seed) == (name, track, 3)
    with torch.device("meta"):
        GPT(ModelSpec.of(recipe.model, recipe.text.vocab_size))
    recipes.save(recipe, tmp_path / "recipe.toml")
    assert recipes.load(tmp_path / "recipe.toml") == recipe
    assert recipes.load(tmp_path / "recipe.toml").digest == recipe.digest


def test_nothing_is_left_to_derive() -> None:
    """Context of scoring and micro-batch are filled in."""
    recipe = recipes.resolve("baseline", track="laptop")
    assert recipe.score.context == recipe.train.context and recipe.train.micro_batch == recipe.train.batch


def test_overrides_are_typed_by_the_schema() -> None:
    """Numbers, booleans, lists, strings, sizes; the last one wins."""
    overrides = ["train.seconds=7", "train.seconds=8", "text.strict=true", 'text.paths=["a b", "c"]',
                 "text.tokenizer=/some/path.model", "artifact.cap_bytes=16MB",
                 "train.optimizer.matrix_lr=1e-3"]  # fmt: skip
    recipe = recipes.resolve("baseline", track="laptop", overrides=overrides)
    assert recipe.train.seconds == 8.0 and recipe.text.strict and recipe.text.paths == ("a b", "c")
    assert recipe.text.tokenizer == "/some/path.model" and recipe.artifact.budget.cap_bytes == 16_000_000
    assert recipe.train.optimizer.matrix_lr == 0.001
    assert recipe.digest != recipes.resolve("baseline", track="laptop").digest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.secnds=3", "train.secnds is not a setting .did you mean seconds"),
        ("train.nope=3", "train.nope is not a setting; there are seconds, "),
        ("trian.seconds=3", "trian is not a setting .did you mean train"),
        ("train.optimizer.matrx_lr=3", "did you mean matrix_lr"),
        ("train.seconds=soon", "train.seconds must be a number, found 'soon'"),
        ("train.seconds=-1", "train.seconds is -1.0; it must lie between 0.001 and 1,000,000,000"),
        ("model.n_layers=2.5", "model.n_layers must be a whole number, found 2.5"),
        ("artifact.compressor=brotly", "did you mean brotli"),
        ("artifact.cap_bytes=16 parsecs", "not a size in bytes"),
        ("score.stride=5000", "larger than score.context"),
        ("train.context=70000", "train.context is 70000; it must lie between 2 and 16,384"),
        ("score.context=70000", "score.context is 70000; it must lie between 1 and 16,384"),
        ("train.batch=1000000000", "train.batch is 1000000000; it must lie between 1 and"),
        ("train.optimizer.matrix_lr=nan", "train.optimizer.matrix_lr is nan; it must be a finite number"),
        ("train.hooks.emma.decay=0.9", "no training hook 'emma' .did you mean ema"),
        ("train.hooks.ema.decay=1.0", "train.hooks.ema.decay is 1.0; it must lie between"),
        ("train.exported_weights=ema", r"this run gives last; .*--set train.hooks.ema=true"),
        ("text.shard_tokens=0", "text.shard_tokens is 0; it must lie between 1,000 and"),
        ("text.document_length=-5", "text.document_length is -5; it must lie between"),
        ("text.vocab_size=1000000", "text.vocab_size is 1000000; it must lie between 261 and 65,536"),
        ("text.validation_fraction=nan", "text.validation_fraction is nan; it must be a finite number"),
        ("score.batch_tokens=10000000000", "score.batch_tokens is 10000000000; it must lie"),
        ("train.batch=1e9", "train.batch is 1000000000; it must lie"),
        ("train.batch=" + "9" * 5000, "train.batch must be a whole number, found '9999"),
        ("text.paths=" + "[" * 5000, "text.paths must be a list, each entry text, found '"),
        ("text.field=\udcff", "text.field must be text, found text that is not UTF-8"),
        ("run.seed=-1", "run.seed is -1; it must lie between 0 and"),
        ("seconds", "must be path=value"),
        (
            "model.n_layers=1",
            r"needs 2 blocks at least, and model.n_layers is 1; raise .*unet_skips=false",
        ),
        ("model.rope_base=nan", "model.rope_base is nan; it must be a finite number"),
        ("model.techniques.xsaa.last_blocks=2", "no technique 'xsaa' .did you mean xsa"),
        ('model.techniques=["xsaa"]', "no technique 'xsaa' .did you mean xsa"),
        ("model.techniques.xsa.last_block=2", "techniques.xsa.last_block is not a setting .did you mean last_blocks"),
        (
            "model.techniques.xsa.last_blocks=3",
            "last_blocks is 3; it must lie between 1 and .*which is 2",
        ),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    """Each says which key, what was found, and the nearest right one."""
    with pytest.raises(ConfigError, match=message):
        recipes.resolve("baseline", track="laptop", overrides=[override])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ["unet_skips", "residual_mix", "xsa"]),
        (["model.techniques.xsa.last_blocks=2"], ["unet_skips", "residual_mix", "xsa"]),
        (["model.techniques.smear_gate=true"], ["smear_gate", "unet_skips", "residual_mix", "xsa"]),
        (["model.techniques.smear_gate={}"], ["smear_gate", "unet_skips", "residual_mix", "xsa"]),
        (["model.techniques.xsa=false", "model.techniques.unet_skips=false"], ["residual_mix"]),
        (["model.techniques.xsa=false", "model.techniques.xsa.last_blocks=2"], ["unet_skips", "residual_mix", "xsa"]),
    ],
)
def test_techniques_are_switched_by_their_tables(overrides: list[str], expected: list[str], tmp_path: Path) -> None:
    """On by a setting, `true` or an empty table, off by `false`; the order is theirs, not the tables'."""
    child = tmp_path / "xsa.toml"
    child.write_text('[run]\nbase = "baseline"\n[model.techniques.xsa]\nlast_blocks = "4 of 12"\n')
    recipe = recipes.resolve(str(child), track="laptop", overrides=overrides)
    assert list(recipe.model.techniques) == expected
    recipes.save(recipe, tmp_path / "recipe.toml")
    assert recipes.load(tmp_path / "recipe.toml") == recipe
    assert recipes.with_overrides(recipe, ["model.techniques.smear_gate=false"]).model.techniques.keys() == {
        *expected
    } - {"smear_gate"}


def test_one_parent_at_most(tmp_path: Path) -> None:
    """A child holds only its differences; a grandparent is refused."""
    child, grandchild = tmp_path / "child.toml", tmp_path / "grandchild.toml"
    child.write_text('[run]\nbase = "baseline"\nsummary = "mine"\n[model]\nqk_gain = 5.0\n')
    recipe = recipes.resolve(str(child), track="laptop")
    assert recipe.model.qk_gain == 5.0 and recipe.model.logit_softcap == 30.0 and recipe.run.summary == "mine"
    assert (recipe.source.scheme, recipe.source.claimed_bpb, recipe.source.missing) == ("int8", None, ())
    grandchild.write_text(f'[run]\nbase = "{child}"\n')
    with pytest.raises(ConfigError, match="at most one parent"):
        recipes.resolve(str(grandchild), track="laptop")


def test_strings_survive_toml(tmp_path: Path) -> None:
    """Quotes, backslashes and control characters in paths."""
    text = ['a "b" \\ c', "tab\there", "line\nend", "bell\x07", "é漢"]
    recipe = recipes.resolve("baseline", track="laptop", text=text)
    recipes.save(recipe, tmp_path / "recipe.toml")
    assert tomllib.loads((tmp_path / "recipe.toml").read_text())["text"]["paths"] == text


def test_a_scale_of_a_recipe(tmp_path: Path) -> None:
    """Numbers of a scale lie over every track that has it, below what the command line says, and over no other."""
    child = tmp_path / "deep.toml"
    child.write_text(
        "[model]\nqk_gain = 5.0\n[scale.contest.model]\nn_layers = 12\n[scale.contest.train]\nbatch = 384\n"
    )
    for track, layers in (("laptop", 2), ("one_gpu", 12), ("contest_16mb", 12)):
        recipe = recipes.resolve(str(child), track=track)
        assert (recipe.model.n_layers, recipe.model.qk_gain) == (layers, 5.0)
        assert (recipe.train.batch == 384) == (track != "laptop")
    assert recipes.resolve(str(child), track="one_gpu", overrides=["model.n_layers=3"]).model.n_layers == 3
    child.write_text("[scale.contst.model]\nn_layers = 12\n")
    with pytest.raises(ConfigError, match=r"\[scale.contst\], and no track has that scale .did you mean contest"):
        recipes.resolve(str(child), track="laptop")
    child.write_text('scale = "contest"\n')
    with pytest.raises(ConfigError, match="scale must be tables such as"):
        recipes.resolve(str(child), track="laptop")


def test_tracks_of_one_scale_have_one_shape() -> None:
    """The contest on one GPU differs from the contest on eight in how its batch is run, and in nothing else."""
    for name in catalog.names("recipes"):
        one, eight = (recipes.resolve(name, track=track).to_json() for track in ("one_gpu", "contest_16mb"))
        for settings in (one, eight):
            del settings["run"], settings["train"]["micro_batch"]
        assert one == eight


def test_overrides_of_a_saved_recipe_know_former_names() -> None:
    """A setting may be given under the name that it had when the recipe was saved."""
    recipe = recipes.resolve("baseline", track="laptop")
    assert recipes.with_overrides(recipe, ["quant.rate=0.3"]).quant.rd_lambda == 0.3


@pytest.mark.parametrize("data", [b"x = [", b"\xff\xfe", b"[run]\n[run]\n"])
def test_a_damaged_recipe(data: bytes, tmp_path: Path) -> None:
    """Is refused with what to do."""
    (tmp_path / "recipe.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"cannot be read: .*; put back the one that `bytecap prepare` wrote"):
        recipes.load(tmp_path / "recipe.toml")
