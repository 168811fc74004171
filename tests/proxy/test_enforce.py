"""The enforcement point fails closed, and so does what carries out its verdicts."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from mcpguard.protocol.session import Session
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import Journal
from mcpguard.proxy.relay import Relay
from mcpguard.stores.audit import DecisionLog, LogError, Recorder
from mcpguard.stores.counters import MemoryCounters
from mcpguard.stores.files import load_policy
from support import write_policy
from support.slow_client import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 20.0


class Wires:
    """A relay between two ends that the test holds."""

    def __init__(self) -> None:
        (client_in, self.to_guard), (self.from_guard, client_out) = os.pipe(), os.pipe()
        (server_out, self.server_says), (self.server_hears, server_in) = os.pipe(), os.pipe()
        os.set_blocking(server_in, False)
        self.session = Session(now_ns=0)
        self.relay = Relay(
            self.session,
            (client_in, client_out),
            (server_out, server_in),
            max_client_line_bytes=1 << 20,
            clock=lambda: 1,
            wake=lambda: None,
        )
        self._fds = (self.to_guard, self.server_says, client_in, client_out, server_out, server_in)
        self._ours = (self.from_guard, self.server_hears)

    def open(self, policy: Path, log: DecisionLog, *, said: Callable[[str], None] = lambda _: None) -> None:
        enforcer = Enforcer(
            load_policy(policy).policy,
            MemoryCounters(),
            clock=lambda: 1,
            wall_clock=lambda: 1,
            session_id="s",
            parties=self.session,
            recorder=Recorder(bytes(32), {}, command=[]),
            log=log,
            complain=said,
        )
        self.relay.open(enforcer, Journal())
        self.relay.start()

    def client_hears(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.from_guard], [], [], DEADLINE_S)[0], "nothing came"
            line += os.read(self.from_guard, 1)
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        for fd in (*self._fds[:2], *self._ours):
            os.close(fd)


@pytest.fixture
def wires() -> Iterator[Wires]:
    made = Wires()
    yield made
    made.close()


class UnwritableLog(DecisionLog):
    """Fails, after `before` had its time."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before

    def write(self, lines: bytes) -> NoReturn:  # noqa: ARG002 - none is written
        self._before()
        raise LogError("cannot write the decision log `x`: no")


def test_a_call_that_its_server_answers_before_it_was_recorded_is_refused(wires: Wires, tmp_path: Path) -> None:
    first = threading.Event()

    def answer_early() -> None:
        if not first.is_set():
            first.set()
            os.write(wires.server_says, b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n')
            assert wires.client_hears()["id"] == 1

    said: list[str] = []
    wires.open(write_policy(tmp_path, {"default": "allow"}), UnwritableLog(answer_early), said=said.append)
    os.write(wires.to_guard, request(1, "tools/call", {"name": "danger", "arguments": {}}))
    os.write(wires.to_guard, request(2, "ping"))
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([wires.server_hears], [], [], DEADLINE_S)[0]
        line += os.read(wires.server_hears, 1)
    assert json.loads(line)["method"] == "ping"
    assert said == ["cannot write the decision log `x`: no; calls are refused until it can be"]


def test_a_call_that_cannot_be_judged_is_refused(wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(MemoryCounters, "charge", broken)
    said: list[str] = []
    log = DecisionLog(tmp_path / "log")
    policy = write_policy(tmp_path, {"tools": {"a": {"rate_limit": "1/minute"}}})
    wires.open(policy, log, said=said.append)
    os.write(wires.to_guard, request(1, "tools/call", {"name": "a", "arguments": {}}))
    answer = wires.client_hears()
    assert answer["result"]["isError"] is True
    assert answer["result"]["_meta"]["mcpguard/decision"]["code"] == "internal"
    assert said == ["internal error while judging a call: ZeroDivisionError; the call was refused"]
    assert not select.select([wires.server_hears], [], [], 0)[0]
    log.close()


def test_a_request_of_the_server_that_cannot_be_recorded_is_refused(wires: Wires, tmp_path: Path) -> None:
    wires.open(write_policy(tmp_path, {"default": "allow"}), UnwritableLog(lambda: None))
    os.write(wires.to_guard, request(1, "initialize", {"capabilities": {"roots": {}}}))
    assert select.select([wires.server_hears], [], [], DEADLINE_S)[0]
    os.read(wires.server_hears, 65536)
    os.write(wires.server_says, request(7, "roots/list"))
    assert select.select([wires.server_hears], [], [], DEADLINE_S)[0]
    answer = json.loads(os.read(wires.server_hears, 65536))
    assert (answer["id"], answer["error"]["code"]) == (7, -32601)
    assert not select.select([wires.from_guard], [], [], 0)[0]
