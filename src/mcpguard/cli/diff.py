"""Shows what a changed policy lets pass that the old one did not, and the other way round, by calls."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.console import report_console
from mcpguard.cli.explain_words import explain_words
from mcpguard.cli.json_lines import json_lines
from mcpguard.cli.policy_files import loaded_all
from mcpguard.cli.tool_lists import read_tools
from mcpguard.errors import ExitCode
from mcpguard.inventory.risk import classify
from mcpguard.stores.files import load_policy
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpguard.policy.decision import Category
    from mcpguard.proof.differences import Difference, Differences, Kind, Witness
    from mcpguard.proof.judge import Outcome
    from mcpguard.proof.units import Side
    from mcpguard.stores.text import Position

_MOST_SHOWN: Final = 3
_MOST_AS_JSON: Final = 20
_LOOSER: Final[frozenset[Kind]] = frozenset(
    ("newly allowed", "no longer asked about", "now asked about, was refused", "no longer hidden")
)
_DONE: Final = {"allow": "allowed", "deny": "refused", "approve": "asked about", "hide": "hidden"}
_NS: Final = 1_000_000_000


@click.command(options_metavar="[--tools LIST.json] [--json]", short_help="Show what a changed policy does with calls.")
@click.argument("old", metavar="OLD", type=click.Path(readable=False, path_type=Path))
@click.argument("new", metavar="NEW", type=click.Path(readable=False, path_type=Path))
@click.option(
    "--tools",
    "tool_list",
    metavar="LIST.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The server's tools: calls are of these where there are some. A result of `tools/list`, or its list of tools.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def diff(context: click.Context, old: Path, new: Path, tool_list: Path | None, *, as_json: bool) -> None:
    """Show what becomes of calls by the policy NEW that OLD judges differently.

    Calls just inside and just outside of every rule of both files are judged by both; what differs is shown with the call and the
    rule, what loosens most first. `mcpguard explain` with either file and this call shows more. What calls cannot show is
    compared by what is written, and what cannot be compared is named. Nothing is started.

    Exit status: 0 if there is no difference, 1 if there is one, 3 if a file cannot be used.
    """
    tools = () if tool_list is None else read_tools(tool_list)
    before, after = loaded_all((old, new), load_policy)
    from mcpguard.proof.differences import differences
    from mcpguard.proof.judge import Surroundings
    from mcpguard.proxy.links import resolver

    categories: dict[str, Category] = {tool.name: classify(tool).category for tool in tools}
    found = differences(before.policy, after.policy, tools, Surroundings(resolver(str(Path.cwd())), categories))
    report = _Report(old, new, found)
    if as_json:
        click.echo(json_lines(report.as_json()))
    else:
        report.tell()
    context.exit(ExitCode.FINDINGS if found else ExitCode.OK)


class _Report:
    """Writes what was found, for people and for programs."""

    def __init__(self, old: Path, new: Path, found: Differences) -> None:
        self._paths: Mapping[Side, Path] = {"old": old, "new": new}
        self._found = found
        rules: dict[Side, list[str]] = {"old": [], "new": []}
        for shown in found.shown:
            rules[shown.side].append(shown.rule)
        for part in found.not_compared:
            rules[part.side].append(part.rule)
        self._places = {side: positions_in(self._paths[side], those) if those else {} for side, those in rules.items()}

    def tell(self) -> None:
        """Print a group of lines for each rule, and a summary."""
        from rich.text import Text

        console = report_console()
        for each in self._found.shown:
            style = "bold yellow" if each.kind in _LOOSER else "bold cyan"
            line = Text.assemble((each.kind, style), f": {self._where(each.side, each.rule)}: {_counted(each)}")
            console.print(line, soft_wrap=True)
            for text in dict.fromkeys(map(_witness_line, each.witnesses[:_MOST_SHOWN])):
                console.print(f"    {text}", soft_wrap=True)
            if len(each.witnesses) > _MOST_SHOWN:
                console.print(f"    and {len(each.witnesses) - _MOST_SHOWN} more", style="dim")
        for change in self._found.written:
            console.print(Text.assemble(("changed", "bold"), printable(f": {change.rule}: was {change.old}, is {change.new}")), soft_wrap=True)  # fmt: skip
        for part in self._found.not_compared:
            line = Text.assemble(
                ("not shown by a call", "bold"), f": {self._where(part.side, part.rule)}: {printable(part.why)}"
            )
            console.print(line, soft_wrap=True)
        if self._found.texts:
            console.print(
                printable(f"only the texts for people differ: {', '.join(self._found.texts)}"), soft_wrap=True
            )
        console.print(self._summary(), soft_wrap=True)

    def _where(self, side: Side, rule: str) -> str:
        place: Position | None = self._places[side].get(rule)
        path = self._paths[side]
        return printable(f"{path}:{place.line}:{place.column}: {rule}" if place else f"{path}: {rule}")

    def _summary(self) -> str:
        named = printable(f"{self._paths['old']} and {self._paths['new']}")
        if not self._found:
            return f"{named}: no difference"
        looser = sum(len(each.witnesses) for each in self._found.shown if each.kind in _LOOSER)
        calls = sum(len(each.witnesses) for each in self._found.shown)
        parts = [
            f"{calls} {'call is' if calls == 1 else 'calls are'} judged differently, {looser} of them less strictly"
        ]
        parts += [f"{len(self._found.written)} changed that no call shows"] if self._found.written else []
        parts += [f"{len(self._found.not_compared)} not shown by a call"] if self._found.not_compared else []
        return f"{named}: {'; '.join(parts)}"

    def as_json(self) -> dict[str, object]:
        """Give all of it as a JSON value."""
        return {
            "old": str(self._paths["old"]),
            "new": str(self._paths["new"]),
            "differences": [
                {
                    "kind": each.kind,
                    "rule": each.rule,
                    "in": each.side,
                    "line": self._line(each.side, each.rule),
                    "calls": len(each.witnesses),
                    "witnesses": [_witness_as_json(witness) for witness in each.witnesses[:_MOST_AS_JSON]],
                }
                for each in self._found.shown
            ],
            "changed": [{"rule": each.rule, "old": each.old, "new": each.new} for each in self._found.written],
            "not_compared": [
                {"rule": each.rule, "in": each.side, "line": self._line(each.side, each.rule), "why": each.why}
                for each in self._found.not_compared
            ],
            "texts": list(self._found.texts),
        }

    def _line(self, side: Side, rule: str) -> int | None:
        place: Position | None = self._places[side].get(rule)
        return place.line if place else None


def _counted(difference: Difference) -> str:
    count = len(difference.witnesses)
    return "1 call" if count == 1 else f"{count} calls"


def _witness_line(witness: Witness) -> str:
    """Say in one line which call it is, and what becomes of it; the call as `mcpguard explain` takes it."""
    case = witness.case
    call = shlex.join(explain_words(case))
    told = f" (call {witness.number} of a sequence, {_elapsed(witness.elapsed_ns)})" if witness.number else ""
    changes = f"was {_DONE[witness.old.effect]}, is {_DONE[witness.new.effect]}"
    reasons = witness.new.reasons if witness.new.effect != "allow" else witness.old.reasons
    if witness.old.effect not in ("allow", "approve"):
        reasons = witness.old.reasons
    why = f": {reasons[0].message} ({reasons[0].rule})" if reasons else ""
    return printable(f"{call}{told}: {changes}{why}")


def _elapsed(elapsed_ns: int) -> str:
    return f"{elapsed_ns // _NS} s after the first" if elapsed_ns else "all at once"


def _witness_as_json(witness: Witness) -> dict[str, object]:
    case = witness.case
    kind = "tool" if case.tool else "resource" if case.resource else "prompt"
    told: dict[str, object] = {kind: case.subject, **({"arguments": case.arguments} if case.tool else {})}
    if case.category:
        told["category"] = case.category
    if witness.number:
        told |= {"call": witness.number, "elapsed_s": witness.elapsed_ns // _NS}
    return {**told, "was": _outcome_as_json(witness.old), "is": _outcome_as_json(witness.new)}


def _outcome_as_json(outcome: Outcome) -> dict[str, object]:
    reasons = [{"code": each.code, "rule": each.rule, "message": each.message} for each in outcome.reasons]
    return {"effect": outcome.effect, "reasons": reasons}
