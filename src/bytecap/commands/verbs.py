"""The table of verbs, each in a file of its own, and the parser that is made from it."""

from __future__ import annotations

import io
import shutil

from cyclopts import App, CycloptsError, UnknownCommandError, UnusedCliTokensError
from rich.console import Console

from bytecap.commands import (
    audit,
    compare,
    convert,
    export,
    fit,
    generate,
    inspect,
    prepare,
    recipes,
    run,
    score,
    train,
)
from bytecap.commands.common import Verb
from bytecap.commands.help import MAX_WIDTH, PlainHelp
from bytecap.core.errors import ConfigError, nearest
from bytecap.core.version import __version__

VERBS: tuple[Verb, ...] = (
    run.VERB,
    prepare.VERB,
    train.VERB,
    fit.VERB,
    score.VERB,
    compare.VERB,
    audit.VERB,
    generate.VERB,
    inspect.VERB,
    export.VERB,
    convert.VERB,
    recipes.VERB,
)
"""All verbs, in the order of the workflow."""


def build_app(pages: Console) -> App:
    """The parser of the command line, with every verb; it writes help pages to `pages`."""
    app = App(
        name="bytecap",
        version=__version__,
        help="The best language model in N bytes: from text or a finished checkpoint to one file that fits.",
        help_epilogue=_examples(("bytecap VERB --help", *(verb.examples[0] for verb in VERBS))),
        help_format="plaintext",  # no Markdown parser: the command line must start fast
        help_formatter=PlainHelp(),
        console=pages,
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    for order, verb in enumerate(VERBS):
        app.command(verb.call, sort_key=order, help_epilogue=_examples(verb.examples))
    return app


def call(arguments: list[str]) -> None:
    """Run the command line; ConfigError for arguments that it does not know."""
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
    pages = io.StringIO()
    try:
        build_app(Console(file=pages, width=width))(arguments)
    except CycloptsError as error:
        raise ConfigError(_sentence(error)) from error
    if page := pages.getvalue().strip().replace("\n\n\n", "\n\n"):
        print(page, flush=True)


def _examples(lines: tuple[str, ...]) -> str:
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def _sentence(error: CycloptsError) -> str:
    """What the parser found, in one line, and the next step."""
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(map(repr, error.unused_tokens or ()))
        return f"nothing takes {words}; put text with spaces into quotes, and repeat an option for each value"
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        word, verbs = error.unused_tokens[0][:40], [verb.call.__name__ for verb in VERBS]
        return f"there is no command {word!r}{nearest(word, verbs)}; choose one of {', '.join(verbs)}"
    error.verbose = False
    verb = " ".join(error.command_chain or ())
    found = " ".join(str(error).split()).rstrip("., ")
    return (
        f"{found}{' ' if found.endswith('?') else '; '}`bytecap {verb + ' ' if verb else ''}--help` lists what there is"
    )
