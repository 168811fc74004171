"""Checks where lines end."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol.framing import KEPT_BYTES, LineReader, Overlong

slow = settings(max_examples=300, deadline=None)


def fed_whole(data: bytes, limit: int) -> list[bytes | Overlong]:
    return LineReader(limit).feed(data)


def fed_in_pieces(data: bytes, limit: int, sizes: list[int]) -> list[bytes | Overlong]:
    reader = LineReader(limit)
    lines: list[bytes | Overlong] = []
    at = 0
    for size in [*sizes, len(data)]:
        lines += reader.feed(data[at : at + size])
        at += size
    return lines


def shown(lines: list[bytes | Overlong]) -> list[object]:
    return [(line.head, line.tail, line.length) if isinstance(line, Overlong) else line for line in lines]


def expected_lines(data: bytes, limit: int) -> list[object]:
    lines: list[object] = []
    for part in data.split(b"\n")[:-1]:
        line = part + b"\n"
        if len(part) > limit:
            lines.append((line[:KEPT_BYTES], line[-KEPT_BYTES:], len(part)))
        elif part.strip():
            lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"a\nb\n", [b"a\n", b"b\n"], id="two lines"),
        pytest.param(b"a\r\nb\r\n", [b"a\r\n", b"b\r\n"], id="CRLF"),
        pytest.param(b"\n\r\n \t\na\n\n", [b"a\n"], id="blank lines around one"),
        pytest.param(b"a\n  \n", [b"a\n"], id="a blank line of spaces"),
        pytest.param(b"  \n", [], id="nothing but a blank line"),
        pytest.param(b"a\nb", [b"a\n"], id="a last line without LF"),
        pytest.param(b"\ra\x0b\x0c\xc2\x85b\n", [b"\ra\x0b\x0c\xc2\x85b\n"], id="nothing else ends a line"),
        pytest.param(b"12345678\n", [b"12345678\n"], id="exactly the limit"),
        pytest.param(b"123456789\n", [(b"123456789\n", b"123456789\n", 9)], id="one more than the limit"),
        pytest.param(b"123456789", [], id="too long and without LF"),
        pytest.param(
            b"123456789\nok\n", [(b"123456789\n", b"123456789\n", 9), b"ok\n"], id="a line after one too long"
        ),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_lines_end_at_lf_however_they_arrive(data: bytes, lines: list[object]) -> None:
    assert shown(fed_whole(data, 8)) == lines
    assert shown(fed_in_pieces(data, 8, [1] * len(data))) == lines
    assert shown(fed_whole(data + b"\nz", 8)) == shown(fed_whole(data + b"\n", 8))


@given(
    st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"a", b"12345678", b"9" * 5000, b"\xff\x00"]), max_size=20),
    st.lists(st.integers(0, 9000), max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_any_chunks_give_the_same_lines(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    for limit in (8, 5000):
        assert shown(fed_in_pieces(data, limit, sizes)) == shown(fed_whole(data, limit)) == expected_lines(data, limit)


def test_what_is_pending_is_the_line_that_has_not_ended() -> None:
    reader = LineReader(8)
    reader.feed(b"ab")
    assert reader.pending == 2
    reader.feed(b"\ncde")
    assert reader.pending == 3
    reader.feed(b"0" * 100)
    assert reader.pending == 103
    reader.feed(b"\n")
    assert reader.pending == 0


def test_a_line_over_the_limit_is_skipped_in_bounded_memory() -> None:
    reader = LineReader(10_000)
    piece = bytes(1000)
    tracemalloc.start()
    try:
        for _ in range(3000):
            assert not reader.feed(piece)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 40_000
    assert peak < 80_000
    (skipped,) = reader.feed(b"end\nx")
    assert isinstance(skipped, Overlong)
    assert skipped.length == 3_000_003
    assert (len(skipped.head), skipped.tail[-4:]) == (KEPT_BYTES, b"end\n")


def test_a_line_in_tiny_pieces_costs_no_more_memory_than_its_bytes() -> None:
    reader = LineReader(1_000_000)
    pieces = [b"ab", b"cd"]
    tracemalloc.start()
    try:
        for index in range(100_000):
            reader.feed(pieces[index % 2])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 400_000
