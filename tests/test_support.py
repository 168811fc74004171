"""Checks the helpers that other tests lean on, where a fault would make those pass or hang for no reason."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from support import PeerError, StdioPeer
from support.processes import descendants, is_alive, wait_until_gone
from support.servers import require_server

if TYPE_CHECKING:
    from pathlib import Path

ECHO = ["cat"]
TREE = ["sh", "-c", "setsid sleep 300 & sleep 300 & cat"]


def test_an_answer_is_matched_by_type_and_value_of_its_id() -> None:
    with StdioPeer(ECHO) as peer:
        peer.send({"id": "1", "result": {}})
        peer.send({"id": 1, "method": "ping"})
        peer.send({"id": 1, "result": {"mine": True}})
        assert peer.receive(id=1)["result"] == {"mine": True}
        assert [message.get("id") for message in peer.drain()] == ["1", 1]


def test_messages_that_nobody_asked_for_stay_in_order() -> None:
    with StdioPeer(ECHO) as peer:
        for method in ("a", "b", "c"):
            peer.notify(method)
        peer.receive(method="c")
        assert [peer.receive()["method"], peer.receive()["method"]] == ["a", "b"]


def test_lines_that_are_no_json_objects_are_noise_and_keep_their_bytes() -> None:
    with StdioPeer(ECHO) as peer:
        peer.send(b'hello \xff\r\n[1]\n{"id":1}\nno line end')
        peer.close_stdin()
        assert peer.wait() == 0
        assert peer.noise == [b"hello \xff\r", b"[1]", b"no line end"]
        assert peer.drain() == [{"id": 1}]


def test_a_wait_that_ends_in_vain_shows_what_came_instead() -> None:
    with StdioPeer(["sh", "-c", "echo out; echo err >&2; read line"]) as peer:
        peer.expect_stderr("err")
        with pytest.raises(
            PeerError, match=r"the answer to id 7 did not come within 0\.2 s[^$]*still running[^$]*out[^$]*err"
        ):
            peer.receive(id=7, deadline_s=0.2)


def test_a_process_that_ends_ends_the_wait_at_once() -> None:
    with StdioPeer(["sh", "-c", "exit 3"]) as peer:
        with pytest.raises(PeerError, match="stdout ended before the answer to id 7 came"):
            peer.receive(id=7, deadline_s=60)
        assert peer.wait() == 3


def test_sending_never_blocks_and_nothing_is_lost() -> None:
    line = b"x" * 3_000_000
    with StdioPeer(ECHO) as peer:
        peer.send(line + b"\n")
        peer.send(line + b"\n")
        peer.close_stdin()
        assert peer.wait() == 0
        assert peer.noise == [line, line]


def test_the_environment_is_the_one_given_and_no_other(tmp_path: Path) -> None:
    script = "import os; print(sorted(os.environ), os.getcwd())"
    with StdioPeer([sys.executable, "-S", "-E", "-c", script], env={"ONLY": "1"}, cwd=tmp_path) as peer:
        peer.close_stdin()
        assert peer.wait() == 0
        assert b"ONLY" in peer.noise[0]
        assert b"PATH" not in peer.noise[0]
        assert bytes(tmp_path) in peer.noise[0]


def test_a_signal_reaches_the_process() -> None:
    with StdioPeer(ECHO) as peer:
        peer.signal(signal.SIGTERM)
        assert peer.wait() == -signal.SIGTERM


def test_leaving_the_block_kills_the_whole_tree_even_what_left_its_group() -> None:
    with StdioPeer(TREE) as peer:
        peer.notify("ready")
        peer.receive(method="ready")
        tree = descendants(peer.pid) | {peer.pid}
        assert len(tree) == 4
    assert wait_until_gone(tree, deadline_s=5) == set()
    assert not any(is_alive(pid) for pid in tree)


def test_a_wait_for_living_processes_ends_and_names_them() -> None:
    with StdioPeer(ECHO) as peer:
        assert wait_until_gone({peer.pid}, deadline_s=0.1) == {peer.pid}
        assert is_alive(peer.pid)


def test_a_missing_server_skips_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPGUARD_SERVERS", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "moto.missing").write_text("no network; run `scripts/install-servers moto`\n")
    with pytest.raises(pytest.skip.Exception, match="moto: no network; run `scripts/install-servers moto`"):
        require_server("moto")
    with pytest.raises(pytest.skip.Exception, match="mcp1: not installed; run `scripts/install-servers mcp1`"):
        require_server("mcp1")


def test_a_missing_server_fails_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPGUARD_SERVERS", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed"):
        require_server("moto")
