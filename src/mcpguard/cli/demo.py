"""Shows the guard at work: the same calls to one real server, without the guard and through it.

What is printed is what was observed, and all of it is compared with what the policy promises: when the guard breaks a
promise, the demo says which one and fails.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mcpguard.cli.console import report_console
from mcpguard.cli.demo_server import RAN
from mcpguard.errors import ExitCode, GuardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp import Client
    from mcp.client.session import ClientRequestContext
    from mcp_types import ElicitRequestParams
    from rich.console import Console

DEADLINE_S = 30.0
FEWEST_COLUMNS, MOST_COLUMNS = 40, 100
MINUTE_MS = 60_000
UNKNOWN_TOOL = -32602  # JSON-RPC's "invalid params", which the protocol asks for when a tool does not exist
# -P: a `mcp` or `rich` in the working directory must not be taken for the installed one.
PROGRAM = (sys.executable, "-P", "-m", "mcpguard")
SERVER = (*PROGRAM, "demo-server")

REASON = "records are deleted by the records office"
POLICY = f"""\
{{
  "version": "1",
  "default": "deny",
  "hide": ["wipe_store"],
  "tools": {{
    "list_patients": {{}}, "get_patient": {{}},
    "add_note": {{ "action": "require_approval" }},
    "start_dicom_export_job": {{
      "limits": [{{ "counter": "exports", "window": "minute", "max": 3 }}]
    }},
    "delete_patient": {{
      "action": "deny", "reason": "{REASON}"
    }}
  }},
  "approval": {{ "min_answer": "0s" }}
}}
"""
# A program plays the person here; without `min_answer` an answer this quick counts as none of a person.

CALLS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("get_patient", {"patient_id": "P-1001"}),
    ("delete_patient", {"patient_id": "P-1003"}),
    ("start_dicom_export_job", {"patient_id": "P-1001"}),
    ("start_dicom_export_job", {"patient_id": "P-1001"}),
    ("start_dicom_export_job", {"patient_id": "P-1001"}),
    ("start_dicom_export_job", {"patient_id": "P-1001"}),
    ("add_note", {"patient_id": "P-1001", "text": "allergic to latex"}),
    ("add_note", {"patient_id": "P-1001", "text": "ignore earlier notes"}),
    ("wipe_store", {}),
)
PERSON = ("allow once", "deny")
"""What the person at the client answers, in this order."""
SNIPPET = """\
{
  "mcpServers": {
    "memory": {
      "command": "mcpguard",
      "args": ["run", "--policy", "/path/to/policy.json", "--",
               "npx", "-y", "@modelcontextprotocol/server-memory"]
    }
  }
}
"""
COLOURS = {
    "agent": "cyan",
    "person": "magenta",
    "server": "green",
    "guard": "yellow",
    "yes": "green",
    "no": "yellow",
    "0": "bold yellow",
}

# The server's tools in its own order, and how the policy treats them.
TOOLS = {
    "list_patients": "allowed",
    "get_patient": "allowed",
    "add_note": "needs approval",
    "start_dicom_export_job": "3 a minute",
    "delete_patient": "denied",
    "wipe_store": "hidden",
}
VISIBLE = tuple(tool for tool, treatment in TOOLS.items() if treatment not in {"denied", "hidden"})
RAN_DIRECT = Counter(tool for tool, _ in CALLS)
RAN_GUARDED = Counter(get_patient=1, start_dicom_export_job=3, add_note=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client heard: `code` is the guard's for a refusal, `error` that of a JSON-RPC error."""

    text: str
    is_error: bool = False
    code: str = ""
    retry_after_ms: int = 0
    error: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What one session showed: the listed tools, the answers in the order of `CALLS`, the tools that really ran, and what the person at
    the client was asked.
    """

    tools: tuple[str, ...]
    answers: tuple[Answer, ...]
    ran: Counter[str]
    asked: tuple[str, ...] = ()


@click.command(short_help="Show the guard at work, in a few seconds.")
@click.pass_context
def demo(context: click.Context) -> None:
    """Show the guard at work in front of a make-believe hospital store.

    Starts a small MCP server twice, as it is and behind `mcpguard run` with a short policy, makes the same calls to
    both, and compares what was answered and what really ran. Takes a few seconds, needs no network, leaves nothing
    behind. Exit status 1: the guard did not do what the policy says.
    """
    # Imported where it is used, here and below, so that whoever only imports the commands does not pay for it.
    from rich.theme import Theme

    theme = Theme({"json.key": "cyan", "json.number": "magenta", "json.brace": "none"})
    console = report_console(columns=(FEWEST_COLUMNS, MOST_COLUMNS), theme=theme)
    _introduce(console)
    direct, guarded = observe()
    _tell(console, direct, guarded)
    broken = broken_promises(direct, guarded)
    _conclude(console, broken)
    context.exit(ExitCode.FINDINGS if broken else ExitCode.OK)


def observe() -> tuple[Observed, Observed]:
    """Make `CALLS` to the server alone and to the server behind the guard, both at once.

    Raises `GuardError` if a session does not come to its end in `DEADLINE_S`.
    """
    import anyio
    from mcp import MCPError

    with tempfile.TemporaryDirectory(prefix="mcpguard-demo-") as directory:
        policy = Path(directory, "policy.json")
        policy.write_text(POLICY, encoding="utf-8")
        guard = (*PROGRAM, "run", "--policy", str(policy), "--no-log", "--")
        with (
            tempfile.TemporaryFile("w+", dir=directory) as direct,
            tempfile.TemporaryFile("w+", dir=directory) as guarded,
        ):
            failure: BaseException
            try:
                return anyio.run(_observe_both, (SERVER, direct), ((*guard, *SERVER), guarded))
            except* (MCPError, OSError, ValueError, RuntimeError) as failures:
                failure = failures
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            guarded.seek(0)
            last_words = [line.removeprefix("mcpguard: ") for line in guarded.read().strip().splitlines()[-1:]]
            message = f"the demo did not come to its end: {failure or 'no answer in time'}"
            raise GuardError(message, *last_words) from failure


def broken_promises(direct: Observed, guarded: Observed) -> tuple[str, ...]:
    """Return the promises of `POLICY` that the guard did not keep, each as a sentence."""
    read, delete, *exports, fourth, approved, refused, wipe = guarded.answers
    promises = {
        "the server on its own offers all of its tools": direct.tools == tuple(TOOLS),
        "the agent sees the allowed tools, and only those": guarded.tools == VISIBLE,
        "an allowed call gets the server's own answer": read == direct.answers[0] and not read.is_error,
        "a denied call is refused with the reason from the policy": delete.code == "denied" and REASON in delete.text,
        "three exports pass": exports == list(direct.answers[2:5]) and not any(export.is_error for export in exports),
        "the fourth export within a minute has to wait": fourth.code == "rate_limited"
        and 0 < fourth.retry_after_ms <= MINUTE_MS,
        "a hidden tool is answered as one that does not exist": wipe.error == UNKNOWN_TOOL,
        "a person is asked about both notes, and shown what they say": len(guarded.asked) == len(PERSON)
        and all(arguments["text"] in asked for (_, arguments), asked in zip(CALLS[6:8], guarded.asked, strict=False)),
        "what the person allows runs": approved == direct.answers[6] and not approved.is_error,
        "what the person denies is refused": refused.code == "approval_denied",
        "without the guard every call runs": direct.ran == RAN_DIRECT,
        "through the guard only the permitted calls run": guarded.ran == RAN_GUARDED,
    }
    return tuple(promise for promise, kept in promises.items() if not kept)


async def _observe_both(
    direct: tuple[tuple[str, ...], TextIO], guarded: tuple[tuple[str, ...], TextIO]
) -> tuple[Observed, Observed]:
    import anyio

    observed: dict[TextIO, Observed] = {}

    async def one(command: tuple[str, ...], stderr: TextIO) -> None:
        observed[stderr] = await _observe_one(command, stderr)

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as sessions:
            sessions.start_soon(one, *direct)
            sessions.start_soon(one, *guarded)
    return observed[direct[1]], observed[guarded[1]]


async def _observe_one(command: tuple[str, ...], stderr: TextIO) -> Observed:
    from mcp import Client, StdioServerParameters, stdio_client
    from mcp_types import ElicitResult

    program, *arguments = command
    server = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
    asked: list[str] = []

    async def be_the_person(
        context: ClientRequestContext,  # noqa: ARG001 - the SDK calls it so
        params: ElicitRequestParams,
    ) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"decision": PERSON[len(asked) - 1]})

    async with Client(
        stdio_client(server, errlog=stderr),
        mode="legacy",
        read_timeout_seconds=DEADLINE_S,
        elicitation_callback=be_the_person,
    ) as client:
        tools = tuple(tool.name for tool in (await client.list_tools()).tools)
        answers = tuple([await _ask(client, tool, arguments) for tool, arguments in CALLS])
    stderr.seek(0)
    ran = Counter(line.removeprefix(RAN) for line in stderr.read().splitlines() if line.startswith(RAN))
    return Observed(tools, answers, ran, tuple(asked))


async def _ask(client: Client, tool: str, arguments: Mapping[str, str]) -> Answer:
    from mcp import MCPError

    try:
        result = await client.call_tool(tool, dict(arguments))
    except MCPError as error:
        return Answer(error.message, is_error=True, error=error.code)
    text = "\n".join(block.text for block in result.content if block.type == "text")
    decision: dict[str, object] = (result.meta or {}).get("mcpguard/decision", {})
    wait_ms = decision.get("retry_after_ms")
    return Answer(text, result.is_error, str(decision.get("code", "")), wait_ms if isinstance(wait_ms, int) else 0)


def _introduce(console: Console) -> None:
    _paragraph(
        console,
        "A small MCP server plays a hospital store. The calls that an agent could make are made to it twice: as it is, "
        "and through mcpguard.",
    )
    _heading(console, "1. The policy: what it does not name is denied")
    _json(console, POLICY)


def _tell(console: Console, direct: Observed, guarded: Observed) -> None:
    _heading(console, "2. What the server offers, and what the agent sees of it")
    _table(
        console,
        ("tool", "policy", "agent sees it"),
        [(tool, TOOLS.get(tool, ""), "yes" if tool in guarded.tools else "no") for tool in direct.tools],
    )
    persons = iter(PERSON[: len(guarded.asked)])
    told = list(zip(CALLS, direct.answers, guarded.answers, strict=True))
    for title, calls in (
        ("3. An allowed call: the server's answer comes back as it is", told[:1]),
        ("4. A denied call: the agent hears why", told[1:2]),
        ("5. A limit: three exports a minute, the fourth has to wait", told[2:6]),
        ("6. Approvals: a person at the client is asked, sees everything, and decides", told[6:8]),
        ("7. A hidden tool: for the agent it does not exist", told[8:]),
    ):
        _heading(console, title)
        for (tool, arguments), alone, answer in calls:
            _said(console, "agent", f"{tool} {json.dumps(arguments)}" if arguments else tool)
            if TOOLS.get(tool) == "needs approval":
                _said(console, "person", next(persons, "(was not asked)"))
            if answer == alone:
                _said(console, "server", answer.text)
                continue
            _said(console, "guard", f"{answer.text} (error {answer.error})" if answer.error else answer.text)
            _said(console, "", f"(without the guard: {alone.text})")
    _heading(console, "8. What really ran, as the server counted it")
    _table(
        console,
        ("tool", "without the guard", "with the guard"),
        [(tool, f"{direct.ran[tool]}", f"{guarded.ran[tool]}") for tool in dict(CALLS)],
    )


def _conclude(console: Console, broken: tuple[str, ...]) -> None:
    console.print()
    if broken:
        console.print("The guard did NOT do what the policy says. Not true:", style="bold red")
        for promise in broken:
            console.print(f"   {promise}", style="red")
        return
    console.print("Checked: every answer and every count above is what the policy says.", style="bold green")
    _heading(console, "Next: guard a server of your own")
    here = Path(sys.executable).with_name("mcpguard")
    command = str(here) if here.exists() else shutil.which("mcpguard") or "mcpguard"
    _paragraph(console, "In your MCP client's config, put mcpguard before the server's command:", indent=3)
    _json(console, SNIPPET.replace('"mcpguard"', json.dumps(command)))
    _paragraph(console, "Check your policy: mcpguard validate FILE. All commands: mcpguard --help.", indent=3)


def _heading(console: Console, title: str) -> None:
    console.print(f"\n{title}", style="bold")


def _paragraph(console: Console, text: str, indent: int = 0) -> None:
    console.print(textwrap.indent(textwrap.fill(text, console.width - indent), " " * indent), soft_wrap=True)


def _json(console: Console, document: str) -> None:
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    text = Text(textwrap.indent(document.rstrip(), "   "))
    JSONHighlighter().highlight(text)
    console.print(text, soft_wrap=True)


def _said(console: Console, who: str, text: str) -> None:
    from rich.text import Text

    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, console.width - 11)]
    for label, line in zip((who, *[""] * len(lines)), lines, strict=False):
        console.print(
            Text.assemble("   ", (f"{label:8}", COLOURS.get(who, "")), (line, "" if who else "dim")), soft_wrap=True
        )


def _table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    console.print(Padding.indent(table, 3))
