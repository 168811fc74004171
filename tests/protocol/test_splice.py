"""Checks that a line is changed in one place and keeps every other byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol import splice

TEXT = '{ "a" : 1.10 ,\t"\\u0062" : [ {"x" : "}]"} , "\\"," ,[ ]\t], "c":{"d":{"e":9007199254740993,"f":"\u2028"}}, "g":"" }'


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        pytest.param({}, '{"a" : 1.10,"\\u0062" : [ {"x" : "}]"} , "\\"," ,[ ]\t],', id="nothing"),
        pytest.param({"a": "2"}, '{"a" : 2,"\\u0062" : [', id="another value"),
        pytest.param({"a": None}, '{"\\u0062" : [', id="a member taken away"),
        pytest.param({"b": None}, '{"a" : 1.10,"c":{', id="a member with an escaped name"),
        pytest.param({"z": "true"}, ',"g":"","z":true}', id="a new member"),
        pytest.param({"z": None}, ',"g":""}', id="nothing to take away"),
        pytest.param({"z": lambda text, at: text[at]}, ',"g":""}', id="nothing to change"),
        pytest.param({"g": lambda text, at: text[at:] + "!"}, ',"g":"" }!}', id="by a function of the place"),
    ],
)
def test_members_are_changed_and_all_else_stays(changes: dict[str, splice.Change], written: str) -> None:
    assert written in splice.rewrite_object(TEXT, 0, changes)


def test_a_line_keeps_its_lf_and_gets_no_other() -> None:
    assert splice.rewrite_line(b' {"a":1, "b":2} \r\n', {"a": "3"}) == b'{"a":3,"b":2}\n'
    assert splice.rewrite_line(b"{ }\n", {}) == b"{}\n"


@pytest.mark.parametrize(
    ("kept", "written"),
    [
        ({0, 1, 2}, '[{"x" : "}]"},"\\",",[ ]]'),
        ({1}, '["\\","]'),
        (set(), "[]"),
    ],
)
def test_elements_are_kept_by_their_index_with_every_byte(kept: set[int], written: str) -> None:
    assert splice.rewrite_array(TEXT, splice.find(TEXT, "b"), kept) == written


def test_a_value_is_found_by_its_path() -> None:
    assert TEXT[splice.find(TEXT, "c", "d", "e") :].startswith("9007199254740993")
    assert splice.names(TEXT, splice.find(TEXT, "c", "d")) == ["e", "f"]
    with pytest.raises(KeyError):
        splice.find(TEXT, "c", "x")


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)
styles = st.sampled_from([(",", ":"), (" , ", " : "), (",\t", ":\r"), (", ", ": ")])


@given(st.dictionaries(st.text(max_size=3), values, max_size=4), styles, st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_rewriting_means_what_changing_the_object_would(
    members: dict[str, Any], style: tuple[str, str], ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(members, separators=style, ensure_ascii=ascii_only, allow_nan=True)
    gone = data.draw(st.sets(st.sampled_from(sorted(members)))) if members else set()
    changed = json.loads(splice.rewrite_object(text, 0, dict.fromkeys(gone)))
    assert changed == {name: value for name, value in members.items() if name not in gone}
    assert list(changed) == [name for name in members if name not in gone]
    assert splice.names(text, 0) == list(members)


@given(st.lists(values, max_size=5), styles, st.data())
@settings(max_examples=100, deadline=None)
def test_cutting_elements_means_what_cutting_the_list_would(
    items: list[Any], style: tuple[str, str], data: st.DataObject
) -> None:
    text = json.dumps(items, separators=style)
    places = splice.elements(text, 0)
    assert [json.loads(text[start:end]) for start, end in places] == items
    kept = data.draw(st.sets(st.integers(0, len(items))))
    written = json.loads(splice.rewrite_array(text, 0, kept))
    assert written == [item for index, item in enumerate(items) if index in kept]
