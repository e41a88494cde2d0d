"""`bytecap generate`: a file and a prompt to text."""

from __future__ import annotations

from pathlib import Path

from bytecap.commands.common import Json, find_artifact
from bytecap.commands.output import print_result


def generate(
    path: Path,
    prompt: str = "",
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    json: Json = False,
) -> None:
    """Continue a prompt with the model of a run folder or a .bcap file."""
    from bytecap.artifact.load import load
    from bytecap.run import use
    from bytecap.text.tokens import load_tokens

    file, folder = find_artifact(path)
    artifact = load(file)
    other = None if folder is None else load_tokens(folder / "tokens").tokenizer_model()
    written = use.generate(artifact, other, prompt, tokens, temperature, seed)
    print_result({"text": written}, json, written)
