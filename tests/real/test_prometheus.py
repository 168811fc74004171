"""Checks the guard where it is meant to stand: before an AWS server that asks a real Prometheus.

The Prometheus scrapes itself, so the query `up` has one answer, 1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, guard_argv, write_policy
from support.sdk_client import sdk_client
from support.servers import http_get

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import Message
    from support.sdk_client import Mode
    from support.servers import ServerCommand, Service

ALLOWED_QUERIES = 3
POLICY = {
    "default": "deny",
    "hide": ["GetAvailableWorkspaces"],
    "tools": {
        "ExecuteQuery": {"rate_limit": {"max": ALLOWED_QUERIES, "window": "hour"}},
        "GetServerInfo": {},
        "ListMetrics": {"action": "deny", "reason": "a full list of metrics is too long"},
    },
}
UP = {"query": "up"}
ARGUMENTS: dict[str, dict[str, object]] = {
    "ListMetrics": {},
    "ExecuteRangeQuery": {"query": "up", "start": "0", "end": "60", "step": "15s"},
}


@pytest.fixture
def guarded(prometheus_server: ServerCommand, tmp_path: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server, its handshake done."""
    argv = guard_argv(write_policy(tmp_path, POLICY), *prometheus_server.argv, options=["--log", str(tmp_path / "log")])
    with StdioPeer(argv, env=prometheus_server.env) as peer:
        peer.initialize()
        yield peer


def test_the_server_alone_finds_prometheus_up(prometheus_server: ServerCommand) -> None:
    with StdioPeer(prometheus_server.argv, env=prometheus_server.env) as peer:
        peer.initialize()
        assert value_of(peer.call("ExecuteQuery", UP)) == "1"


def test_an_allowed_query_brings_real_data(guarded: StdioPeer) -> None:
    assert value_of(guarded.call("ExecuteQuery", UP)) == "1"


def test_only_what_may_be_called_is_listed(guarded: StdioPeer) -> None:
    tools = guarded.request("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in tools] == ["ExecuteQuery", "GetServerInfo"]


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        pytest.param("ListMetrics", "a full list of metrics is too long", id="denied by its entry"),
        pytest.param("ExecuteRangeQuery", "ExecuteRangeQuery denied", id="not named under default deny"),
    ],
)
def test_a_denied_tool_says_why_and_prometheus_never_hears_of_it(
    guarded: StdioPeer, prometheus: Service, tool: str, why: str
) -> None:
    before = requests_heard_by(prometheus)
    result = guarded.call(tool, ARGUMENTS[tool])["result"]
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith("mcpguard: ")
    assert why in result["content"][0]["text"]
    assert requests_heard_by(prometheus) == before


@pytest.mark.parametrize("tool", ["ListMetrics", "ExecuteRangeQuery"])
def test_without_the_guard_prometheus_hears_of_it(
    prometheus_server: ServerCommand, prometheus: Service, tool: str
) -> None:
    with StdioPeer(prometheus_server.argv, env=prometheus_server.env) as peer:
        peer.initialize()
        before = requests_heard_by(prometheus)
        assert peer.call(tool, ARGUMENTS[tool])["result"]["isError"] is False
        assert requests_heard_by(prometheus) != before


def test_a_hidden_tool_is_unknown(guarded: StdioPeer) -> None:
    error = guarded.call("GetAvailableWorkspaces")["error"]
    assert (error["code"], error["message"]) == (-32602, "Unknown tool: GetAvailableWorkspaces")


def test_the_rate_limit_bites_and_says_when_to_come_back(guarded: StdioPeer) -> None:
    for _ in range(ALLOWED_QUERIES):
        assert value_of(guarded.call("ExecuteQuery", UP)) == "1"
    result = guarded.call("ExecuteQuery", UP)["result"]
    assert result["isError"] is True
    decision = result["_meta"]["mcpguard/decision"]
    assert decision["code"] == "rate_limited"
    assert decision["remaining"] == 0
    assert 0 < decision["retry_after_ms"] <= 3_600_000
    assert guarded.call("GetServerInfo")["result"]["isError"] is False


def test_the_session_ends_when_the_client_goes(guarded: StdioPeer) -> None:
    guarded.call("ExecuteQuery", UP)
    guarded.close_stdin()
    assert guarded.wait() == 0
    assert guarded.noise == []


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_gets_the_same(prometheus_server: ServerCommand, tmp_path: Path, mode: Mode) -> None:
    argv = guard_argv(write_policy(tmp_path, POLICY), *prometheus_server.argv, options=["--no-log"])
    stderr = tmp_path / "stderr.txt"
    async with sdk_client(argv, mode=mode, stderr=stderr, env=prometheus_server.env) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["ExecuteQuery", "GetServerInfo"]
        for _ in range(ALLOWED_QUERIES):
            result = await client.call_tool("ExecuteQuery", UP)
            assert json.dumps(result.structured_content).count('"up"') == 1
        assert (await client.call_tool("ExecuteQuery", UP)).is_error
        assert (await client.call_tool("ListMetrics", {})).is_error


def value_of(answer: Message) -> str:
    """Return the value of the one sample that an instant query found."""
    (sample,) = answer["result"]["structuredContent"]["result"]["result"]
    value = sample["value"][1]
    assert isinstance(value, str)
    return value


def requests_heard_by(prometheus: Service) -> set[str]:
    """Return Prometheus's own counts of the requests it served, but for those that ask for these counts."""
    lines = http_get(prometheus.port, "/metrics").decode().splitlines()
    return {line for line in lines if line.startswith("prometheus_http_requests_total") and '"/metrics"' not in line}
