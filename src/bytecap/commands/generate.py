"""`bytecap generate`: a file and a prompt to text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import (
    ARGUMENTS,
    SETTINGS,
    Json,
    Scored,
    TokenizerPath,
    TrustCode,
    Verb,
    find_artifact,
    is_model_folder,
    option,
    whole_number,
)
from bytecap.commands.output import print_result
from bytecap.core.errors import SIGNAL_NAMES, Stopped
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.artifact.load import Artifact
    from bytecap.model.sampling import Sampling


def generate(
    path: Scored,
    prompt: Annotated[str, option(ARGUMENTS, "What the text begins with.", converter=None)] = "",
    *,
    tokens: Annotated[int, whole_number(SETTINGS, "How many tokens are drawn at most.")] = 200,
    temperature: Annotated[float, option(SETTINGS, "0 takes the likeliest token, 1 draws as the model says.")] = 0.8,
    seed: Annotated[int, whole_number(SETTINGS, "The same seed writes the same text.")] = 0,
    tokenizer: TokenizerPath = None,
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Continue a prompt with the model of a run folder, a .bcap file or a Hugging Face folder."""
    from bytecap.artifact.load import load
    from bytecap.model.sampling import Sampling

    file, folder = (path, None) if is_model_folder(path) else find_artifact(path)
    sampling = Sampling(tokens=tokens, temperature=temperature, seed=seed)
    origin = file if file.is_dir() else load(file)
    try:
        if isinstance(origin, Path) or "config.json" in origin.attached:
            from bytecap.huggingface.generation import continue_prompt
            from bytecap.huggingface.scored import Opening, open_model

            console = Console()
            opening = Opening(origin=origin, tokenizer=tokenizer, device="cpu", trust_code=trust_code)
            written = continue_prompt(open_model(opening, console), prompt, sampling, progress=console)
        else:
            written = _continue_ours(origin, prompt, sampling, folder, tokenizer)
    except Stopped as error:
        raise Stopped(
            error.signal_number,
            f"stopped by {SIGNAL_NAMES[error.signal_number]} before the text was finished, and nothing of it is kept; "
            "run the same command again, or ask for fewer --tokens",
        ) from error
    print_result({"text": written}, json, written)


def _continue_ours(
    artifact: Artifact, prompt: str, sampling: Sampling, folder: Path | None, tokenizer: Path | None
) -> str:
    """A text by one of our own models, with the tokenizer of its file, of its run, or a given one."""
    from bytecap.scoring.continue_text import continue_text
    from bytecap.text.tokenizer import Tokenizer
    from bytecap.text.tokens import load_tokens

    other = None if folder is None else load_tokens(folder / "tokens").tokenizer
    return continue_text(artifact, prompt, sampling, tokenizer=Tokenizer.read(tokenizer) if tokenizer else other)


VERB = Verb(generate, ('bytecap generate runs/demo "def main(" --tokens 50 --temperature 0.5',))
