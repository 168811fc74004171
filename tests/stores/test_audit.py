"""The decision log: its file, its lines, its key."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import json
import os
import stat
import threading
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.stores.audit import (
    EVENTS_PER_MINUTE,
    KEPT_DAYS,
    DecisionLog,
    LogError,
    Recorder,
    default_log_path,
    installation_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEY = bytes(32)
S = 10**9
NOW = 1_800_000_000 * S
KEPT_S = KEPT_DAYS * 86_400


def recorder(key: bytes = KEY) -> Recorder:
    return Recorder(key, {"session_id": "s"}, command=["server"])


def read(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def age(path: Path, age_s: int) -> None:
    """Make a file, if need be, and let it have been written last so long before `NOW`."""
    path.touch()
    os.utime(path, ns=(NOW - age_s * S, NOW - age_s * S))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# The file


def test_whole_lines_are_appended_and_nothing_is_kept_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    log = DecisionLog(path)
    log.write(b"one\ntwo\n")
    assert path.read_bytes() == b"before\none\ntwo\n"
    log.write(b"three\n")
    assert path.read_bytes() == b"before\none\ntwo\nthree\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.close()


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot open the decision log .* is a directory"):
        DecisionLog(tmp_path)


def test_a_torn_line_is_closed_before_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    room = [3]
    write = os.write

    def cramped(fd: int, data: bytes) -> int:
        taken = write(fd, data[: room[0]])
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        room[0] -= taken
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", cramped)
        with pytest.raises(LogError, match="no space left on device"):
            log.write(b"one line\n")
        with pytest.raises(LogError, match="no space left on device"):
            log.write(b"another\n")
    log.write(b"the next\n")
    assert path.read_bytes() == b"one\nthe next\n"
    log.close()


def test_lines_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    lines = [f"{name}{'x' * 5000}\n".encode() for name in "abcd"]

    def write(line: bytes) -> None:
        for _ in range(50):
            log.write(line)

    threads = [threading.Thread(target=write, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines * 50)
    log.close()


def test_a_line_that_is_longer_than_a_pipe_holds_is_written_whole_to_whoever_reads(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    log = DecisionLog(path)
    long = b"x" * 1_000_000 + b"\n"
    heard = []

    def read_all() -> None:
        while chunk := os.read(reader, 65_536):
            heard.append(chunk)

    thread = threading.Thread(target=read_all)
    thread.start()
    log.write(long)
    log.write(b"short\n")
    log.close()
    thread.join()
    os.close(reader)
    assert b"".join(heard) == long + b"short\n"


def test_a_default_file_has_a_name_of_its_own_and_old_ones_go(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "log"
    first = default_log_path(directory, "one", NOW)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert first != default_log_path(directory, "two", NOW)
    age(directory / "decisions-a.jsonl", KEPT_S + 1)
    age(directory / "decisions-b.jsonl", KEPT_S)
    age(directory / "decisions-c.jsonl", 0)
    age(directory / "other.jsonl", 10**9)
    default_log_path(directory, "three", NOW)
    assert names(directory) == ["decisions-b.jsonl", "decisions-c.jsonl", "other.jsonl"]


def test_a_clock_that_is_ahead_makes_no_log_older_than_the_newest_makes_it(tmp_path: Path) -> None:
    age(tmp_path / "decisions-a.jsonl", 2 * KEPT_S + 1)
    age(tmp_path / "decisions-b.jsonl", KEPT_S)
    default_log_path(tmp_path, "one", NOW + 10**10 * S)
    assert names(tmp_path) == ["decisions-b.jsonl"]
    default_log_path(tmp_path, "two", NOW + 10**10 * S)
    assert names(tmp_path) == ["decisions-b.jsonl"]


def test_an_old_log_stays_while_somebody_holds_it_open(tmp_path: Path) -> None:
    held, free = tmp_path / "decisions-held.jsonl", tmp_path / "decisions-free.jsonl"
    log, another = DecisionLog(held), DecisionLog(held)
    another.close()
    for path in (held, free):
        age(path, KEPT_S + 1)
    age(tmp_path / "decisions-new.jsonl", 0)
    default_log_path(tmp_path, "one", NOW)
    assert names(tmp_path) == ["decisions-held.jsonl", "decisions-new.jsonl"]
    log.close()
    default_log_path(tmp_path, "two", NOW)
    assert names(tmp_path) == ["decisions-new.jsonl"]


def test_what_is_no_file_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "decisions-directory.jsonl").mkdir()
    os.mkfifo(tmp_path / "decisions-pipe.jsonl")
    (tmp_path / "decisions-link.jsonl").symlink_to(tmp_path / "nothing")
    for path in tmp_path.iterdir():
        os.utime(path, ns=(0, 0), follow_symlinks=False)
    before = names(tmp_path)
    age(tmp_path / "decisions-new.jsonl", 0)
    default_log_path(tmp_path, "one", NOW)
    assert names(tmp_path) == sorted([*before, "decisions-new.jsonl"])


def test_a_log_that_is_being_removed_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LogError, match="cannot open the decision log"):
            DecisionLog(path)
    lock = fcntl.flock

    def removed_first(fd: int, kind: int) -> None:
        path.unlink()
        lock(fd, kind)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removed_first)
        with pytest.raises(LogError, match="it was removed at this moment"):
            DecisionLog(path)
    DecisionLog(path).close()


def test_a_file_system_without_locks_has_logs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, kind: int) -> NoReturn:
        raise OSError(errno.ENOLCK, f"no locks for {fd}, {kind}")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    log = DecisionLog(tmp_path / "log")
    log.write(b"one\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_a_pipe_is_a_log_as_long_as_somebody_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(LogError, match="nobody reads from it"):
        DecisionLog(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = DecisionLog(path)
    log.write(b"one\n")
    assert os.read(reader, 100) == b"one\n"
    with pytest.raises(LogError, match="cannot write the decision log"):
        log.write(b"x" * 10_000_000 + b"\n")
    with pytest.raises(LogError, match="whoever reads from it"):
        log.write(b"two\n")
    with suppress(BlockingIOError):
        while os.read(reader, 1 << 20):
            pass
    log.write(b"three\n")
    assert os.read(reader, 100) == b"\nthree\n", "the torn line is closed first"
    os.close(reader)
    with pytest.raises(LogError, match="broken pipe"):
        log.write(b"four\n")
    log.close()


def test_a_default_file_needs_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="cannot make the log directory"):
        default_log_path(tmp_path / "file" / "log", "one", NOW)


# The key


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    key = installation_key(directory)
    assert len(key) == 32
    assert installation_key(directory) == key
    assert installation_key(tmp_path / "other") != key
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_cut_short_is_refused(tmp_path: Path) -> None:
    installation_key(tmp_path)
    (tmp_path / "digest.key").write_bytes(b"short")
    with pytest.raises(LogError, match="too short; delete the file"):
        installation_key(tmp_path)


def test_a_key_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="cannot keep the key"):
        installation_key(tmp_path / "file" / "data")


def test_a_digest_is_keyed() -> None:
    assert recorder().digest(b"d0:") == hmac.new(KEY, b"d0:", hashlib.sha256).hexdigest()
    assert recorder().digest(b"d0:") != recorder(bytes([1]) * 32).digest(b"d0:")


# The lines


@given(st.text(), st.text(), st.integers(min_value=0, max_value=4 * 10**18))
def test_whatever_the_text_a_record_is_one_ascii_line(name: str, id_: str, now_ns: int) -> None:
    line = recorder().record("decision", now_ns, tool=name, request_id=id_)
    assert line.isascii()
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert min(line[:-1]) >= 0x20
    record = json.loads(line)
    assert (record["tool"], record["request_id"], record["session_id"]) == (name, id_, "s")


def test_the_time_is_utc_to_the_millisecond() -> None:
    made = recorder()
    times = [json.loads(made.record("x", now_ns))["time"] for now_ns in (0, 999_999, 1_000_000, NOW + 123_456_789)]
    assert times == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.001Z",
        "2027-01-15T08:00:00.123Z",
    ]


def test_client_and_server_are_in_every_record_once_they_are_known() -> None:
    made = recorder()
    before = json.loads(made.record("x", NOW))
    made.introduce({"name": "c"}, {"name": "s"})
    after = json.loads(made.record("x", NOW))
    assert (before["client"], before["server"]) == (None, {"command": ["server"], "info": None})
    assert (after["client"], after["server"]) == ({"name": "c"}, {"command": ["server"], "info": {"name": "s"}})


def test_an_odd_introduction_neither_fails_nor_makes_records_long() -> None:
    made = recorder()
    made.introduce({"name": "n" * 10_000, "version": Decimal("1.5"), "x": ["y"] * 10_000}, {"version": Decimal("2.5")})
    line = made.record("x", NOW)
    record = json.loads(line)
    assert len(line) < 4000
    assert record["client"].keys() == {"name", "version"}
    assert record["server"]["info"] == {"version": "2.5"}


def test_events_above_a_hundred_a_minute_are_only_counted() -> None:
    made = recorder()
    written = read(line for _ in range(EVENTS_PER_MINUTE + 50) for line in made.event("noise", NOW, 0, detail="d"))
    assert len(written) == EVENTS_PER_MINUTE
    assert read(made.event("other", NOW, 0))[0]["event"] == "other"
    first, second = read(made.event("noise", NOW, 60 * S))
    assert (first["event"], first["suppressed"]) == ("noise", 50)
    assert (second["event"], "suppressed" in second) == ("noise", False)
    assert list(made.suppressed(NOW)) == []


def test_a_clock_that_jumps_with_every_event_makes_no_new_minute() -> None:
    made = recorder()
    jumps = [NOW + sign * number * 3600 * S for number in range(EVENTS_PER_MINUTE) for sign in (1, -1)]
    written = [line for number, time_ns in enumerate(jumps) for line in made.event("noise", time_ns, number)]
    assert len(written) == EVENTS_PER_MINUTE


def test_what_was_only_counted_can_be_asked_for_at_the_end() -> None:
    made = recorder()
    for _ in range(EVENTS_PER_MINUTE + 7):
        made.event("noise", NOW, 0)
    (record,) = read(made.suppressed(NOW))
    assert (record["kind"], record["event"], record["suppressed"]) == ("event", "noise", 7)
    assert list(made.suppressed(NOW)) == []
