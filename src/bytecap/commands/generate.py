"""`bytecap generate`: a file and a prompt to text."""

from __future__ import annotations

from typing import Annotated

from bytecap.commands.common import ARGUMENTS, SETTINGS, Artifact, Json, Verb, find_artifact, option, whole_number
from bytecap.commands.output import print_result
from bytecap.core.errors import SIGNAL_NAMES, Stopped


def generate(
    path: Artifact,
    prompt: Annotated[str, option(ARGUMENTS, "What the text begins with.")] = "",
    *,
    tokens: Annotated[int, whole_number(SETTINGS, "How many tokens are drawn at most.")] = 200,
    temperature: Annotated[float, option(SETTINGS, "0 takes the likeliest token, 1 draws as the model says.")] = 0.8,
    seed: Annotated[int, whole_number(SETTINGS, "The same seed writes the same text.")] = 0,
    json: Json = False,
) -> None:
    """Continue a prompt with the model of a run folder or a .bcap file."""
    from bytecap.artifact.load import load
    from bytecap.scoring.continue_text import continue_text
    from bytecap.text.tokens import load_tokens

    file, folder = find_artifact(path)
    artifact = load(file)
    other = None if folder is None else load_tokens(folder / "tokens").tokenizer
    try:
        written = continue_text(artifact, prompt, tokens=tokens, temperature=temperature, seed=seed, tokenizer=other)
    except Stopped as error:
        raise Stopped(
            error.signal_number,
            f"stopped by {SIGNAL_NAMES[error.signal_number]} before the text was finished, and nothing of it is kept; "
            "run the same command again, or ask for fewer --tokens",
        ) from error
    print_result({"text": written}, json, written)


VERB = Verb(generate, ('bytecap generate runs/demo "def main(" --tokens 50 --temperature 0.5',))
