"""Checks rules about arguments before an AWS server that asks a real Prometheus: how long, how far back, with whose name.

Prometheus counts the requests that it hears; a refused call adds none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http.client import HTTPException
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from support import StdioPeer, guard_argv
from support.sdk_client import sdk_client
from support.servers import http_get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Message
    from support.sdk_client import Mode
    from support.servers import ServerCommand, Service

POLICY = Path(__file__).resolve().parents[2] / "policies" / "prometheus.json"
RANGES, QUERIES = 10, 30
LONGEST = 500
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Detour:
    """A call that should not pass, and by what it is stopped.  `answered`: the server alone does as it is told."""

    claim: str
    tool: str
    arguments: dict[str, object]
    code: str
    answered: bool = True


def query(claim: str, text: object, code: str = "require", *, answered: bool = True) -> Detour:
    return Detour(claim, "ExecuteQuery", {"query": text}, code, answered)


def spanned(claim: str, code: str = "require", *, answered: bool = True, **changed: object) -> Detour:
    return Detour(claim, "ExecuteRangeQuery", RANGE | changed, code, answered)


ASKING: dict[str, object] = {"query": "up"}
RANGE: dict[str, object] = {"query": "up", "start": "1767225600", "end": "1767225660", "step": "15s"}
TOOLS = {"ExecuteQuery": ASKING, "ExecuteRangeQuery": RANGE, "ListMetrics": {}, "GetServerInfo": {}}
DETOURS = (
    query("a query too long", "up + " * 100 + "up", "arguments"),
    query("a query filled up with spaces", "up" + " " * LONGEST, "arguments"),
    query("a long query without ASCII", 'count(up{job!="' + "\U0001f600" * LONGEST + '"})', "arguments"),
    query("an empty query", "", "arguments", answered=False),
    query("a list for a query", ["up"], answered=False),
    query("an object for a query", {"query": "up"}, answered=False),
    query("a number for a query", 5, answered=False),
    query("null for a query", None, answered=False),
    Detour("no query", "ExecuteQuery", {}, "require", answered=False),
    Detour("no arguments but another's", "ExecuteQuery", {"expr": "up"}, "require", answered=False),
    query("two days", "max_over_time(up[2d])"),
    query("years", "max_over_time(up[10y])"),
    query("weeks", "max_over_time(up[1w])"),
    query("a thousand minutes", "max_over_time(up[1000m])"),
    query("a day in seconds", "max_over_time(up[86400s])"),
    query("a day in milliseconds", "max_over_time(up[86400000ms])"),
    query("durations added up", "max_over_time(up[1d12h])"),
    query("a day after zeros", "max_over_time(up[0090d])"),
    query("days between spaces", "max_over_time(up[ 90d ])"),
    query("days on a line of their own", "max_over_time(up[\n90d\n])"),
    query("days behind a good range", "max_over_time(up[5m]) + max_over_time(up[90d])"),
    query("days behind a comment", "max_over_time(up[ # 5m]\n90d])", answered=False),
    query("a good range in a comment", "max_over_time(up[90d]) # [5m]"),
    query("a subquery", "max_over_time(up[1d:1s])"),
    query("a subquery with spaces", "max_over_time(up[1d : 1s])"),
    query("a subquery without a step", "max_over_time(up[1h:])"),
    query("a subquery within a subquery", "max_over_time(max_over_time(up[5m:1s])[5m:1s])"),
    query("a bracket in a label, and days", 'max_over_time(up{job!="["}[90d])'),
    *(
        Detour(f"`{name}` in {tool}", tool, arguments | {name: value}, "deny_if", answered=False)
        for tool, arguments in TOOLS.items()
        for name, value in (("profile", "admin"), ("workspace_id", "ws-other"), ("region", "eu-west-1"))
    ),
    *(
        Detour(f"a profile that is {claim}", "GetServerInfo", {"profile": value}, "deny_if", answered=False)
        for claim, value in (
            ("empty", ""),
            ("a space", " "),
            ("JSON for null", "null"),
            ("in a list", ["admin"]),
            ("in an object", {"profile": "admin"}),
            ("false", False),
            ("0", 0),
        )
    ),
    *(
        Detour(
            f"`{alias}`, which servers take for `{name}`", "GetServerInfo", {alias: value}, "deny_if", answered=False
        )
        for name, alias, value in (
            ("profile", "Profile", "admin"),
            ("profile", "PROFILE", "admin"),
            ("profile", "pro_file", "admin"),
            ("profile", "-profile", None),
            ("workspace_id", "workspaceId", "ws-other"),
            ("workspace_id", "workspace-id", "ws-other"),
            ("region", "Region", "eu-west-1"),
        )
    ),
    Detour("another key for the query", "ExecuteQuery", {"query": "up", "Query": "max_over_time(up[90d])"}, "require"),
    Detour("a key more", "ExecuteQuery", {"query": "up", "timeout": "1h"}, "arguments"),
    Detour("a time as a number", "ExecuteQuery", {"query": "up", "time": 5}, "arguments", answered=False),
    spanned("a step of a second", step="1s"),
    spanned("a step of no unit", step="1"),
    spanned("a step in milliseconds", step="15ms"),
    spanned("a step with a fraction", step="0.5"),
    spanned("a step with an exponent", step="1e0"),
    spanned("a step of an hour", step="1h"),
    spanned("a step of minutes", step="6m"),
    spanned("a step too long in seconds", step="301s"),
    spanned("a step of days", step="30d"),
    spanned("a step added up", step="15s500ms"),
    spanned("a step with zeros before", step="0015s"),
    spanned("a step between spaces", answered=False, step=" 15s"),
    spanned("a step with a line after", answered=False, step="15s\n"),
    spanned("a step in fullwidth digits", answered=False, step="\uff11\uff15s"),
    spanned("a step as a number", step=15, answered=False),
    spanned("a step in a list", step=["15s"], answered=False),
    spanned("a step that is null", step=None, answered=False),
    spanned("a step under another key", Step="1s"),
    spanned("the beginning of time", answered=False, start="0"),
    spanned("before the beginning of time", answered=False, start="-9223372036"),
    spanned("an exponent for a start", answered=False, start="1e0"),
    spanned("a start with an offset", answered=False, start="1970-01-01T00:00:00+00:00"),
    spanned("a start as a number", start=1767225600, answered=False),
    spanned("an end far ahead", answered=False, end="9999-12-31T23:59:59Z"),
    spanned("an end that is null", end=None, answered=False),
    spanned("an end under another key", END="9999-12-31T23:59:59Z"),
    spanned("two hours for every step", query="max_over_time(up[2h])"),
    spanned("a day for every step", query="max_over_time(up[1d])"),
    spanned("a subquery for every step", query="max_over_time(up[1h:1s])"),
    spanned("a query too long for a range", "arguments", query="up + " * 100 + "up"),
    Detour("what else the account has", "GetAvailableWorkspaces", {}, "denied", answered=False),
    Detour("a tool in lower case", "executequery", {"query": "max_over_time(up[90d])"}, "default_deny", answered=False),
)


@pytest.fixture(scope="module")
def guarded(prometheus_server: ServerCommand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server, for calls that cost nothing."""
    yield from started(prometheus_server, tmp_path_factory.mktemp("guarded"))


@pytest.fixture
def fresh(prometheus_server: ServerCommand, tmp_path: Path) -> Iterator[StdioPeer]:
    """Yield a peer of the guarded server that has used up nothing."""
    yield from started(prometheus_server, tmp_path)


@pytest.fixture(scope="module")
def alone(prometheus_server: ServerCommand) -> Iterator[StdioPeer]:
    """Yield a peer of the server without a guard."""
    with StdioPeer(prometheus_server.argv, env=prometheus_server.env) as peer:
        peer.initialize()
        yield peer


@pytest.mark.parametrize("detour", [detour for detour in DETOURS if detour.answered], ids=attrgetter("claim"))
def test_the_server_alone_answers(alone: StdioPeer, prometheus: Service, detour: Detour) -> None:
    before = requests_heard_by(prometheus)
    assert alone.call(detour.tool, detour.arguments)["result"]["isError"] is False
    assert requests_heard_by(prometheus) != before


@pytest.mark.parametrize("detour", DETOURS, ids=attrgetter("claim"))
def test_no_way_leads_around_a_rule(guarded: StdioPeer, prometheus: Service, detour: Detour) -> None:
    before = requests_heard_by(prometheus)
    answer = guarded.call(detour.tool, detour.arguments)
    assert requests_heard_by(prometheus) == before
    assert decision_of(answer)["code"] == detour.code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("up", "1", id="a metric"),
        pytest.param("up" + " " * (LONGEST - 2), "1", id="as long as it may be"),
        pytest.param("max_over_time(up[1d])", "1", id="a day"),
        pytest.param("max_over_time(up[24h]) + max_over_time(up[90s])", "2", id="two ranges"),
        pytest.param("count(rate(prometheus_build_info[5m])) or count(up)", "1", id="a rate"),
    ],
)
def test_a_small_question_is_answered(guarded: StdioPeer, text: str, value: str) -> None:
    assert values_in(guarded.call("ExecuteQuery", {"query": text})) == [value]


def test_null_is_as_good_as_nothing(guarded: StdioPeer) -> None:
    nothing: dict[str, object] = {"time": None, "workspace_id": None, "region": None, "profile": None}
    assert values_in(guarded.call("ExecuteQuery", ASKING | nothing)) == ["1"]
    assert guarded.call("GetServerInfo", {"profile": None})["result"]["isError"] is False


@pytest.mark.parametrize("step", ["15s", "300s", "1m", "5m"])
def test_a_range_is_answered(guarded: StdioPeer, step: str) -> None:
    answer = structured(guarded.call("ExecuteRangeQuery", {"query": "up", "step": step} | until_now(guarded)))
    assert answer["resultType"] == "matrix"
    (series,) = answer["result"]
    assert series["values"][-1][1] == "1"


def test_prometheus_itself_bounds_the_span_by_the_longest_step(prometheus: Service) -> None:
    # The policy relies on it: with steps of at most 5 minutes no span is longer than 11,000 of them.
    start = 1767225600

    def asked(days: int) -> bytes:
        span = {"query": "up", "start": start, "end": start + days * DAY_S, "step": "5m"}
        return http_get(prometheus.port, f"/api/v1/query_range?{urlencode(span)}")

    assert b'"status":"success"' in asked(38)
    with pytest.raises(HTTPException, match="answered 400"):
        asked(39)


def test_ranges_have_a_limit_below_that_of_all_queries(fresh: StdioPeer) -> None:
    now = until_now(fresh)
    for _ in range(RANGES):
        assert structured(fresh.call("ExecuteRangeQuery", {"query": "up", "step": "1m"} | now))["result"]
    decision = decision_of(fresh.call("ExecuteRangeQuery", {"query": "up", "step": "1m"} | now))
    assert decision["code"] == "rate_limited"
    assert 0 < decision["retry_after_ms"] <= 60_000
    for _ in range(QUERIES - RANGES - 1):
        assert structured(fresh.call("ExecuteQuery", {"query": "up"}))["result"]
    assert decision_of(fresh.call("ExecuteQuery", {"query": "up"}))["code"] == "rate_limited"
    assert fresh.call("GetServerInfo")["result"]["isError"] is False


def test_refused_calls_use_up_nothing(fresh: StdioPeer) -> None:
    for _ in range(QUERIES + 1):
        assert decision_of(fresh.call("ExecuteQuery", {"query": "max_over_time(up[90d])"}))["code"] == "require"
    assert structured(fresh.call("ExecuteQuery", {"query": "up"}))["result"]


def test_the_agent_hears_what_would_pass(guarded: StdioPeer) -> None:
    answer = guarded.call("ExecuteRangeQuery", RANGE | {"step": "1s"})
    (block,) = answer["result"]["content"]
    assert "the step is a duration from 15s to 300s, or from 1m to 5m" in block["text"]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdk_client_is_held_to_the_same(prometheus_server: ServerCommand, tmp_path: Path, mode: Mode) -> None:
    argv = guard_argv(POLICY, *prometheus_server.argv, options=["--no-log"])
    stderr = tmp_path / "stderr.txt"
    async with sdk_client(argv, mode=mode, stderr=stderr, env=prometheus_server.env) as client:
        assert not (await client.call_tool("ExecuteQuery", {"query": "up"})).is_error
        assert (await client.call_tool("ExecuteQuery", {"query": "max_over_time(up[90d])"})).is_error
        assert (await client.call_tool("ExecuteQuery", {"query": "up", "profile": "admin"})).is_error


def started(server: ServerCommand, directory: Path) -> Iterator[StdioPeer]:
    """Run the guarded server, its handshake done."""
    argv = guard_argv(POLICY, *server.argv, options=["--log", str(directory / "log.jsonl")])
    with StdioPeer(argv, env=server.env) as peer:
        peer.initialize()
        yield peer


def until_now(peer: StdioPeer) -> dict[str, str]:
    """Return ten minutes that end with what Prometheus takes for now."""
    _, value = structured(peer.call("ExecuteQuery", {"query": "time()"}))["result"]
    now = math.ceil(float(value))
    return {"start": str(now - 600), "end": str(now)}


def requests_heard_by(prometheus: Service) -> set[str]:
    """Return Prometheus's own counts of the requests it served, but for those that ask for these counts."""
    lines = http_get(prometheus.port, "/metrics").decode().splitlines()
    return {line for line in lines if line.startswith("prometheus_http_requests_total") and '"/metrics"' not in line}


def structured(answer: Message) -> Message:
    """Return what Prometheus answered."""
    assert "result" in answer, answer
    assert answer["result"]["isError"] is False, answer
    found = answer["result"]["structuredContent"]["result"]
    assert isinstance(found, dict), answer
    return found


def values_in(answer: Message) -> list[str]:
    """Return the values that an instant query found."""
    return [sample["value"][1] for sample in structured(answer)["result"]]


def decision_of(answer: Message) -> Message:
    """Return the guard's decision, if it is the guard that answered."""
    decision = answer.get("result", {}).get("_meta", {}).get("mcpguard/decision")
    assert isinstance(decision, dict), answer
    assert answer["result"]["isError"] is True
    return decision
