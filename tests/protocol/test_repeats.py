"""Checks that a line that is known again is read as if it were not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol.lists import Sheet
from mcpguard.protocol.repeats import MAX_BYTES, MAX_LINES, MIN_BYTES, Repeats
from mcpguard.protocol.wire import UPSTREAM, Malformed, Message, decode

SHEET = Sheet("tools/list", [], None)
LONG = "x" * MIN_BYTES


def first(id_: Any, text: str = LONG, spaces: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": {"t": text}}, separators=spaces).encode() + b"\n"


def last(id_: Any, text: str = LONG, spaces: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps({"result": {"t": text}, "jsonrpc": "2.0", "id": id_}, separators=spaces).encode() + b"\n"


def kept(line: bytes, repeats: Repeats | None = None) -> tuple[Repeats, Message]:
    repeats, message = repeats or Repeats(), decode(line, UPSTREAM)
    repeats.keep(message, SHEET)
    return repeats, message


@pytest.mark.parametrize("make", [first, last])
@pytest.mark.parametrize("spaces", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("id_", [0, 7, 10, 123_456_789_012_345])
def test_the_same_line_under_another_id_is_known_again(make: Any, spaces: tuple[str, str], id_: int) -> None:
    repeats, message = kept(make(1, LONG, spaces))
    again = make(id_, LONG, spaces)
    known = repeats.recall(again)
    assert known is not None
    assert (known.id, known.method, known.params, known.line) == (id_, None, {}, again)
    assert known.result is message.result
    found = repeats.find(message.result or {}, "tools/list")
    assert found is not None
    assert found.sheet is SHEET
    assert repeats.find(message.result or {}, "prompts/list") is None
    assert repeats.find(dict(message.result or {}), "tools/list") is None


@pytest.mark.parametrize("make", [first, last])
@pytest.mark.parametrize(
    "id_", ["-1", "01", "00", "1.0", "1e0", '"1"', "", " 1", "1 ", "true", "1234567890123456", '1,"id":1', "\u0661"]
)
def test_any_other_id_is_for_the_reader_to_judge(make: Any, id_: str) -> None:
    repeats, _ = kept(make(1))
    line = make(777).replace(b"777", id_.encode())
    assert repeats.recall(line) is None


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(first(1, LONG + "y"), id="longer"),
        pytest.param(first(1, LONG[:-1] + "y"), id="another last letter"),
        pytest.param(first(1)[:-1], id="no end"),
        pytest.param(first(1, LONG, (", ", ": ")), id="other white space"),
        pytest.param(last(1), id="another order"),
        pytest.param(first(1).replace(b"result", b"errors"), id="another member"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_any_other_line_is_not_known(line: bytes) -> None:
    assert kept(first(1))[0].recall(line) is None


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(first(1, "short"), id="short"),
        pytest.param(first("1"), id="an id that is text"),
        pytest.param(b'{"jsonrpc":"2.0", "id":1,"result":{"t":"' + LONG.encode() + b'"}}\n', id="mixed white space"),
        pytest.param(b'{"result":{"t":"' + LONG.encode() + b'"},"id":1,"jsonrpc":"2.0"}\n', id="the id in the middle"),
        pytest.param(first(1).replace(b'"result":', b'"error":'), id="no result"),
        pytest.param(b" " + first(1), id="white space before"),
        pytest.param(first(1, "y" * (MAX_BYTES + 1)), id="too long"),
    ],
)
def test_lines_of_another_form_are_not_kept(line: bytes) -> None:
    assert kept(line)[0].recall(line) is None


def test_the_oldest_lines_make_room() -> None:
    repeats = Repeats()
    lines = [first(1, f"{index:04}{LONG}") for index in range(MAX_LINES + 1)]
    for line in lines:
        kept(line, repeats)
    assert [repeats.recall(line) is not None for line in lines] == [False] + [True] * MAX_LINES
    long = [first(1, letter * (MAX_BYTES // 2)) for letter in "abc"]
    for line in long:
        kept(line, repeats)
    assert [repeats.recall(line) is not None for line in (*lines, *long)] == [False] * (len(lines) + 2) + [True]


values = st.recursive(
    st.one_of(st.integers(0, 30), st.sampled_from(["id", '"id":1', "1", "}", ',"jsonrpc":"2.0","id":1}']), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["id", "jsonrpc", "x"]), inner)
    ),
    max_leaves=6,
)


@given(
    st.tuples(values, values),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.permutations(["jsonrpc", "id", "result", "more"]),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_what_is_known_again_is_what_the_reader_would_give(
    both: tuple[Any, Any], ids: tuple[int, int], order: list[str], tight: bool
) -> None:
    (one, other), (id_, later) = both, ids

    def said(id_: int, value: Any) -> bytes:
        members = {"jsonrpc": "2.0", "id": id_, "result": {"a": value, "pad": LONG}, "more": value}
        spaces = (",", ":") if tight else (", ", ": ")
        return json.dumps({name: members[name] for name in order}, separators=spaces).encode() + b"\n"

    repeats, _ = kept(said(id_, one))
    for line in (said(later, one), said(later, other), said(id_, other)):
        known = repeats.recall(line)
        if known is not None:
            read = decode(line, UPSTREAM)
            assert (known.id, known.result, known.line) == (read.id, read.result, read.line)


def test_a_line_that_the_reader_refuses_is_not_known() -> None:
    repeats, _ = kept(last(1))
    twice = last(1).replace(b'{"result"', b'{"id":1,"result"')
    with pytest.raises(Malformed):
        decode(twice, UPSTREAM)
    assert repeats.recall(twice) is None
