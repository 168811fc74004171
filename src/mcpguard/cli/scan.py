"""Lists what a live server offers: what each tool can do at worst, and what a policy would make of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.classify import new_console, print_risks, print_table, risk_as_json
from mcpguard.cli.console import counted, tell
from mcpguard.cli.policy_files import loaded_policy
from mcpguard.cli.saving import check_places, save_all
from mcpguard.cli.tool_lists import read_tools
from mcpguard.inventory.check import category_of
from mcpguard.inventory.risk import classify
from mcpguard.policy.decision import PromptUse, ResourceUse, TemplateUse
from mcpguard.policy.standing import Standing, standing_of, standing_of_tool
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.proxy.probe import Offer
    from mcpguard.stores.files import LoadedPolicy

DEFAULT_TIMEOUT_S: Final = 60.0
LONGEST_TIMEOUT_S: Final = 3600.0
_ONLY_READ: Final = {"category": "read", "severity": "low"}
_EVIDENCE: Final = {
    "resource": "resources are only read",
    "template": "resources are only read",
    "prompt": "a prompt is a text for the model, and changes nothing",
}


@click.command(
    options_metavar="[--policy FILE] [--save LIST.json] [--json]", short_help="List a server's tools, and their risk."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
@click.option(
    "--policy",
    "policy_file",
    metavar="FILE",
    type=click.Path(readable=False, path_type=Path),
    help="Say what FILE makes of everything.",
)
@click.option(
    "--save",
    metavar="LIST.json",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    help="Write the list of tools to LIST.json, for `classify`, `check --tools` and `explain --tools`.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(0, LONGEST_TIMEOUT_S, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    help="How long the server has for all its answers.  Default: 60.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scan(
    command: tuple[str, ...], policy_file: Path | None, save: Path | None, timeout_s: float, *, as_json: bool
) -> None:
    """List what a server offers, and what each tool can do at worst.

    Starts the server with your environment, asks it for its tools, resources and prompts, and ends it with everything it has
    started. No tool is called. With --policy it says of everything whether it would be callable, limited, denied, hidden, or
    in need of approval. Exits with 1 if the server does not give its tools in time, with 127 if there is no such command, 126 if
    it cannot be executed, and with 3 if the policy cannot be used.
    """
    loaded = None if policy_file is None else loaded_policy(policy_file)
    if save is not None:
        check_places([save], force=True, option="--save")
        _check_what_is_there(save)
    from mcpguard.proxy.probe import ask_for_all

    tell(f"starting {printable(command[0])}")
    offer = ask_for_all(command, timeout_s, tell)
    for missing in offer.unanswered:
        tell(missing)
    if save is not None:
        save_all({save: json.dumps({"tools": list(offer.tool_list)}, indent=2) + "\n"}, force=True)
        tell(f"wrote {counted(len(offer.tools), 'tool')} to {printable(str(save))}")
    if as_json:
        click.echo(json.dumps(_as_json(offer, loaded), indent=2))
    else:
        _print(offer, loaded)


def _check_what_is_there(save: Path) -> None:
    """Leave alone what is no list of tools: a policy, say, of which there is no other copy."""
    refusal = click.UsageError(
        f"--save: {printable(str(save))} is there already, and is no list of tools; it stays as it is."
    )
    if not save.is_file():
        if os.path.lexists(save):
            raise refusal
    elif save.stat().st_size:
        try:
            read_tools(save)
        except click.UsageError:
            raise refusal from None


def _tool_standing(loaded: LoadedPolicy, tool: Tool) -> Standing:
    return standing_of_tool(loaded.policy, loaded.document, tool.name, category_of(loaded.policy, tool))


def _as_json(offer: Offer, loaded: LoadedPolicy | None) -> dict[str, object]:
    tools = [
        risk_as_json(tool, classify(tool))
        | ({} if loaded is None else {"policy": _standing_as_json(_tool_standing(loaded, tool))})
        for tool in offer.tools
    ]

    def listed(kind: str, items: Iterable[tuple[dict[str, str], Standing | None]]) -> list[dict[str, object]]:
        return [
            {**name, **_ONLY_READ, "evidence": [_EVIDENCE[kind]]}
            | ({} if standing is None else {"policy": _standing_as_json(standing)})
            for name, standing in items
        ]

    return {
        "tools": tools,
        "resources": listed(
            "resource",
            (({"uri": uri, "name": name}, _use(loaded, ResourceUse(uri))) for uri, name in offer.resources),
        ),
        "resourceTemplates": listed(
            "template",
            (({"uriTemplate": uri, "name": name}, _use(loaded, TemplateUse(uri))) for uri, name in offer.templates),
        ),
        "prompts": listed(
            "prompt", (({"name": each.name}, _use(loaded, PromptUse(each.name))) for each in offer.prompts)
        ),
        "unanswered": list(offer.unanswered),
    }


def _use(loaded: LoadedPolicy | None, use: ResourceUse | TemplateUse | PromptUse) -> Standing | None:
    return None if loaded is None else standing_of(loaded.policy, use)


def _standing_as_json(standing: Standing) -> dict[str, object]:
    return {
        "state": standing.state,
        "entry": standing.entry,
        "visible": standing.visible,
        "reason": standing.reason,
        "rules": standing.rules,
        "asks": standing.asks,
        "limits": standing.limits,
    }


def _print(offer: Offer, loaded: LoadedPolicy | None) -> None:
    console = new_console()
    cells = None if loaded is None else ("policy", [_cell(_tool_standing(loaded, tool)) for tool in offer.tools])
    print_risks(console, offer.tools, [classify(tool) for tool in offer.tools], cells)
    others = [*_others(offer, loaded)]
    if others:
        console.print()
        head = ["offers", "category", "severity", *(("policy",) if loaded is not None else ()), "kind"]
        print_table(console, head, others)


def _others(offer: Offer, loaded: LoadedPolicy | None) -> Iterator[Sequence[str]]:
    uses: list[tuple[str, ResourceUse | TemplateUse | PromptUse, str]] = [
        *((uri, ResourceUse(uri), "resource") for uri, _ in offer.resources),
        *((uri, TemplateUse(uri), "resource template") for uri, _ in offer.templates),
        *((each.name, PromptUse(each.name), "prompt") for each in offer.prompts),
    ]
    for name, use, kind in uses:
        standing = _use(loaded, use)
        yield (printable(name), "read", "low", *(() if standing is None else (printable(_cell(standing)),)), kind)


def _cell(standing: Standing) -> str:
    """Say what a policy does with something, in a few words: `limited (1 rule, 2 limits)`."""
    counts = [
        counted(count, noun)
        for count, noun in ((standing.rules, "rule"), (standing.asks, "approval rule"), (standing.limits, "limit"))
        if count
    ]
    return f"{standing.state} ({', '.join(counts)})" if counts else standing.state
