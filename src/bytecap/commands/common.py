"""What several verbs share: the types of their options, and the way from their words to a recipe, a folder or a file.

In:   words of a command line.
Out:  recipes, run folders, artifacts' paths; errors that name the flag.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bytecap.core.errors import ConfigError, DataError
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.run.recipe import Recipe
    from bytecap.text.tokens import Tokens

Set = Annotated[list[str] | None, Parameter(name="--set", negative="", help="path=value, typed by the recipe.")]
Text = Annotated[
    list[str] | None, Parameter(name="--text", negative="", consume_multiple=True, help="Files, folders or globs.")
]
Device = Annotated[str, Parameter(help="auto, cpu or cuda.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout.")]
Quiet = Annotated[bool, Parameter(negative="", help="No progress on stderr.")]
Track = Annotated[str, Parameter(help="Budget and scale: a name from `bytecap recipes`, or a path.")]
Seed = Annotated[int, Parameter(help="Of first weights, order of text, and sample.")]
Out = Annotated[Path | None, Parameter(help="The run folder; an unfinished run in it is continued.")]


def refuse_empty_text(text: list[str] | None) -> None:
    """ConfigError when `--text` was given with nothing behind it."""
    if text is not None and not any(text):
        raise ConfigError(
            "--text has nothing behind it; give files, folders or globs (is a variable of the shell unset?)"
        )


def resolve_recipe(recipe: str, track: str, seed: int, settings: list[str] | None, text: list[str] | None) -> Recipe:
    """The recipe that the words of `run` and `prepare` mean, every setting filled in."""
    from bytecap.run.recipe import resolve

    refuse_empty_text(text)
    return resolve(recipe, track=track, seed=seed, overrides=settings, text=text)


def run_folder(recipe: Recipe, out: Path | None) -> Path:
    """The folder asked for, or a new one under `runs/` that carries the recipe's name and the time."""
    if out is not None:
        return out
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return Path("runs") / f"{Path(recipe.run.recipe).stem}-{stamp}-{recipe.digest[:8]}"


@contextmanager
def open_run(folder: Path, quiet: bool) -> Iterator[tuple[Recipe, Tokens, Console]]:
    """Recipe and tokens of a run folder to be written into, and a console that logs into it.

    DataError for any other folder, BackendError when another process is writing into it.
    """
    from bytecap.core.lock import writing
    from bytecap.run.folder import LOG, RECIPE, TOKENS
    from bytecap.run.recipe import load
    from bytecap.text.tokens import load_tokens

    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder} is not a run folder: it has no {RECIPE}; make one with `bytecap prepare`")
    console = Console(quiet=quiet)
    with writing(folder):
        console.log_to(folder / LOG)
        yield load(folder / RECIPE), load_tokens(folder / TOKENS), console


def find_artifact(path: Path) -> tuple[Path, Path | None]:
    """The file meant by a run folder or a file, and the run folder around it, if any."""
    file = path / "model.bcap" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; give a .bcap file or a run folder in which `bytecap fit` has been run")
    return file, file.parent if (file.parent / "recipe.toml").is_file() else None
