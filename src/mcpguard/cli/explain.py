"""Explains what a policy makes of one call: `mcpguard explain`.

Reads what is given, and has the call looked at; how that is told stands elsewhere.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcpguard.errors import ExitCode, PolicyError
from mcpguard.inventory.risk import Risk, classify
from mcpguard.inventory.tools import ToolListError, parse_tools
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.mend import mend
from mcpguard.policy.trace import trace
from mcpguard.stores.files import load_policy
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpguard.stores.files import LoadedPolicy

MAX_BYTES: Final = 64 * 1024 * 1024


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("tool")
@click.option(
    "--args",
    "arguments_text",
    metavar="JSON|@FILE",
    help="The arguments of the call: a JSON object, or a file that holds one; @- reads stdin. Absent: {}.",
)
@click.option(
    "--tools",
    "tools_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The server's tools: the result of tools/list, or the list in it; says whether TOOL is one of them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def explain(
    context: click.Context,
    file: Path,
    tool: str,
    arguments_text: str | None,
    tools_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what the policy FILE makes of a call of TOOL, and why.

    Shows every entry and rule that is looked at, what was found in the arguments, what the call would be charged, and how a
    person would be asked about it. For a call that does not pass it looks for the smallest change of the arguments with which
    it would. Nothing is started, nobody is asked and nothing is charged: every counter is taken as empty. Relative paths are
    looked up from the present directory.

    Exit status: 0 if the call is allowed, 1 if it is refused or needs a person's approval, 3 if the policy cannot be used.
    """
    arguments = _arguments(arguments_text)
    listed = None if tools_file is None else _listed(tools_file)
    try:
        loaded = load_policy(file)
    except PolicyError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        context.exit(ExitCode.POLICY)
    from mcpguard.proxy.links import resolver

    risk = _risk(listed.get(tool), tools_file) if listed and loaded.policy.categories else None
    call = ToolCall(tool, arguments, resolver(str(Path.cwd())), None if risk is None else risk.category)
    found = trace(loaded.policy, loaded.document, call)
    change = None if found.effect == "allow" else mend(loaded.policy, loaded.document, call)
    similar = _similar(tool, loaded, listed)
    if as_json:
        from mcpguard.cli import explain_json

        category = {"category": call.category} if loaded.policy.categories else {}
        told = explain_json.as_json(found, loaded.policy.approval, change, listed, similar)
        click.echo(explain_json.written(told | category))
    else:
        from mcpguard.cli.explain_report import Report

        Report(arguments, risk).tell(found, change, listed, similar, loaded)
    context.exit(ExitCode.OK if found.effect == "allow" else ExitCode.FINDINGS)


# Reading what is given


def _arguments(text: str | None) -> dict[str, Any]:
    """Read the arguments as strictly as they are read from a client."""
    if text is None:
        return {}
    content = _content(text[1:], "--args") if text.startswith("@") else text.encode(errors="surrogateescape")
    where = f"--args {printable(text)}" if text.startswith("@") else "--args"
    _parsed(content, where)
    from mcpguard.protocol.wire import CLIENT, Malformed, decode

    head = b'{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"","arguments":'
    try:
        arguments = decode(head + content + b"}}", CLIENT).params["arguments"]
    except Malformed as malformed:
        raise click.UsageError(f"{where}: the guard refuses to read this: {printable(malformed.reason)}.") from None
    if arguments is not None and not isinstance(arguments, dict):
        raise click.UsageError(f"{where}: the arguments of a call are a JSON object, like '{{\"amount\": 5}}'.")
    return arguments or {}


def _listed(path: Path) -> dict[str, object]:
    """Read a server's tools, by name."""
    where = f"--tools {printable(str(path))}"
    value = _parsed(_content(str(path), "--tools"), where)
    for key in ("result", "tools"):
        if isinstance(value, dict):
            value = value.get(key, value)
    tools = [tool for tool in value if _is_tool(tool)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(tools) < len(value):
        raise click.UsageError(f'{where}: expected the result of tools/list: {{"tools": [{{"name": ...}}, ...]}}.')
    return {tool["name"]: tool for tool in reversed(tools)}


def _risk(tool: object, path: Path | None) -> Risk | None:
    """Say what a listed tool can do at worst."""
    if tool is None:
        return None
    try:
        (one,) = parse_tools([tool])
    except ToolListError as error:
        raise click.UsageError(f"--tools {printable(str(path))}: {printable(error.message)}.") from None
    return classify(one)


def _is_tool(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _content(name: str, option: str) -> bytes:
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "no file can have this name"
        raise click.UsageError(f"{option}: `{printable(name)}` cannot be read: {why.lower()}.") from None
    if len(content) > MAX_BYTES:
        raise click.UsageError(f"{option}: `{printable(name)}` is bigger than {MAX_BYTES // 1024 // 1024} MiB.")
    return content


def _parsed(content: bytes, where: str) -> object:
    import jiter

    try:
        return jiter.from_json(content, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="decimal")
    except ValueError as error:
        raise click.UsageError(
            f"{where}: this is no JSON that everybody reads alike: {printable(str(error))}."
        ) from None


def _similar(tool: str, loaded: LoadedPolicy, listed: Mapping[str, object] | None) -> list[str]:
    """Find names that may be meant: of the server's tools, or of those that the policy names."""
    names = list(loaded.policy.tools.exact if listed is None else listed)
    if tool in names or (listed is None and loaded.policy.tools.find(tool) is not None):
        return []
    by_fold = {name.casefold(): name for name in reversed(names)}
    return [by_fold[found] for found in get_close_matches(tool.casefold(), list(by_fold), n=3)]
