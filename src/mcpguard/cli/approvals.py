"""Lets a person see which calls wait for them in all runs, and answer: `pending`, `approve` and `deny`.

How a call is shown stands elsewhere.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.call_text import block, duration, named, shown, subject
from mcpguard.cli.config import may_approve_without_terminal
from mcpguard.errors import ExitCode, GuardError
from mcpguard.stores.desks import (
    DeskError,
    Item,
    Look,
    Silent,
    Waiting,
    as_item,
    look,
    reason_problem,
    runs_directory,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WATCH_EVERY_S: Final = 0.5
FEWEST_COLUMNS: Final = 40


@click.command(short_help="Show the calls that wait for a person.")
@click.option("--watch", is_flag=True, help="Go on showing calls as they come, and say when one is gone, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with an object for each call.")
@click.pass_context
def pending(context: click.Context, *, watch: bool, as_json: bool) -> None:
    """Show the calls that wait for a person's approval, in all running guards.

    Of each call everything is shown, with every character that would not be seen written out. Answer with `mcpguard approve ID`
    or `mcpguard deny ID`. Exits with 1 if a run could not be asked.
    """
    if watch and as_json:
        raise click.UsageError("--watch and --json contradict each other.")
    directory = runs_directory()
    if watch:
        watch_calls(lambda: look(directory), click.echo, _wait)
        return
    found = look(directory)
    if as_json:
        click.echo(json.dumps([each.item for each in found.waiting], indent=2))
    elif found.waiting:
        click.echo("\n\n".join("\n".join(block(each.item, _columns())) for each in found.waiting))
    else:
        click.echo("nothing waits for approval")
    for silent in found.silent:
        click.echo(f"mcpguard: {_said_of(silent)}", err=True)
    if found.silent:
        context.exit(ExitCode.FINDINGS)


@click.command()
@click.argument("approval_id", metavar="ID")
@click.option(
    "--tool", "whole_tool", is_flag=True, help="Allow also later calls of the tool that the same rules ask about."
)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
def approve(approval_id: str, *, whole_tool: bool, yes: bool) -> None:
    """Allow the call that waits under ID, once.

    Shows the call in full and asks. Wants a terminal, so that it is a person who reads it. With --tool later calls of the tool that
    the same rules ask about are allowed, too, until the run ends, if the policy lets an approval cover that.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not may_approve_without_terminal():
        raise GuardError("calls are approved by a person in a terminal; here, stdin or stdout is none")
    directory = runs_directory()
    item, run = _find(look(directory), approval_id)
    if whole_tool:
        _refuse_tool(item)
    click.echo("\n".join(block(item, _columns())))
    click.echo()
    if not yes:
        question = (
            f"Allow later calls of {subject(item)} that the same rules ask about, until this run of mcpguard ends?"
            if whole_tool
            else "Allow this call once?"
        )
        _forget_what_was_typed()
        if not click.confirm(question, prompt_suffix=" "):
            raise GuardError("not approved; the call waits on", f"to refuse it: mcpguard deny {item['id']}")
    granted = _told(directory, run, {"op": "approve", "id": item["id"], "tool": whole_tool}, "granted") or item
    for line in _granted(granted, whole_tool=whole_tool):
        click.echo(line)


@click.command()
@click.argument("approval_id", metavar="ID")
@click.option(
    "--reason", metavar="TEXT", default="", help="Why, in one line of at most 300 characters; the agent is told."
)
def deny(approval_id: str, *, reason: str) -> None:
    """Refuse the call that waits under ID."""
    reason = reason.strip()
    problem = reason_problem(reason)
    if problem:
        raise click.UsageError(f"--reason: {problem}.")
    directory = runs_directory()
    item, run = _find(look(directory), approval_id)
    denied = _told(directory, run, {"op": "deny", "id": item["id"], "reason": reason}, "denied") or item
    then = "a call again asks you again" if denied["state"] == "later" else "the agent is told now"
    click.echo(f"denied: {named(denied)}; {then}")


# Asking the runs


def _find(found: Look, approval_id: str) -> Waiting:
    wanted = approval_id.strip().lower()
    matching = [each for each in found.waiting if each.item["id"].lower() == wanted]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise GuardError(
            f"two runs have a call with the id `{shown(wanted)}`", "end one of them, or let the call expire"
        )
    waiting = ", ".join(f"{each.item['id']} ({subject(each.item)})" for each in found.waiting)
    hint = f"waiting: {waiting}" if waiting else "nothing waits for approval; a call that waited may have expired"
    if found.silent:
        hint += "; " + "; ".join(map(_said_of, found.silent))
    raise GuardError(f"no call waits under the id `{shown(wanted)}`", hint)


def _refuse_tool(item: Item) -> None:
    if item["kind"] != "tool":
        raise GuardError(
            f"--tool is about calls of tools, and this is a {shown(item['kind'])}", "approve it without --tool"
        )
    if item["remember"] != "tool":
        raise GuardError(
            f"the policy `{shown(item['policy'])}` lets an approval cover one call only",
            'approve it without --tool, or have "approval": {"remember": "tool"} in the policy',
        )


def _told(directory: Path, run: str, request: dict[str, object], key: str) -> Item | None:
    try:
        return as_item(tell(directory, run, request).get(key))
    except DeskError as error:
        raise GuardError(shown(error.message), "mcpguard pending shows what waits now") from None


def _said_of(silent: Silent) -> str:
    return f"the run {shown(silent.run)} could not be asked: {shown(silent.why)}"


def _granted(item: Item, *, whole_tool: bool) -> Iterator[str]:
    yield f"granted: {named(item)}, used up by one call"
    if whole_tool:
        yield (
            f"granted: later calls of {subject(item)} that the same rules ask about, until this run of mcpguard ends, "
            "or its policy or the tool changes"
        )
    if item["state"] == "later":
        yield f"tell the agent to call again with the same arguments within {duration(item['expires_in_s'])}"
    else:
        yield "the call goes on now"


# Watching


def watch_calls(look_again: Callable[[], Look], say: Callable[[str], object], wait: Callable[[float], bool]) -> None:
    """Say what waits, then what has come and what is gone since, until `wait` (for so many seconds) gives False."""
    known: dict[tuple[str, str], Item] = {}
    known_silent: set[Silent] = set()
    first = True
    while True:
        found = look_again()
        now = {(each.run, each.item["id"]): each.item for each in found.waiting}
        silent_runs = {silent.run for silent in found.silent}
        for key, item in known.items():
            # Of a run that does not answer nothing is known.
            if key not in now and key[0] not in silent_runs:
                say(f"gone: {named(item)} was answered or withdrawn, or has expired\n")
        for key, item in now.items():
            if key not in known:
                say("\n".join(block(item, _columns())) + "\n")
        for silent in found.silent:
            if silent not in known_silent:
                say(f"{_said_of(silent)}\n")
        if first and not now:
            say("nothing waits for approval yet\n")
        known = now | {key: item for key, item in known.items() if key[0] in silent_runs}
        known_silent = set(found.silent)
        first = False
        if not wait(WATCH_EVERY_S):
            return


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def _columns() -> int:
    return max(shutil.get_terminal_size().columns, FEWEST_COLUMNS)


# Whether there is a person


def _forget_what_was_typed() -> None:
    """What was typed before the question could be read is no answer to it."""
    if sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
