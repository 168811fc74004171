"""Writes hostile streams through one running guard, from both ends at once, and looks at what comes out at the other."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

from fuzz.fuzzing import SEED, examples
from fuzz.ledger import (
    CANCELLED,
    CLIENT_NOTICES,
    LISTEN,
    PASSING,
    ids_shown,
    is_unsettled,
    key_of,
    named_id,
    read_or_fail,
    read_or_none,
)
from fuzz.lines import any_line
from fuzz.shown import LISTED_IN
from mcpguard.protocol.salvage import find_id
from mcpguard.protocol.wire import CLIENT, UPSTREAM

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from fuzz.ledger import Key
    from support.guards import StartGuard
    from support.stdio import StdioPeer

POLICY = {"default": "deny", "tools": {"echo": {}, "fence": {}, "noise": {}}, "methods": {"x/unknown": "allow"}}
METHODS = {*PASSING, *LISTED_IN, LISTEN, "tools/call", "x/unknown"}
NOTICES = {*CLIENT_NOTICES, CANCELLED, "x/unknown"}


def test_a_guard_outlives_every_stream_and_owes_nobody_an_answer(start: StartGuard, tmp_path: Path) -> None:
    record = tmp_path / "received"
    peer = start(f"record={record}", policy=POLICY)
    peer.initialize(capabilities={"roots": {}})
    for number, random in enumerate(examples(450)):
        before, after, hostile = stream(random, CLIENT), stream(random, CLIENT), stream(random, UPSTREAM)
        try:
            exchange(peer, number, before, after, b"".join(hostile))
        except AssertionError as error:
            error.add_note(f"in exchange {number} of seed {SEED}; stderr: {peer.stderr_text()}")
            for who, lines in (("client", before), ("server", hostile), ("client", after)):
                error.add_note("\n".join([f"{who}:", *map(repr, lines)]))
            raise
    peer.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call"')
    peer.close_stdin()
    assert peer.wait() == 0
    assert "Traceback" not in peer.stderr_text()
    assert "internal error" not in peer.stderr_text()
    check_received(record.read_bytes().splitlines(keepends=True))


def stream(random: Random, side: str) -> list[bytes]:
    lines = [any_line(random, side, []) for _ in range(random.randrange(1, 8))]
    return [line for line in lines if not is_unsettled(line)]


def exchange(peer: StdioPeer, number: int, before: list[bytes], after: list[bytes], hostile: bytes) -> None:
    """Send lines of a client, let the server say something hostile, and wait for what all of it leads to.

    The second half of the lines is in flight while the server speaks, if the machine is quick enough.
    """
    heard = len(peer.lines)
    first = b"".join(before)
    peer.send(first[: len(first) // 3])
    peer.send(first[len(first) // 3 :])
    peer.send(call(f"noise {number}", "noise", {"bytes": base64.b64encode(hostile).decode()}))
    for line in after:
        peer.send(line)
    peer.send(call(f"fence {number}", "fence", {}))
    peer.receive(id=f"noise {number}")
    peer.receive(id=f"fence {number}")
    # Refusals of one batch may come after answers to what else was in it, but not after the next batch.
    last = peer.call("fence")
    assert "result" in last
    peer.drain()
    assert not peer.noise
    answered: Counter[Key] = Counter()
    ended: set[Key] = set()
    for text in peer.lines[heard:]:
        reading = read_or_fail(text + b"\n", UPSTREAM)
        if reading.method is None:
            answered[key_of(reading.id)] += 1
        elif reading.method == CANCELLED:
            ended.add(key_of(named_id(reading)))
    ours = Counter(key_of(id_) for id_ in (f"noise {number}", f"fence {number}", last["id"]))
    check_answers(answered, ended, [*before, *after], ours)


def call(id_: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"id": id_, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def check_answers(answered: Counter[Key], ended: set[Key], lines: list[bytes], used: Counter[Key]) -> None:
    """See that each id was answered as often as it was used, at most, and once at least where it was used well.

    `used` are ids that were used well besides those of the lines, `ended` what the server has ended in another way: subscriptions.
    """
    owed, cancelled = set(used), set(ended)
    for line in lines:
        reading = read_or_none(line, CLIENT)
        if reading is None:
            shown = ids_shown(line)
            for key in [key_of(find_id(line, line))] if shown is None else set(shown):
                used[key] += 1
        elif reading.kind == "request":
            used[key_of(reading.id)] += 1
            owed.add(key_of(reading.id))
        elif reading.method == CANCELLED:
            cancelled.add(key_of(named_id(reading)))
    assert not {key: count for key, count in answered.items() if count > used[key]}, "answered too often"
    assert not owed - cancelled - answered.keys(), "not answered"


def check_received(lines: list[bytes]) -> None:
    """See that the server got nothing but strict messages, of methods that the policy and the protocol let pass."""
    assert len(lines) > 500
    for line in lines:
        reading = read_or_fail(line, CLIENT)
        if reading.kind == "request":
            assert reading.method in METHODS
            assert reading.method != "tools/call" or reading.body["name"] in POLICY["tools"]
        elif reading.kind == "notification":
            assert reading.method in NOTICES
