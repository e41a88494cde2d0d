"""`bytecap score`: a file and a text to bits per byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bytecap.commands.common import (
    SETTINGS,
    TEXT_OPTIONS,
    Scored,
    TextOptions,
    TokenizerPath,
    TrustCode,
    Verb,
    find_artifact,
    is_model_folder,
    option,
    refuse_empty_text,
    whole_number,
)
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, together, world
from bytecap.core.errors import ConfigError
from bytecap.core.units import counted
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.run.recipe import Recipe
    from bytecap.scoring.evaluate import ScoreConfig
    from bytecap.scoring.score_text import TextScoring
    from bytecap.text.config import TextConfig

Stride = Annotated[
    int | None,
    whole_number(SETTINGS, "New positions for each window, with --text; a run folder is scored as its recipe says."),
]
Adapt = Annotated[
    list[str] | None,
    option(
        SETTINGS,
        "What the model adapts by while it is scored: document_memory, lora, phased_sgd, rmsprop, sgd, "
        "softcap_temperature, or none; without it as recipe or file say.",
    ),
]
_SCORE, _ADAPT, _NONE = "score.", "score.adapt", "none"
"""Beginning of the settings of a score and of those of adaptations, and the word for no adaptation."""
_CHOSEN_OF_A_FILE = ("score.stride", "score.strategy")
"""What may be chosen where a file is scored on a text, besides adaptations."""


@joined()
def score(
    path: Scored,
    *,
    options: TextOptions = TEXT_OPTIONS,
    stride: Stride = None,
    adapt: Adapt = None,
    tokenizer: TokenizerPath = None,
    trust_code: TrustCode = False,
) -> None:
    """Bits per byte of a run folder, a .bcap file or a Hugging Face folder: on the run's held-out text, or on --text.

    Where the model adapts while it is scored, its scores without that are given too.
    """
    from bytecap.run.scoring import score_run

    with together():
        refuse_empty_text(options.text)
        file, folder = (path, None) if is_model_folder(path) else find_artifact(path)
        overrides = options.set_ or ()
        reading = _reading(options.text, overrides) if options.text else None
        if reading is None and folder is None:
            raise ConfigError(f"{file} lies in no run folder, so there is no held-out text; give some with --text PATH")
        if reading is None and stride is not None:
            raise ConfigError("--stride goes with --text; a run is scored as its recipe says, or --set score.stride=64")
        if reading is None and tokenizer is not None:
            raise ConfigError("--tokenizer goes with --text; a run is scored with the tokenizer it was trained with")
        settings = _settings(file, folder if reading is None else None, adapt, overrides)
    console = Console(quiet=options.quiet or not world().is_main)
    with console.stage("score"):
        if reading is not None:  # of several processes one does it; a run folder is scored by all
            how = _text_scoring(stride, settings, bool(adapt), overrides)
            request = _TextRequest(file, reading, how, tokenizer, trust_code, options.device)
            value = from_main(lambda: _score_text(request, console))
        else:
            assert folder is not None
            value = score_run(
                folder, artifact=file, settings=settings, device=options.device, progress=console
            ).to_json()
    print_result(value, options.json, _summary(value))


@dataclass(frozen=True)
class _TextRequest:
    """A score on a given text."""

    path: Path
    text: TextConfig
    how: TextScoring
    tokenizer: Path | None
    trust_code: bool
    device: str


def _score_text(request: _TextRequest, console: Console) -> dict[str, Any]:
    """The score of one of our own files, or of a Hugging Face model in a file or a folder."""
    from bytecap.artifact.load import load
    from bytecap.scoring.score_text import score_text
    from bytecap.text.tokenizer import Tokenizer

    origin = request.path if request.path.is_dir() else load(request.path)
    if isinstance(origin, Path) or "config.json" in origin.attached:
        from bytecap.huggingface.scored import Opening, score_model

        if request.how.adapt or request.how.strategy is not None:
            raise ConfigError("a Hugging Face model is scored as it is, in windows; leave --adapt and score.* out")
        opening = Opening(
            origin=origin, tokenizer=request.tokenizer, device=request.device, trust_code=request.trust_code
        )
        return score_model(opening, request.text, console, stride=request.how.stride).to_json()
    tokenizer = None if request.tokenizer is None else Tokenizer.read(request.tokenizer)
    return score_text(
        origin, request.text, request.how, device=request.device, tokenizer=tokenizer, progress=console
    ).to_json()


def _text_scoring(
    stride: int | None, settings: ScoreConfig | None, adapting: bool, overrides: Sequence[str]
) -> TextScoring:
    """How a file is scored on a text: as the overrides say, and otherwise as the file says."""
    from bytecap.scoring.score_text import TextScoring

    if settings is None:
        return TextScoring(stride=stride)
    keys = [_key(override) for override in overrides]
    for key in keys:
        if key.startswith(_SCORE) and key not in _CHOSEN_OF_A_FILE and not key.startswith(_ADAPT):
            raise ConfigError(
                f"--set {key} changes nothing with --text, where the file says it; {', '.join(_CHOSEN_OF_A_FILE)} and "
                f"{_ADAPT} do"
            )
    return TextScoring(
        stride=settings.stride if stride is None and "score.stride" in keys else stride,
        adapt=settings.adapt if adapting or any(key.startswith(_ADAPT) for key in keys) else None,
        strategy=settings.strategy if "score.strategy" in keys else None,
    )


def _summary(value: dict[str, Any]) -> str:
    """A score as a sentence and, if the model adapts, the scores of the model alone below it."""
    adapt = f", adapting by {', '.join(value['adapt'])}" if value.get("adapt") else ""
    how = "" if value["strategy"] == "windows" else f", {value['strategy']}"
    fault = "; DIVERGED" if value.get("fault") else ""
    if value["order"] != "canonical":
        fault += f"; documents {value['order'].replace('_', ' ')}, NOT IN THE ORDER OF THE TEXT"
    tokens = counted(value["tokens"], "token")
    if value["bits_per_byte"] is None:
        return (
            f"{value['nats_per_token']:.6f} nats per token ({tokens}; context {value['context']}, stride "
            f"{value['stride']}); no bits per byte, for {value['refused']}"
        )
    lines = [
        f"{value['bits_per_byte']:.6f} bits per byte ({value['nats']:.2f} nats over "
        f"{counted(value['text_bytes'], 'byte')} and {tokens}; context {value['context']}, stride "
        f"{value['stride']}{how}{adapt}; {value['tokens'] / value['seconds']:,.0f} tokens/s{fault})"
    ]
    for name, static in value.get("static", {}).items():
        lines.append(
            f"{static['bits_per_byte']:.6f} {name}, the model alone (context {static['context']}, stride "
            f"{static['stride']}; {static['tokens'] / static['seconds']:,.0f} tokens/s)"
        )
    return "\n".join(lines)


def _settings(
    file: Path, folder: Path | None, adapt: Sequence[str] | None, overrides: Sequence[str]
) -> ScoreConfig | None:
    """The settings of the run or the file with the overrides applied; None if nothing is overridden."""
    from bytecap.run.recipe import with_adaptations, with_overrides
    from bytecap.text.config import READING

    chosen = [override for override in overrides if override.strip().startswith(_SCORE)]
    for override in overrides:
        if override not in chosen and (folder is not None or _key(override) not in READING):
            known = "settings of [score]" if folder is not None else f"{', '.join(READING)} and settings of [score]"
            raise ConfigError(f"--set {override} changes nothing here; {known} do")
    if adapt is None and not chosen:
        return None
    recipe = with_overrides(_saved(file, folder, adapt), chosen)
    if adapt is not None:
        for key in map(_key, chosen):
            if key.startswith(f"{_ADAPT}.") and (name := key.split(".")[2]) not in adapt and name in recipe.score.adapt:
                raise ConfigError(f"--set {key} changes nothing: --adapt does not name it; add --adapt {name}")
        recipe = with_adaptations(recipe, [] if list(adapt) == [_NONE] else adapt)
    return recipe.score


def _saved(file: Path, folder: Path | None, adapt: Sequence[str] | None) -> Recipe:
    """The recipe of a run folder, else one with those of a file's adaptations that are asked for."""
    from bytecap.artifact.load import load
    from bytecap.run import recipe as recipes
    from bytecap.run.folder import RECIPE
    from bytecap.scoring.adaptations import saved_adaptations

    if folder is not None:
        return recipes.load(folder / RECIPE)
    recipe, saved = recipes.Recipe(), load(file).adapt if file.is_file() else {}
    asked = {name: value for name, value in saved.items() if adapt is None or name in adapt}
    adaptations = saved_adaptations(asked, origin="the file's header")
    return dataclasses.replace(recipe, score=dataclasses.replace(recipe.score, adapt=adaptations))


def _reading(text: Sequence[str], overrides: Sequence[str]) -> TextConfig:
    """How `text` is read."""
    from bytecap.run.recipe import Recipe, with_overrides
    from bytecap.text.config import READING

    chosen = [override for override in overrides if _key(override) in READING]
    return dataclasses.replace(with_overrides(Recipe(), chosen).text, paths=tuple(text))


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


VERB = Verb(
    score,
    (
        "bytecap score runs/demo",
        "bytecap score model.bcap --text my.txt --stride 16",
        "bytecap score runs/demo --adapt document_memory",
        "bytecap score gpt2/ --text my.txt",
    ),
)
