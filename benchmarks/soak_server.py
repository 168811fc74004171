"""Is the server of a soak: answers at once, counts what it gets, and now and then says something that nobody asked for.

Run by `soak.py`, as a script; needs the standard library only.  Words: `wrong` answers one call with another text, `lost` leaves one
unanswered, so that a soak can be seen to notice.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

NOTICE_EVERY = 50
SPOILED = 2000
"""Which call is spoiled, if one is."""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "description": "The text to give back."}}}


class Server:
    """One run: `counts` has how often each tool was called, and what else there was of each kind."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.out = bytearray()
        self.counts: dict[str, int] = {}
        self.calls = 0
        self.asked: dict[str, object] = {}
        """The call that waits for the client's answer, by the id of the question."""

    def run(self) -> None:
        """Serve until the input ends."""
        rest = b""
        while chunk := os.read(0, 1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.take(json.loads(line))
            self.write()

    def take(self, message: dict[str, Any]) -> None:
        """Do what one message asks for."""
        method, id_ = message.get("method"), message.get("id")
        params = message.get("params") or {}
        if method is None:
            self.answer_text(self.asked.pop(str(id_)), "asked")
        elif id_ is None:
            self.count(method)
        elif method == "tools/call":
            self.call(id_, params["name"], params.get("arguments") or {})
        elif method == "tools/list":
            self.answer(id_, {"tools": [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]})
        elif method == "initialize":
            info = {"name": "soak", "version": "1"}
            self.answer(id_, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
        elif method == "ping":
            self.answer(id_, {})
        else:
            self.count(method)
            self.say({"jsonrpc": "2.0", "id": id_, "error": {"code": -32601, "message": "no"}})

    def call(self, id_: object, tool: str, given: dict[str, Any]) -> None:
        """Answer a call."""
        if tool == "counts":
            self.answer_text(id_, json.dumps(self.counts))
            return
        self.count(tool)
        self.calls += 1
        if self.calls == SPOILED and "lost" in self.words:
            return
        if tool == "ask":
            question = f"s{self.calls}"
            self.asked[question] = id_
            self.say({"jsonrpc": "2.0", "id": question, "method": "roots/list"})
            return
        if tool == "stray":
            # None of this may reach the client, and its call is answered all the same.
            self.out += b"started in 3 ms\n" + b'{"level":"info"}\n' + b'{"jsonrpc":"2.0","id":"x","result":{}}\n\xff\n'
            self.answer_text(id_, "stray")
        text = "x" * given["bytes"] if tool == "big" else given.get("text", tool)
        self.answer_text(id_, "spoiled" if self.calls == SPOILED and "wrong" in self.words else text)
        if self.calls % NOTICE_EVERY == 0:
            self.count("notice")
            self.say(
                {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": self.calls}}
            )

    def count(self, what: str) -> None:
        """Count one more of these."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def answer_text(self, id_: object, text: str) -> None:
        """Answer a call with a text."""
        self.answer(id_, {"content": [{"type": "text", "text": text}]})

    def answer(self, id_: object, result: dict[str, Any]) -> None:
        """Answer a request."""
        self.say({"jsonrpc": "2.0", "id": id_, "result": result})

    def say(self, message: dict[str, Any]) -> None:
        """Say something, when all that was read is dealt with."""
        self.out += json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def write(self) -> None:
        """Write what is to be said."""
        rest = memoryview(bytes(self.out))
        self.out.clear()
        while rest:
            rest = rest[os.write(1, rest) :]


TOOLS = (
    *("echo", "big", "denied", "hidden", "limited", "burst", "keyed", "ask", "stray", "unnamed", "counts"),
    *(f"other_{number}" for number in range(30)),
)

if __name__ == "__main__":
    Server(sys.argv[1:]).run()
