"""A wall clock that is wrong, or set while the guard runs: sliding limits do not care, and no log is lost by it.

The guard is shown another time; the machine's clock is never touched.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support import StdioPeer, allow_everything, guard_argv, write_policy
from support.fake_server import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support import Message

HOUR_S = 3600
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S

SHOWN_ANOTHER_TIME = """
import os, sys, time
clock = os.open(sys.argv.pop(1), os.O_RDONLY)
true_ns = time.time_ns
time.time_ns = lambda: true_ns() + int(os.pread(clock, 32, 0)) * 10**9
time.time = lambda: time.time_ns() / 1e9
from mcpguard.__main__ import main
main()
"""
"""A guard whose wall clock is wrong by as many seconds as a file says."""


class Clocked:
    """A guard, and the say about its wall clock."""

    def __init__(self, peer: StdioPeer, clock: Path) -> None:
        self.peer = peer
        self._clock = clock

    def set_clock(self, ahead_s: int) -> None:
        """Set the guard's clock ahead of the true time, or behind it."""
        show(self._clock, ahead_s)

    def verdict(self, tool: str, arguments: Mapping[str, object] | None = None) -> str:
        """Call a tool; return the code of its refusal, or nothing."""
        answer: Message = self.peer.call(tool, arguments)
        decision = answer["result"].get("_meta", {}).get("mcpguard/decision", {})
        return str(decision.get("code", ""))


def show(clock: Path, ahead_s: int) -> None:
    """Write a clock's file in one write, and in always the same length."""
    fd = os.open(clock, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, b"%32d" % ahead_s)
    os.close(fd)


class StartClocked(Protocol):
    """Starts a guard whose clock is `ahead_s` ahead."""

    def __call__(
        self,
        policy: Mapping[str, object] | None = None,
        *words: object,
        ahead_s: int = 0,
        options: Sequence[str] = (),
    ) -> Clocked: ...


@pytest.fixture
def start_clocked(home: Path, tmp_path: Path) -> Iterator[StartClocked]:
    clock = tmp_path / "clock"
    with ExitStack() as stack:

        def started(
            policy: Mapping[str, object] | None = None,
            *words: object,
            ahead_s: int = 0,
            options: Sequence[str] = (),
        ) -> Clocked:
            show(clock, ahead_s)
            path = allow_everything(tmp_path) if policy is None else write_policy(tmp_path, policy)
            argv = guard_argv(path, *fake_server(*words), options=options)
            command = [sys.executable, "-c", SHOWN_ANOTHER_TIME, str(clock), *argv[argv.index("run") :]]
            peer = stack.enter_context(StdioPeer(command, cwd=home))
            peer.initialize()
            return Clocked(peer, clock)

        yield started


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def seconds(record: Mapping[str, str]) -> float:
    """Return the instant of a record, in seconds since 1970."""
    return datetime.fromisoformat(record["time"]).timestamp()


STEPS = [HOUR_S, DAY_S, -HOUR_S, -YEAR_S, -60 * YEAR_S, 200 * YEAR_S, 0]
"""Where a clock is set to: also before 1970, and close to the end of what nanoseconds can count."""


def test_sliding_limits_are_the_same_wherever_the_wall_clock_is_set(start_clocked: StartClocked, log: Path) -> None:
    limits = {
        "calls": {"limits": [{"window": "hour", "max": 3}]},
        "cost": {"limits": [{"window": "hour", "max": 3, "cost": "args.n"}]},
        "keys": {"limits": [{"window": "hour", "max": 3, "per": "args.who"}]},
    }
    guard = start_clocked({"tools": limits}, options=["--log", str(log)])
    given = {"n": 1, "who": "ann"}
    for ahead_s in (DAY_S, -DAY_S, 0):
        guard.set_clock(ahead_s)
        assert [guard.verdict(tool, given) for tool in limits] == ["", "", ""]
    for ahead_s in STEPS:
        guard.set_clock(ahead_s)
        assert [guard.verdict(tool, given) for tool in limits] == ["rate_limited"] * 3
    guard.peer.close_stdin()
    assert guard.peer.wait() == 0
    assert "Traceback" not in guard.peer.stderr_text()
    found = records(log)
    assert len([record for record in found if record["kind"] == "decision"]) == 3 * (3 + len(STEPS))
    outcomes = [record for record in found if record["kind"] == "outcome"]
    assert len(outcomes) == 9
    assert all(0 <= outcome["duration_ms"] < HOUR_S * 1000 for outcome in outcomes)


def test_what_the_log_says_follows_the_clock_and_each_line_is_whole(start_clocked: StartClocked, log: Path) -> None:
    guard = start_clocked(options=["--log", str(log)])
    for ahead_s in STEPS:
        guard.set_clock(ahead_s)
        assert guard.verdict("echo") == ""
        guard.peer.request("ping")
    guard.peer.close_stdin()
    assert guard.peer.wait() == 0
    found = records(log)
    assert [record["kind"] for record in found] == ["decision", "outcome"] * len(STEPS)
    now = time.time()
    for ahead_s, record in zip(STEPS, found[::2], strict=True):
        assert abs(seconds(record) - (now + ahead_s)) < HOUR_S / 2


def test_a_calendars_window_opens_when_the_clock_is_set_forward_and_stays_when_it_is_set_back(
    start_clocked: StartClocked,
) -> None:
    limit = {"window": "day", "max": 1, "align": "calendar"}
    guard = start_clocked({"tools": {"a": {"limits": [limit]}}})
    # The middle of a day, so that no midnight comes between.
    noon_s = DAY_S // 2 - int(time.time()) % DAY_S
    guard.set_clock(noon_s)
    assert [guard.verdict("a"), guard.verdict("a")] == ["", "rate_limited"]
    guard.set_clock(noon_s - 3 * DAY_S)
    assert guard.verdict("a") == "rate_limited"
    guard.set_clock(noon_s + DAY_S)
    assert [guard.verdict("a"), guard.verdict("a")] == ["", "rate_limited"]
    guard.set_clock(noon_s)
    assert guard.verdict("a") == "rate_limited"


def test_a_flood_of_events_is_counted_wherever_the_clock_is_set(start_clocked: StartClocked, log: Path) -> None:
    guard = start_clocked(options=["--log", str(log)])
    noise = base64.b64encode(b"noise\n" * 2000).decode()
    for ahead_s in STEPS:
        guard.set_clock(ahead_s)
        guard.peer.call("noise", {"bytes": noise})
    guard.peer.close_stdin()
    assert guard.peer.wait() == 0
    events = [record for record in records(log) if record["kind"] == "event"]
    counted = sum(record.get("suppressed", 0) for record in events)
    written = [record for record in events if "suppressed" not in record]
    assert len(written) + counted == 2000 * len(STEPS)
    assert len(written) <= 200 * len(STEPS)


def test_a_probe_is_answered_for_a_silent_server_wherever_the_clock_is_set(
    start_clocked: StartClocked,
) -> None:
    # The second finding would be from the future, the third is too old.
    for ahead_s in (0, -DAY_S, YEAR_S):
        peer = start_clocked(None, "silent=server/discover", ahead_s=ahead_s, options=["--no-log"]).peer
        probe = peer.post("server/discover", {})
        assert peer.request("ping")["result"] == {}
        assert peer.receive(id=probe)["error"]["code"] == -32601


# Logs that are kept for 30 days


def test_a_clock_that_is_far_ahead_takes_no_log_of_today_away(start_clocked: StartClocked, home: Path) -> None:
    directory = home / "state" / "mcpguard" / "log"
    now = start_clocked()
    assert now.verdict("echo") == ""
    (today,) = directory.iterdir()
    before = today.read_bytes()
    ahead = start_clocked(ahead_s=YEAR_S)
    assert ahead.verdict("echo") == ""
    assert today.exists()
    assert today.read_bytes().startswith(before)


def test_the_log_of_a_run_that_was_idle_for_30_days_is_not_taken_away_from_it(
    start_clocked: StartClocked, home: Path
) -> None:
    directory = home / "state" / "mcpguard" / "log"
    idle = start_clocked()
    assert idle.verdict("echo") == ""
    # The outcome is written, too, when this is answered.
    idle.peer.request("ping")
    (log,) = directory.iterdir()
    long_ago = time.time() - 31 * DAY_S
    os.utime(log, (long_ago, long_ago))
    other = start_clocked()
    assert other.verdict("echo") == ""
    assert idle.verdict("echo") == ""
    assert log.exists()
    assert len([record for record in records(log) if record["kind"] == "decision"]) == 2
