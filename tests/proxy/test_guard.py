"""How a run ends: by the server, by the client, by a signal."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from support import StdioPeer, allow_everything, guard_argv
from support.answers import text_of
from support.fake_server import fake_server
from support.processes import descendants, is_alive, wait_until_gone

if TYPE_CHECKING:
    from pathlib import Path

    from support.guards import StartGuard

GONE_S = 20.0
STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SIGNALS = pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)


def outcomes(log: Path) -> list[tuple[object, str]]:
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [(record["request_id"], record["status"]) for record in records if record["kind"] == "outcome"]


def errors(peer: StdioPeer) -> dict[object, str]:
    """Return the errors received, by id; no id has two."""
    answers = [message for message in peer.drain() if "id" in message]
    assert len({(type(answer["id"]), answer["id"]) for answer in answers}) == len(answers)
    return {answer["id"]: answer["error"]["message"] for answer in answers}


def fully(peer: StdioPeer) -> set[int]:
    return descendants(peer.pid) | {peer.pid}


# The server ends


def test_a_server_that_exits_at_once_is_told_to_whoever_asks(start: StartGuard) -> None:
    peer = start("exit=7")
    peer.send({"id": 1, "method": "initialize", "params": {}})
    assert peer.wait() == 7
    assert errors(peer) == {1: "mcpguard: the server exited with status 7"}
    assert "the server exited with status 7" in peer.stderr_text()


def test_a_server_that_exits_before_the_first_answer_leaves_nobody_waiting(start: StartGuard) -> None:
    peer = start("silent=initialize", "silent=ping")
    peer.send({"id": "a", "method": "initialize", "params": {}})
    peer.send({"id": 1, "method": "ping"})
    peer.send({"id": 2, "method": "tools/call", "params": {"name": "exit", "arguments": {"status": 3}}})
    assert peer.wait() == 3
    told = errors(peer)
    assert told["a"] == told[1] == "mcpguard: the server exited with status 3"
    assert told[2] == "mcpguard: the server exited with status 3; whether `exit` took effect is unknown"


def test_half_an_answer_is_none(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    peer.send({"id": 1, "method": "tools/call", "params": {"name": "exit_half_way", "arguments": {"status": 0}}})
    assert peer.wait() == 0
    assert peer.noise == []
    assert "took effect is unknown" in errors(peer)[1]
    assert outcomes(log) == [(1, "lost")]


def test_the_last_answer_of_a_server_that_exits_arrives(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    answer = peer.call("answer_and_exit", {"status": 4, "bytes": 300_000})
    assert len(text_of(answer)) == 300_000
    assert peer.wait() == 4
    assert [status for _, status in outcomes(log)] == ["ok"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda number: number.name)
def test_a_server_that_dies_in_a_call_loses_every_call_once(
    start: StartGuard, log: Path, number: signal.Signals
) -> None:
    peer = start()
    peer.initialize()
    for id_ in range(5):
        peer.send({"id": id_, "method": "tools/call", "params": {"name": "mute", "arguments": {}}})
    peer.send({"id": "last", "method": "tools/call", "params": {"name": "die", "arguments": {"signal": int(number)}}})
    assert peer.wait() == 128 + number
    told = errors(peer)
    assert set(told) == {0, 1, 2, 3, 4, "last"}
    assert all(f"the server was ended by signal {int(number)}; whether " in text for text in told.values())
    assert sorted(map(str, outcomes(log))) == sorted(str((id_, "lost")) for id_ in told)


def test_a_grandchild_that_holds_the_dead_servers_stdout_delays_nothing_and_is_killed(
    start: StartGuard, tmp_path: Path
) -> None:
    peer = start()
    peer.initialize()
    pid_file = tmp_path / "orphan"
    arguments = {"signal": int(signal.SIGKILL), "path": str(pid_file)}
    answer = peer.call("leave_and_die", arguments)
    assert "signal 9; whether `leave_and_die` took effect is unknown" in answer["error"]["message"]
    assert peer.wait() == 128 + signal.SIGKILL
    assert wait_until_gone([int(pid_file.read_text())], GONE_S) == set()


def test_a_server_that_closes_its_output_has_ended(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    answer = peer.call("close_stdout")
    assert answer["error"]["message"].startswith("mcpguard: the server closed its output; whether `close_stdout`")
    tree = fully(peer)
    assert peer.wait() == 128 + signal.SIGTERM
    assert wait_until_gone(tree, GONE_S) == set()


def test_a_server_that_closes_its_input_has_ended(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    assert text_of(peer.call("close_stdin")) == "closed"
    assert "error" in peer.call("echo")
    tree = fully(peer)
    peer.wait()
    assert wait_until_gone(tree, GONE_S) == set()


def test_a_line_too_long_that_shows_no_id_ends_the_session(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    answer = peer.call("long_line", {"bytes": 65 * 1024 * 1024})
    assert "over the limit" in answer["error"]["message"]
    peer.wait()


# The client ends


def test_when_the_client_closes_its_end_the_answers_are_drained_and_all_is_well(start: StartGuard, log: Path) -> None:
    peer = start()
    peer.initialize()
    ids = [peer.post("tools/call", {"name": "echo", "arguments": {"n": number}}) for number in range(500)]
    tree = fully(peer)
    peer.close_stdin()
    assert peer.wait() == 0
    assert [answer["id"] for answer in peer.drain()] == ids
    assert outcomes(log) == [(id_, "ok") for id_ in ids]
    assert wait_until_gone(tree, GONE_S) == set()


def test_a_last_line_without_its_end_does_not_reach_the_server(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    peer = start(f"record={record}")
    peer.initialize()
    peer.send(b'{"jsonrpc":"2.0","id":5,"method":"ping"}\n{"jsonrpc":"2.0","id":6,"method":"ping"}')
    peer.close_stdin()
    assert peer.wait() == 0
    assert [answer["id"] for answer in peer.drain()] == [5]
    assert b'"id":6' not in record.read_bytes()


@pytest.mark.parametrize(
    "words",
    [["ignore-eof"], ["ignore-eof", "ignore-term"]],
    ids=["ignoring the end of input", "ignoring that and TERM"],
)
def test_a_stubborn_server_is_killed(start: StartGuard, words: list[str]) -> None:
    peer = start(*words)
    peer.initialize()
    tree = fully(peer)
    peer.close_stdin()
    assert peer.wait(10) == 0
    assert wait_until_gone(tree, GONE_S) == set()


def test_what_is_still_in_flight_when_the_client_goes_is_answered_in_the_end(start: StartGuard, log: Path) -> None:
    peer = start("ignore-eof", "ignore-term")
    peer.initialize()
    peer.send({"id": 1, "method": "tools/call", "params": {"name": "mute", "arguments": {}}})
    peer.close_stdin()
    assert peer.wait(10) == 0
    assert errors(peer) == {1: "mcpguard: the guard was stopped; whether `mute` took effect is unknown"}
    assert outcomes(log) == [(1, "lost")]


def test_the_server_may_use_its_last_moments_to_answer(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    peer.post("tools/call", {"name": "mute", "arguments": {}})
    peer.post("tools/call", {"name": "unmute", "arguments": {}})
    peer.close_stdin()
    assert peer.wait() == 0
    assert [text_of(answer) for answer in peer.drain()] == ["at last", "at last"]


# Signals


@SIGNALS
def test_a_signal_ends_everything_also_what_has_left_the_group(start: StartGuard, number: signal.Signals) -> None:
    peer = start()
    peer.initialize()
    child = int(text_of(peer.call("spawn")))
    tree = fully(peer)
    assert child in tree
    peer.signal(number)
    assert peer.wait() == 128 + number
    assert wait_until_gone(tree, GONE_S) == set()


def test_a_signal_answers_what_is_in_flight(start: StartGuard, log: Path) -> None:
    peer = start("ignore-eof", "ignore-term")
    peer.initialize()
    peer.send({"id": 1, "method": "tools/call", "params": {"name": "mute", "arguments": {}}})
    peer.call("echo")
    tree = fully(peer)
    peer.signal(signal.SIGTERM)
    assert peer.wait() == 128 + signal.SIGTERM
    assert errors(peer) == {1: "mcpguard: the guard was stopped by signal 15; whether `mute` took effect is unknown"}
    assert (1, "lost") in outcomes(log)
    assert wait_until_gone(tree, GONE_S) == set()


PATIENT = """
from mcpguard.proxy import guard
guard.EOF_GRACE_S = guard.DRAIN_GRACE_S = guard.SIGNAL_GRACE_S = guard.TERM_GRACE_S = 600.0
from mcpguard.__main__ import main
main()
"""
"""A guard that gives a server ten minutes for everything."""


def test_a_second_interrupt_ends_it_at_once(home: Path, tmp_path: Path) -> None:
    assert home.is_dir()
    argv = guard_argv(allow_everything(tmp_path), *fake_server("ignore-eof", "ignore-term"))
    with StdioPeer([sys.executable, "-c", PATIENT, *argv[argv.index("run") :]]) as peer:
        peer.initialize()
        peer.call("spawn")
        tree = fully(peer)
        assert len(tree) == 4  # with the supervisor
        peer.signal(signal.SIGINT)
        peer.expect_stderr("end of input")
        peer.signal(signal.SIGINT)
        assert peer.wait() == 128 + signal.SIGINT
        assert wait_until_gone(tree, GONE_S) == set()


def test_a_server_that_goes_on_starting_processes_leaves_none(start: StartGuard, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    peer = start("ignore-eof", "ignore-term")
    peer.initialize()
    peer.call("breed", {"path": str(pids)})
    peer.signal(signal.SIGINT)
    peer.expect_stderr("end of input")
    peer.signal(signal.SIGINT)
    peer.wait()
    assert wait_until_gone(map(int, pids.read_text().split()), GONE_S) == set()


def test_a_process_that_the_server_left_behind_at_its_start_is_killed(start: StartGuard, tmp_path: Path) -> None:
    pid_file = tmp_path / "orphan"
    script = f"(setsid sleep 300 & echo $! > {pid_file}); exec cat"
    peer = start(server=["sh", "-c", script])
    peer.send({"id": 1, "method": "ping"})
    peer.close_stdin()
    assert peer.wait() == 0
    orphan = int(pid_file.read_text())
    try:
        assert wait_until_gone([orphan], GONE_S) == set()
    finally:
        if is_alive(orphan):
            os.kill(orphan, signal.SIGKILL)


def test_after_a_normal_end_nothing_is_left_either(start: StartGuard) -> None:
    peer = start()
    peer.initialize()
    child = int(text_of(peer.call("spawn")))
    peer.close_stdin()
    assert peer.wait() == 0
    assert wait_until_gone([child], GONE_S) == set()
