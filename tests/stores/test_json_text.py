"""Checks the reading that keeps positions, against the standard library's."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.stores.json_text import read_json
from mcpguard.stores.text import step

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


def pointers(value: object, at: str = "") -> set[str]:
    found = {at}
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        found |= pointers(item, step(at, key))
    return found


def first_character(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[0]


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_the_same_data_and_pointers_are_found_as_by_the_standard_library(
    value: object, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    reading = read_json(text)
    assert reading.complete
    assert not reading.remarks
    assert reading.data == json.loads(text, parse_float=Decimal)
    assert set(reading.places) == pointers(value)


@given(VALUES, st.sampled_from([None, 1]))
def test_positions_point_at_values_and_keys(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    lines = text.split("\n")
    reading = read_json(text)
    for pointer, place in reading.places.items():
        found: object = value
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]  # type: ignore[index]
        assert lines[place.value.line - 1][place.value.column - 1] == first_character(found)
        if place.key:
            key = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            assert lines[place.key.line - 1][place.key.column - 1 :].startswith(json.dumps(key, ensure_ascii=False))


@given(st.text(alphabet='{}[]",:\\ \nu0dtrue-1.e/', max_size=30))
def test_a_text_is_complete_without_remarks_only_if_the_standard_library_reads_it(text: str) -> None:
    reading = read_json(text)
    try:
        expected = json.loads(text, parse_float=Decimal)
    except ValueError:
        assert reading.remarks
        assert not reading.complete
        return
    assert reading.complete
    if not reading.remarks:
        assert reading.data == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param(
            '{"a": 1,\n}', 1, 8, "trailing comma; take out the `,` before `}`", id="trailing comma in an object"
        ),
        pytest.param("[1,]", 1, 3, "trailing comma; take out the `,` before `]`", id="trailing comma in a list"),
        pytest.param("{\n  // no\n}", 2, 3, "JSON has no comments; use a `$comment` key", id="line comment"),
        pytest.param('{"a": 1 /* no */}', 1, 9, "JSON has no comments", id="block comment"),
        pytest.param('{"a": 1} # no', 1, 10, "JSON has no comments", id="hash comment"),
        pytest.param("{'a': 1}", 1, 2, "strings stand in double quotes", id="single quotes"),
        pytest.param("{\u201ca\u201d: 1}", 1, 2, "strings stand in double quotes", id="curly quotes"),
        pytest.param("{a: 1}", 1, 2, "a key must stand in double quotes, not `a`", id="a bare key"),
        pytest.param('{"a" 1}', 1, 6, "expected `:` after the key `a`, not `1`", id="a missing colon"),
        pytest.param(
            '{"a": 1 "b": 2}', 1, 9, "expected `,` or the `}` that closes `{` of line 1", id="a missing comma"
        ),
        pytest.param('{"a":\n[1', 2, 3, "the `]` that closes `[` of line 2, and the file ends here", id="an open list"),
        pytest.param('{"a', 1, 2, 'this string has no closing `"`', id="an open string"),
        pytest.param('["a\nb"]', 1, 4, "a line break or control character in a string", id="a line break in a string"),
        pytest.param(r'["\q"]', 1, 3, "wrong escape in a string", id="an escape that is none"),
        pytest.param(r'["\u12"]', 1, 4, "wrong escape in a string", id="half an escape"),
        pytest.param(r'["\ud800"]', 1, 2, "half of a surrogate pair is no character", id="a lone surrogate"),
        pytest.param("[True]", 1, 2, "expected a value, not `True`; did you mean `true`?", id="a constant of Python"),
        pytest.param("[None]", 1, 2, "expected a value, not `None`; did you mean `null`?", id="None"),
        pytest.param("[NaN]", 1, 2, "expected a value, not `NaN`", id="not a number"),
        pytest.param("[-Infinity]", 1, 2, "expected a value, not `-Infinity`", id="infinity"),
        pytest.param("[01]", 1, 2, "expected a number as JSON writes it, not `01`", id="a leading zero"),
        pytest.param("[" + "1" * 5000 + "]", 1, 2, "this number has too many digits", id="a huge number"),
        pytest.param('{"a": 1,\n "a": 2}', 2, 2, "duplicate key `a`; the first is at line 1", id="a duplicate key"),
        pytest.param('{"a": 1, "\\u0061": 2}', 1, 10, "duplicate key `a`", id="a duplicate in other spelling"),
        pytest.param("[]]", 1, 3, "expected the end of the file, not `]`", id="more text"),
        pytest.param("\ufeff{}", 1, 1, "the file begins with a byte order mark", id="a byte order mark"),
        pytest.param("[" * 100, 1, 66, "this is nested too deeply for a policy", id="deep nesting"),
        pytest.param("", 1, 1, "expected a value, and the file ends here", id="nothing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, column: int, message: str) -> None:
    (remark,) = read_json(text).remarks
    assert message in remark.message
    assert remark.position == (line, column)


def test_every_duplicate_is_reported() -> None:
    reading = read_json('{"a": 1, "a": 2, "a": {"b": 1, "b": 2}}')
    assert [remark.rule for remark in reading.remarks] == ["/a", "/a", "/a/b"]
    assert reading.data == {"a": {"b": 2}}


def test_columns_count_characters() -> None:
    reading = read_json('{"\N{GRINNING FACE}é": 1}')
    assert reading.places["/\N{GRINNING FACE}é"].value == (1, 8)
