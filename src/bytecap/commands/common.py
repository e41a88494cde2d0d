"""What several verbs share: the types of their options, and how these lead to a recipe, a folder or a file.

In:   options of a command line.
Out:  recipes, run folders, artifacts' paths; errors that name the flag.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import UNSET, Group, Parameter, Token, convert

from bytecap.core.errors import ConfigError, DataError
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.run.recipe import Recipe
    from bytecap.text.tokens import Tokens

DEFAULT_RECIPE = "laptop_best"
ARGUMENTS = Group("Input", sort_key=0)
SETTINGS = Group("Settings", sort_key=3)
OUTPUT = Group("Output", sort_key=4)
"""Groups of a help page; a verb may have others between."""


@dataclass(frozen=True)
class Verb:
    """One row of the table of verbs."""

    call: Callable[..., None]
    """The function behind a verb: its name is the verb, its signature the options, its docstring the help page."""
    examples: tuple[str, ...]
    """Whole command lines for the help page; a test runs them."""


def _given(annotation: Any, tokens: Sequence[Token]) -> Any:
    """The value of an option or argument as the parser reads it; the empty word would read as the current folder."""
    for token in tokens:
        if token.value == "" and token.implicit_value is UNSET:
            what = f"{token.keyword} has nothing behind it" if token.keyword else "an argument is empty"
            raise ConfigError(f"{what} (is a variable of the shell unset?); give a value, or leave it out")
    return convert(annotation, tokens)


def _settings(_annotation: Any, tokens: Sequence[Token]) -> list[str]:
    """The values of `--set`; one path with two values would be whichever came last."""
    values: dict[str, str] = {}
    for token in tokens:
        path, _, value = token.value.partition("=")
        if values.setdefault(path.strip(), value.strip()) != value.strip():
            raise ConfigError(f"--set {path.strip()} is given twice, {values[path.strip()]} and {value}; give it once")
    return [token.value for token in tokens]


def _whole_number(_type: Any, tokens: Sequence[Token]) -> int:
    """The value of an option that takes an integer; the parser itself would round 8.9."""
    word, flag = tokens[-1].value, tokens[-1].keyword or "the argument"
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"{flag} is {word[:40] or 'empty'}; it must be a whole number in decimal digits") from None


def option(group: Group, text: str, *, name: str | list[str] | None = None, **others: Any) -> Parameter:
    """How an option is written on the command line and on the help page."""
    return Parameter(name=name, group=group, help=text, negative="", **{"converter": _given, **others})


def size(group: Group, text: str) -> Parameter:
    """Declare an option as `option` does, one that takes sizes in bytes; -5kB reaches the sentence that refuses it."""
    return option(group, text, allow_leading_hyphen=True)


def whole_number(group: Group, text: str) -> Parameter:
    """Declare an option as `option` does, one that takes an integer."""
    return option(group, text, converter=_whole_number)


RecipeName = Annotated[
    str | None,
    option(ARGUMENTS, f"What is built: a name from `bytecap recipes`, or a path; {DEFAULT_RECIPE}, or that of --out."),
]
Artifact = Annotated[Path, option(ARGUMENTS, "A .bcap file, or a run folder with one in it.")]
Scored = Annotated[Path, option(ARGUMENTS, "A .bcap file, a run folder with one in it, or a Hugging Face folder.")]
RunFolder = Annotated[Path, option(ARGUMENTS, "A run folder, made by `bytecap prepare` or `bytecap run`.")]
TokenizerPath = Annotated[
    Path | None,
    option(SETTINGS, "The tokenizer, where the file has none in it: a SentencePiece file, or a Hugging Face folder."),
]
TrustCode = Annotated[
    bool, option(SETTINGS, "Run the Python code that a Hugging Face folder brings.", name="--trust-remote-code")
]
Dequantize = Annotated[
    bool,
    option(SETTINGS, "Weights that are quantized already (GPTQ, AWQ, fp8, ..) as the numbers they stand for."),
]
Set = Annotated[
    list[str] | None, option(SETTINGS, "path=value, typed by the recipe.", name="--set", converter=_settings)
]


def text_option(what: str) -> Parameter:
    """`--text` of a verb, and what the text is for."""
    return option(SETTINGS, f"{what}: files, folders or globs.", name="--text", consume_multiple=True)


Device = Annotated[str, option(SETTINGS, "auto, cpu or cuda.")]
Track = Annotated[str, option(SETTINGS, "Budget and scale: a name from `bytecap recipes`, or a path.")]
Seed = Annotated[int, whole_number(SETTINGS, "Seeds the first weights, the order of the text, and the sample.")]
Out = Annotated[
    Path | None, option(OUTPUT, "The run folder, runs/RECIPE-TIME unless given; an unfinished run in it is continued.")
]
Json = Annotated[bool, option(OUTPUT, "Print JSON on stdout.", name="--json")]
Quiet = Annotated[bool, option(OUTPUT, "No progress on stderr.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that `run` and `prepare` share: what is run, where it goes, and how it is reported."""

    track: Track = "laptop"
    text: Annotated[list[str] | None, text_option("What to train and score on, in place of the recipe's")] = None
    set_: Set = None
    seed: Seed = 0
    out: Out = None
    json: Json = False
    quiet: Quiet = False

    def resolve(self, recipe: str | None) -> Recipe:
        """The recipe that is meant, every setting filled in.

        Where none is named it is that of the run in `out`. A run that an older version began goes on with the recipe
        that it has, whatever its file says today; the settings on the command line replace its own.
        """
        from bytecap.core.toml import toml_value
        from bytecap.run.folder import RECIPE
        from bytecap.run.recipe import is_older, load, resolve, with_overrides

        refuse_empty_text(self.text)
        self._refuse_settings()
        path = None if self.out is None else self.out / RECIPE
        if path is not None and path.is_file():
            there = load(path)
            recipe = recipe or there.run.recipe
            if is_older(path) and (there.run.recipe, there.run.track) == (recipe, self.track):
                paths = [f"text.paths={toml_value(self.text)}"] if self.text else []
                return with_overrides(there, [f"run.seed={self.seed}", *paths, *(self.set_ or [])])
        return resolve(recipe or DEFAULT_RECIPE, track=self.track, seed=self.seed, overrides=self.set_, text=self.text)

    def _refuse_settings(self) -> None:
        """ConfigError for a setting that has an option or argument of its own, which would be silently overruled."""
        options = {"run.seed": "--seed", "run.track": "--track", "run.recipe": "its name as the argument"}
        if self.text:
            options["text.paths"] = "--text alone"
        for setting in self.set_ or ():
            path = setting.partition("=")[0].strip()
            if path in options:
                raise ConfigError(f"--set {path} contradicts the command line itself; give {options[path]}", key=path)

    def folder(self, recipe: Recipe) -> Path:
        """The folder asked for, or a new one under `runs/` that carries the recipe's name and the time."""
        if self.out is not None:
            return self.out
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        return Path("runs") / f"{Path(recipe.run.recipe).stem}-{stamp}-{recipe.digest[:8]}"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """The options that `fit` and `score` share: a text, how it is read, where it is run, and how that is reported."""

    text: Annotated[list[str] | None, text_option("What to measure or to score")] = None
    set_: Set = None
    device: Device = "auto"
    json: Json = False
    quiet: Quiet = False


RUN_OPTIONS, TEXT_OPTIONS = RunOptions(), TextOptions()
"""What holds where no option is given."""


def refuse_empty_text(text: list[str] | None) -> None:
    """Raise ConfigError when `--text` was given without a value."""
    if text is not None and not any(text):
        raise ConfigError(
            "--text has nothing behind it; give files, folders or globs (is a variable of the shell unset?)"
        )


@contextmanager
def open_run(folder: Path, quiet: bool) -> Iterator[tuple[Recipe, Tokens, Console]]:
    """Recipe and tokens of a run folder to be written into, and a console that logs into it.

    DataError for any other folder, BackendError when another process is writing into it.
    """
    from bytecap.core.distributed import together, world
    from bytecap.run.folder import LOG, RECIPE, TOKENS, writing_run
    from bytecap.run.recipe import load
    from bytecap.text.tokens import load_tokens

    console = Console(quiet=quiet or not world().is_main)
    with together():
        if not (folder / RECIPE).is_file():
            raise DataError(f"{folder} is not a run folder: it has no {RECIPE}; make one with `bytecap prepare`")
    with writing_run(folder):
        with together():
            if world().is_main:
                console.log_to(folder / LOG)
            recipe, tokens = load(folder / RECIPE), load_tokens(folder / TOKENS)
            if tokens.unchecked:
                console.note(tokens.unchecked)
        yield recipe, tokens, console


def find_artifact(path: Path) -> tuple[Path, Path | None]:
    """The file meant by a run folder or a file, and the run folder around it, if any."""
    from bytecap.run.folder import RECIPE, find_model

    if is_model_folder(path) and not list(path.glob("*.bcap")):
        raise DataError(
            f"{path} is the folder of a Hugging Face model and has no .bcap file; make one, such as with "
            f"`bytecap fit {path} --cap 40MB -o model.bcap`"
        )
    file = find_model(path) if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; give a .bcap file or the folder of a run")
    return file, file.parent if (file.parent / RECIPE).is_file() else None


def is_model_folder(path: Path) -> bool:
    """Tell the folder of a Hugging Face model from a run folder and from any file."""
    from bytecap.run.folder import RECIPE

    return (path / "config.json").is_file() and not (path / RECIPE).is_file()
