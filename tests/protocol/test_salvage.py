"""Checks what of a line that could not be read can still be known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol.salvage import find_id, guess_shape, is_object_like


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        pytest.param('{"jsonrpc":"2.0","id":7,"result":{"a":NaN}}\n', 7, id="second member"),
        pytest.param('{"id":"a\\u0062","result":{}}x\n', "ab", id="first member, a string with an escape"),
        pytest.param('{"jsonrpc":"2.0","method":"m","id":-3,"params":{{}}\n', -3, id="third member"),
        pytest.param('{"jsonrpc":"2.0","result":{"a":NaN},"id":8}\n', 8, id="last member"),
        pytest.param('{"result":{"id":9,"a":NaN},"id":8,"jsonrpc":"2.0"}  \r\n', 8, id="last but one"),
        pytest.param('{"result":{"a":NaN,"id":9}}\n', None, id="only inside"),
        pytest.param('{"jsonrpc":"2.0","params":{"a":NaN,"id":5}\n', None, id="inside, with a brace missing"),
        pytest.param('{"jsonrpc":"2.0","result":{"a":"}","b":NaN,"id":5}\n', None, id="inside, a brace in a string"),
        pytest.param('{"id":1,"result":{},"id":2}\n', None, id="two"),
        pytest.param('{"id":1,"id":1}\n', 1, id="twice the same"),
        pytest.param('{"id":1,"result":{"a":NaN},"id":1}\n', 1, id="the same at both ends"),
        pytest.param('{"id":1.5,"result":{"a":NaN}}\n', None, id="no integer"),
        pytest.param('{"id":01,"result":{}}\n', None, id="leading zero"),
        pytest.param('{"id":true,"result":NaN}\n', None, id="a boolean"),
        pytest.param('{"id":"\\ud800","result":{}}\n', None, id="a lone surrogate"),
        pytest.param('{"id":"unfinished\n', None, id="cut in the id"),
        pytest.param('{"id":12\n', 12, id="cut after the id"),
        pytest.param('{"a":{},"id":3,"b":{}}\n', None, id="between objects"),
        pytest.param('{"text":"\\",\\"id\\":5}"\n', None, id="in a string"),
        pytest.param("\n", None, id="nothing"),
    ],
)
def test_the_id_of_a_broken_line_is_found_or_none(line: str, id_: object) -> None:
    found = find_id(line.encode(), line.encode())
    assert (found, type(found)) == (id_, type(id_))


def test_an_id_is_found_in_the_first_and_in_the_last_bytes_of_a_line_over_the_limit() -> None:
    long = b'{"x":"' + b"y" * 10_000
    assert find_id(b'{"jsonrpc":"2.0","id":4,"result":' + long[:4000], long[-4096:] + b'"}}\n') == 4
    assert find_id(long[:4096], b'yyy"}],"id":"z","jsonrpc":"2.0"}\n') == "z"
    assert find_id(b'{"id":4,"result":' + long[:4000], b'yy"},"id":5}\n') is None
    assert find_id(long[:4096], b'"params":{"id":5}}\n') is None


def test_the_braces_of_a_very_long_line_are_not_counted() -> None:
    line = b'{"result":{"a":[NaN,"' + b"y" * (1 << 20) + b'"]},"id":3}\n'
    assert find_id(line, line) == 3


@pytest.mark.parametrize(
    ("head", "tail", "shape"),
    [
        pytest.param(b'{"id":1,"method":"m","params":{"result":', b"", "call", id="method first"),
        pytest.param(b'{"id":1,"result":{"method":', b"", "answer", id="result first"),
        pytest.param(b'{"id":1,"ERROR" : {', b"", "answer", id="another case"),
        pytest.param(b'{"id":1,"params":{"error":1', b"", "call", id="params first"),
        pytest.param(b'{"id":1,"x":"' + b"y" * 5000, b'"method":"m"}', "call", id="in the tail"),
        pytest.param(b'{"id":1,"x":"result"', b'"y"}', "", id="nowhere"),
    ],
)
def test_what_a_broken_line_was_meant_as_is_guessed_from_its_first_telling_member(
    head: bytes, tail: bytes, shape: str
) -> None:
    assert guess_shape(head, tail) == shape


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_looking_for_an_id_never_raises(head: bytes, tail: bytes) -> None:
    for line in (head, b'{"id":' + head, b'{"id":"' + head + b'"', head + b',"id":1}' + tail):
        assert find_id(line, line + tail) is None or not isinstance(find_id(line, line + tail), bool)
        find_id(line, line)


def test_a_line_looks_like_an_object_by_its_first_character() -> None:
    assert is_object_like(b' \t\r{"a"')
    assert not is_object_like(b"[{}]")
    assert not is_object_like(b"")
