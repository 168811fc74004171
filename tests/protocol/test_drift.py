"""Checks when a tool counts as changed, and what is remembered of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.policy.canonical import canonical
from mcpguard.protocol import drift
from mcpguard.protocol.drift import Definitions


def line(*items: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":{"tools":[' + ",".join(items).encode() + b"]}}\n"


def see(definitions: Definitions, *items: str) -> list[tuple[str, str]]:
    return definitions.see(line(*items), [json.loads(item)["name"] for item in items])


def changed(first: str, second: str) -> str:
    """Name what changed between two definitions of the tool `t`; also beside others, and against a page that was cut up."""
    alone, among = Definitions(), Definitions()
    assert see(alone, first) == []
    assert see(among, '{"name":"a"}', first, '{"name":"z"}') == []
    assert see(among, '{"name":"z"}') == []
    found = see(alone, second)
    assert see(among, second, '{"name":"new"}') == found
    assert alone.has_faults is among.has_faults is bool(found)
    assert bool(alone.fault("t")) is bool(found)
    return dict(found).get("t", "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"name":"t","n":1}', '{"name":"t","n":1}'),
        ('{"name":"t","n":1}', '{ "n" : 1 , "name" : "t" }'),
        ('{"name":"t","n":1}', '{"name":"\\u0074","n":1.0}'),
        ('{"name":"t","n":1}', '{"name":"t","n":10e-1}'),
        ('{"name":"t","n":0}', '{"name":"t","n":-0.0}'),
        ('{"name":"t","n":123456789012345678901234567890}', '{"name":"t","n":12345678901234567890123456789e1}'),
        ('{"name":"t","d":"\u00e9\u200b"}', '{"name":"t","d":"\\u00e9\\u200B"}'),
        ('{"name":"t","s":{"a":[1,{"b":2,"c":3}]}}', '{"name":"t","s":{"a":[1,{"c":3,"b":2}]}}'),
    ],
)
def test_the_same_definition_in_another_spelling_is_no_change(first: str, second: str) -> None:
    assert changed(first, second) == ""
    assert changed(second, first) == ""


@pytest.mark.parametrize(
    ("first", "second", "members"),
    [
        ('"description":"a"', '"description":"b"', "description"),
        ('"description":"a"', '"description":"a\\u200b"', "description"),
        ('"description":"a"', "", "description"),
        ("", '"outputSchema":{}', "outputSchema"),
        ('"x":null', "", "x"),
        ('"n":9007199254740993', '"n":9007199254740992', "n"),
        ('"n":0.1', '"n":0.1000000000000000055511151231257827', "n"),
        ('"n":1', '"n":true', "n"),
        ('"n":1', '"n":"1"', "n"),
        ('"n":[1,2]', '"n":[2,1]', "n"),
        ('"b":1,"a":1', '"a":2,"b":2', "a, b"),
        (
            '"inputSchema":{"properties":{"a":{"enum":[1]}}}',
            '"inputSchema":{"properties":{"a":{"enum":[2]}}}',
            "inputSchema",
        ),
        ('"\\u202e`":1', '"\\u202e`":2', "'\\u202e`'"),
        (f'"{"m" * 50}":1', f'"{"m" * 50}":2', "m" * 40 + "\u2026"),
        ("", ",".join(f'"m{i}":1' for i in range(8)), "m0, m1, m2, m3, m4, m5, m6, m7"),
        ("", ",".join(f'"m{i}":1' for i in range(9)), "m0, m1, m2, m3, m4, m5, m6, m7 and 1 more"),
        ('"n":1e-99999999999999999999', '"n":1e-99999999999999999998', "values that cannot be compared"),
    ],
)
def test_another_definition_is_a_change_and_its_members_are_named(first: str, second: str, members: str) -> None:
    def item(more: str) -> str:
        return '{"name":"t"' + (f",{more}" if more else "") + "}"

    assert changed(item(first), item(second)) == members
    assert changed(item(second), item(first)) == members


def test_what_cannot_be_compared_may_still_be_the_same() -> None:
    item = '{"name":"t","n":1e-99999999999999999999}'
    assert changed(item, item) == ""


def test_a_changed_tool_stays_one_and_is_told_once() -> None:
    definitions = Definitions()
    first, second = '{"name":"t","description":"a"}', '{"name":"t","description":"b"}'
    see(definitions, first, '{"name":"other"}')
    assert see(definitions, second) == [("t", "description")]
    assert "(description)" in definitions.fault("t")
    for later in (first, second, '{"name":"t","title":"c"}'):
        assert see(definitions, later) == []
        assert "(description)" in definitions.fault("t")
    assert definitions.fault("other") == definitions.fault("unknown") == ""


def test_tools_that_a_page_leaves_out_are_passed_over() -> None:
    definitions = Definitions()
    page = line('{"name":"a"}', '{"name":"b"}')
    definitions.see(page, [None, None])
    assert definitions.see(page, ["a", None]) == []
    assert see(definitions, '{"name":"b","x":1}') == []
    assert see(definitions, '{"name":"a"}', '{"name":"b","x":1}') == []
    assert see(definitions, '{"name":"b"}') == [("b", "x")]


def test_while_tools_may_change_what_is_shown_is_what_is_known() -> None:
    definitions = Definitions()
    first, second = '{"name":"t","description":"a"}', '{"name":"t","title":"b"}'
    see(definitions, first)
    assert see(definitions, second) == [("t", "description, title")]
    definitions.permit(permitted=True)
    assert see(definitions, second) == [("t", "description, title")]
    assert definitions.fault("t") == ""
    assert see(definitions, second) == []
    definitions.permit(permitted=False)
    assert see(definitions, second) == []
    assert see(definitions, first) == [("t", "description, title")]
    assert definitions.fault("t")


def test_a_tool_that_was_not_shown_while_tools_might_change_is_still_one_that_changed() -> None:
    definitions = Definitions()
    see(definitions, '{"name":"t"}')
    see(definitions, '{"name":"t","x":1}')
    definitions.permit(permitted=True)
    definitions.permit(permitted=False)
    assert definitions.fault("t")
    definitions.permit(permitted=True)
    assert see(definitions, '{"name":"t"}') == []
    definitions.permit(permitted=False)
    assert definitions.fault("t") == ""


def test_the_text_of_a_definition_is_what_is_known_of_it_byte_by_byte() -> None:
    definitions = Definitions()
    assert definitions.text_of("t") is None
    first, second = '{ "name":"t", "n":1.10 }', '{"name":"t","n":2}'
    see(definitions, '{"name":"a"}', first, '{"name":"z"}')
    assert definitions.text_of("t") == first.encode()
    see(definitions, second)
    assert definitions.text_of("t") == first.encode()
    definitions.permit(permitted=True)
    see(definitions, second)
    assert definitions.text_of("t") == second.encode()
    assert definitions.text_of("z") == b'{"name":"z"}'


def test_the_state_is_another_one_after_every_change_of_what_is_known() -> None:
    definitions = Definitions()
    states = [definitions.state]
    for permitted, item, same in [
        (False, '{"name":"t"}', True),
        (False, '{"name":"t","x":1}', True),
        (True, '{"name":"t"}', False),
        (True, '{"name":"t","x":2}', False),
        (True, '{"name":"t","x":2}', True),
        (False, '{"name":"t","x":2}', False),
    ]:
        definitions.permit(permitted=permitted)
        see(definitions, item)
        assert (definitions.state in states) is same
        states.append(definitions.state)


# How much is remembered


def test_tools_beyond_those_that_are_remembered_are_not_to_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MAX_TOOLS", 3)
    definitions = Definitions()
    see(definitions, '{"name":"a"}', '{"name":"b"}')
    faults = [definitions.has_faults]
    assert see(definitions, '{"name":"c"}', '{"name":"d"}') == []
    assert see(definitions, '{"name":"a"}', '{"name":"e"}', '{"name":"f"}') == []
    assert [name for name in "abcdefg" if definitions.fault(name)] == ["c", "d", "f", "g"]
    assert [*faults, definitions.has_faults] == [False, True]
    assert "more tools" in definitions.fault("c")
    assert see(definitions, '{"name":"a","x":1}') == [("a", "x")]


def test_text_beyond_what_is_remembered_is_not_to_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MAX_BYTES", 200)
    definitions = Definitions()
    see(definitions, '{"name":"a"}')
    see(definitions, '{"name":"a"}', f'{{"name":"b","x":"{"y" * 200}"}}', '{"name":"c"}')
    see(definitions, f'{{"name":"d","x":"{"y" * 200}"}}')
    assert [name for name in "abcd" if definitions.fault(name)] == ["b", "d"]


def test_a_change_that_is_permitted_and_too_long_to_be_remembered_is_one_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "MAX_BYTES", 200)
    definitions = Definitions()
    definitions.permit(permitted=True)
    found = [see(definitions, f'{{"name":"c","x":"{"y" * length}"}}') for length in (100, 20, 300, 20, 300)]
    assert found == [[], [("c", "x")], [("c", "x")], [], [("c", "x")]]
    definitions.permit(permitted=False)
    assert definitions.fault("c") == ""
    assert see(definitions, f'{{"name":"c","x":"{"y" * 300}"}}') == [("c", "x")]
    assert definitions.fault("c")


# Laws

names = st.sampled_from(["description", "x", "y"])
numbers = st.sampled_from(["1", "1.0", "1e0", "2", "-0.0", "0", "0.10", "0.1", "9007199254740993", "9007199254740992"])
texts = st.sampled_from(['"a"', '"\\u0061"', '"b"', '"\\u200b"', "null", "true", "[]", "{}"])
values = st.recursive(
    st.one_of(numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: "[" + " , ".join(items) + "]"),
        st.dictionaries(names, inner, max_size=2).map(
            lambda members: "{" + ",".join(f'"{name}" :{value}' for name, value in members.items()) + "}"
        ),
    ),
    max_leaves=3,
)
items = st.permutations(["name", "description", "x"]).flatmap(
    lambda order: st.fixed_dictionaries({}, optional=dict.fromkeys(["description", "x"], values)).map(
        lambda members: (
            "{"
            + ",".join(
                f'"{n}":{({"name": json.dumps("t")} | members)[n]}' for n in order if n == "name" or n in members
            )
            + "}"
        )
    )
)


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@given(items, items)
@settings(max_examples=400, deadline=None)
def test_a_tool_has_changed_if_and_only_if_its_canonical_form_has(first: str, second: str) -> None:
    before, after = exact(first), exact(second)
    assert bool(changed(first, second)) is (canonical(before) != canonical(after))
