"""Gives what reports for people are written on, says what is no part of a report on stderr, and counts things in words.

Knows of no report what it says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.theme import Theme


def report_console(*, columns: tuple[int, int] | None = None, theme: Theme | None = None) -> Console:
    """Return where a report goes: in colours unless NO_COLOR is set, in no fewer and no more than so many `columns`.

    What is written is taken as it is: no markup, no emoji codes, no highlighting.
    """
    # Imported where it is used, so that whoever only imports the commands does not pay for it.
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(color_system=None if plain else "auto", theme=theme, highlight=False, markup=False, emoji=False)
    if columns is not None:
        fewest, most = columns
        console.width = min(max(console.width, fewest), most)
    return console


def tell(message: str) -> None:
    """Say something on stderr; a message is one line, printable, without a name before it."""
    click.echo(f"mcpguard: {message}", err=True)


def counted(count: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
