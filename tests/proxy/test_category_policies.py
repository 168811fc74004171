"""Policies by risk category, under a real guard in front of the demo server: what a list has shown decides, and the guard asks for the list itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.cli.demo_server import RAN
from support.answers import code_of, text_of

if TYPE_CHECKING:
    from support.guards import StartGuard
    from support.stdio import Message, StdioPeer

SERVER = (sys.executable, "-P", "-m", "mcpguard", "demo-server")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
READ_ONLY: Mapping[str, object] = {"default": "deny", "tools": {"@read": {}}}


def ran(stderr: str) -> list[str]:
    return [line.removeprefix(RAN) for line in stderr.splitlines() if line.startswith(RAN)]


def call(peer: StdioPeer, tool: str, arguments: dict[str, Any], meta: dict[str, Any]) -> Message:
    return peer.request("tools/call", {"name": tool, "arguments": arguments, **meta})


def words_of(answer: Message) -> str:
    """Return the text of a refusal."""
    return str(answer["result"]["content"][0]["text"])


@pytest.fixture(params=["handshake", "2026-07-28"])
def meta(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {} if request.param == "handshake" else {"_meta": META}


def test_a_call_before_any_list_is_judged_by_a_list_that_the_guard_asks_for(
    start: StartGuard, meta: dict[str, Any]
) -> None:
    peer = start(server=SERVER, policy=READ_ONLY)
    if not meta:
        peer.initialize()
    allowed = call(peer, "get_patient", {"patient_id": "P-1001"}, meta)
    assert "Amal Haddad" in text_of(allowed)
    denied = call(peer, "delete_patient", {"patient_id": "P-1001"}, meta)
    assert code_of(denied) == "default_deny"
    nowhere = call(peer, "read_everything", {}, meta)
    assert code_of(nowhere) == "default_deny"
    assert "no list of the server has shown this tool" in words_of(nowhere)
    peer.close_stdin()
    assert peer.wait() == 0
    assert ran(peer.stderr_text()) == ["get_patient"]
    # What the guard has asked is answered to nobody else.
    assert [line for line in peer.lines if b'"tools":[' in line] == []


def test_a_list_shows_what_the_categories_allow(start: StartGuard, meta: dict[str, Any]) -> None:
    peer = start(server=SERVER, policy=READ_ONLY)
    if not meta:
        peer.initialize()
    names = [tool["name"] for tool in peer.request("tools/list", meta)["result"]["tools"]]
    assert names == ["list_patients", "get_patient"]
    assert "Amal Haddad" in text_of(call(peer, "get_patient", {"patient_id": "P-1001"}, meta))


def test_names_globs_and_categories_decide_together(start: StartGuard) -> None:
    policy = {
        "default": "allow",
        "tools": {
            "delete_patient": {},
            "*_patient": {"rate_limit": {"max": 1, "window": 3600}},
            "@read": {"rate_limit": {"max": 2, "window": 3600}},
            "@destructive": {"action": "deny", "reason": "not here"},
        },
    }
    peer = start(server=SERVER, policy=policy)
    peer.initialize()
    # Its own name decides alone.
    assert "deleted" in text_of(peer.call("delete_patient", {"patient_id": "P-1003"}))
    assert words_of(peer.call("wipe_store", {})).startswith("mcpguard: wipe_store denied: not here")
    # The stricter limit of both holds.
    assert "Amal" in text_of(peer.call("get_patient", {"patient_id": "P-1001"}))
    assert code_of(peer.call("get_patient", {"patient_id": "P-1001"})) == "rate_limited"


def test_a_call_that_is_cancelled_while_the_server_is_asked_never_runs(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    policy = {"default": "deny", "tools": {"echo": {}, "@read": {}}}
    peer = start(f"record={record}", "silent=tools/list", policy=policy)
    peer.initialize()
    # A name of the policy's own needs no list.
    assert "n" in text_of(peer.call("echo", {"n": 1}))
    waiting = peer.post("tools/call", {"name": "sleep", "arguments": {}})
    peer.notify("notifications/cancelled", {"requestId": waiting})
    assert peer.request("ping")["result"] == {}
    assert record.read_bytes().count(b'"method":"tools/list"') == 1
    peer.close_stdin()
    assert peer.wait() == 0
    assert b'"name":"sleep"' not in record.read_bytes()
