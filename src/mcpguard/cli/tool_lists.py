"""Reads saved lists of tools, and says what is wrong with those that are none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from mcpguard.inventory.tools import Tool, ToolListError, parse_tools
from mcpguard.stores.text import printable

STDIN: Final = Path("-")
MAX_LIST_BYTES: Final = 64 * 1024 * 1024


def read_tools(path: Path) -> tuple[Tool, ...]:
    """Read a list of tools from a file, or from stdin if the path is `-`.

    Raises:
        click.UsageError: there is none, and why.
    """
    import jiter

    where = "stdin" if path == STDIN else printable(str(path))
    try:
        content = _content(path)
        if len(content) > MAX_LIST_BYTES:
            raise click.UsageError(f"{where}: a list of tools is smaller than {MAX_LIST_BYTES // 1024 // 1024} MiB.")
        return parse_tools(jiter.from_json(content, allow_inf_nan=False, float_mode="decimal"))
    except OSError as error:
        raise click.UsageError(f"{where}: the file cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{where}: this is no JSON: {printable(str(error))}") from None
    except ToolListError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise click.UsageError(f"{where}: {printable(error.message)}{hint}") from None


def _content(path: Path) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(MAX_LIST_BYTES + 1)
    with path.open("rb") as file:
        return file.read(MAX_LIST_BYTES + 1)
