"""What flows through a running guard, and what happens when somebody does not read."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support import allow_everything, guard_argv, write_policy
from support.fake_server import RESUME, WAKE, fake_server
from support.slow_client import SlowClient, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import Message
    from support.guards import StartGuard

MIB = 1024 * 1024


class Connect(Protocol):
    """Starts a guard with a client that reads only when told to."""

    def __call__(self, *words: object, sockets: bool = False) -> SlowClient: ...


@pytest.fixture
def connect(home: Path, tmp_path: Path) -> Iterator[Connect]:
    assert home.is_dir()
    with ExitStack() as stack:

        def connected(*words: object, sockets: bool = False) -> SlowClient:
            policy = write_policy(tmp_path, {"default": "allow", "tools": {"danger": {"action": "deny"}}})
            argv = guard_argv(policy, *fake_server(*words), options=["--no-log"])
            client = stack.enter_context(SlowClient(argv, cwd=tmp_path, sockets=sockets))
            client.send(0, "initialize", {})
            assert client.receive()["id"] == 0
            return client

        yield connected


def text_of(answer: Message) -> str:
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def call(id_: int, size: int = 0) -> bytes:
    return request(id_, "tools/call", {"name": "echo", "arguments": {"n": "x" * size}})


def records(log: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in map(json.loads, log.read_text().splitlines()) if record["kind"] == kind]


# What a server says that is no message

NOISE = {
    "plain text": b"Server listening on port 0\n",
    "a log line in JSON": b'{"level":"info","msg":"ready"}\n',
    "invalid UTF-8": b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"\xff"}}\n',
    "NUL": b"\0\n",
    "an array": b'[{"jsonrpc":"2.0","id":1,"result":{}}]\n',
    "two messages in a line": b'{"jsonrpc":"2.0","method":"x"}{"jsonrpc":"2.0","method":"y"}\n',
    "a byte order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"notifications/message","params":{}}\n',
}


@pytest.mark.parametrize("first", [True, False], ids=["before the first answer", "between two"])
def test_noise_on_stdout_is_dropped_and_counted(start: StartGuard, log: Path, first: bool) -> None:
    noise = b"".join(NOISE.values())
    peer = start(*([f"unasked={encoded(noise)}"] if first else []))
    peer.initialize()
    if not first:
        assert text_of(peer.call("noise", {"bytes": encoded(noise)})) == "said"
    assert text_of(peer.call("echo", {"a": 1})) == '{"a": 1}'
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.noise == []
    assert peer.drain() == []
    assert len(records(log, "event")) == len(NOISE)


def test_crlf_and_empty_lines_are_no_noise(start: StartGuard, log: Path) -> None:
    lines = b'\n\r\n  \n{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}\r\n'
    peer = start(f"unasked={encoded(lines)}")
    assert peer.receive(method="notifications/message")["params"] == {"data": 1}
    assert peer.lines == [lines.splitlines()[-1]]
    peer.close_stdin()
    assert peer.wait() == 0
    assert records(log, "event") == []


def test_half_a_line_waits_for_its_other_half(start: StartGuard) -> None:
    half = encoded(b'{"jsonrpc":"2.0","method":"notifications/message",')
    peer = start(f"unasked={half}")
    peer.send({"id": 1, "method": "tools/call", "params": {"name": "noise", "arguments": {"bytes": ""}}})
    peer.send({"id": 2, "method": "ping"})
    # The answer to 1 completes the line, badly; it is answered all the same, for the line shows its id no more than once.
    assert peer.receive(id=2)["result"] == {}


def test_a_flood_of_bad_lines_does_not_fill_the_log(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    peer.call("noise", {"bytes": encoded(b"noise\n" * 5000)})
    peer.close_stdin()
    assert peer.wait() == 0
    events = records(log, "event")
    counted = sum(event.get("suppressed", 0) for event in events)
    written = [event for event in events if "suppressed" not in event]
    assert len(written) + counted == 5000
    assert len(written) <= 200, "two minutes' worth"


def test_what_a_server_makes_up_does_not_make_records_long(start: StartGuard, log: Path) -> None:
    method = json.dumps({"jsonrpc": "2.0", "method": "x" * MIB}).encode() + b"\n"
    answer = json.dumps({"jsonrpc": "2.0", "id": "y" * MIB, "result": {}}).encode() + b"\n"
    peer = start(policy={"default": "deny", "tools": {"noise": {}}})
    peer.initialize()
    peer.call("noise", {"bytes": encoded(method + answer)})
    peer.close_stdin()
    assert peer.wait() == 0
    assert len(records(log, "event")) == 2
    assert log.stat().st_size < 20_000


# Big ones and many


def test_a_result_of_20_mb_arrives_whole(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    assert len(text_of(peer.call("big", {"bytes": 20 * MIB}))) == 20 * MIB


def test_thousands_of_calls_in_flight_are_each_answered_in_order(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    ids = [peer.post("tools/call", {"name": "mute", "arguments": {"n": n}}) for n in range(5000)]
    ids.append(peer.post("tools/call", {"name": "unmute", "arguments": {}}))
    peer.receive(id=ids[-1])
    assert [answer["id"] for answer in peer.drain()] == ids[:-1]
    peer.close_stdin()
    assert peer.wait() == 0
    assert [record["request_id"] for record in records(log, "decision")] == ids
    assert [record["request_id"] for record in records(log, "outcome")] == ids


# Somebody does not read


def test_denials_are_answered_while_the_server_does_not_read(start: StartGuard) -> None:
    peer = start(policy={"default": "allow", "tools": {"danger": {"action": "deny"}}})
    peer.initialize()
    pid = int(text_of(peer.call("deaf")))
    ids = [peer.post("tools/call", {"name": "echo", "arguments": {"n": "x" * 1000}}) for _ in range(3000)]
    for _ in range(10):
        assert peer.call("danger")["result"]["isError"] is True
    assert peer.drain() == []
    os.kill(pid, RESUME)
    assert [peer.receive()["id"] for _ in ids] == ids


def test_a_server_that_reads_on_gets_everything_in_order(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    pid = int(text_of(peer.call("deaf")))
    ids = [peer.post("tools/call", {"name": "echo", "arguments": {"n": "x" * 1500}}) for _ in range(14_000)]
    os.kill(pid, RESUME)
    assert [peer.receive()["id"] for _ in ids] == ids
    sent = [json.loads(line)["id"] for line in record.read_bytes().splitlines() if b'"echo"' in line]
    assert sent == ids


@pytest.mark.parametrize("size", [0, 4000], ids=["many messages", "many bytes"])
def test_a_server_that_does_not_read_stops_its_client_in_the_end_and_nothing_is_lost(
    connect: Connect, size: int
) -> None:
    client = connect()
    pid = int(client.call("deaf"))
    ids = range(1, 30_000 if size == 0 else 6_000)
    data = b"".join(call(id_, size) for id_ in ids)
    written = client.write_until_full(data)
    assert written < len(data)
    assert written <= 19 * MIB
    if size == 0:
        assert written <= (10_000 + 1) * len(call(10_000)) + 2 * MIB
    os.kill(pid, WAKE)
    assert client.receive()["method"] == "notifications/message", "the other direction goes on"
    os.kill(pid, RESUME)
    writer = threading.Thread(target=client.write, args=(data[written:],))
    writer.start()
    received = client.ids(len(ids))
    writer.join()
    assert received == list(ids)


@pytest.mark.parametrize("sockets", [False, True], ids=["pipes", "socket pairs"])
def test_a_client_that_does_not_read_stops_its_server_in_the_end_and_nothing_is_lost(
    connect: Connect, sockets: bool
) -> None:
    client = connect(sockets=sockets)
    # 40 MiB in notifications of 4 KiB: more than is kept.
    client.send("notify", "tools/call", {"name": "notify", "arguments": {"count": 10_000, "bytes": 4096}})
    for number in range(100):
        client.send(number, "tools/call", {"name": "danger", "arguments": {}})
    numbers: list[object] = []
    refused: list[object] = []
    while len(numbers) < 10_000 or len(refused) < 100:
        message = client.receive()
        if "method" in message:
            numbers.append(message["params"]["data"]["number"])
        elif message["id"] != "notify":
            refused.append(message["id"])
    assert numbers == list(range(10_000))
    assert refused == list(range(100))


def test_while_a_client_does_not_read_the_server_still_hears_it(connect: Connect, tmp_path: Path) -> None:
    record = tmp_path / "record"
    os.mkfifo(record)
    listener = os.open(record, os.O_RDWR)
    try:
        client = connect(f"record={record}")
        for number in range(5):
            client.send(number, "tools/call", {"name": "big", "arguments": {"bytes": MIB}})
        client.write(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"last":1}}\n')
        heard = b""
        while b'"last"' not in heard:
            heard += os.read(listener, 65536)
        assert client.ids(5) == list(range(5))
    finally:
        os.close(listener)


def test_a_client_whose_read_end_is_closed_ends_the_run(connect: Connect) -> None:
    client = connect()
    os.close(client.stdout)
    client.stdout = os.open(os.devnull, os.O_RDONLY)
    client.send(1, "ping")
    assert client.wait() == 0


def test_an_input_that_somebody_made_non_blocking_is_read_all_the_same(tmp_path: Path) -> None:
    argv = guard_argv(allow_everything(tmp_path), *fake_server(), options=["--no-log"])
    # `sh` hands its own stdin on, and the end that it holds is the very same open file.
    script = "import os, sys; os.set_blocking(0, False); os.execv(sys.argv[1], sys.argv[1:])"
    with SlowClient([argv[0], "-c", script, *argv], cwd=tmp_path) as client:
        client.send(1, "initialize", {})
        assert client.receive()["id"] == 1
        client.send(2, "ping")
        assert client.receive()["id"] == 2


# Stderr


def test_stderr_is_passed_on_byte_for_byte(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    peer.call("stderr", {"bytes": 4 * MIB})
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.stderr_text() == ("e" * 65535 + "\n") * 64


def test_a_flood_of_stderr_that_nobody_reads_holds_nothing_up(connect: Connect) -> None:
    client = connect()
    assert client.call("stderr", {"bytes": 200 * MIB}) == "written"
    assert client.call("echo", {"a": 1}) == '{"a": 1}'
    os.kill(client.process.pid, signal.SIGTERM)
    assert client.wait() == 128 + signal.SIGTERM


def test_a_refusal_is_heard_before_the_answer_to_what_was_asked_after_it(connect: Connect) -> None:
    client = connect()
    asked = range(1, 401)
    tools = ("echo", "danger")
    calls = (request(id_, "tools/call", {"name": tools[id_ % 2], "arguments": {}}) for id_ in asked)
    client.write(b"".join(calls))
    heard = client.ids(len(asked))
    places = {id_: place for place, id_ in enumerate(heard)}
    assert [id_ for id_ in asked if id_ % 2 == 0 and places[id_] < places[id_ - 1]] == []
