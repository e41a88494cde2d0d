"""Help pages as plain text: two columns, wrapped once."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

MAX_WIDTH = 100
"""Columns of a page on a wide terminal; longer lines read badly."""
_LABEL = 26


class PlainHelp:
    """The parser's help pages (cyclopts' HelpFormatter) without frames and colours."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """One group of options, or the verbs."""
        if not panel.entries:
            return
        lines = [f"{panel.title}:"]
        for entry in panel.entries:
            lines += _entry(entry, console.width)
        _write(console, "\n".join(lines))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """The first line of a page."""
        text = _plain(usage)
        _write(console, text if text.startswith("Usage:") else f"Usage: {text}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """What the verb does."""
        _write(console, textwrap.fill(_plain(description), console.width))


def _write(console: Console, text: str) -> None:
    console.file.write(text + "\n\n")


def _plain(renderable: Any) -> str:
    """The text that the parser would pass to rich, without the line breaks of the source."""
    text = getattr(renderable, "primary_renderable", renderable)
    return " ".join(str(text or "").split())


def _entry(entry: HelpEntry, width: int) -> list[str]:
    label = entry.positional_label or ", ".join((*entry.positive_shorts, *entry.positive_names))
    if entry.metavar and not entry.positional_label:
        label += f" {entry.metavar}"
    said = [_plain(entry.description)]
    if entry.default not in (None, "False", "''", '""', ""):
        said.append(f"[default: {entry.default}]")
    if entry.required and not entry.positional_label:
        said.append("[required]")
    lines = textwrap.wrap(" ".join(filter(None, said)), width - _LABEL, break_on_hyphens=False) or [""]
    head = f"  {label}".ljust(_LABEL)
    first = [head + lines[0]] if len(head) == _LABEL and head[-1] == " " else [head, " " * _LABEL + lines[0]]
    return [*first, *(" " * _LABEL + line for line in lines[1:])]
