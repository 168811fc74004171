"""Checks with the SDK's own client and servers that a policy holds in both eras, and that nothing else is in the way.

Every test runs with the era's own words on the wire: `legacy` begins with the handshake, 2026-07-28 has none.
The server keeps a journal of the tools that really ran, so that "refused" is checked where it counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from support import guard_argv, write_policy
from support.sdk_client import Ears, Mode, journal, sdk_client, text_of
from support.stdio import FIRST_REPLY_S

SERVERS = Path(__file__).parents[1] / "support"
INVALID_PARAMS = -32602

NOTES_POLICY: Mapping[str, object] = {
    "default": "deny",
    "hide": ["burn_*"],
    "tools": {
        "journal": {},
        "read_note": {"rate_limit": {"max": 10, "window": 3600}},
        "write_note": {"action": "deny", "reason": "notes are for reading"},
        "paint": {},
        "count": {},
        "hold": {},
        "release": {},
    },
}

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Era:
    """A server and the way to speak to it."""

    server: tuple[str, ...]
    mode: Mode


Guarded: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(
    params=[
        pytest.param("legacy", id="handshake era"),
        pytest.param("2026-07-28", id="revision 2026-07-28"),
        pytest.param("mcp1", id="handshake era with a 1.x server", marks=pytest.mark.real_server),
    ]
)
def era(request: pytest.FixtureRequest) -> Era:
    """Yield each server with each era that it knows."""
    if request.param == "mcp1":
        python = request.getfixturevalue("mcp1_python")
        return Era((str(python), str(SERVERS / "sdk1_server.py")), "legacy")
    return Era((sys.executable, str(SERVERS / "sdk_server.py")), request.param)


@pytest.fixture
def guarded(era: Era, tmp_path: Path) -> Guarded:
    """Return a function that connects to the era's server through the guard, under a policy and with ears."""

    def connect(
        policy: Mapping[str, object] = NOTES_POLICY, ears: Ears | None = None
    ) -> AbstractAsyncContextManager[Client]:
        argv = guard_argv(write_policy(tmp_path, policy), *era.server, options=["--no-log"])
        return sdk_client(argv, mode=era.mode, stderr=tmp_path / "stderr.txt", ears=ears)

    return connect


async def test_the_list_shows_what_may_be_called_and_keeps_the_server_s_order(guarded: Guarded) -> None:
    async with guarded() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == ["journal", "read_note", "paint", "count", "hold", "release"]


async def test_a_listed_tool_keeps_its_definition(era: Era, guarded: Guarded, tmp_path: Path) -> None:
    async with sdk_client(era.server, mode=era.mode, stderr=tmp_path / "direct.txt") as client:
        direct = {tool.name: tool for tool in (await client.list_tools()).tools}
    async with guarded() as client:
        for tool in (await client.list_tools()).tools:
            assert tool == direct[tool.name]


async def test_an_allowed_call_brings_the_server_s_own_answer(era: Era, guarded: Guarded, tmp_path: Path) -> None:
    async with sdk_client(era.server, mode=era.mode, stderr=tmp_path / "direct.txt") as client:
        direct = await client.call_tool("read_note", {"name": "today"})
    async with guarded() as client:
        assert await client.call_tool("read_note", {"name": "today"}) == direct


async def test_a_denied_call_does_not_run_and_says_why(guarded: Guarded) -> None:
    async with guarded() as client:
        result = await client.call_tool("write_note", {"name": "today", "text": "x"})
        ran = await journal(client)
    assert result.is_error
    assert text_of(result).startswith("mcpguard: write_note denied: notes are for reading")
    assert result.structured_content is None
    assert ran == []


async def test_a_tool_that_the_policy_does_not_name_is_denied(guarded: Guarded) -> None:
    policy = {"default": "deny", "tools": {"journal": {}}}
    async with guarded(policy) as client:
        result = await client.call_tool("read_note", {"name": "today"})
        ran = await journal(client)
    assert result.is_error
    assert text_of(result).startswith("mcpguard: ")
    assert ran == []


async def test_a_hidden_tool_does_not_exist(guarded: Guarded) -> None:
    async with guarded() as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("burn_notes", {})
        ran = await journal(client)
    assert (refused.value.code, refused.value.message) == (INVALID_PARAMS, "Unknown tool: burn_notes")
    assert ran == []


async def test_the_rate_limit_bites_at_the_eleventh_call(guarded: Guarded) -> None:
    async with guarded() as client:
        for _ in range(10):
            assert not (await client.call_tool("read_note", {"name": "today"})).is_error
        refused = await client.call_tool("read_note", {"name": "today"})
        ran = await journal(client)
    assert refused.is_error
    assert text_of(refused).startswith("mcpguard: read_note")
    assert refused.meta is not None
    decision = refused.meta["mcpguard/decision"]
    assert decision["code"] == "rate_limited"
    assert 0 < decision["retry_after_ms"] <= 3_600_000
    assert ran == ["read_note"] * 10


async def test_what_the_policy_does_not_name_is_listed_as_empty(guarded: Guarded) -> None:
    async with guarded() as client:
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []


async def test_reading_what_the_policy_does_not_name_is_refused(guarded: Guarded) -> None:
    async with guarded() as client:
        with pytest.raises(MCPError, match=r"^mcpguard: ") as read:
            await client.read_resource("note://today")
        with pytest.raises(MCPError, match=r"^mcpguard: ") as got:
            await client.get_prompt("summarize", {"topic": "milk"})
    assert (read.value.code, got.value.code) == (INVALID_PARAMS, INVALID_PARAMS)


async def test_resources_and_prompts_pass_where_the_policy_allows_by_default(guarded: Guarded) -> None:
    async with guarded({"default": "allow"}) as client:
        assert [resource.uri for resource in (await client.list_resources()).resources] == ["note://today"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["note://named/{name}"]
        contents = (await client.read_resource("note://named/today")).contents[0]
        assert isinstance(contents, types.TextResourceContents)
        assert contents.text == "buy milk"
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["summarize"]
        assert len((await client.get_prompt("summarize", {"topic": "milk"})).messages) == 1


async def test_progress_arrives_while_the_call_runs(guarded: Guarded) -> None:
    steps: list[tuple[float, float | None, str | None]] = []

    async def remember(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    async with guarded() as client:
        result = await client.call_tool("count", {"steps": 3}, progress_callback=remember)
    assert text_of(result) == "3"
    assert steps == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


async def test_a_question_to_the_person_is_asked_and_answered(guarded: Guarded) -> None:
    ears = Ears(elicited={"name": "red"})
    async with guarded(ears=ears) as client:
        result = await client.call_tool("paint", {})
    assert text_of(result) == "painted red"
    assert [request["method"] for request in ears.requests] == ["elicitation/create"]


async def test_a_question_that_the_policy_refuses_never_reaches_the_person(guarded: Guarded) -> None:
    ears = Ears(elicited={"name": "red"})
    policy = {**NOTES_POLICY, "server_requests": {"elicitation/create": "deny"}}
    async with guarded(policy, ears) as client:
        refused = await refusal_of_call(client, "paint")
        ran = await journal(client)
    assert "mcpguard: " in refused
    assert ears.requests == []
    assert ran == []


async def test_a_denial_does_not_wait_for_a_call_that_runs(guarded: Guarded) -> None:
    results: list[types.CallToolResult] = []
    async with guarded() as client, anyio.create_task_group() as running:
        started = anyio.Event()
        running.start_soon(call_hold, client, started, results)
        await started.wait()
        assert (await client.call_tool("write_note", {"name": "today", "text": "x"})).is_error
        assert results == []
        await client.call_tool("release")
    assert [text_of(result) for result in results] == ["released"]


async def test_a_cancelled_call_is_cancelled_at_the_server(guarded: Guarded) -> None:
    async with guarded() as client:
        async with anyio.create_task_group() as running:
            started = anyio.Event()
            running.start_soon(call_hold, client, started, [])
            await started.wait()
            running.cancel_scope.cancel()
        while "hold cancelled" not in (ran := await journal(client)):
            pass  # Each turn is a round trip, and the whole conversation is bounded.
    assert ran == ["hold", "hold cancelled"]


async def test_a_1_x_client_hears_the_same(mcp1_python: Path, tmp_path: Path) -> None:
    server = (sys.executable, str(SERVERS / "sdk_server.py"))
    argv = guard_argv(write_policy(tmp_path, NOTES_POLICY), *server, options=["--no-log"])
    with anyio.fail_after(FIRST_REPLY_S):
        done = await anyio.run_process([str(mcp1_python), str(SERVERS / "sdk1_client.py"), *argv], stderr=None)
    found = json.loads(done.stdout)
    assert found["tools"] == ["journal", "read_note", "paint", "count", "hold", "release"]
    assert found["allowed"] == [False, "buy milk"]
    assert found["denied"][0] is True
    assert found["denied"][1].startswith("mcpguard: write_note denied: notes are for reading")
    assert found["hidden"] == [INVALID_PARAMS, "Unknown tool: burn_notes"]
    assert found["progress"] == [[1.0, 2.0, "step 1"], [2.0, 2.0, "step 2"]]
    assert found["ran"] == ["read_note", "count"]


async def call_hold(client: Client, started: anyio.Event, results: list[types.CallToolResult]) -> None:
    async def note(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK's signature
        started.set()

    results.append(await client.call_tool("hold", {}, progress_callback=note))


async def refusal_of_call(client: Client, tool: str) -> str:
    """Return the words of a call that fails; servers differ in whether they make it a result or an error."""
    try:
        result = await client.call_tool(tool, {})
    except MCPError as error:
        return error.message
    assert result.is_error
    return text_of(result)
