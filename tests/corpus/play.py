"""Plays cases: starts the server, behind a guard or bare, writes what the case's client writes, and keeps what comes back.

Judges nothing.  Waits for what has to come, never for time to pass: what must not come would have come before the
answers to later calls, because order is kept.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus import strict
from corpus.case import HANDSHAKE, MODERN, POLICIES, Case
from corpus.lines import Line, Lines
from corpus.server import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SERVER = Path(__file__).parent / "server.py"
HELLO = "hello"
FENCE = "fence-"
FENCE_ARGUMENTS = '{"text":"fence"}'
BARE = "{server}"
"""The command without a guard."""

END_TIMEOUT_S = 10
STDERR_BYTES = 4000


@dataclass(slots=True)
class Played:
    """What happened while a case was played: lines as they came, without their LF, and whatever was waited for in vain."""

    case: Case
    era: str
    to_client: list[Line] = field(default_factory=list)
    to_server: bytes = b""
    ran: list[dict[str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    went_well: bool = True
    """The session went on, or ended, as it has to."""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """How cases are played: the command with its placeholders, where policies are, and how long to wait for what has to come."""

    command: str = BARE
    policies: Path = POLICIES
    timeout_s: float = 20
    share: bool = False

    @property
    def guarded(self) -> bool:
        """Whether there is a guard in the command."""
        return self.command != BARE


def play_all(setup: Setup, plays: Sequence[tuple[Case, str]], holds: Callable[[Played], bool]) -> Iterator[Played]:
    """Play cases one after another; with `share`, those that allow it in one session, as long as it lasts and everything `holds`."""
    session: Session | None = None
    known: object = None
    try:
        for case, era in plays:
            kind = kind_of(setup, case, era)
            if session is not None and (kind is None or kind != known or not session.lives):
                session.end()
                session = None
            if session is None:
                session, known = Session(setup, case, era), kind
            played = session.play(case, era)
            yield played
            if kind is None or (setup.guarded and not holds(played)):
                session.end()
                session = None
    finally:
        if session is not None:
            session.end()


def kind_of(setup: Setup, case: Case, era: str) -> tuple[str, str, str] | None:
    """Say in what kind of session a case can be played with others; None: it needs one of its own.

    A bare server has no policy, and forgets; a guard must not.
    """
    if not setup.share or case.begins_and_ends or (setup.guarded and case.alone):
        return None
    return (era, case.policy, json.dumps(case.declares, sort_keys=True)) if setup.guarded else (era, "", "")


class Session:
    """One client, one server and perhaps a guard between them, from the start to the end."""

    def __init__(self, setup: Setup, case: Case, era: str) -> None:
        self._setup = setup
        self._folder = tempfile.TemporaryDirectory(prefix="mcp-corpus-")
        home = Path(self._folder.name)
        self._script, self._record, self._raw = home / "script.json", home / "ran", home / "ran.raw"
        self._write_script(case)
        self._lines = Lines()
        self._fences = 0
        self._ran_before = self._raw_before = 0
        try:
            self._process = subprocess.Popen(
                command_line(setup, case.policy, self._script, self._record),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            self._folder.cleanup()
            raise
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr = b""
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read, self._read_stderr, self._write)
        ]
        for thread in self._threads:
            thread.start()
        self._greeted = era != HANDSHAKE
        self._closed = False

    def play(self, case: Case, era: str) -> Played:
        """Play one case."""
        self._write_script(case)
        played = Played(case, era)
        begun = time.monotonic()
        if self._fences:
            self._lines.begin()
        if not self._greeted:
            self._greet(case, played)
        tokens = {"<meta>": meta_member(era, case.declares)}
        for step in case.client:
            self._take(step, tokens, era, case, played)
        if case.survives:
            self._fence(era, case, played)
            # A bare server has said all it has to say by now. A guard may have sent the fence on before it said what it
            # had to say about the lines that came with it; but then it reads the next one after that.
            while self._setup.guarded and played.went_well:
                self._await_expected(case)
                self._fence(era, case, played)
                if self._is_complete(case) or time.monotonic() > begun + self._setup.timeout_s:
                    break
        else:
            if self._setup.guarded:
                self._await_expected(case)
            self._close()
            played.went_well = self._has_ended()
            self._lines.wait(lambda _: False, END_TIMEOUT_S)
        played.to_client = self._lines.since_begin()
        played.to_server, played.ran = self._received(), self._new_runs()
        played.stderr = self._stderr.decode("utf-8", "replace")
        return played

    @property
    def lives(self) -> bool:
        """Whether more can be played in it."""
        return not self._closed and self._process.poll() is None and not self._lines.ended

    def end(self) -> None:
        """End everything."""
        self._close()
        if not self._has_ended():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for thread in self._threads:
            thread.join(END_TIMEOUT_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    # What the client does

    def _greet(self, case: Case, played: Played) -> None:
        self._greeted = True
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": case.declares,
            "clientInfo": {"name": "corpus", "version": "1"},
        }
        self._send({"jsonrpc": "2.0", "id": HELLO, "method": "initialize", "params": params})
        self._await_id(json.dumps(HELLO), played)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _take(self, step: Any, tokens: dict[str, str], era: str, case: Case, played: Played) -> None:
        match step:
            case {"eof": True}:
                self._close()
            case {"await": id_}:
                self._await_id(id_, played)
            case {"await_method": method}:
                if not self._lines.wait(
                    lambda lines: any(line.method == method for line in lines), self._setup.timeout_s
                ):
                    played.missed.append(f"the client waited in vain for {method}")
            case {"bytewise": piece}:
                for byte in b"".join(expand(piece, tokens)):
                    self._outgoing.put(bytes((byte,)))
            case {"json": message} if era == MODERN and "method" in message and "id" in message:
                params = {"_meta": meta(case.declares), **message.get("params", {})}
                self._outgoing.put(b"".join(expand({"json": {**message, "params": params}}, tokens)))
            case _:
                for part in expand(step, tokens):
                    self._outgoing.put(part)

    def _fence(self, era: str, case: Case, played: Played) -> None:
        """Make an allowed call and wait for its answer: whatever came before it has arrived by then."""
        self._fences += 1
        id_ = f"{FENCE}{self._fences}"
        params: dict[str, Any] = {"name": "safe", "arguments": json.loads(FENCE_ARGUMENTS)}
        if era == MODERN:
            params["_meta"] = meta(case.declares)
        self._send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
        answer = self._lines.wait_for_answer(json.dumps(id_), 1, self._setup.timeout_s)
        played.went_well = answer is not None and b'"error"' not in answer and b'"isError":true' not in answer

    def _await_id(self, id_: str, played: Played) -> None:
        if self._lines.wait_for_answer(strict.key(strict.parse(id_)), 1, self._setup.timeout_s) is None:
            played.missed.append(f"the client waited in vain for an answer to {id_}")

    def _await_expected(self, case: Case) -> None:
        for id_, times in _wanted(case.answers):
            self._lines.wait_for_answer(id_, times, self._setup.timeout_s)

    def _is_complete(self, case: Case) -> bool:
        """Whether everybody got the answers that have to come."""
        came = [line.answers for line in self._lines.since_begin()]
        heard = [] if not case.server_answers else [Line(line).answers for line in self._unread().split(b"\n")]
        return all(came.count(id_) >= times for id_, times in _wanted(case.answers)) and all(
            heard.count(id_) >= times for id_, times in _wanted(case.server_answers)
        )

    def _send(self, message: dict[str, Any]) -> None:
        self._outgoing.put(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.put(None)

    # What the server did

    def _write_script(self, case: Case) -> None:
        fresh = self._script.with_suffix(".new")
        fresh.write_text(json.dumps({"case": case.name, "reads": case.reads, "says": case.says}))
        fresh.replace(self._script)

    def _received(self) -> bytes:
        received = self._unread()
        self._raw_before += len(received)
        return received

    def _unread(self) -> bytes:
        return _read_from(self._raw, self._raw_before)

    def _new_runs(self) -> list[dict[str, str]]:
        new = _read_from(self._record, self._ran_before)
        self._ran_before += len(new)
        return [run for run in map(json.loads, new.splitlines()) if run["arguments"] != FENCE_ARGUMENTS]

    # Threads

    def _read(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest: list[bytes] = []
        while chunk := os.read(descriptor, 1 << 20):
            *lines, last = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join((*rest, lines[0]))
                rest = []
                self._lines.add(lines)
            rest.append(last)
        self._lines.end(b"".join(rest))

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while chunk := os.read(self._process.stderr.fileno(), 1 << 16):
            self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]

    def _write(self) -> None:
        assert self._process.stdin is not None
        descriptor = self._process.stdin.fileno()
        while (data := self._outgoing.get()) is not None:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
            except BrokenPipeError:
                continue
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _has_ended(self) -> bool:
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        return True


def _read_from(path: Path, start: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _wanted(answers: dict[str, list[str]]) -> list[tuple[str, int]]:
    """Give the ids that have to be answered, and how often."""
    return [
        (strict.key(strict.parse(id_)), sum(kind not in ("none", "error or none") for kind in kinds))
        for id_, kinds in answers.items()
    ]


def command_line(setup: Setup, policy: str, script: Path, record: Path) -> list[str]:
    """Put the server's command and the policy's path into the command that cases are played with."""
    server = [
        "env",
        f"MCP_CORPUS_SCRIPT={script}",
        f"MCP_CORPUS_RECORD={record}",
        sys.executable,
        "-I",
        "-S",
        str(SERVER),
    ]
    words: list[str] = []
    for word in shlex.split(setup.command):
        if word == BARE:
            words += server
        else:
            path = str(setup.policies / f"{policy}.json")
            words.append(word.replace("{policy}", path).replace(BARE, shlex.join(server)))
    return words


def meta(declares: dict[str, Any]) -> dict[str, Any]:
    """Give the `_meta` of a request of the 2026-07-28 revision."""
    prefix = "io.modelcontextprotocol/"
    return {
        f"{prefix}protocolVersion": MODERN,
        f"{prefix}clientInfo": {"name": "corpus", "version": "1"},
        f"{prefix}clientCapabilities": declares,
    }


def meta_member(era: str, declares: dict[str, Any]) -> str:
    """Give `_meta` as the first of several members, or nothing where the era has none."""
    return f'"_meta":{json.dumps(meta(declares), separators=(",", ":"))},' if era == MODERN else ""
