"""Says what a soak sends through the guard, and what has to come back for it.

Everything comes from one seed.  Knows no process; `soak_server.py` is what it expects at the other end.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

LIMITED_TO = 50
ROOMY = 1_000_000_000
SHOWN = ("echo", "big", "limited", "burst", "keyed", "ask", "stray", "counts")
"""The tools that a list shows under `POLICY`, in the order of the server."""

POLICY: dict[str, Any] = {
    "version": "1",
    "default": "deny",
    "hide": ["hid*"],
    "tools": {
        **{tool: {} for tool in SHOWN},
        "echo": {"rate_limit": {"max": ROOMY, "window": 1}},
        "denied": {"action": "deny", "reason": "the soak denies it"},
        "limited": {"rate_limit": {"max": LIMITED_TO, "window": "week"}},
        "burst": {"rate_limit": {"max": 20, "window": 1}},
        "keyed": {
            "limits": [
                {"window": 1, "max": 1, "per": "args.key"},
                {"window": 1, "max": ROOMY, "cost": "args.amount"},
            ]
        },
    },
}

WEIGHTS = {
    "echo": 600,
    "denied": 80,
    "unnamed": 30,
    "hidden": 30,
    "limited": 40,
    "burst": 30,
    "keyed": 40,
    "unknown": 30,
    "misspelt": 10,
    "broken": 10,
    "nameless": 10,
    "list": 20,
    "ping": 30,
    "cancelled": 40,
    "ask": 10,
    "stray": 10,
    "big": 2,
}
"""How often each kind of request is made, in a thousand or so."""

ADMITTED = frozenset(("echo", "big", "ask", "stray", "cancelled"))
JUDGED = ADMITTED | {"denied", "unnamed", "hidden", "limited", "burst", "keyed", "unknown", "misspelt"}
META = (
    ',"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
)
CANCEL = '{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{}}}}}\n'
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}\n'
ERA_CHANGES_EVERY = 1000
TEXTS = ("a", "P-1001", "caf\\u00e9 au lait", "x" * 200, '\\"quoted\\"', "x" * 3000)
"""As they stand in JSON, written as the server writes them."""


@dataclass(slots=True)
class Sent:
    """One request: its id as it stands in the line, what is written for it, and what is known about its answer.

    `right` is the whole answer where there is only one that is right, and empty otherwise.
    """

    id_: bytes
    data: bytes
    kind: str
    right: bytes
    is_modern: bool


class Mixture:
    """A stream of requests, each of a kind drawn from `WEIGHTS`; both eras of the protocol take turns."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - nothing here is a secret
        self._kinds = list(WEIGHTS)
        self._weights = list(WEIGHTS.values())
        self._number = 0
        self._limited = 0
        self.sent: Counter[str] = Counter()
        self.notifications = 0

    def draw(self) -> Sent:
        """Make the next request."""
        (kind,) = self._random.choices(self._kinds, self._weights)
        return self.make(kind)

    def make(self, kind: str, size_bytes: int = 0) -> Sent:
        """Make a request of this kind; `size_bytes` is for what an `echo` sends and a `big` gets."""
        random = self._random
        self._number += 1
        self.sent[kind] += 1
        number = self._number
        is_modern = number // ERA_CHANGES_EVERY % 2 == 1
        id_ = f'"c{number}"' if number % 7 == 0 else str(number)
        text = kind
        arguments = ""
        match kind:
            case "echo" | "cancelled":
                text = "x" * size_bytes or random.choice(TEXTS)
                arguments = f'"text":"{text}"'
            case "big":
                size_bytes = size_bytes or random.randrange(100_000, 1_000_000)
                arguments, text = f'"bytes":{size_bytes}', "x" * size_bytes
            case "keyed":
                arguments = f'"key":"k{random.randrange(number // 2, number + 1)}","amount":{random.randrange(1000)}.25'
        tool = "echo" if kind == "cancelled" else kind
        method, params = "tools/call", f'"name":"{tool}","arguments":{{{arguments}}}'
        match kind:
            case "unknown" | "misspelt":
                method, params = "x/unknown" if kind == "unknown" else "Tools/Call", '"a":1'
            case "nameless":
                params = '"name":1'
            case "list" | "ping":
                method, params = ("tools/list" if kind == "list" else "ping"), '"a":1'
        meta = META if is_modern else ""
        line = f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}","params":{{{params}{meta}}}}}\n'
        if kind == "broken":
            line = line.replace('"arguments"', '"name"')
        if kind == "cancelled":
            line += CANCEL.format(id_)
        data = line.encode()
        if number % 50 == 0:
            data += PROGRESS
            self.notifications += 1
        return Sent(id_.encode(), data, kind, self._right(kind, id_, text), is_modern)

    def _right(self, kind: str, id_: str, text: str) -> bytes:
        if kind == "limited":
            self._limited += 1
        if kind == "ping":
            return f'{{"jsonrpc":"2.0","id":{id_},"result":{{}}}}'.encode()
        text = "asked" if kind == "ask" else text
        certain = kind in ADMITTED or (kind == "limited" and self._limited <= LIMITED_TO)
        return answer_of(id_, text) if certain else b""


def answer_of(id_: str, text: str) -> bytes:
    """Write the answer of the server, as it writes it, to a call that is answered with this text."""
    return f'{{"jsonrpc":"2.0","id":{id_},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}'.encode()


def is_right(sent: Sent, line: bytes) -> bool:
    """Whether a line is a right answer to a request."""
    if sent.right:
        return line == sent.right
    match sent.kind:
        case "denied":
            return is_refusal(sent, line, "denied")
        case "unnamed":
            return is_refusal(sent, line, "default_deny")
        case "limited":
            return is_refusal(sent, line, "rate_limited")
        case "burst" | "keyed":
            return was_admitted(sent, line) or is_refusal(sent, line, "rate_limited")
        case "hidden" | "nameless":
            return error_code(line) == -32602
        case "unknown" | "misspelt":
            return error_code(line) == -32601
        case "broken":
            return error_code(line) == -32700
        case _:
            return [tool["name"] for tool in json.loads(line)["result"]["tools"]] == list(SHOWN)


def was_admitted(sent: Sent, line: bytes) -> bool:
    """Whether a line is the server's answer to a call that a limit may let pass."""
    return line == answer_of(sent.id_.decode(), sent.kind)


def is_refusal(sent: Sent, line: bytes, code: str) -> bool:
    """Whether a line is the refusal of a tool call, in the words of the era of its request."""
    result = json.loads(line).get("result", {})
    decision = result.get("_meta", {}).get("mcpguard/decision", {})
    told = result.get("resultType") == "complete"
    return result.get("isError") is True and decision.get("code") == code and told is sent.is_modern


def error_code(line: bytes) -> object:
    """Give the code of an error."""
    return json.loads(line).get("error", {}).get("code")
