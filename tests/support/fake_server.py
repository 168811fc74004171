"""Is an MCP server that behaves as badly as it is told to.

Run as a script, by `fake_server(...)`.  Words on its command line say how it starts and ends; what goes wrong in between a
client asks for, by the name of the tool it calls.  Needs the standard library only, so that it starts at once.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from typing import Any, NoReturn

WAKE = signal.SIGUSR1
"""Sent to a server that does not read: it says one `notifications/message`, and reads on no more than before."""
RESUME = signal.SIGUSR2
"""Sent to a server that does not read: it goes on reading."""

LAST_ANSWER = b'{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"half'


def fake_server(*words: object) -> list[str]:
    """Return the command line of a fake server; the words are those of `Server`."""
    return [sys.executable, "-I", "-S", __file__, *map(str, words)]


class Server:
    """One run, told by words of the form `name` or `name=value`.

    `report=FILE` writes what the process finds itself in, as JSON. `record=FILE` gets every line received, `mark=FILE` the word
    `started`. `exit=N` ends at once, `unasked=BASE64` says these bytes first. `ignore-eof`, `ignore-term`, `silent=METHOD` (no
    answer to it; may come twice), `name=TEXT` (of `serverInfo`), `orphan=FILE` (leaves a process behind at the start, as a
    daemon does, and writes its pid), `daemon=FILE` (goes to the background itself, as a daemon does, and writes its new pid).
    """

    def __init__(self, words: list[str]) -> None:
        self.words = dict(word.partition("=")[::2] for word in words)
        self.silent = {word.partition("=")[2] for word in words if word.startswith("silent=")}
        self.muted: list[object] = []
        self.eliciting: dict[object, object] = {}
        self.rest = b""

    def run(self) -> int:
        """Serve until the input ends, or what was asked for ends it earlier; return the exit status."""
        for number in (WAKE, RESUME):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, (WAKE, RESUME))
        if "daemon" in self.words:
            become_daemon(self.words["daemon"])
        if "orphan" in self.words:
            self.leave_orphan(self.words["orphan"])
        if "report" in self.words:
            write(self.words["report"], json.dumps(report()).encode())
        if "mark" in self.words:
            write(self.words["mark"], b"started\n")
        if "ignore-term" in self.words:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "unasked" in self.words:
            say(base64.b64decode(self.words["unasked"]))
        if "exit" in self.words:
            return int(self.words["exit"])
        record = os.open(self.words["record"], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if "record" in self.words else -1
        while chunk := os.read(0, 1 << 16):
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                if record >= 0:
                    write_all(record, line + b"\n")
                self.take(line)
        while "ignore-eof" in self.words:
            write_all(2, b"end of input\n")
            signal.pause()
        return 0

    def take(self, line: bytes) -> None:
        message = json.loads(line)
        method, id_, params = message.get("method"), message.get("id"), message.get("params") or {}
        if method is None and id_ in self.eliciting:
            answer_text(self.eliciting.pop(id_), json.dumps(message.get("result")))
        if id_ is None or method is None or method in self.silent:
            return
        if method == "initialize":
            answer(
                id_,
                {
                    "protocolVersion": params.get("protocolVersion", "2025-11-25"),
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": self.words.get("name", "fake"), "version": "1"},
                },
            )
        elif method == "tools/list":
            answer(id_, {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "danger")]})
        elif method == "tools/call":
            tool = getattr(self, "tool_" + str(params.get("name")), self.tool_echo)
            tool(id_, params.get("arguments") or {})
        elif method in ("ping", "resources/list"):
            answer(id_, {"resources": []} if method == "resources/list" else {})
        else:
            say(encode({"jsonrpc": "2.0", "id": id_, "error": {"code": -32601, "message": "unknown here"}}))

    # Tools, by name.  All take the same, whether they need it or not.
    # ruff: noqa: ARG002

    def tool_echo(self, id_: object, given: dict[str, Any]) -> None:
        answer_text(id_, json.dumps(given))

    def tool_fail(self, id_: object, given: dict[str, Any]) -> None:
        answer(id_, {"content": [{"type": "text", "text": "no"}], "isError": True})

    def tool_error(self, id_: object, given: dict[str, Any]) -> None:
        say(encode({"jsonrpc": "2.0", "id": id_, "error": {"code": -32000, "message": "no"}}))

    def tool_task(self, id_: object, given: dict[str, Any]) -> None:
        answer(id_, {"task": {"taskId": "1", "status": "working"}})

    def tool_read_file(self, id_: object, given: dict[str, Any]) -> None:
        """Answer with what a file holds at this moment."""
        with open(given["path"], "rb") as file:  # noqa: PTH123 - `pathlib` takes longer to import than all else here
            answer_text(id_, file.read().decode())

    def tool_exit(self, id_: object, given: dict[str, Any]) -> NoReturn:
        os._exit(given["status"])

    def tool_exit_half_way(self, id_: object, given: dict[str, Any]) -> NoReturn:
        say(LAST_ANSWER % json.dumps(id_).encode())
        os._exit(given["status"])

    def tool_answer_and_exit(self, id_: object, given: dict[str, Any]) -> NoReturn:
        answer_text(id_, "x" * given.get("bytes", 1))
        os._exit(given["status"])

    def tool_die(self, id_: object, given: dict[str, Any]) -> None:
        os.kill(os.getpid(), given["signal"])

    def tool_leave_and_die(self, id_: object, given: dict[str, Any]) -> None:
        """Die, and leave a process behind that holds stdout open."""
        self.leave_orphan(given["path"])
        os.kill(os.getpid(), given["signal"])

    def tool_spawn(self, id_: object, given: dict[str, Any]) -> None:
        """Start a child in a session of its own that ignores TERM; answer with its pid."""
        pid = os.fork()
        if pid == 0:
            linger()
        answer_text(id_, str(pid))

    def tool_breed(self, id_: object, given: dict[str, Any]) -> None:
        """Start a process that goes on starting children; answer once it has begun."""
        ready = os.pipe()
        if os.fork() == 0:
            os.setsid()
            for count in range(200):
                pid = os.fork()
                if pid == 0:
                    linger()
                write(given["path"], b"%d\n" % pid)
                if count == 5:
                    os.write(ready[1], b"\n")
            linger()
        os.read(ready[0], 1)
        answer_text(id_, "begun")

    def tool_noise(self, id_: object, given: dict[str, Any]) -> None:
        """Say these bytes, then answer."""
        say(base64.b64decode(given["bytes"]))
        answer_text(id_, "said")

    def tool_say(self, id_: object, given: dict[str, Any]) -> None:
        """Say these bytes, and answer nothing; tell stderr when it is done."""
        say(base64.b64decode(given["bytes"]))
        write_all(2, b"said\n")

    def tool_flood(self, id_: object, given: dict[str, Any]) -> NoReturn:
        """Say notifications without end, and never read again."""
        number = 0
        while True:
            notify(number, "x" * given.get("bytes", 1))
            number += 1

    def tool_long_line(self, id_: object, given: dict[str, Any]) -> None:
        """Say a line of this many bytes that shows no id, and answer nothing."""
        say(b"x" * given["bytes"] + b"\n")

    def tool_big(self, id_: object, given: dict[str, Any]) -> None:
        answer_text(id_, "x" * given["bytes"])

    def tool_stderr(self, id_: object, given: dict[str, Any]) -> None:
        """Write this many bytes to stderr, then answer."""
        piece = b"e" * 65535 + b"\n"
        for _ in range(given["bytes"] >> 16):
            write_all(2, piece)
        answer_text(id_, "written")

    def tool_stderr_behind(self, id_: object, given: dict[str, Any]) -> None:
        """Let a child write this many bytes to stderr, which says one notification when it is done; answer at once."""
        if os.fork() == 0:
            piece = b"e" * 65535 + b"\n"
            for _ in range(given["bytes"] >> 16):
                write_all(2, piece)
            notify(given["bytes"], "written")
            os._exit(0)
        answer_text(id_, "begun")

    def tool_mute(self, id_: object, given: dict[str, Any]) -> None:
        """Answer only when `unmute` is called."""
        self.muted.append(id_)

    def tool_unmute(self, id_: object, given: dict[str, Any]) -> None:
        for muted in (*self.muted, id_):
            answer_text(muted, "at last")

    def tool_notify(self, id_: object, given: dict[str, Any]) -> None:
        """Say as many notifications as asked for, numbered from 0, then answer."""
        for number in range(given["count"]):
            notify(number, "x" * given.get("bytes", 1))
        answer_text(id_, "notified")

    def tool_deaf(self, id_: object, given: dict[str, Any]) -> None:
        """Answer with the pid, then read no more until `RESUME`; say a notification at each `WAKE`."""
        answer_text(id_, str(os.getpid()))
        while signal.sigwait((WAKE, RESUME)) == WAKE:
            notify(0, "awake")

    def tool_close_stdin(self, id_: object, given: dict[str, Any]) -> None:
        """Answer, and be there without ever reading again."""
        os.close(0)
        answer_text(id_, "closed")
        while True:
            signal.pause()

    def tool_close_stdout(self, id_: object, given: dict[str, Any]) -> None:
        os.close(1)
        while True:
            signal.pause()

    def tool_ask_roots(self, id_: object, given: dict[str, Any]) -> None:
        """Ask the client for its roots as many times as told, then answer."""
        for number in range(given["count"]):
            say(encode({"jsonrpc": "2.0", "id": number, "method": "roots/list"}))
        answer_text(id_, "asked")

    def tool_elicit(self, id_: object, given: dict[str, Any]) -> None:
        """Ask the client's person for a name, under the id 0; answer with what they answer."""
        self.eliciting[0] = id_
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        asked = {"message": "Which name?", "requestedSchema": schema}
        say(encode({"jsonrpc": "2.0", "id": 0, "method": "elicitation/create", "params": asked}))

    def leave_orphan(self, path: str) -> None:
        """Start a process whose parent ends at once: in a session of its own, ignoring TERM; write its pid."""
        if os.fork() == 0:
            if os.fork() == 0:
                write(path, b"%d\n" % os.getpid())
                linger()
            os._exit(0)
        os.wait()


def linger() -> NoReturn:
    """Be there until killed, in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    while True:
        signal.pause()


def become_daemon(path: str) -> None:
    """Go on in a session of one's own as an orphan: write the new pid, then let the parent end with status 0."""
    ready = os.pipe()
    if os.fork() != 0:
        os.read(ready[0], 1)
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    write(path, b"%d\n" % os.getpid())
    os.write(ready[1], b"\n")
    os.close(ready[0])
    os.close(ready[1])


def report() -> dict[str, Any]:
    """Say what this process was given."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - as above
        environment = file.read().decode(errors="surrogateescape").split("\0")[:-1]
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - as above
        try:
            descriptors[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - as above
        except OSError:
            continue  # the directory itself
    return {
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "parent": os.getppid(),
        "cwd": os.getcwd(),  # noqa: PTH109 - as above
        "environment": environment,
        "descriptors": descriptors,
    }


def answer(id_: object, result: dict[str, Any]) -> None:
    say(encode({"jsonrpc": "2.0", "id": id_, "result": result}))


def answer_text(id_: object, text: str) -> None:
    answer(id_, {"content": [{"type": "text", "text": text}]})


def notify(number: int, text: str) -> None:
    params = {"level": "info", "data": {"number": number, "text": text}}
    say(encode({"jsonrpc": "2.0", "method": "notifications/message", "params": params}))


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def say(data: bytes) -> None:
    write_all(1, data)


def write(path: str, data: bytes) -> None:
    """Append to a file in one write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, data)
    os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


if __name__ == "__main__":
    sys.exit(Server(sys.argv[1:]).run())
