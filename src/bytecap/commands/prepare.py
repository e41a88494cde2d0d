"""`bytecap prepare`: text to a run folder with its tokens."""

from __future__ import annotations

from bytecap.commands.common import RUN_OPTIONS, RecipeName, RunOptions, Verb
from bytecap.commands.output import print_result
from bytecap.report.console import Console


def prepare(
    recipe: RecipeName = None,
    *,
    options: RunOptions = RUN_OPTIONS,
) -> None:
    """Make a run folder and its tokens; the first verb of a run done step by step."""
    resolved = options.resolve(recipe)
    from bytecap.core.lock import writing
    from bytecap.run import pipeline
    from bytecap.run.folder import LOG, claim_folder

    folder, console = options.folder(resolved), Console(quiet=options.quiet)
    with writing(folder):
        claim_folder(resolved, folder)
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
    print_result(value, options.json, found)


VERB = Verb(prepare, ("bytecap prepare --text my_folder --out runs/new",))
