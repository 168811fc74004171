"""What piles up is bounded, in order, and neither lost nor doubled: thousands of calls, long lines, sides that do not read."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support import guard_argv, write_policy
from support.fake_server import fake_server
from support.slow_client import SlowClient, request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from support.guards import StartGuard

MIB = 1024 * 1024
MOST_IN_FLIGHT = 65_536
ROOM_BYTES = 64 * MIB
"""What a guard may grow by: what it buffers in both directions, the largest reads, and what the allocator makes of them."""


class Connect(Protocol):
    """Starts a guard with a client that reads only when told to."""

    def __call__(self, *words: object, options: Sequence[str] = ("--no-log",)) -> SlowClient: ...


@pytest.fixture
def connect(home: Path, tmp_path: Path) -> Iterator[Connect]:
    assert home.is_dir()
    with ExitStack() as stack:

        def connected(*words: object, options: Sequence[str] = ("--no-log",)) -> SlowClient:
            policy = write_policy(tmp_path, {"default": "allow", "tools": {"danger": {"action": "deny"}}})
            argv = guard_argv(policy, *fake_server(*words), options=options)
            client = stack.enter_context(SlowClient(argv, cwd=tmp_path))
            client.send(0, "initialize", {"capabilities": {"roots": {}}})
            assert client.receive()["id"] == 0
            assert client.call("echo") == "{}"
            return client

        yield connected


def call(id_: int, tool: str, **arguments: object) -> bytes:
    return request(id_, "tools/call", {"name": tool, "arguments": arguments})


def peak_bytes(pid: int) -> int:
    """Return how much memory a process has had at most."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


def ids_heard(record: Path, tool: str) -> list[object]:
    """Return the ids of the calls of a tool that the server has received."""
    heard = (json.loads(line) for line in record.read_bytes().splitlines() if b'"tools/call"' in line)
    return [message["id"] for message in heard if message["params"]["name"] == tool]


def encoded(lines: Iterable[dict[str, Any]]) -> str:
    return base64.b64encode(b"".join(json.dumps(line).encode() + b"\n" for line in lines)).decode()


# Many


@pytest.mark.parametrize("size", [1, 65_536], ids=["small answers", "answers that fill every pipe"])
def test_calls_that_are_written_before_one_answer_is_read_are_answered_once_each_and_in_order(
    connect: Connect, tmp_path: Path, size: int
) -> None:
    record = tmp_path / "record"
    client = connect(f"record={record}")
    before = peak_bytes(client.process.pid)
    ids = list(range(1, 3001))
    client.write(b"".join(call(id_, "big", bytes=size) for id_ in ids))
    assert client.ids(len(ids)) == ids
    assert ids_heard(record, "big") == ids
    assert peak_bytes(client.process.pid) - before < ROOM_BYTES
    client.send("last", "ping")
    assert client.receive()["id"] == "last", "nothing came twice"


def test_more_than_65536_requests_in_flight_are_refused_as_busy_until_there_is_room(
    connect: Connect, tmp_path: Path
) -> None:
    record, gate = tmp_path / "record", tmp_path / "gate"
    os.mkfifo(gate)
    client = connect(f"record={record}")
    muted = list(range(1, MOST_IN_FLIGHT))
    client.write(b"".join(call(id_, "mute") for id_ in muted))
    client.write(call(MOST_IN_FLIGHT, "read_file", path=str(gate)))
    for id_, tool in (("first", "unmute"), ("second", "danger")):
        client.write(request(id_, "tools/call", {"name": tool, "arguments": {}}))
        refused = client.receive()
        assert refused["id"] == id_
        assert refused["result"]["isError"] is True
        assert refused["result"]["_meta"]["mcpguard/decision"]["code"] == "busy"
    client.send("third", "ping")
    refused = client.receive()
    assert (refused["id"], "result" in refused) == ("third", False)
    assert f"more than {MOST_IN_FLIGHT} requests are in flight" in refused["error"]["message"]
    with gate.open("w") as file:
        file.write("open")
    assert client.receive()["result"]["content"][0]["text"] == "open"
    client.write(call(MOST_IN_FLIGHT, "unmute"))
    assert client.ids(MOST_IN_FLIGHT) == [*muted, MOST_IN_FLIGHT]
    assert ids_heard(record, "unmute") == [MOST_IN_FLIGHT]
    assert ids_heard(record, "danger") == []
    assert b'"third"' not in record.read_bytes()


def test_more_than_65536_requests_of_a_server_in_flight_are_answered_by_the_guard(
    connect: Connect, tmp_path: Path
) -> None:
    record, log = tmp_path / "record", tmp_path / "log"
    client = connect(f"record={record}", options=["--log", str(log)])
    pings = encoded({"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(MOST_IN_FLIGHT + 500))
    client.write(call(1, "noise", bytes=pings))
    # What is asked of a client and what it is answered have ids of their own.
    assert client.ids(MOST_IN_FLIGHT + 1) == [*range(MOST_IN_FLIGHT), 1]
    client.write(b'{"jsonrpc":"2.0","id":0,"result":{}}\n')
    assert client.call("echo", {"after": 1}) == '{"after": 1}'
    answers = [json.loads(line) for line in record.read_bytes().splitlines() if b'"method"' not in line]
    assert [answer["id"] for answer in answers] == [*range(MOST_IN_FLIGHT, MOST_IN_FLIGHT + 500), 0]
    assert ["error" in answer for answer in answers] == [True] * 500 + [False]
    busy = [line for line in log.read_text().splitlines() if json.loads(line).get("event") == "busy"]
    assert len(busy) <= 200, "two minutes' worth"


# Nobody reads


def test_when_neither_side_reads_both_are_stopped_and_memory_is_bounded(connect: Connect) -> None:
    client = connect()
    before = peak_bytes(client.process.pid)
    # 120 MiB in notifications; the server does not read while it says them.
    client.write(call(1, "notify", count=30_000, bytes=4096))
    pings = [f"p{number}" for number in range(60_000)]
    data = b"".join(request(ping, "ping") for ping in pings)
    written = client.write_until_full(data)
    assert written < len(data)
    writer = threading.Thread(target=client.write, args=(data[written:],))
    writer.start()
    numbers: list[int] = []
    answered: list[object] = []
    while len(numbers) < 30_000 or len(answered) < 1 + len(pings):
        message = client.receive()
        if "method" in message:
            numbers.append(message["params"]["data"]["number"])
        else:
            answered.append(message["id"])
    writer.join()
    assert numbers == list(range(30_000))
    assert answered == [1, *pings]
    assert peak_bytes(client.process.pid) - before < ROOM_BYTES


def test_a_client_that_reads_no_denials_is_not_read_in_the_end_and_then_gets_them_all(
    connect: Connect, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    client = connect(f"record={record}")
    before = peak_bytes(client.process.pid)
    ids = list(range(1, 40_001))
    data = b"".join(call(id_, "danger") for id_ in ids)
    written = client.write_until_full(data)
    assert written < len(data)
    writer = threading.Thread(target=client.write, args=(data[written:],))
    writer.start()
    assert client.ids(len(ids)) == ids
    writer.join()
    assert ids_heard(record, "danger") == []
    assert peak_bytes(client.process.pid) - before < ROOM_BYTES


# Long lines

LONG = 100 * 10**6
PADDING = b"x" * LONG
LONG_LINES = {
    "the id comes first": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%s"}}\n', 7),
    "the id comes last": (b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"%s"},"id":"z"}\n', "z"),
    "two ids": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%s"},"id":8}\n', None),
    "no message at all": (b"%s\n", None),
}


@pytest.mark.parametrize(("line", "id_"), LONG_LINES.values(), ids=LONG_LINES.keys())
def test_a_line_of_100_mb_is_refused_under_its_id_and_the_session_goes_on(
    start: StartGuard, tmp_path: Path, log: Path, line: bytes, id_: int | str | None
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    peer.call("echo")
    before = peak_bytes(peer.pid)
    peer.send(line % PADDING)
    if id_ is not None:
        answer = peer.receive(id=id_)
        assert answer["error"]["code"] == -32600
        assert f"a line of {len(line) - len('%s') - 1 + LONG} bytes is over the limit" in answer["error"]["message"]
    assert peer.request("ping")["result"] == {}
    assert peer.drain() == []
    assert peak_bytes(peer.pid) - before < ROOM_BYTES
    assert record.stat().st_size < 2000
    assert [json.loads(found).get("event") for found in log.read_text().splitlines()].count("overlong") == 1
    assert log.stat().st_size < 5000


def test_half_a_line_of_100_mb_is_forgotten_when_the_client_ends_there(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    peer.call("echo")
    peer.send(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"' + PADDING)
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.drain() == []
    assert record.stat().st_size < 2000


def test_an_answer_of_100_mb_is_refused_under_its_id_and_the_session_goes_on(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    before = peak_bytes(peer.pid)
    muted = peer.post("tools/call", {"name": "mute", "arguments": {}})
    answer = peer.call("big", {"bytes": LONG})
    assert answer["error"]["code"] == -32603
    assert "is over the limit" in answer["error"]["message"]
    assert peer.call("unmute")["result"]["content"][0]["text"] == "at last"
    assert [message["id"] for message in peer.drain()] == [muted]
    # Up to 64 MiB of a server's line are kept, and copied once while they grow.
    assert peak_bytes(peer.pid) - before < 2 * 64 * MIB + ROOM_BYTES


# Stderr


def test_stderr_of_200_mib_arrives_whole_while_calls_are_answered(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    peer.call("stderr_behind", {"bytes": 200 * MIB})
    written = False
    while not written:
        assert peer.call("echo", {"n": 1})["result"]["content"][0]["text"] == '{"n": 1}'
        written = any("method" in message for message in peer.drain())
    peer.close_stdin()
    assert peer.wait() == 0
    said = peer.stderr_text()
    assert (len(said), said.count("\n")) == (200 * MIB, 3200)


def test_stderr_of_200_mib_that_nobody_reads_is_dropped_and_counted_while_calls_are_answered(connect: Connect) -> None:
    client = connect()
    before = peak_bytes(client.process.pid)
    assert client.call("stderr_behind", {"bytes": 200 * MIB}) == "begun"
    written = False
    while not written:
        client.send("echo", "tools/call", {"name": "echo", "arguments": {}})
        while (message := client.receive()).get("id") != "echo":
            written = True
            assert message["params"]["data"]["text"] == "written"
    assert peak_bytes(client.process.pid) - before < ROOM_BYTES
    # Somebody begins to read: once that has made room, the next bytes come with how many did not.
    said = [os.read(client.stderr, MIB)]
    reader = threading.Thread(target=lambda: said.extend(iter(lambda: os.read(client.stderr, MIB), b"")))
    reader.start()
    client.call("stderr", {"bytes": 65536})
    os.kill(client.process.pid, signal.SIGTERM)
    assert client.wait() == 128 + signal.SIGTERM
    reader.join()
    note = rb"\nmcpguard: (\d+) bytes of stderr were dropped: nobody read them\n"
    kept, dropped = re.sub(note, b"", b"".join(said)), re.findall(note, b"".join(said))
    assert set(kept) <= set(b"e\n")
    # What is dropped after it was last said how much is said nowhere: a pipe's worth.
    assert 200 * MIB - 65536 <= len(kept) + int(dropped[-1]) <= 200 * MIB + 65536
