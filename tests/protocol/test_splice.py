"""Checks that a line is changed in one place and keeps every other byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol import splice

TEXT = '{ "a" : 1.10 ,\t"\\u0062" : [ {"x" : "}]"} , "\\"," ,[ ]\t], "c":{"d":{"e":9007199254740993,"f":"\u2028"}}, "g":"" }'


def rewritten(text: str, changes: splice.Changes, start: int = 0) -> str:
    written, end = splice.rewrite(text, start, changes)
    assert end == json.JSONDecoder().raw_decode(text, start)[1]
    return written


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        pytest.param({}, '{"a" : 1.10,"\\u0062" : [ {"x" : "}]"} , "\\"," ,[ ]\t],', id="nothing"),
        pytest.param({"a": "2"}, '{"a" : 2,"\\u0062" : [', id="another value"),
        pytest.param({"a": None}, '{"\\u0062" : [', id="a member taken away"),
        pytest.param({"b": None}, '{"a" : 1.10,"c":{', id="a member with an escaped name"),
        pytest.param({"z": "true"}, ',"g":"","z":true}', id="a new member"),
        pytest.param({"z": None}, ',"g":""}', id="nothing to take away"),
        pytest.param({"z": {"y": "1"}}, ',"g":""}', id="nothing to change"),
        pytest.param({"a": {"y": "1"}}, '{"a" : 1.10,', id="nothing inside"),
        pytest.param({"c": {}}, '"c":{"d":{"e":', id="nothing to change inside"),
        pytest.param({"g": '"!"'}, ',"g":"!"}', id="the last value"),
        pytest.param({"c": {"d": {"f": None}}}, '"c":{"d":{"e":9007199254740993}},"g"', id="a member further inside"),
        pytest.param({"c": {"d": {"x": "1"}}}, '"f":"\u2028","x":1}},"g"', id="a new member further inside"),
        pytest.param({"b": {1: "0"}}, '"\\u0062" : [{"x" : "}]"},0,[ ]],"c"', id="an element"),
        pytest.param({"b": {0: {"x": None}, 2: None}}, '"\\u0062" : [{},"\\","],"c"', id="inside an element"),
    ],
)
def test_what_is_to_be_changed_is_changed_and_all_else_stays(changes: dict[str, splice.Change], written: str) -> None:
    assert written in rewritten(TEXT, changes)


def test_a_line_keeps_its_lf_and_gets_no_other() -> None:
    assert splice.rewrite_line(b' {"a":1, "b":2} \r\n', {"a": "3"}) == b'{"a":3,"b":2}\n'
    assert splice.rewrite_line(b"{ }\n", {}) == b"{}\n"


@pytest.mark.parametrize(
    ("gone", "written"),
    [
        ((), '[{"x" : "}]"},"\\",",[ ]]'),
        ((0, 2, 9), '["\\","]'),
        ((0, 1, 2), "[]"),
    ],
)
def test_elements_are_taken_away_by_their_place(gone: tuple[int, ...], written: str) -> None:
    assert rewritten(TEXT, dict.fromkeys(gone), splice.find(TEXT, "b")) == written


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
    changed = json.loads(rewritten(text, dict.fromkeys(gone)))
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
    gone = data.draw(st.sets(st.integers(0, len(items))))
    written = json.loads(rewritten(text, dict.fromkeys(gone)))
    assert written == [item for index, item in enumerate(items) if index not in gone]
