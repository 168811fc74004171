"""Explains what a policy makes of one call of a tool, or of one use of a resource or a prompt: `mcpguard explain`.

Reads what is given, and has the call looked at; how that is told stands elsewhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from mcpguard.cli.policy_files import loaded_policy
from mcpguard.errors import ExitCode
from mcpguard.inventory.risk import Risk, classify
from mcpguard.inventory.tools import ToolListError, parse_tools
from mcpguard.policy.decision import Category, PromptUse, ResourceUse, ToolCall
from mcpguard.policy.mend import mend
from mcpguard.policy.trace import trace
from mcpguard.policy.trace_uses import trace_use
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcpguard.policy.mend import Change, NoChange
    from mcpguard.policy.trace import Trace
    from mcpguard.stores.files import LoadedPolicy

MAX_BYTES: Final = 64 * 1024 * 1024
_THINGS: Final = 3


@click.command(short_help="Say what a policy makes of one call, and why.")
@click.argument("file", type=click.Path(readable=False, path_type=Path))
@click.argument("tool", required=False)
@click.option("--resource", "uri", metavar="URI", help="Instead of TOOL: the resource that is read.")
@click.option("--prompt", metavar="NAME", help="Instead of TOOL: the prompt that is asked for.")
@click.option(
    "--args",
    "arguments_text",
    metavar="JSON|@FILE",
    help="The arguments of the call: a JSON object, or a file that holds one; @- reads stdin. Absent: {}.",
)
@click.option(
    "--tools",
    "tools_file",
    metavar="LIST.json",
    type=click.Path(readable=False, path_type=Path),
    help="The server's tools: the result of tools/list, or the list in it; says whether TOOL is one of them.",
)
@click.option(
    "--category",
    type=click.Choice(get_args(Category)),
    help="The risk category that a list showed of TOOL, for policies with entries such as `@read`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def explain(
    context: click.Context,
    file: Path,
    tool: str | None,
    *,
    uri: str | None,
    prompt: str | None,
    arguments_text: str | None,
    tools_file: Path | None,
    category: Category | None,
    as_json: bool,
) -> None:
    """Say what the policy FILE makes of a call of TOOL (or a read of a resource, or a prompt that is asked for), and why.

    Shows every entry and rule that is looked at, what was found in the arguments, what the call would be charged, and how a
    person would be asked about it. For a call that does not pass it looks for the smallest change of the arguments with which
    it would. Nothing is started, nobody is asked and nothing is charged: every counter is taken as empty. Relative paths are
    looked up from the present directory.

    Exit status: 0 if the call is allowed, 1 if it is refused or needs a person's approval, 3 if the policy cannot be used.
    """
    if [tool, uri, prompt].count(None) != _THINGS - 1:
        raise click.UsageError("Name exactly one thing: a TOOL, --resource URI or --prompt NAME.")
    of_tools = {"--args": arguments_text, "--tools": tools_file, "--category": category}
    given = [option for option, value in of_tools.items() if value is not None]
    if tool is None and given:
        raise click.UsageError(f"{' and '.join(given)} can only be given with a TOOL.")
    arguments = _arguments(arguments_text)
    listed = None if tools_file is None else _listed(tools_file)
    loaded = loaded_policy(file)
    if tool is not None:
        seen = _see_call(loaded, tool, arguments, said=category, listed=listed, tools_file=tools_file)
    elif uri is not None:
        seen = _see_use(loaded, ResourceUse(uri))
    else:
        assert prompt is not None
        seen = _see_use(loaded, PromptUse(prompt))
    if as_json:
        from mcpguard.cli import explain_json

        by_category = seen.found.kind == "tool" and (loaded.policy.categories or category is not None)
        told = explain_json.as_json(seen.found, loaded.policy.approval, seen.change, listed, seen.similar)
        click.echo(explain_json.written(told | ({"category": seen.category} if by_category else {})))
    else:
        from mcpguard.cli.explain_report import Report

        report = Report(arguments, seen.category, seen.evidence)
        report.tell(seen.found, seen.change, listed, seen.similar, loaded)
    context.exit(ExitCode.OK if seen.found.effect == "allow" else ExitCode.FINDINGS)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found.  `category` is that of the tool, if known, and `evidence` says by what."""

    found: Trace
    similar: list[str]
    change: Change | NoChange | None = None
    category: Category | None = None
    evidence: str = ""


def _see_call(
    loaded: LoadedPolicy,
    tool: str,
    arguments: Mapping[str, object],
    *,
    said: Category | None,
    listed: Mapping[str, object] | None,
    tools_file: Path | None,
) -> _Seen:
    """Have a call looked at; `said` is the tool's category where no list is to say it."""
    from mcpguard.proxy.links import resolver

    category, evidence = said, "--category says so"
    if listed is not None and tool in listed and (loaded.policy.categories or said is not None):
        risk = _risk(listed[tool], tools_file)
        if said not in {None, risk.category}:
            raise click.UsageError(
                f"--category {said}: by its list, `{printable(tool)}` is {risk.category}; leave out --category, or --tools."
            )
        category, evidence = risk.category, risk.evidence[0]
    call = ToolCall(tool, arguments, resolver(str(Path.cwd())), category)
    found = trace(loaded.policy, loaded.document, call)
    change = None if found.effect == "allow" else mend(loaded.policy, loaded.document, call)
    names = loaded.policy.tools.exact if listed is None else listed
    is_named = loaded.policy.tools.find(tool) is not None or category in loaded.policy.categories
    similar = [] if listed is None and is_named else _similar(tool, names)
    return _Seen(found, similar, change, category, evidence)


def _see_use(loaded: LoadedPolicy, use: ResourceUse | PromptUse) -> _Seen:
    """Have the use of a resource or a prompt looked at."""
    found = trace_use(loaded.policy, loaded.document, use)
    section = loaded.policy.resources if found.kind == "resource" else loaded.policy.prompts
    is_named = section.entries.find(found.subject) is not None
    return _Seen(found, [] if is_named else _similar(found.subject, section.entries.exact))


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


def _risk(tool: object, path: Path | None) -> Risk:
    """Say what a listed tool can do at worst."""
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


def _similar(name: str, names: Iterable[str]) -> list[str]:
    """Find which of some names may be meant; none if it is one of them."""
    known = list(names)
    if name in known:
        return []
    by_fold = {each.casefold(): each for each in reversed(known)}
    return [by_fold[found] for found in get_close_matches(name.casefold(), list(by_fold), n=3)]
