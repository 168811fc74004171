"""Says what the tools of a saved list can do at worst, and what shows it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import report_console
from mcpguard.cli.tool_lists import STDIN, read_tools
from mcpguard.inventory.risk import WEIGHTIEST, Category, Risk, Severity
from mcpguard.inventory.risk import classify as classify_tool
from mcpguard.inventory.words import RANK
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from mcpguard.inventory.tools import Tool

COLOURS: Final[dict[Severity, str]] = {
    "low": "green",
    "medium": "yellow",
    "high": "bold yellow",
    "critical": "bold red",
}
_NARROWEST: Final = 24
"""How many columns the last column of a table has at least."""
WIDE: Final = 200
"""How many columns a table has that goes to no terminal."""


@click.command(options_metavar="[--json]")
@click.argument("file", metavar="[LIST.json]", default=STDIN, type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with an object for each tool.")
def classify(file: Path, *, as_json: bool) -> None:
    """Say what tools can do at worst, and what shows it.

    Reads a saved result of `tools/list`, {"tools": [...]}, or the list alone, from LIST.json or stdin. Each tool reads, writes,
    executes, destroys or moves money. Nothing is started or asked: what counts is what the server says of its tools, and where
    that leaves it open, a tool does not only read.
    """
    if file == STDIN and sys.stdin.isatty():
        raise click.UsageError("give a LIST.json, or a list of tools on stdin; `mcpguard scan` asks a server itself.")
    tools = read_tools(file)
    risks = [classify_tool(tool) for tool in tools]
    if as_json:
        click.echo(json.dumps([risk_as_json(tool, risk) for tool, risk in zip(tools, risks, strict=True)], indent=2))
    else:
        print_risks(new_console(), tools, risks)


def risk_as_json(tool: Tool, risk: Risk) -> dict[str, object]:
    """Give a judged tool as it is printed with `--json`."""
    return {
        "name": tool.name,
        "category": risk.category,
        "severity": risk.severity,
        "confidence": risk.confidence,
        "evidence": list(risk.evidence),
        "arguments": [{"argument": each.argument, "values": dict(each.values)} for each in risk.arguments],
    }


def new_console() -> Console:
    """Return where tables go: as wide as the terminal, or wide enough for those who read it line by line."""
    console = report_console()
    if not console.is_terminal:
        console.width = WIDE
    return console


def print_risks(
    console: Console, tools: Sequence[Tool], risks: Sequence[Risk], policy: tuple[str, Sequence[str]] | None = None
) -> None:
    """Print a table of tools, the worst first, and how many there are of each category.

    `policy` is the head of one more column, with a cell for each tool.
    """
    from rich.text import Text

    extra = ("",) * len(tools) if policy is None else policy[1]
    rows = sorted(zip(tools, risks, extra, strict=True), key=lambda row: (-RANK[row[1].category], row[0].name))
    cells: list[list[str | Text]] = []
    for tool, risk, cell in rows:
        severity = Text(risk.severity, style=COLOURS[risk.severity])
        more = () if policy is None else (printable(cell),)
        why = "\n".join(printable(each) for each in (in_brief(risk.evidence), *_told(risk)))
        cells.append([printable(tool.name), risk.category, severity, f"{risk.confidence:.2f}", *more, why])
    if cells:
        head = () if policy is None else (policy[0],)
        print_table(console, ["tool", "category", "severity", "sure", *head, "evidence"], cells)
        console.print()
    console.print(summary(risk.category for risk in risks), soft_wrap=True)


def print_table(console: Console, head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table whose last column may break its lines; on a terminal too narrow for the others, a paragraph for each row."""
    from rich.cells import cell_len
    from rich.table import Table

    rows = [*rows]
    widths = [max(cell_len(str(row[at])) for row in [head, *rows]) for at in range(len(head))]
    if console.is_terminal and sum(widths[:-1]) + 2 * len(widths[:-1]) + min(widths[-1], _NARROWEST) > console.width:
        _print_paragraphs(console, head, rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in head[:-1]:
        table.add_column(title, overflow="fold")
    table.add_column(head[-1], overflow="fold", ratio=1 if console.is_terminal else None)
    for row in rows:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _print_paragraphs(console: Console, head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for name, *cells, last in rows:
        console.print(Text(str(name), "bold", overflow="fold"))
        # A bare number says nothing without its head.
        told = [
            Text.assemble(title, " ", cell) if str(cell)[:1].isdigit() else Text.assemble(cell)
            for title, cell in zip(head[1:-1], cells, strict=True)
        ]
        for line in (Text(", ").join(told), last):
            console.print(Padding(line, (0, 0, 0, 2)))


def summary(categories: Iterable[Category]) -> str:
    """Count categories: `6 tools: 2 read, 1 write, 1 execute, 2 destructive`."""
    counts = Counter(categories)
    parts = [f"{counts[category]} {category}" for category in sorted(RANK, key=RANK.__getitem__) if counts[category]]
    total = counts.total()
    return f"{total} tool{'' if total == 1 else 's'}{': ' if parts else ''}{', '.join(parts)}"


def in_brief(evidence: Sequence[str]) -> str:
    """Put evidence on one line: what one place says stands together, and which words weigh most only where nothing else is said."""
    said: dict[str, list[str]] = {}
    for each in evidence:
        place, says, words = each.partition(" says ")
        said.setdefault(place + says, []).extend([words.removesuffix(", too")] if says else [])
    plain = [place for place in said if not place.startswith(WEIGHTIEST)] or list(said)
    return "; ".join(place + ", ".join(said[place]) for place in plain)


def _told(risk: Risk) -> Iterable[str]:
    """Say what each value of an argument does, by category."""
    for choice in risk.arguments:
        by_category: dict[Category, list[str]] = {}
        for value, category in choice.values.items():
            by_category.setdefault(category, []).append(value)
        parts = [f"{category}: {', '.join(by_category[category])}" for category in by_category]
        yield f"{choice.argument} = {'; '.join(parts)}"
