"""`bytecap prepare`: text to a run folder with its tokens."""

from __future__ import annotations

from bytecap.commands.common import (
    Json,
    Out,
    Quiet,
    RecipeName,
    Seed,
    Set,
    Text,
    Track,
    Verb,
    resolve_recipe,
    run_folder,
)
from bytecap.commands.output import print_result
from bytecap.report.console import Console


def prepare(
    recipe: RecipeName = None,
    *,
    track: Track = "laptop",
    text: Text = None,
    set_: Set = None,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run folder and its tokens; the first verb of a run done step by step."""
    resolved = resolve_recipe(recipe, track, seed, set_, text, out)
    from bytecap.core.lock import writing
    from bytecap.run import pipeline
    from bytecap.run.folder import LOG, enter

    folder, console = run_folder(resolved, out), Console(quiet=quiet)
    with writing(folder):
        enter(resolved, folder)
        console.log_to(folder / LOG)
        tokens = pipeline.prepare_stage(resolved, folder, console)
    value = {
        "folder": str(folder),
        "train_tokens": tokens.train_tokens,
        "validation_tokens": tokens.validation_tokens,
        "validation_bytes": tokens.validation_bytes,
        "corpus_digest": tokens.corpus_digest,
    }
    found = f"{folder}: {tokens.train_tokens:,} training and {tokens.validation_tokens:,} held-out tokens"
    print_result(value, json, found)


VERB = Verb(prepare, ("bytecap prepare --text my_folder --out runs/new",))
