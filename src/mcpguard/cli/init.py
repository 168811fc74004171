"""Drafts a policy for a server, with a file of cases that show what it does."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from mcpguard.cli.classify import summary
from mcpguard.cli.console import counted, tell
from mcpguard.cli.json_lines import json_lines
from mcpguard.cli.saving import check_places, save_all
from mcpguard.cli.tool_lists import read_tools
from mcpguard.inventory.cases import draft_cases
from mcpguard.inventory.draft import Draft, Offered, Posture, draft_policy
from mcpguard.inventory.guards import DIRECTORY
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpguard.inventory.tools import Tool

_TIMEOUT_S: Final = 60.0
_MOST_SHOWN: Final = 20
_NAMING: Final = frozenset(("-r", "--repository", "--root", "--allow", "--allowed-directory", "--data", "-y", "--yes"))
"""Options after which a directory is one of the agent's, and not one of the server's own."""
POSTURES: Final = get_args(Posture)


@click.command(options_metavar="[--posture strict|balanced|open] [-o FILE.json] [--list LIST.json]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option(
    "--posture",
    type=click.Choice(POSTURES),
    default="balanced",
    help="How much passes: `strict` denies what destroys or moves money, `balanced` has a person approve it, `open` allows "
    "everything so and so often.  Default: balanced.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE.json",
    type=click.Path(readable=False, path_type=Path),
    help="Write the policy to FILE.json and its cases to FILE.test.json.  Default: the policy on stdout, and no cases.",
)
@click.option(
    "--list",
    "tool_list",
    metavar="LIST.json",
    type=click.Path(readable=False, path_type=Path),
    help="Draft for the tools of a saved list (`mcpguard scan --save`), and start nothing.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
def init(
    command: tuple[str, ...], posture: Posture, output: Path | None, tool_list: Path | None, *, force: bool
) -> None:
    """Draft a policy for a server, to read, complete and sign.

    Starts the server with your environment, asks it for what it offers, and ends it with everything it has started; no tool is
    called. What is not named is denied. Tools that read pass, those that change or run things pass so often, and those that
    destroy or move money need a person's approval. Arguments that are paths, addresses, queries, commands, roles or
    destinations get rules; what only you can know in them is a placeholder, and is listed on stderr. Every entry says why.
    """
    if bool(command) == (tool_list is not None):
        raise click.UsageError("give the server's command after `--`, or --list LIST.json, and not both.")
    cases = None
    if output is not None:
        if output.suffix != ".json":
            raise click.UsageError(f"-o: {printable(str(output))}: a draft is JSON: let the name end in `.json`.")
        cases = output.with_suffix(".test.json")
        check_places([output, cases], force=force, option="-o")
    tools, offered = _asked(command) if tool_list is None else (read_tools(tool_list), Offered())
    draft = draft_policy(tools, posture, directories=directories_for(command), offered=offered)
    text = json_lines(draft.document) + "\n"
    if output is None or cases is None:
        click.echo(text, nl=False)
        _tell_owns(draft, None)
    else:
        written = _cases(draft, tools)
        save_all({cases: json_lines({"cases": written}) + "\n", output: text}, force=force)
        count = counted(len(written), "case")
        tell(
            f"wrote {printable(str(output))}: {'an' if posture == 'open' else 'a'} {posture} draft for {summary(each.risk.category for each in draft.tools)}"
        )
        tell(f"wrote {printable(str(cases))}: {count} of what it lets pass and what it stops")
        _tell_owns(draft, output)


def directories_for(command: Sequence[str]) -> tuple[str, ...]:
    """Say where the agent's files are: in the directories that the server's command names, else in the working directory.

    Nowhere, if that is somebody's home or the whole disk, which no draft opens.
    """
    named = [
        Path(word).absolute()
        for before, word in pairwise(command)
        if word.startswith(("/", ".")) and (not before.startswith("-") or before in _NAMING) and Path(word).is_dir()
    ]
    wide = {Path("/"), Path.home()}
    found = [Path(os.path.normpath(each)) for each in named] or [Path.cwd()]
    return tuple(dict.fromkeys(str(each) for each in found if each not in wide and not _is_strange(str(each))))


def _is_strange(path: str) -> bool:
    """Whether a rule could not name a directory, because servers read such paths in different ways."""
    return any(mark in path for mark in "%\\$\0") or not path.isprintable()


def _cases(draft: Draft, tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Give the cases that show what a draft does, and behind them those by which small changes of it are noticed."""
    from mcpguard.proof.judge import Surroundings
    from mcpguard.proof.noticing import completed
    from mcpguard.proxy.links import resolver

    return completed(draft.policy, draft_cases(draft)["cases"], tools, Surroundings(resolver(str(Path.cwd()))))


def _asked(command: tuple[str, ...]) -> tuple[tuple[Tool, ...], Offered]:
    from mcpguard.proxy.probe import ask_for_all

    tell(f"starting {printable(command[0])}")
    offer = ask_for_all(command, _TIMEOUT_S, tell)
    for missing in offer.unanswered:
        tell(missing)
    resources, templates = tuple(uri for uri, _ in offer.resources), tuple(uri for uri, _ in offer.templates)
    return offer.tools, Offered(resources, templates, offer.prompts)


def _tell_owns(draft: Draft, path: Path | None) -> None:
    """List what only the owner of the server can put in, by place."""
    if not draft.owns:
        return
    by_rule: dict[str, list[str]] = {}
    for own in draft.owns:
        by_rule.setdefault(own.rule, []).append(own.what)
    places = {} if path is None else positions_in(path, by_rule)
    tell("look at these before you use it, and put your own values in:")
    for rule, whats in [*by_rule.items()][:_MOST_SHOWN]:
        place = places.get(rule)
        where = rule if place is None or path is None else f"{path}:{place.line}:{place.column}"
        click.echo(f"  {printable(where)}: {printable('; '.join(whats))}", err=True)
    more = len(by_rule) - _MOST_SHOWN
    if more > 0:
        click.echo(f"  and {more} more; each says so in its `$comment`", err=True)
    if any(DIRECTORY in str(each.entry) for each in draft.tools):
        tell(f"{DIRECTORY} is no directory: until you name yours, no file can be reached")
