"""Checks that YAML says what the same JSON says, and that what could mislead is refused."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mcpguard.stores.json_text import read_json
from mcpguard.stores.yaml_text import read_yaml

TEXTS = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=8)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(lambda key: key != "<<"), inner, max_size=3)
    ),
    max_leaves=10,
)


def written(value: object, *, flow: bool) -> str:
    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = flow  # the representer takes it over when it is made, on the next line
    writer.representer.ignore_aliases = lambda _: True
    writer.dump(value, out)
    return out.getvalue()


@given(VALUES)
def test_what_a_yaml_writer_wrote_is_read_as_it_was(value: object) -> None:
    reading = read_yaml(written(value, flow=False))
    assert not reading.remarks
    assert reading.data == value
    assert set(reading.places) == set(read_json(json.dumps(value)).places)


@given(VALUES)
def test_what_a_yaml_writer_wrote_between_braces_is_read_as_it_was_or_refused(value: object) -> None:
    # The parser stumbles over plain text that begins with `?` or `:` there; it must not do so in silence.
    reading = read_yaml(written(value, flow=True))
    assert reading.remarks or reading.data == value


@given(VALUES, st.sampled_from([None, 2]))
def test_json_is_read_as_what_it_is(value: object, indent: int | None) -> None:
    reading = read_yaml(json.dumps(value, indent=indent))
    assert not reading.remarks
    assert reading.data == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("On", "On"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("Null", None),
        ("'null'", "null"),
        ('"1"', "1"),
        ("1", 1),
        ("+1", 1),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.5", Decimal("1.5")),
        (".5e1", Decimal(5)),
        ("1e9999999999999999999999", Decimal("Infinity")),
        ("1.2.3", "1.2.3"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    reading = read_yaml(f"a: {text}")
    assert not reading.remarks
    assert reading.data == {"a": value}
    assert isinstance(reading.data, dict)
    assert type(reading.data["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param("a: &x 1", 1, 4, "anchors have no place in a policy", id="an anchor"),
        pytest.param("&x a: 1", 1, 1, "anchors have no place in a policy", id="an anchor on a key"),
        pytest.param("a: *x", 1, 4, "aliases have no place in a policy", id="an alias"),
        pytest.param("<<: {}", 1, 1, "merge keys have no place in a policy", id="a merge key"),
        pytest.param("a: !!str 1", 1, 4, "tags have no place in a policy", id="a tag"),
        pytest.param("a: !x {}", 1, 4, "tags have no place in a policy", id="a tag on an object"),
        pytest.param("a: 2024-01-01", 1, 4, "dates, `.inf` and `.nan` have no place", id="a date"),
        pytest.param("a: 2024-01-01 10:00:00", 1, 4, "put quotes around `2024-01-01 10:00:00`", id="a time"),
        pytest.param("a: .inf", 1, 4, "put quotes around `.inf`", id="infinity"),
        pytest.param("1: a", 1, 1, "a key must be a string; put quotes around `1`", id="a number for a key"),
        pytest.param("true: a", 1, 1, "a key must be a string; put quotes around `true`", id="a boolean for a key"),
        pytest.param("? [a, {b: c}]\n: 1", 1, 3, "a key must be a string", id="a list for a key"),
        pytest.param(
            "{?a: 1}", 1, 3, 'put quotes around a name that begins with `?`: `"?a"`', id="a pattern in braces"
        ),
        pytest.param("[?a]", 1, 3, "put quotes around a name that begins with `?`", id="a pattern in brackets"),
        pytest.param("? a\n: 1", 1, 3, "put quotes around a name that begins with `?`", id="an explicit key"),
        pytest.param("*a : 1", 1, 1, "a key must be a string", id="an alias for a key"),
        pytest.param("a: 1\nb: 1\na: 2", 3, 1, "duplicate key `a`; the first is at line 1", id="a duplicate key"),
        pytest.param("--- a\n--- b", 2, 1, "a policy is one document", id="two documents"),
        pytest.param(
            "%YAML 1.1\n---\na: 1", 2, 1, "a policy is YAML 1.2; take out the directive", id="another version"
        ),
        pytest.param("@read: {}", 1, 1, "text that begins with `@` needs quotes", id="an at sign"),
        pytest.param("a: b: c", 1, 5, "wrong yaml: mapping values are not allowed here", id="two colons"),
        pytest.param("a:\n b\x07", 2, 3, "wrong yaml: special characters are not allowed", id="a control character"),
        pytest.param('a: "\\ud800"', 1, 4, "half of a surrogate pair is no character", id="half a character"),
        pytest.param('"\\ud800": a', 1, 1, "half of a surrogate pair is no character", id="half a character in a key"),
        pytest.param("[" * 100, 1, 65, "this is nested too deeply for a policy", id="deep nesting"),
    ],
)
def test_what_could_mislead_is_said_with_its_place(text: str, line: int, column: int, message: str) -> None:
    (remark,) = read_yaml(text).remarks
    assert message in remark.message.replace("wrong YAML", "wrong yaml")
    assert remark.position == (line, column)


def test_a_star_without_quotes_gets_a_hint() -> None:
    remarks = read_yaml("tools:\n  *: {}").remarks
    assert "text that begins with `*` needs quotes" in remarks[-1].message


def test_positions_are_those_of_the_text() -> None:
    places = read_yaml("a: [1, é, 2]\nb:\n  c:\n  d: 'x'\n").places
    assert places["/a/2"].value == (1, 11)
    assert places["/b"].key == (2, 1)
    assert places["/b/c"].value == places["/b/c"].key == (3, 3)
    assert (places["/b/d"].key, places["/b/d"].value) == ((4, 3), (4, 6))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a:", "nothing"),
        ("a: yes", "the string `yes`"),
        ("a: true", "`true`"),
        ("a: 1.0", "the number `1.0`"),
        ("a: []", "a list"),
        ("a: {}", "an object"),
    ],
)
def test_values_are_spoken_of_as_they_were_written(text: str, what: str) -> None:
    assert read_yaml(text).places["/a"].what == what
