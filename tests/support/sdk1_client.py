"""Does a few things at a server with the client of the SDK's 1.x releases, and prints as JSON what came of them.

Usage: `PYTHON sdk1_client.py COMMAND [ARG]...`, under the interpreter of the `mcp1` server in the cache.
"""
# mypy: ignore-errors
# Reason: it is written for another release of `mcp` than the one that is type-checked against.

from __future__ import annotations

import json
import os
import sys

import anyio
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(command: str, *arguments: str) -> None:
    """List the tools and call four of them: one each that is allowed, denied, hidden and reports progress."""
    parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    steps = []

    async def remember(progress: float, total: float | None, message: str | None) -> None:
        steps.append([progress, total, message])

    async with stdio_client(parameters) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        allowed = await session.call_tool("read_note", {"name": "today"})
        denied = await session.call_tool("write_note", {"name": "today", "text": "x"})
        try:
            hidden = (await session.call_tool("burn_notes", {})).content[0].text
        except McpError as error:
            hidden = [error.error.code, error.error.message]
        await session.call_tool("count", {"steps": 2}, progress_callback=remember)
        ran = await session.call_tool("journal", {})
    found = {
        "tools": [tool.name for tool in tools],
        "allowed": [allowed.isError, allowed.content[0].text],
        "denied": [denied.isError, denied.content[0].text],
        "hidden": hidden,
        "progress": steps,
        "ran": ran.structuredContent["result"],
    }
    sys.stdout.write(json.dumps(found))


anyio.run(main, *sys.argv[1:])
