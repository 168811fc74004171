"""Shows the page of one tool: what it does, what is documented against such tools, and the rule that stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.classify import COLOURS, new_console, risk_as_json
from mcpguard.cli.console import tell
from mcpguard.cli.init import POSTURES, directories_for
from mcpguard.cli.json_lines import json_lines
from mcpguard.cli.tool_lists import read_tools
from mcpguard.inventory.attacks import Attack, attacks_on, rules_against
from mcpguard.inventory.check import guess
from mcpguard.inventory.draft import DraftedTool, draft_policy
from mcpguard.inventory.pieces import path_text
from mcpguard.inventory.tools import Tool
from mcpguard.policy.paths import MANY
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpguard.inventory.draft import Posture
    from mcpguard.inventory.sensitive import Sensitive

_COLUMNS: Final = 110
_MOST_TEXT: Final = 600


@click.command(
    options_metavar="[--posture strict|balanced|open] [--list LIST.json] [--json]",
    short_help="Show the page of one tool, with its rule.",
)
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option(
    "--posture",
    type=click.Choice(POSTURES),
    default="balanced",
    help="How much passes, as for `init`.  Default: balanced.",
)
@click.option(
    "--list",
    "tool_list",
    metavar="LIST.json",
    type=click.Path(readable=False, path_type=Path),
    help="Look the tool up in a saved list, and start nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tool(name: str, command: tuple[str, ...], posture: Posture, tool_list: Path | None, *, as_json: bool) -> None:
    """Show what one tool does, what is documented against such tools, and which rule stops it.

    The tool is looked up in what COMMAND offers, or in a saved list; with neither, it is judged by its name alone. The rule is the
    one that `mcpguard init` would write. No tool is called.
    """
    if command and tool_list is not None:
        raise click.UsageError("--list and a COMMAND contradict each other.")
    found, note = _found(name, command, tool_list)
    draft = draft_policy([found], posture, directories=directories_for(command))
    (drafted,) = draft.tools
    attacks = attacks_on(drafted.risk.category, drafted.sensitive)
    if as_json:
        click.echo(json.dumps(_as_json(drafted, attacks), indent=2))
    else:
        _Page(drafted, attacks, posture).print(note)


def _found(name: str, command: tuple[str, ...], tool_list: Path | None) -> tuple[Tool, str]:
    """Find a tool; the note says if there was nothing to find it in."""
    if not command and tool_list is None:
        return Tool(
            name
        ), "judged by its name alone: name its server after `--`, or a --list, for its description and arguments"
    if command:
        from mcpguard.proxy.probe import ask_for_tools

        tell(f"starting {printable(command[0])}")
        tools = ask_for_tools(command, tell=tell)
    else:
        assert tool_list is not None
        tools = read_tools(tool_list)
    by_name = {each.name: each for each in tools}
    if name not in by_name:
        meant = guess(name, by_name)
        hint = f"; did you mean `{printable(meant)}`?" if meant else ""
        raise click.UsageError(f"there is no tool `{printable(name)}` among the {len(by_name)} of the server{hint}")
    return by_name[name], ""


def _as_json(drafted: DraftedTool, attacks: tuple[Attack, ...]) -> dict[str, object]:
    return {
        **risk_as_json(drafted.tool, drafted.risk),
        "description": drafted.tool.description,
        "deserve_rules": [
            {"path": path_text(each.steps), "what": each.kind, "evidence": each.why} for each in drafted.sensitive
        ],
        "policy": {"tools": {drafted.key: _plain(drafted.entry)}},
        "attacks": [
            {
                "key": each.key,
                "name": each.name,
                "what": each.what,
                "stopped_by": each.stopped_by,
                "left": each.left,
                "here": rules_against(each, drafted),
                "source": {"title": each.title, "link": each.link},
            }
            for each in attacks
        ],
    }


def _plain(value: object) -> object:
    """Give numbers as JSON writes them."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str() | bool() | int() | None:
            return value
        case _:
            return float(str(value))


class _Page:
    def __init__(self, drafted: DraftedTool, attacks: tuple[Attack, ...], posture: Posture) -> None:
        self._drafted = drafted
        self._attacks = attacks
        self._posture = posture
        self._console = new_console()
        self._console.width = min(self._console.width, _COLUMNS)

    def print(self, note: str) -> None:
        """Print the page."""
        risk, tool = self._drafted.risk, self._drafted.tool
        from rich.text import Text

        self._line(
            Text.assemble(
                (printable(tool.name), "bold"), "  ", (f"{risk.category}, {risk.severity}", COLOURS[risk.severity])
            )
        )
        if note:
            self._line(note)
        for line in _first_paragraph(tool.description):
            self._line(line)
        self._section("Why it is taken for that")
        for evidence in risk.evidence:
            self._line(evidence, 2)
        self._section("Arguments that deserve a rule")
        for each in self._drafted.sensitive:
            self._line(f"{_shown_path(each)}  {each.kind}", 2)
            self._line(each.why, 6)
        if not self._drafted.sensitive:
            self._line("none that its schema shows", 2)
        self._section(f"The rule that `mcpguard init --posture {self._posture}` writes")
        for line in json_lines({self._drafted.key: self._drafted.entry}).splitlines()[1:-1]:
            click.echo(line)
        self._section("What is documented against such tools, and what stops it")
        for attack in self._attacks:
            self._attack(attack)

    def _attack(self, attack: Attack) -> None:
        from rich.text import Text

        self._line(Text(attack.name, "bold"), 2)
        self._line(attack.what, 4)
        here = ", ".join(rules_against(attack, self._drafted))
        self._line(f"stopped by: {attack.stopped_by}{f'; here {printable(here)}' if here else ''}", 4)
        self._line(f"left: {attack.left}", 4)
        self._line(attack.title, 4)
        click.echo(f"    {attack.link}")
        click.echo()

    def _section(self, title: str) -> None:
        from rich.text import Text

        click.echo()
        self._line(Text(title, "bold"))

    def _line(self, text: object, indent: int = 0) -> None:
        from rich.padding import Padding

        shown = printable(text) if isinstance(text, str) else text
        with self._console.capture() as capture:
            self._console.print(Padding(shown, (0, 0, 0, indent), expand=False))  # type: ignore[arg-type]
        for line in capture.get().splitlines():
            click.echo(line.rstrip(), color=True)


def _shown_path(each: Sensitive) -> str:
    return path_text(each.steps) or " ".join("*" if step is MANY else step for step in each.steps)


def _first_paragraph(text: str) -> Iterator[str]:
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    if paragraph:
        yield paragraph if len(paragraph) <= _MOST_TEXT else f"{paragraph[:_MOST_TEXT]}…"
