"""Compares the product's decoder with a second strict reader, over lines that are nearly messages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuzz.fuzzing import examples, smallest
from fuzz.lines import any_line, lines_of
from fuzz.strict_json import (
    HIDDEN_LINE_ENDS,
    Refused,
    Text,
    are_same,
    classify,
    examine,
    is_id,
    plain_id,
    read,
    readable,
)
from mcpguard.protocol.salvage import find_id
from mcpguard.protocol.wire import CLIENT, UPSTREAM, Malformed, decode

if TYPE_CHECKING:
    from fuzz.strict_json import Side

CORPUS = Path(__file__).parent.parent / "corpus"
SIDES: tuple[Side, Side] = (CLIENT, UPSTREAM)


def test_two_strict_readers_agree_about_every_line() -> None:
    cases = corpus_lines()
    seen: Counter[str] = Counter()
    for random in examples(12_000):
        side = random.choice(SIDES)
        line = any_line(random, side, cases)
        problem = disagreement(line, side, seen)
        if problem:
            line = smallest(line, lambda less, side=side: differs(less, side))  # type: ignore[misc]
            pytest.fail(f"decode({line!r}, {side!r}): {disagreement(line, side)}")
    # Both answers were given often, or the fuzzer has gone blind.
    assert seen["accepted"] * 5 > seen.total()
    assert seen["refused"] * 5 > seen.total()


def differs(line: bytes, side: Side) -> bool:
    return bool(disagreement(line.replace(b"\n", b"") + b"\n", side))


def disagreement(line: bytes, side: Side, seen: Counter[str] | None = None) -> str:
    """Say what the decoder does with a line that the second reader would not; empty if nothing."""
    text, reading, why = None, None, ""
    try:
        text = examine(line)
        reading = classify(text, side)
    except Refused as refused:
        why = str(refused)
    if seen is not None:
        seen["refused" if reading is None else "accepted"] += 1
    try:
        message = decode(line, side)
    except Malformed as malformed:
        if reading is not None and not (text is not None and text.strange_exponents and side == CLIENT):
            return f"refused ({malformed.reason}), and it is a {reading.kind}"
        return "" if text is None else wrongly_answered(text, malformed, line)
    if reading is None:
        return f"accepted, and it is none: {why}"
    body = message.params if message.result is None else message.result
    if not are_same(reading.body, body):
        return f"read as {body!r}"
    method = None if reading.method is None else readable(reading.method)
    if (type(message.id), message.id, message.method) != (type(reading.id), reading.id, method):
        return f"read with the id {message.id!r} and the method {message.method!r}"
    if (message.result is not None) is not (reading.kind == "result"):
        return f"taken for another kind than {reading.kind}"
    return changed(line, message.line, reading.value, side)


def wrongly_answered(text: Text, malformed: Malformed, line: bytes) -> str:
    """Say whom the answer to a refused line, which is JSON, would reach by mistake."""
    shown = [plain_id(value) for name, value in text.top if name == "id" and is_id(value)]
    answered = find_id(line, line) if malformed.shape is None else malformed.id
    wrong = answered is not None and (type(answered), answered) not in [(type(id_), id_) for id_ in shown]
    return f"answered under {answered!r}" if wrong else ""


def changed(line: bytes, forwarded: bytes, value: dict[str, Any], side: Side) -> str:
    """Say what is wrong with the line that would be sent on."""
    hidden = [end for end in HIDDEN_LINE_ENDS if end.encode() in forwarded]
    if hidden or not forwarded.endswith(b"\n") or forwarded.count(b"\n") != 1:
        return f"forwarded as more than one line, to some: {forwarded!r}"
    if not any(end.encode() in line for end in HIDDEN_LINE_ENDS) and forwarded != line:
        return f"forwarded in other bytes than it came, without need: {forwarded!r}"
    try:
        again = read(forwarded, side)
    except Refused as refused:
        return f"forwarded as what is no message ({refused}): {forwarded!r}"
    return "" if again.value == value else f"forwarded with another meaning: {forwarded!r}"


def corpus_lines() -> list[bytes]:
    """Give the lines of the corpus of cases, if there is one: all that looks like a message in its files."""
    found = []
    for path in sorted(CORPUS.rglob("*.json*")):
        for text in (
            path.read_text(errors="surrogateescape").splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        ):
            try:
                found += lines_of(json.loads(text))
            except ValueError:
                continue
    return found
