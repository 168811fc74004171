"""Says what in a policy cannot do what it says, alone and against the tools of a server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import counted, report_console, tell
from mcpguard.cli.policy_files import loaded_policy
from mcpguard.cli.tool_lists import read_tools
from mcpguard.errors import ExitCode
from mcpguard.inventory.check import check_tools
from mcpguard.policy.check import check_policy, left_out
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import Position, printable

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.findings import CheckFinding, Severity
    from mcpguard.stores.files import LoadedPolicy

_ORDER: Final[tuple[Severity, ...]] = ("error", "warning", "note")
_COLOURS: Final[dict[Severity, str]] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@click.command(options_metavar="[--tools LIST.json] [--json]")
@click.argument("file", metavar="FILE", type=click.Path(readable=False, path_type=Path))
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option(
    "--tools",
    "tool_list",
    metavar="LIST.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check against the tools in LIST.json: a result of `tools/list`, or its list of tools.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with an object for each finding.")
@click.pass_context
def check(
    context: click.Context, file: Path, command: tuple[str, ...], tool_list: Path | None, *, as_json: bool
) -> None:
    """Find what in a policy cannot do what it says.

    Looks at FILE alone, or also at the tools of a server: of the one that COMMAND starts, which is asked for its tools and
    ended, or from a saved list. Exits with 1 if a finding is an error, with 3 if the policy cannot be used at all.
    """
    if command and tool_list is not None:
        raise click.UsageError("--tools and a COMMAND contradict each other.")
    loaded = loaded_policy(file)
    tools = _tools(command, tool_list)
    found = _findings(loaded, tools)
    if as_json:
        click.echo(json.dumps([_as_json(finding) for finding in found], indent=2))
    else:
        _print(file, found, tools)
    if any(finding.severity == "error" for finding in found):
        context.exit(ExitCode.FINDINGS)


def _tools(command: tuple[str, ...], tool_list: Path | None) -> tuple[Tool, ...] | None:
    if command:
        from mcpguard.proxy.probe import ask_for_tools

        tell(f"starting {printable(command[0])}")
        return ask_for_tools(command, tell=tell)
    return None if tool_list is None else read_tools(tool_list)


def _findings(loaded: LoadedPolicy, tools: tuple[Tool, ...] | None) -> list[CheckFinding]:
    found = [*check_policy(loaded.document)]
    if tools is None:
        found += left_out(loaded.document)
    else:
        found += check_tools(loaded.document, loaded.policy, tools)
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def _as_json(finding: CheckFinding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "rule": finding.rule,
        "message": printable(finding.message),
    }


def _print(path: Path, found: list[CheckFinding], tools: tuple[Tool, ...] | None) -> None:
    from rich.text import Text

    console = report_console()
    places = positions_in(path, [finding.rule for finding in found])
    start = Position(1, 1)
    ordered = sorted(found, key=lambda each: (_ORDER.index(each.severity), places.get(each.rule, start), each.code))
    previous: Severity | None = None
    for finding in ordered:
        if previous not in {None, finding.severity}:
            console.print()
        previous = finding.severity
        place = places.get(finding.rule)
        where = f"{path}:{place.line}:{place.column}" if place else f"{path}: {finding.rule or '/'}"
        line = Text.assemble(
            f"{printable(where)}: ",
            (finding.severity, _COLOURS[finding.severity]),
            f": {printable(finding.message)} ",
            (f"[{finding.code}]", "dim"),
        )
        console.print(line, soft_wrap=True)
    if found:
        console.print()
    console.print(
        _summary(path, found, tools), style=_COLOURS[ordered[0].severity] if found else "bold green", soft_wrap=True
    )


def _summary(path: Path, found: list[CheckFinding], tools: tuple[Tool, ...] | None) -> str:
    counts = Counter(finding.severity for finding in found)
    parts = [counted(counts[severity], severity) for severity in _ORDER if counts[severity]]
    against = "" if tools is None else f", checked against {counted(len(tools), 'tool')}"
    return f"{printable(str(path))}: {', '.join(parts) or 'no findings'}{against}"
