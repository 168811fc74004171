"""Floods of what nobody wants: bad lines, requests of a server, answers to nothing, cancellations that come too late."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support import StdioPeer, guard_argv
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support import Message
    from support.guards import StartGuard

COUNT = 3000
TWO_MINUTES_WORTH = 200
CLOSED: dict[str, Any] = {"default": "deny", "tools": {"*": {}}, "server_requests": {"roots/list": "allow"}}


def encoded(lines: bytes) -> str:
    return base64.b64encode(lines).decode()


def line(**members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"


def events(log: Path) -> tuple[Counter[str], Counter[str]]:
    """Return how many events of each kind were written, and how many were only counted."""
    written: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for record in map(json.loads, log.read_text().splitlines()):
        if record["kind"] == "event":
            written[record["event"]] += "suppressed" not in record
            counted[record["event"]] += record.get("suppressed", 0)
    return written, counted


def heard(record: Path) -> list[Message]:
    return [json.loads(found) for found in record.read_bytes().splitlines()]


def end(peer: StdioPeer) -> None:
    peer.close_stdin()
    assert peer.wait() == 0
    assert len(peer.stderr_text()) < 1000, "nobody's terminal is flooded either"


# What a server says

SERVER_FLOODS = {
    "noise": b"ready\n",
    "malformed": b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":NaN}}\n',
    "unmatched_answer": line(id="nobody", result={}),
    "duplicate_id": line(id=7, method="roots/list"),
    "dropped_notification": line(method="notifications/unheard"),
}


def test_each_kind_of_bad_line_of_a_server_is_written_down_a_hundred_times_a_minute(
    start: StartGuard, log: Path
) -> None:
    peer = start(policy=CLOSED)
    peer.initialize(capabilities={"roots": {}})
    peer.call("noise", {"bytes": encoded(b"".join(SERVER_FLOODS.values()) * COUNT)})
    assert [message.get("method") for message in peer.drain()] == ["roots/list"], "the first under this id"
    end(peer)
    written, counted = events(log)
    told = {"duplicate_id": COUNT - 1}
    assert written + counted == Counter({kind: told.get(kind, COUNT) for kind in SERVER_FLOODS})
    assert max(written.values()) <= TWO_MINUTES_WORTH
    assert log.stat().st_size < 2 * len(SERVER_FLOODS) * TWO_MINUTES_WORTH * 1000


def test_what_a_server_says_before_the_policy_is_loaded_is_counted_to_the_last_line(
    home: Path, tmp_path: Path, log: Path
) -> None:
    policy = tmp_path / "coming.json"
    os.mkfifo(policy)
    noise = encoded(b"x\n" * 20_000)
    argv = guard_argv(policy, *fake_server(f"unasked={noise}"), options=["--log", str(log)])
    with StdioPeer(argv, cwd=home) as peer:
        peer.initialize()
        policy.write_text('{"version": "1", "default": "allow"}')
        peer.call("echo")
        end(peer)
    written, counted = events(log)
    assert written["noise"] <= TWO_MINUTES_WORTH
    assert written + counted == Counter(noise=20_000)


def test_a_flood_of_changed_lists_is_passed_on_and_not_written_down(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    changed = line(method="notifications/tools/list_changed", params={"_meta": {"n": 1}, "extra": "x"})
    peer.call("noise", {"bytes": encoded(changed * COUNT)})
    told = peer.drain()
    assert len(told) == COUNT
    assert all(message["params"] == {"_meta": {"n": 1}} for message in told)
    end(peer)
    assert events(log) == (Counter(), Counter())


REFUSED_REQUESTS = {
    "not declared": "sampling/createMessage",
    "closed by the policy": "elicitation/create",
    "unknown": "unheard/of",
}


@pytest.mark.parametrize("method", REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS.keys())
def test_a_flood_of_refused_requests_of_a_server_does_not_fill_the_log(
    start: StartGuard, tmp_path: Path, log: Path, method: str
) -> None:
    record = tmp_path / "record"
    policy = CLOSED | {"server_requests": {"elicitation/create": "deny"}}
    peer = start(f"record={record}", policy=policy)
    peer.initialize(capabilities={"elicitation": {}})
    requests = [line(id=number, method=method, params={}) for number in range(COUNT)]
    peer.call("noise", {"bytes": encoded(b"".join(requests))})
    assert peer.drain() == []
    end(peer)
    answers = [message for message in heard(record) if "method" not in message]
    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [(n, -32601) for n in range(COUNT)]
    records = [json.loads(found) for found in log.read_text().splitlines()]
    refused = [record["request_id"] for record in records if record.get("effect") == "deny"]
    assert len(refused) <= TWO_MINUTES_WORTH
    assert refused[:100] == list(range(100))
    _, counted = events(log)
    assert set(counted) == {"refused_request"}
    assert len(refused) + counted["refused_request"] == COUNT
    assert len(records) < 2 * TWO_MINUTES_WORTH


# What a client says

CLIENT_FLOODS = {
    "noise": b"ready\n",
    "malformed": b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo","name":"echo"}}\n',
    "unmatched_answer": line(id="nobody", result={}),
    "duplicate_id": line(id="busy", method="tools/call", params={"name": "mute"}),
    "dropped_notification": line(method="tools/call", params={"name": "echo"}),
}


def test_each_kind_of_bad_line_of_a_client_is_written_down_a_hundred_times_a_minute(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}", policy=CLOSED)
    peer.initialize()
    peer.send(b"".join(CLIENT_FLOODS.values()) * COUNT)
    peer.call("echo")
    assert peer.drain() == []
    end(peer)
    assert [message["params"]["name"] for message in heard(record) if message["method"] == "tools/call"] == [
        "mute",
        "echo",
    ]
    written, counted = events(log)
    told = {"duplicate_id": COUNT - 1}
    assert written + counted == Counter({kind: told.get(kind, COUNT) for kind in CLIENT_FLOODS})
    assert max(written.values()) <= TWO_MINUTES_WORTH


def test_each_refused_call_of_a_client_has_its_answer_and_its_record(start: StartGuard, log: Path) -> None:
    peer = start(policy={"tools": {"echo": {}}})
    peer.initialize()
    ids = [peer.post("tools/call", {"name": "danger", "arguments": {}}) for _ in range(COUNT)]
    assert [peer.receive()["id"] for _ in ids] == ids
    peer.close_stdin()
    assert peer.wait() == 0
    decisions = [record for record in map(json.loads, log.read_text().splitlines()) if record["kind"] == "decision"]
    assert [record["request_id"] for record in decisions if record["effect"] == "deny"] == ids


# Cancellations


def cancelled(peer: StdioPeer, ids: Iterable[object]) -> None:
    for id_ in ids:
        peer.notify("notifications/cancelled", {"requestId": id_})


def test_a_cancellation_passes_once_and_only_while_its_request_is_in_flight(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    answered = peer.post("tools/call", {"name": "echo", "arguments": {}})
    peer.receive(id=answered)
    muted = peer.post("tools/call", {"name": "mute", "arguments": {}})
    never = (str(answered), 999, "", None, True, 1.5, [muted], {"id": muted}, str(muted))
    cancelled(peer, [answered, answered, *never, muted, muted])
    peer.notify("notifications/cancelled")
    # The late answer to what was cancelled comes with this one, and is dropped; then there is nothing left to cancel.
    peer.call("unmute")
    cancelled(peer, [muted, answered])
    assert peer.request("ping")["result"] == {}
    assert peer.drain() == []
    peer.close_stdin()
    assert peer.wait() == 0
    passed = [message["params"]["requestId"] for message in heard(record) if "cancelled" in message["method"]]
    assert passed == [muted]
    assert type(passed[0]) is int
    outcomes = [found for found in map(json.loads, log.read_text().splitlines()) if found["kind"] == "outcome"]
    statuses = [(found["request_id"], found["status"]) for found in outcomes]
    assert sorted(statuses) == [(answered, "ok"), (muted, "cancelled"), (muted + 1, "ok")]


def test_a_flood_of_late_cancellations_is_ignored_and_an_id_can_be_used_again(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    for turn in range(3):
        assert peer.call("echo", {"turn": turn})
        cancelled(peer, [1002 + turn] * 1000)
    again = {"name": "echo", "arguments": {"again": True}}
    peer.send({"id": 1002, "method": "tools/call", "params": again})
    assert peer.receive(id=1002)["result"]["content"][0]["text"] == '{"again": true}'
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.drain() == []
    assert not [message for message in heard(record) if "cancelled" in message["method"]]
    assert events(log) == (Counter(), Counter())
