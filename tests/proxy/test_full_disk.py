"""What cannot be written down does not happen: real limits on a real log, set and lifted while the guard runs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import StdioPeer, allow_everything, guard_argv
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Message
    from support.guards import StartGuard

NO_LIMIT = resource.RLIM_INFINITY
ROOM_FOR_HALF_A_RECORD = 150


def limit_log(guard: int, log: Path, more_bytes: int) -> None:
    """Let the guard's files grow by no more than this; its server, a process of its own, is not limited."""
    resource.prlimit(guard, resource.RLIMIT_FSIZE, (log.stat().st_size + more_bytes, NO_LIMIT))


def lift_limit(guard: int) -> None:
    resource.prlimit(guard, resource.RLIMIT_FSIZE, (NO_LIMIT, NO_LIMIT))


def call_to_the_end(peer: StdioPeer, arguments: dict[str, object] | None = None) -> Message:
    """Call a tool, and wait until the outcome is in the log as well: it is written before the next answer is looked at."""
    answer = peer.call("echo", arguments)
    assert peer.request("ping")["result"] == {}
    return answer


def is_refused(answer: Message) -> bool:
    if "isError" not in answer["result"]:
        return False
    assert answer["result"]["_meta"]["mcpguard/decision"]["code"] == "internal"
    assert "the decision log cannot be written" in answer["result"]["content"][0]["text"]
    return True


def whole_records(log: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a log, and how many lines of it are none."""
    records, torn = [], 0
    for line in log.read_bytes().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            torn += 1
    return records, torn


def calls_heard(record: Path) -> list[int]:
    """Return the argument `n` of every call that the server has received."""
    messages = [json.loads(line) for line in record.read_bytes().splitlines()]
    return [message["params"]["arguments"]["n"] for message in messages if message.get("method") == "tools/call"]


@pytest.mark.parametrize("room", [0, ROOM_FOR_HALF_A_RECORD], ids=["nothing fits", "half a record fits"])
def test_while_the_log_cannot_grow_calls_are_refused_and_then_they_pass_again(
    start: StartGuard, tmp_path: Path, log: Path, room: int
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    passed = []
    for turn in range(2):
        first = turn * 10
        assert not is_refused(call_to_the_end(peer, {"n": first}))
        limit_log(peer.pid, log, room)
        for number in range(first + 1, first + 4):
            assert is_refused(peer.call("echo", {"n": number}))
        assert peer.request("ping")["result"] == {}
        lift_limit(peer.pid)
        assert not is_refused(peer.call("echo", {"n": first + 4}))
        passed += [first, first + 4]
    peer.close_stdin()
    assert peer.wait() == 0
    assert calls_heard(record) == passed
    assert peer.stderr_text().count("calls are refused until it can be") == 2, "once each time"
    records, torn = whole_records(log)
    assert torn == (0 if room == 0 else 2)
    admitted = [record["decision_id"] for record in records if record["kind"] == "decision"]
    assert len(admitted) == len(passed)
    assert [found["decision_id"] for found in records if found["kind"] == "outcome"] == admitted


def test_calls_that_come_together_are_refused_together_each_with_one_answer(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    call_to_the_end(peer, {"n": 0})
    # Room for some of the records, so that the write that fails has half succeeded.
    limit_log(peer.pid, log, 3 * ROOM_FOR_HALF_A_RECORD * 10)
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "echo", "arguments": {"n": number}}}
        for number in range(1, 101)
    ]
    peer.send(b"".join(json.dumps(call).encode() + b"\n" for call in calls))
    answers = [peer.receive() for _ in calls]
    assert sorted(answer["id"] for answer in answers) == list(range(1, 101))
    passed = [answer["id"] for answer in answers if not is_refused(answer)]
    lift_limit(peer.pid)
    assert not is_refused(peer.call("echo", {"n": 102}))
    assert calls_heard(record) == [0, *passed, 102]
    assert len(passed) < 100


def test_the_answer_to_a_call_that_was_written_down_passes_although_its_outcome_cannot_be(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer = start()
    peer.initialize()
    call = peer.post("tools/call", {"name": "read_file", "arguments": {"path": str(gate)}})
    # It opens once the server does so, too.
    with gate.open("wb") as file:
        limit_log(peer.pid, log, 0)
        file.write(b"the answer")
    assert peer.receive(id=call)["result"]["content"][0]["text"] == "the answer"
    peer.expect_stderr("cannot write the decision log")


def test_with_an_optional_log_calls_pass_and_are_written_down_again_later(
    start: StartGuard, tmp_path: Path, log: Path
) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}", options=["--log-optional"])
    peer.initialize()
    call_to_the_end(peer, {"n": 0})
    limit_log(peer.pid, log, ROOM_FOR_HALF_A_RECORD)
    for number in range(1, 4):
        assert not is_refused(peer.call("echo", {"n": number}))
    lift_limit(peer.pid)
    assert not is_refused(peer.call("echo", {"n": 4}))
    peer.close_stdin()
    assert peer.wait() == 0
    assert peer.stderr_text().count("going on without it") == 1
    assert calls_heard(record) == list(range(5))
    records, torn = whole_records(log)
    assert torn == 1
    assert [found["request_id"] for found in records if found["kind"] == "decision"] == [1002, 1007]


def test_a_call_that_cannot_be_written_down_costs_nothing(start: StartGuard, log: Path) -> None:
    peer = start(policy={"tools": {"echo": {"limits": [{"window": "hour", "max": 2}]}}})
    peer.initialize()
    assert not is_refused(call_to_the_end(peer))
    limit_log(peer.pid, log, 0)
    for _ in range(3):
        assert is_refused(peer.call("echo"))
    lift_limit(peer.pid)
    assert "isError" not in peer.call("echo")["result"]


# A log that is no file


@pytest.fixture
def piped(home: Path, tmp_path: Path) -> Iterator[tuple[StdioPeer, Path]]:
    """Run a guard whose log is a pipe, and give both; the pipe has no reader yet."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    argv = guard_argv(allow_everything(tmp_path), *fake_server(), options=["--log", str(pipe)])
    with StdioPeer(argv, cwd=home) as peer:
        yield peer, pipe


def test_a_log_that_is_a_pipe_without_a_reader_cannot_be_opened(piped: tuple[StdioPeer, Path]) -> None:
    peer, _ = piped
    held = peer.post("tools/call", {"name": "echo", "arguments": {}})
    assert peer.wait() == 1
    assert "cannot open the decision log" in peer.receive(id=held)["error"]["message"]


def test_a_log_that_is_a_pipe_that_nobody_reads_refuses_calls_and_keeps_the_run_from_no_end(
    piped: tuple[StdioPeer, Path],
) -> None:
    peer, pipe = piped
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        peer.initialize()
        assert not is_refused(peer.call("echo"))
        assert any(is_refused(peer.call("echo")) for _ in range(1000)), "the pipe holds less than that"
        assert peer.request("ping")["result"] == {}
        peer.signal(signal.SIGTERM)
        assert peer.wait() == 128 + signal.SIGTERM
    finally:
        os.close(reader)


# A file system that is full


def own_mounts() -> list[str]:
    """Return the words that run a command where it may mount what nobody else sees; skip the test where there are none."""
    for words in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        if shutil.which(words[0]) is None:
            break
        probe = [*words, "mount", "-t", "tmpfs", "-o", "size=4k", "none", "/mnt"]
        if subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0:
            return words
    pytest.skip("no file system can be mounted here")


def test_on_a_full_file_system_calls_are_refused_until_there_is_room(home: Path, tmp_path: Path) -> None:
    assert home.is_dir()
    disk, record = tmp_path / "disk", tmp_path / "record"
    disk.mkdir()
    options = ["--log", str(disk / "log.jsonl")]
    argv = guard_argv(allow_everything(tmp_path), *fake_server(f"record={record}"), options=options)
    script = f'mount -t tmpfs -o size=64k none "{disk}" && exec "$@"'
    with StdioPeer([*own_mounts(), "sh", "-c", script, "sh", *argv]) as peer:
        peer.initialize()
        assert not is_refused(peer.call("echo", {"n": 0}))
        # The guard's file system as it sees it itself.
        inside = Path(f"/proc/{peer.pid}/root{disk}")
        filler = inside / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        answers = [peer.call("echo", {"n": number}) for number in range(1, 21)]
        refused = [number for number, answer in enumerate(answers, 1) if is_refused(answer)]
        assert refused == list(range(refused[0], 21)), "what is left of the log's last page is used up first"
        peer.expect_stderr("no space left on device; calls are refused until it can be")
        filler.unlink()
        assert not is_refused(peer.call("echo", {"n": 21}))
        peer.close_stdin()
        assert peer.wait() == 0
    assert calls_heard(record) == [number for number in range(22) if number not in refused]
