"""Checks with the SDK's own client and server that a call waits for a person, in both eras, and that only their yes lets it run.

The guard, its commands and its server are real processes; the server keeps a journal of the tools that really ran.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import anyio
import anyio.to_thread
import mcp_types as types
import pytest
from mcp.client.client import Client

from mcpguard.stores.desks import Look, look, runs_directory, tell
from support import StdioPeer, guard_argv, write_policy
from support.processes import descendants, wait_until_gone
from support.sdk_client import Ears, Mode, journal, sdk_client, text_of
from support.stdio import EXIT_S, FIRST_REPLY_S, Message

if TYPE_CHECKING:
    from support.guards import StartGuard

SERVER = (sys.executable, str(Path(__file__).parents[1] / "support" / "sdk_server.py"))
NOTE: Mapping[str, str] = {"name": "today", "text": "buy bread"}
Guarded: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]
Wait: TypeAlias = Callable[[], Message]


def asking(**terms: object) -> dict[str, object]:
    """Give a policy under which writing and painting need a person; an answer counts at once unless `terms` say otherwise."""
    return {
        "tools": {
            "journal": {},
            "read_note": {},
            "write_note": {"action": "require_approval", "reason": "notes matter"},
            "paint": {"action": "require_approval", "rate_limit": "1/day"},
        },
        "approval": {"min_answer": "0s"} | terms,
    }


def choosing(choice: str) -> Callable[[types.ElicitRequestParams], types.ElicitResult]:
    """Be a person who chooses this in the guard's form, and likes red."""

    def answer(params: types.ElicitRequestParams) -> types.ElicitResult:
        if "mcpguard" in params.message:
            return types.ElicitResult(action="accept", content={"decision": choice})
        return types.ElicitResult(action="accept", content={"name": "red"})

    return answer


def declining(params: types.ElicitRequestParams) -> types.ElicitResult:  # noqa: ARG001 - whatever it is
    """Be a client with nobody in front of it."""
    return types.ElicitResult(action="decline")


@pytest.fixture(params=get_args(Mode), ids=["handshake era", "revision 2026-07-28"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Yield each era."""
    found: Mode = request.param
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return where the guard keeps its decision log."""
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def doorbell(tmp_path: Path) -> Iterator[tuple[str, Wait]]:
    """Give a program for `--notify`, and a function that waits until it was run and gives what it was told."""
    path = tmp_path / "bell"
    os.mkfifo(path)
    # Both ends, so that whoever rings need not wait for us.
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    heard = bytearray()

    def wait() -> Message:
        while b"\n" not in heard:
            assert select.select([fd], [], [], FIRST_REPLY_S)[0], "nobody was told of a call that waits"
            heard.extend(os.read(fd, 1 << 16))
        line, _, rest = bytes(heard).partition(b"\n")
        heard[:] = rest
        told = json.loads(line)
        assert isinstance(told, dict)
        return told

    yield f"sh -c 'cat >{path}'", wait
    os.close(fd)


@pytest.fixture
def guarded(mode: Mode, tmp_path: Path, log: Path, doorbell: tuple[str, Wait]) -> Guarded:
    """Return a function that connects to the server through the guard, under a policy and with ears."""

    def connect(
        policy: Mapping[str, object], ears: Ears | None = None, *, elicits: bool = True
    ) -> AbstractAsyncContextManager[Client]:
        options = ["--log", str(log), "--notify", doorbell[0]]
        argv = guard_argv(write_policy(tmp_path, policy), *SERVER, options=options)
        return sdk_client(argv, mode=mode, stderr=tmp_path / "stderr.txt", ears=ears, elicits=elicits)

    return connect


@pytest.mark.anyio
async def test_what_a_person_at_the_client_allows_runs_once(guarded: Guarded, log: Path) -> None:
    ears = Ears(answer=choosing("allow once"))
    async with guarded(asking(), ears) as client:
        assert text_of(await client.call_tool("write_note", dict(NOTE))) == "written"
        assert text_of(await client.call_tool("read_note", {"name": "today"})) == "buy bread"
        assert await journal(client) == ["write_note", "read_note"]
        assert len(ears.requests) == 1
        await client.call_tool("write_note", dict(NOTE))
        assert len(ears.requests) == 2
    shown = ears.requests[0]["params"]["message"]
    assert '"text": "buy bread"' in shown
    assert "notes matter" in shown
    assert statuses(log) == ["asked (client)", "granted (client)"] * 2
    assert "buy bread" not in text_in(log)


@pytest.mark.anyio
async def test_what_a_person_at_the_client_refuses_does_not_run(guarded: Guarded, log: Path) -> None:
    async with guarded(asking(), Ears(answer=choosing("deny"))) as client:
        result = await client.call_tool("write_note", dict(NOTE))
        ran = await journal(client)
    assert result.is_error
    assert text_of(result) == "mcpguard: write_note denied: the user did not approve it. Do not retry unchanged."
    assert (ran, statuses(log)) == ([], ["asked (client)", "denied (client)"])


@pytest.mark.anyio
async def test_a_person_may_allow_a_tool_for_the_rest_of_the_run(guarded: Guarded) -> None:
    ears = Ears(answer=choosing("allow this tool"))
    async with guarded(asking(remember="tool"), ears) as client:
        for text in ("a", "b", "c"):
            assert not (await client.call_tool("write_note", {"name": "today", "text": text})).is_error
        assert await journal(client) == ["write_note"] * 3
    assert len(ears.requests) == 1


@pytest.mark.anyio
async def test_a_server_that_asks_the_person_itself_is_heard_after_the_guard_and_the_call_is_charged_once(
    guarded: Guarded, log: Path
) -> None:
    ears = Ears(answer=choosing("allow once"))
    async with guarded(asking(), ears) as client:
        assert text_of(await client.call_tool("paint", {})) == "painted red"
        assert await journal(client) == ["paint"]
        again = await client.call_tool("paint", {})
    assert again.is_error
    assert again.meta is not None
    assert again.meta["mcpguard/decision"]["code"] == "rate_limited"
    assert ["mcpguard" in asked["params"]["message"] for asked in ears.requests] == [True, False]
    assert statuses(log) == ["asked (client)", "granted (client)"]


@pytest.mark.anyio
async def test_a_server_that_asks_the_person_of_a_refused_call_never_comes_to_it(guarded: Guarded) -> None:
    ears = Ears(answer=choosing("deny"))
    async with guarded(asking(), ears) as client:
        assert (await client.call_tool("paint", {})).is_error
        assert await journal(client) == []
    assert len(ears.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("elicits", [False, True], ids=["a client without dialogs", "a client without a person"])
async def test_a_call_that_no_person_at_the_client_can_allow_waits_for_one_at_a_terminal(
    guarded: Guarded, doorbell: tuple[str, Wait], elicits: bool, log: Path
) -> None:
    ears = Ears(answer=declining)
    # However slow this machine is: what a program answers comes too soon.
    async with guarded(asking(min_answer="1h"), ears, elicits=elicits) as client:
        results: list[types.CallToolResult] = []
        async with anyio.create_task_group() as running:
            running.start_soon(call_into, client, "write_note", NOTE, results)
            told = await anyio.to_thread.run_sync(doorbell[1])
            assert (told["subject"], json.loads(told["arguments"]), told["state"]) == ("write_note", NOTE, "held")
            assert await journal(client) == []
            assert results == []
            said = await anyio.to_thread.run_sync(approve_in_terminal, told["id"])
        assert text_of(results[0]) == "written"
        assert await journal(client) == ["write_note"]
    assert '"text": "buy bread"' in said
    assert "the call goes on now" in said
    assert len(ears.requests) == elicits
    assert statuses(log)[-1] == "granted (terminal)"


@pytest.mark.anyio
async def test_a_program_that_says_yes_at_once_is_no_person(guarded: Guarded, doorbell: tuple[str, Wait]) -> None:
    ears = Ears(answer=choosing("allow once"))
    async with guarded(asking(min_answer="1h"), ears) as client:
        results: list[types.CallToolResult] = []
        async with anyio.create_task_group() as running:
            running.start_soon(call_into, client, "write_note", NOTE, results)
            told = await anyio.to_thread.run_sync(doorbell[1])
            ((_, run),) = await anyio.to_thread.run_sync(waiting)
            request = {"op": "deny", "id": told["id"], "reason": "not today"}
            await anyio.to_thread.run_sync(tell, runs_directory(), run, request)
        assert text_of(results[0]) == (
            "mcpguard: write_note denied: the user did not approve it: not today. Do not retry unchanged."
        )
        assert await journal(client) == []


@pytest.mark.anyio
async def test_a_call_that_nobody_can_be_asked_about_is_refused(guarded: Guarded) -> None:
    async with guarded(asking(via=["client"]), elicits=False) as client:
        result = await client.call_tool("write_note", dict(NOTE))
        assert "nobody could be asked" in text_of(result)
        assert await journal(client) == []
    assert waiting() == []


@pytest.mark.anyio
async def test_other_calls_of_the_client_go_on_while_a_person_thinks(guarded: Guarded) -> None:
    ears = Ears(answer=choosing("allow once"), gate=anyio.Event())
    async with guarded(asking(), ears) as client:
        results: list[types.CallToolResult] = []
        async with anyio.create_task_group() as running:
            running.start_soon(call_into, client, "write_note", NOTE, results)
            await ears.wait_for_questions(1)
            for _ in range(20):
                assert text_of(await client.call_tool("read_note", {"name": "today"})) == "buy milk"
            assert results == []
            assert ears.gate is not None
            ears.gate.set()
        assert text_of(results[0]) == "written"
        assert await journal(client) == ["read_note"] * 20 + ["write_note"]


@pytest.mark.anyio
async def test_two_calls_that_wait_are_answered_each_by_itself(guarded: Guarded, doorbell: tuple[str, Wait]) -> None:
    async with guarded(asking(), elicits=False) as client:
        first: list[types.CallToolResult] = []
        second: list[types.CallToolResult] = []
        async with anyio.create_task_group() as running:
            running.start_soon(call_into, client, "write_note", NOTE, first)
            one = await anyio.to_thread.run_sync(doorbell[1])
            running.start_soon(call_into, client, "write_note", NOTE, second)
            other = await anyio.to_thread.run_sync(doorbell[1])
            assert one["id"] != other["id"]
            await anyio.to_thread.run_sync(approve_in_terminal, other["id"])
            while not second:
                await client.call_tool("read_note", {"name": "today"})
            assert first == []
            ((item, run),) = await anyio.to_thread.run_sync(waiting)
            assert item == one["id"]
            request = {"op": "deny", "id": one["id"], "reason": ""}
            await anyio.to_thread.run_sync(tell, runs_directory(), run, request)
        assert (second[0].is_error, first[0].is_error) == (False, True)
        assert (await journal(client)).count("write_note") == 1


@pytest.mark.anyio
async def test_who_was_told_to_come_back_passes_once_after_a_yes(guarded: Guarded) -> None:
    async with guarded(asking(timeout="100ms"), elicits=False) as client:
        late = await client.call_tool("write_note", dict(NOTE))
        ((id_, _),) = await anyio.to_thread.run_sync(waiting)
        assert f"run `mcpguard approve {id_}`, then call again with the same arguments" in text_of(late)
        said = await anyio.to_thread.run_sync(approve_in_terminal, id_)
        assert "tell the agent to call again with the same arguments" in said
        assert await journal(client) == []
        assert (await client.call_tool("write_note", {"name": "today", "text": "another"})).is_error
        assert text_of(await client.call_tool("write_note", dict(NOTE))) == "written"
        assert (await client.call_tool("write_note", dict(NOTE))).is_error
        assert await journal(client) == ["write_note"]


@pytest.mark.anyio
async def test_a_terminal_that_is_quicker_than_the_client_s_dialog_closes_it(tmp_path: Path, log: Path) -> None:
    # Only in the handshake era: from 2026-07-28 on the client comes back with what its person says.
    ears = Ears(answer=choosing("deny"), gate=anyio.Event())
    argv = guard_argv(write_policy(tmp_path, asking()), *SERVER, options=["--log", str(log)])
    async with sdk_client(argv, mode="legacy", stderr=tmp_path / "stderr.txt", ears=ears) as client:
        results: list[types.CallToolResult] = []
        async with anyio.create_task_group() as running:
            running.start_soon(call_into, client, "write_note", NOTE, results)
            await ears.wait_for_questions(1)
            ((id_, _),) = await anyio.to_thread.run_sync(waiting)
            await anyio.to_thread.run_sync(approve_in_terminal, id_)
        assert text_of(results[0]) == "written"
        assert ears.gate is not None
        ears.gate.set()
        assert await journal(client) == ["write_note"]
    assert statuses(log) == ["asked (client)", "granted (terminal)"]


# What a client says byte by byte


def talk(start: StartGuard, *words: object, policy: Mapping[str, object], **capabilities: object) -> StdioPeer:
    """Give a guard after the handshake with a client of these capabilities."""
    peer = start(*words, policy=policy)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities,
        "clientInfo": {"name": "c", "version": "1"},
    }
    peer.send({"id": "hello", "method": "initialize", "params": params})
    peer.receive(id="hello", deadline_s=FIRST_REPLY_S)
    return peer


def call(tool: str, id_: int) -> Message:
    return {"id": id_, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


def test_a_server_that_elicits_under_id_0_gets_its_own_answer_and_no_other(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    policy = {"tools": {"elicit": {"action": "require_approval"}}, "approval": {"min_answer": "0s"}}
    peer = talk(start, f"record={record}", policy=policy, elicitation={})
    peer.send(call("elicit", 7))
    ours = peer.receive(method="elicitation/create", deadline_s=FIRST_REPLY_S)
    assert ours["id"].startswith("mcpguard-")
    assert "elicit" in ours["params"]["message"]
    peer.send({"id": ours["id"], "result": {"action": "accept", "content": {"decision": "allow once"}}})
    theirs = peer.receive(method="elicitation/create")
    assert (theirs["id"], theirs["params"]["message"]) == (0, "Which name?")
    peer.send({"id": 0, "result": {"action": "accept", "content": {"name": "bob"}}})
    answer = peer.receive(id=7)
    assert json.loads(answer["result"]["content"][0]["text"]) == {"action": "accept", "content": {"name": "bob"}}
    # Once more, and refused: our question's answer is nothing to the server's id.
    peer.send(call("elicit", 8))
    ours = peer.receive(method="elicitation/create")
    peer.send({"id": 0, "result": {"action": "accept", "content": {"decision": "allow once"}}})
    peer.send({"id": ours["id"], "result": {"action": "decline"}})
    assert peer.receive(id=8)["result"]["isError"] is True
    heard = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(each.get("method"), each["id"]) for each in heard] == [
        ("initialize", "hello"),
        ("tools/call", 7),
        (None, 0),
    ]
    assert "mcpguard" not in record.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("elicitation", [None, {}], ids=["held for a terminal", "asked in the client"])
def test_killing_the_guard_while_a_call_waits_leaves_nothing(
    start: StartGuard, tmp_path: Path, number: int, elicitation: object
) -> None:
    record = tmp_path / "record"
    policy = {"tools": {"echo": {"action": "require_approval"}}}
    capabilities: dict[str, Any] = {} if elicitation is None else {"elicitation": elicitation}
    peer = talk(start, f"record={record}", policy=policy, **capabilities)
    peer.send(call("echo", 7))
    if elicitation is None:
        peer.expect_stderr("a call waits for approval", FIRST_REPLY_S)
    else:
        peer.receive(method="elicitation/create", deadline_s=FIRST_REPLY_S)
    ((id_, run),) = waiting()
    assert [path.name for path in runs_directory().iterdir()] == [f"{run}.sock"]
    processes = descendants(peer.pid)
    assert processes
    peer.signal(number)
    assert peer.wait() == (-number if number == signal.SIGKILL else 128 + number)
    assert wait_until_gone(processes, EXIT_S) == set()
    assert look(runs_directory()) == Look([], [])
    assert list(runs_directory().iterdir()) == []
    assert id_ not in record.read_text()
    assert "tools/call" not in record.read_text()


def test_a_client_that_leaves_while_a_call_waits_keeps_nobody(start: StartGuard, log: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    peer = talk(start, f"record={record}", policy={"tools": {"echo": {"action": "require_approval"}}})
    peer.send(call("echo", 7))
    peer.expect_stderr("a call waits for approval", FIRST_REPLY_S)
    processes = descendants(peer.pid)
    peer.close_stdin()
    assert peer.wait() == 0
    assert wait_until_gone(processes, EXIT_S) == set()
    assert list(runs_directory().iterdir()) == []
    assert statuses(log) == ["asked (terminal)", "withdrawn (client)"]
    assert "tools/call" not in record.read_text()


def test_a_server_that_dies_while_a_call_waits_leaves_no_dialog_behind(start: StartGuard, log: Path) -> None:
    policy = {"tools": {"echo": {"action": "require_approval"}, "exit": {}}}
    peer = talk(start, policy=policy, elicitation={})
    peer.send(call("echo", 7))
    ours = peer.receive(method="elicitation/create", deadline_s=FIRST_REPLY_S)
    peer.send({"id": 8, "method": "tools/call", "params": {"name": "exit", "arguments": {"status": 3}}})
    answers = [peer.receive(id=id_) for id_ in (7, 8)]
    assert [answer["error"]["code"] for answer in answers] == [-32603, -32603]
    assert peer.receive(method="notifications/cancelled")["params"]["requestId"] == ours["id"]
    assert peer.wait() == 3
    assert list(runs_directory().iterdir()) == []
    assert statuses(log) == ["asked (client)", "withdrawn (server)"]


def test_a_reload_that_tightens_puts_a_call_that_waits_before_the_new_policy(start: StartGuard, tmp_path: Path) -> None:
    policy = {"tools": {"echo": {"action": "require_approval"}}}
    peer = talk(start, policy=policy, elicitation={})
    peer.send(call("echo", 7))
    ours = peer.receive(method="elicitation/create", deadline_s=FIRST_REPLY_S)
    write_policy(tmp_path, {"tools": {"echo": {"action": "deny", "reason": "closed"}}})
    answer = peer.receive(id=7, deadline_s=FIRST_REPLY_S)
    assert "closed" in answer["result"]["content"][0]["text"]
    assert peer.receive(method="notifications/cancelled")["params"]["requestId"] == ours["id"]


# What a terminal does


def waiting() -> list[tuple[str, str]]:
    """Give the id of every call that waits, and the run that it waits in."""
    found = look(runs_directory())
    assert found.silent == []
    return [(each.item["id"], each.run) for each in found.waiting]


def approve_in_terminal(id_: str) -> str:
    """Run `mcpguard approve ID --yes` in a terminal, as a person would; give what it says."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "mcpguard", "approve", id_, "--yes"]
        done = subprocess.run(
            command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=FIRST_REPLY_S, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        said = b""
        while select.select([ours], [], [], 0)[0]:
            said += os.read(ours, 1 << 16)
    finally:
        os.close(theirs)
        os.close(ours)
    return said.decode()


async def call_into(
    client: Client, tool: str, arguments: Mapping[str, object], results: list[types.CallToolResult]
) -> None:
    results.append(await client.call_tool(tool, dict(arguments)))


def statuses(log: Path) -> list[str]:
    """Say what became of questions, in the order of the log."""
    records = map(json.loads, text_in(log).splitlines())
    return [f"{each['status']} ({each['by']})" for each in records if each["kind"] == "approval"]


def text_in(log: Path) -> str:
    return log.read_text()
