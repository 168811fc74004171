"""The server of `sdk_server.py` on the SDK's 1.x releases, which know the handshake era alone.

Runs under the interpreter of the `mcp1` server in the cache; nothing here imports it.
"""
# mypy: ignore-errors
# Reason: it is written for another release of `mcp` than the one that is type-checked against.

from __future__ import annotations

import anyio
from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

server = FastMCP("notes")
ran: list[str] = []
notes = {"today": "buy milk"}
released = anyio.Event()


class Colour(BaseModel):
    """What the person is asked for."""

    name: str


@server.tool()
def journal() -> list[str]:
    """List the tools that ran so far, this one left out."""
    return ran


@server.tool()
def read_note(name: str) -> str:
    """Read a note."""
    ran.append("read_note")
    return notes[name]


@server.tool()
def write_note(name: str, text: str) -> str:
    """Write a note."""
    ran.append("write_note")
    notes[name] = text
    return "written"


@server.tool()
def burn_notes() -> str:
    """Destroy every note."""
    ran.append("burn_notes")
    notes.clear()
    return "burnt"


@server.tool()
async def paint(ctx: Context) -> str:
    """Ask for a colour and use it."""
    answer = await ctx.elicit("Which colour?", Colour)
    ran.append("paint")
    return f"painted {answer.data.name}"


@server.tool()
async def count(steps: int, ctx: Context) -> int:
    """Report progress at every step."""
    ran.append("count")
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
    return steps


@server.tool()
async def hold(ctx: Context) -> str:
    """Say that it runs, and end only when `release` is called."""
    ran.append("hold")
    await ctx.report_progress(0)
    try:
        await released.wait()
    except anyio.get_cancelled_exc_class():
        ran.append("hold cancelled")
        raise
    return "released"


@server.tool()
async def release() -> str:
    """Let every `hold` end."""
    ran.append("release")
    released.set()
    return "let go"


@server.resource("note://today", name="today", mime_type="text/plain")
def today() -> str:
    """Read the note of the day."""
    return notes["today"]


@server.resource("note://named/{name}", name="named", mime_type="text/plain")
def named(name: str) -> str:
    """Read a note by its name."""
    return notes[name]


@server.prompt()
def summarize(topic: str) -> str:
    """Ask for a summary."""
    return f"Summarize what the notes say about {topic}."


if __name__ == "__main__":
    server.run("stdio")
