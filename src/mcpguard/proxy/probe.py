"""Asks a server for its tools: an MCP client for a moment.

The only place where the guard uses the `mcp` SDK to talk to a user's server; the SDK is slow to import, so that is done when
somebody asks.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TextIO, TypeAlias

import anyio
import jiter

from mcpguard.errors import CommandNotExecutableError, CommandNotFoundError, GuardError
from mcpguard.inventory.tools import Tool, ToolListError, parse_tools
from mcpguard.proxy.linux import adopt_orphans, find_descendants
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from mcp import Client

Era: TypeAlias = Literal["auto", "legacy"]

DEADLINE_S: Final = 60.0
MOST_PAGES: Final = 100
_LAST_LINES: Final = 3
_LAST_BYTES: Final = 4096
_SHOWN: Final = 300
_REAP_S: Final = 2.0


class ProbeError(GuardError):
    """A server could not be asked for its tools."""


def ask_for_tools(command: Sequence[str], deadline_s: float = DEADLINE_S) -> tuple[Tool, ...]:
    """Start a server, ask it for all of its tools, and end it with everything it has started.

    It is asked in the modern way first, with a wait that is bounded, and by handshake if it does not understand that; a server
    that does not survive the question is started once more and asked by handshake alone.

    Raises:
        CommandNotFoundError: there is no such command.
        CommandNotExecutableError: it cannot be executed.
        ProbeError: it did not answer in time, or not with a list of tools.
    """
    others = set(find_descendants(os.getpid()))
    adopt_orphans()
    # The SDK logs what it cannot read, and with nobody listening that would go to our stderr.
    for name in ("mcp", "client"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stderr:
        failure: BaseException
        try:
            found = anyio.run(_list_in_time, tuple(command), deadline_s, stderr)
            return parse_tools(jiter.from_json(json.dumps({"tools": found}).encode(), float_mode="decimal"))
        except* GuardError as failures:
            failure = failures
        except* _failures() as failures:
            failure = failures
        finally:
            _end_all_but(others)
        raise _explained(failure, command[0], deadline_s, stderr) from failure


def _failures() -> tuple[type[Exception], ...]:
    """Name what the SDK, the pipes and the models of messages raise when a server does not do its part."""
    from mcp import MCPError

    broken = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
    return (MCPError, OSError, ValueError, RuntimeError, *broken)


async def _list_in_time(command: tuple[str, ...], deadline_s: float, stderr: TextIO) -> list[object]:
    with anyio.fail_after(deadline_s):
        try:
            return await _list(command, "auto", stderr)
        except* (FileNotFoundError, PermissionError):
            raise
        except* _failures():
            # Some servers end at a request that comes before `initialize`.
            stderr.seek(0)
            stderr.truncate()
        return await _list(command, "legacy", stderr)


async def _list(command: tuple[str, ...], era: Era, stderr: TextIO) -> list[object]:
    from mcp import Client, StdioServerParameters, stdio_client

    program, *arguments = command
    server = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
    async with Client(stdio_client(server, errlog=stderr), mode=era, cache=None) as client:
        return [] if client.server_capabilities.tools is None else await _pages(client)


async def _pages(client: Client) -> list[object]:
    found: list[object] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [tool.model_dump(mode="json", by_alias=True, exclude_unset=True) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor:
            return found
    raise ToolListError(f"it does not end after {MOST_PAGES} pages")


def _explained(failure: BaseException, program: str, deadline_s: float, stderr: TextIO) -> GuardError:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    said = _last_lines(stderr)
    hint = f"its last words: {said}" if said else ""
    match failure:
        case FileNotFoundError():
            return CommandNotFoundError(f"cannot find the server's command `{printable(program)}`")
        case PermissionError():
            return CommandNotExecutableError(f"cannot execute the server's command `{printable(program)}`")
        case TimeoutError():
            return ProbeError(f"the server did not list its tools within {deadline_s:g} seconds", hint)
        case GuardError():
            return ProbeError(f"the server's list of tools cannot be used: {_short(failure.message)}", hint)
        case _:
            return ProbeError(f"the server did not list its tools: {_short(_said(failure)) or 'it ended'}", hint)


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


def _end_all_but(others: set[int]) -> None:
    """Kill and reap every descendant that is not one of `others`, also what has left the server's process group."""
    until = time.monotonic() + _REAP_S
    killed: set[int] = set()
    while time.monotonic() < until:
        left = set(find_descendants(os.getpid())) - others
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        killed = {pid for pid in killed | left if not _is_reaped(pid)}
        if not killed and not left:
            return
        time.sleep(0.01)


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
