"""Lets a person see which calls wait for them in all runs, and answer: `pending`, `approve` and `deny`.

Whatever a call holds was written by an agent that wants it to pass: nothing of it is left out, obeyed by the terminal, or able to look like
words of ours.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.errors import ExitCode, GuardError
from mcpguard.policy.display import escaped
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
MAX_CONFIG_BYTES: Final = 64 * 1024
_CONFIG_KEY: Final = "approve_without_terminal"
_LABEL_COLUMNS: Final = 11
_SHOWN: Final = 60
_KINDS: Final = {"tool": "call of", "resource": "read of", "prompt": "get of"}
_PIECE: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:]|[^][{},:"\s]+')
_OPENING: Final = frozenset("[{")
_CLOSING: Final = frozenset("]}")


@click.command()
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
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not _may_do_without_terminal():
        raise GuardError("calls are approved by a person in a terminal; here, stdin or stdout is none")
    directory = runs_directory()
    item, run = _find(look(directory), approval_id)
    if whole_tool:
        _refuse_tool(item)
    click.echo("\n".join(block(item, _columns())))
    click.echo()
    if not yes:
        question = (
            f"Allow later calls of {_subject(item)} that the same rules ask about, until this run of mcpguard ends?"
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
    click.echo(f"denied: {_named(denied)}; {then}")


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
    waiting = ", ".join(f"{each.item['id']} ({_subject(each.item)})" for each in found.waiting)
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
    yield f"granted: {_named(item)}, used up by one call"
    if whole_tool:
        yield (
            f"granted: later calls of {_subject(item)} that the same rules ask about, until this run of mcpguard ends, "
            "or its policy or the tool changes"
        )
    if item["state"] == "later":
        yield f"tell the agent to call again with the same arguments within {_duration(item['expires_in_s'])}"
    else:
        yield "the call goes on now"


def _named(item: Item) -> str:
    return f"this {_KINDS.get(item['kind'], 'use of')} {_subject(item)} ({item['id']})"


def _subject(item: Item) -> str:
    text = shown(item["subject"])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


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
                say(f"gone: {_named(item)} was answered or withdrawn, or has expired\n")
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


# Whether there is a person


def _forget_what_was_typed() -> None:
    """What was typed before the question could be read is no answer to it."""
    if sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _may_do_without_terminal() -> bool:
    """Whether the user's own configuration says that approvals may be given without a terminal.

    Raises:
        GuardError: the file is there, and cannot be used.
    """
    import jiter
    import platformdirs

    path = Path(platformdirs.user_config_dir("mcpguard", appauthor=False)) / "config.json"
    content = _own_file(path)
    if content is None:
        return False
    try:
        config = jiter.from_json(content, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise GuardError(f"{shown(str(path))}: this is no JSON: {shown(str(error))}") from None
    if not isinstance(config, dict):
        raise GuardError(f"{shown(str(path))}: expected a JSON object")
    for key in config:
        if key != _CONFIG_KEY:
            raise GuardError(f"{shown(str(path))}: unknown key `{shown(key)}`; there is only `{_CONFIG_KEY}`")
    value = config.get(_CONFIG_KEY, False)
    if not isinstance(value, bool):
        raise GuardError(f"{shown(str(path))}: `{_CONFIG_KEY}` is true or false")
    return value


def _own_file(path: Path) -> bytes | None:
    """Read a file that only we can have written; None if there is none.

    Raises:
        GuardError: others can write it, or it cannot be read.
    """
    where = shown(str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GuardError(f"{where}: the file cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise GuardError(f"{where}: this is no file")
        if found.st_uid not in {os.geteuid(), 0} or stat.S_IMODE(found.st_mode) & 0o022:
            raise GuardError(f"{where}: others may write this file, so it is not believed", "chmod go-w, and own it")
        content = os.read(fd, MAX_CONFIG_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_CONFIG_BYTES:
        raise GuardError(f"{where}: a configuration has at most {MAX_CONFIG_BYTES} bytes")
    return content


# What a person sees


def block(item: Item, columns: int) -> list[str]:
    """Describe one call in lines of at most so many columns; a line that begins with `+` goes on with the one before."""
    lines = list(_folded(f"{item['id']}  ", f"{_KINDS.get(item['kind'], 'use of')} {shown(item['subject'])}", columns))
    fields = {
        "server": shown(shlex.join(item["server"])),
        "client": shown(item["client"] or "not known"),
        "grant": shown(item["grant"] or ""),
        "policy": shown(item["policy"]),
        "time": _time(item),
    }
    for label, text in fields.items():
        if text:
            lines += _folded(f"  {label:<{_LABEL_COLUMNS}}", text, columns)
    label = "asked by"
    for rule in item["rules"]:
        lines += _folded(f"  {label:<{_LABEL_COLUMNS}}", shown(rule["rule"]), columns)
        lines += _folded(" " * (_LABEL_COLUMNS + 2), shown(rule["message"]), columns)
        label = ""
    lines.append("  arguments")
    for line in written_out(item["arguments"]):
        lines += _folded("    | ", line, columns, again="    + ")
    lines.append(f"  {'answer':<{_LABEL_COLUMNS}}mcpguard approve {item['id']}   or   mcpguard deny {item['id']}")
    return lines


def written_out(text: str) -> list[str]:
    """Write JSON text over several lines, number by number as it is, and so that nothing in its strings hides.

    It is still the same JSON.
    """
    import jiter

    try:
        jiter.from_json(text.encode(), allow_inf_nan=False, float_mode="lossless-float")
    except ValueError:
        return [f"this is no JSON, and shown as it is: {shown(text)}"]
    lines: list[str] = []
    line, depth = "", 0
    pieces = _PIECE.findall(text)
    for before, piece, after in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        breaks = (piece in _OPENING and after not in _CLOSING) or piece == ","
        if piece in _OPENING and breaks:
            depth += 1
        elif piece in _CLOSING and before not in _OPENING:
            depth -= 1
            lines.append(line)
            line = "  " * depth
        if piece.startswith('"'):
            line += f'"{escaped(json.loads(piece), quoted=True, is_name=after == ":")}"'
        else:
            line += ": " if piece == ":" else piece
        if breaks:
            lines.append(line)
            line = "  " * depth
    return [*lines, line]


def shown(text: str) -> str:
    """Write out, as JSON does, whatever of a text a terminal would obey or nobody would see."""
    return escaped(text, quoted=False, is_name=False)


def _folded(first: str, text: str, columns: int, *, again: str = "") -> Iterator[str]:
    """Cut a line where the terminal would, so that what goes on below cannot be taken for a line of its own."""
    again = again or " " * (len(first) - 2) + "+ "
    start, prefix, width = 0, first, len(first)
    for position, character in enumerate(text):
        # Some characters take two columns, in some terminals more of them than in others.
        wide = 1 if character.isascii() else 2
        if width + wide > columns and position > start:
            yield prefix + text[start:position]
            start, prefix, width = position, again, len(again)
        width += wide
    yield prefix + text[start:]


def _columns() -> int:
    return max(shutil.get_terminal_size().columns, FEWEST_COLUMNS)


def _time(item: Item) -> str:
    waited, left = _duration(item["waited_s"]), _duration(item["expires_in_s"])
    match item["state"]:
        case "held":
            return f"asked {waited} ago; the call waits for {left} more"
        case "later":
            return f"asked {waited} ago; the agent was told to call again; {left} left to approve it"
        case "client":
            return f"asked {waited} ago; the client asks, too; {left} left"
        case other:
            return f"asked {waited} ago; {shown(other)}; {left} left"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
