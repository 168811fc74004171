"""Asks a server for its tools, or for all that it offers: an MCP client for a moment.

The only place where the guard uses the `mcp` SDK to talk to a user's server; the SDK is slow to import, so that is done when
somebody asks.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TextIO, TypeAlias

import anyio
import jiter

from mcpguard.errors import CommandNotExecutableError, CommandNotFoundError, GuardError
from mcpguard.inventory.tools import Prompt, Tool, ToolListError, parse_tools
from mcpguard.proxy.leftovers import no_leftovers
from mcpguard.proxy.upstream import hint_on
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from mcp import Client

Era: TypeAlias = Literal["auto", "legacy"]
_Page: TypeAlias = Callable[[str | None], Awaitable[str | None]]
_Question: TypeAlias = Callable[["Client", "_Answers"], Awaitable[None]]

DEADLINE_S: Final = 60.0
MOST_PAGES: Final = 100
TELL_EVERY_S: Final = 5.0
_LAST_LINES: Final = 3
_LAST_BYTES: Final = 4096
_SHOWN: Final = 300


class ProbeError(GuardError):
    """A server could not be asked for its tools."""


@dataclass(frozen=True, slots=True)
class Offer:
    """All that a server offers; `tools` are read from `tool_list`, which is as the server sent it, all pages joined.

    `resources` are pairs of URI and name, `templates` of URI template and name.  `unanswered` says of those lists that the
    server has declared and did not give, why.
    """

    tools: tuple[Tool, ...]
    tool_list: Sequence[object]
    resources: tuple[tuple[str, str], ...]
    templates: tuple[tuple[str, str], ...]
    prompts: tuple[Prompt, ...]
    unanswered: tuple[str, ...]


@dataclass(slots=True)
class _Answers:
    """What a server has answered so far, as JSON, and what it is being asked for."""

    tools: list[object] = field(default_factory=list)
    resources: list[tuple[str, str]] = field(default_factory=list)
    templates: list[tuple[str, str]] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    asked_for: str = "tools"


@dataclass(slots=True)
class _Visit:
    """What to start, what to ask it, and where its answers and its stderr go."""

    command: tuple[str, ...]
    stderr: TextIO
    question: _Question
    answers: _Answers

    def begin_again(self) -> None:
        """Forget what was heard."""
        self.stderr.seek(0)
        self.stderr.truncate()
        answers = self.answers
        for found in (answers.tools, answers.resources, answers.templates, answers.prompts, answers.unanswered):
            found.clear()
        answers.asked_for = "tools"


def ask_for_tools(
    command: Sequence[str], deadline_s: float = DEADLINE_S, tell: Callable[[str], None] | None = None
) -> tuple[Tool, ...]:
    """Start a server, ask it for all of its tools, and end it with everything it has started.

    It is asked in the modern way first, with a wait that is bounded, and by handshake if it does not understand that; a server
    that does not survive the question is started once more and asked by handshake alone. `tell` is told now and then that the
    server is being waited for.

    Raises:
        CommandNotFoundError: there is no such command.
        CommandNotExecutableError: it cannot be executed.
        ProbeError: it did not answer in time, or not with a list of tools.
    """
    return _ask(command, deadline_s, _tools_alone, tell or _say_nothing).tools


def ask_for_all(command: Sequence[str], deadline_s: float, tell: Callable[[str], None]) -> Offer:
    """Ask a server as `ask_for_tools` does, and for its resources, resource templates and prompts, too.

    A list that the server has declared and refuses to give is no failure, unless it is that of the tools. `tell` is told
    now and then that the server is being waited for.

    Raises:
        CommandNotFoundError, CommandNotExecutableError, ProbeError: as `ask_for_tools`.
    """
    return _ask(command, deadline_s, _everything, tell)


def _say_nothing(message: str) -> None:
    """Tell nobody."""


def _ask(command: Sequence[str], deadline_s: float, question: _Question, tell: Callable[[str], None]) -> Offer:
    # The SDK logs what it cannot read, and with nobody listening that would go to our stderr.
    for name in ("mcp", "client"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    answers = _Answers()
    with no_leftovers(), tempfile.TemporaryFile("w+", encoding="utf-8") as stderr:
        visit = _Visit(tuple(command), stderr, question, answers)
        failure: BaseException
        try:
            anyio.run(_ask_in_time, visit, deadline_s, tell)
            return _offer(answers)
        except* GuardError as failures:
            failure = failures
        except* _failures() as failures:
            failure = failures
        raise _explained(failure, command, deadline_s, stderr, answers.asked_for) from failure


def _offer(answers: _Answers) -> Offer:
    tools = parse_tools(jiter.from_json(json.dumps({"tools": answers.tools}).encode(), float_mode="decimal"))
    return Offer(
        tools,
        tuple(answers.tools),
        tuple(answers.resources),
        tuple(answers.templates),
        tuple(answers.prompts),
        tuple(answers.unanswered),
    )


def _failures() -> tuple[type[Exception], ...]:
    """Name what the SDK, the pipes and the models of messages raise when a server does not do its part."""
    from mcp import MCPError

    broken = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
    return (MCPError, OSError, ValueError, RuntimeError, *broken)


async def _ask_in_time(visit: _Visit, deadline_s: float, tell: Callable[[str], None]) -> None:
    with anyio.fail_after(deadline_s):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell_of_waiting, visit.answers, deadline_s, tell)
            await _ask_in_either_way(visit)
            tasks.cancel_scope.cancel()


async def _tell_of_waiting(answers: _Answers, deadline_s: float, tell: Callable[[str], None]) -> None:
    waited_s = 0.0
    while True:
        await anyio.sleep(TELL_EVERY_S)
        waited_s += TELL_EVERY_S
        tell(f"waiting for the server's {answers.asked_for}, {waited_s:g} s of {deadline_s:g}")


async def _ask_in_either_way(visit: _Visit) -> None:
    try:
        await _ask_once(visit, "auto")
    except* (FileNotFoundError, PermissionError):
        raise
    except* _failures():
        # Some servers end at a request that comes before `initialize`.
        visit.begin_again()
    else:
        return
    await _ask_once(visit, "legacy")


async def _ask_once(visit: _Visit, era: Era) -> None:
    from mcp import Client, StdioServerParameters, stdio_client

    program, *arguments = visit.command
    server = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
    async with Client(stdio_client(server, errlog=visit.stderr), mode=era, cache=None) as client:
        await visit.question(client, visit.answers)


async def _tools_alone(client: Client, answers: _Answers) -> None:
    async def page(cursor: str | None) -> str | None:
        found = await client.list_tools(cursor=cursor)
        answers.tools += [tool.model_dump(mode="json", by_alias=True, exclude_unset=True) for tool in found.tools]
        return found.next_cursor

    if client.server_capabilities.tools is not None:
        await _every_page(page)


async def _everything(client: Client, answers: _Answers) -> None:
    await _tools_alone(client, answers)

    async def resources(cursor: str | None) -> str | None:
        found = await client.list_resources(cursor=cursor)
        answers.resources += [(str(each.uri), each.name) for each in found.resources]
        return found.next_cursor

    async def templates(cursor: str | None) -> str | None:
        found = await client.list_resource_templates(cursor=cursor)
        answers.templates += [(each.uri_template, each.name) for each in found.resource_templates]
        return found.next_cursor

    async def prompts(cursor: str | None) -> str | None:
        found = await client.list_prompts(cursor=cursor)
        answers.prompts += [
            Prompt(
                each.name,
                each.description or "",
                tuple((argument.name, argument.description or "") for argument in each.arguments or ()),
            )
            for each in found.prompts
        ]
        return found.next_cursor

    if client.server_capabilities.resources is not None:
        await _if_it_answers("resources", resources, answers)
        await _if_it_answers("resource templates", templates, answers)
    if client.server_capabilities.prompts is not None:
        await _if_it_answers("prompts", prompts, answers)


async def _if_it_answers(what: str, page: _Page, answers: _Answers) -> None:
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    answers.asked_for = what
    try:
        await _every_page(page)
    except (MCPError, ValueError, ToolListError) as failure:
        if isinstance(failure, MCPError) and (failure.code, str(failure)) == (CONNECTION_CLOSED, "Connection closed"):
            raise  # the server has ended
        said = failure.message if isinstance(failure, GuardError) else _said(failure)
        answers.unanswered.append(f"the server did not list its {what}: {_short(said)}")


async def _every_page(page: _Page) -> None:
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        cursor = await page(cursor)
        if not cursor:
            return
    raise ToolListError(f"it does not end after {MOST_PAGES} pages")


def _explained(
    failure: BaseException, command: Sequence[str], deadline_s: float, stderr: TextIO, asked_for: str
) -> GuardError:
    program = printable(command[0])
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    said = _last_lines(stderr)
    hint = f"its last words: {said}" if said else ""
    match failure:
        case FileNotFoundError():
            return CommandNotFoundError(f"cannot find the server's command `{program}`", hint_on(command))
        case PermissionError():
            return CommandNotExecutableError(f"cannot execute the server's command `{program}`", hint_on(command))
        case TimeoutError():
            return ProbeError(f"the server did not list its {asked_for} within {deadline_s:g} seconds", hint)
        case GuardError():
            return ProbeError(f"the server's list of tools cannot be used: {_short(failure.message)}", hint)
        case _:
            return ProbeError(f"the server did not list its {asked_for}: {_short(_said(failure)) or 'it ended'}", hint)


def _said(failure: BaseException) -> str:
    # A model's errors end with their input and the address of a page.
    return str(failure).partition(" [type=")[0]


def _last_lines(stderr: TextIO) -> str:
    """Return what the server wrote last, on one line."""
    size = os.fstat(stderr.fileno()).st_size
    text = os.pread(stderr.fileno(), _LAST_BYTES, max(0, size - _LAST_BYTES)).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(_short(line) for line in lines[-_LAST_LINES:])


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
