"""Checks what of a list is cut out, what is kept of the names, and that all else keeps every byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol.lists import (
    LISTS,
    Listing,
    foreign_members,
    read_sheet,
    show_once,
    write_page,
)
from mcpguard.protocol.wire import UPSTREAM, Malformed, Message, decode

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Shown:
    line: bytes
    next_cursor: str | None
    left_out: int
    ambiguous: list[str]
    unclean: list[str]
    cleaned: list[tuple[str, int]]


def message(result: str) -> Message:
    return decode(b'{"jsonrpc":"2.0","id":1,"result":' + result.encode() + b"}\n", UPSTREAM)


def everything(_method: str, _name: str) -> bool:
    return True


def all_but(*names: str) -> Callable[[str, str], bool]:
    return lambda _, name: name not in names


def page(
    result: str,
    shows: Callable[[str, str], bool] = everything,
    *,
    listing: Listing | None = None,
    cursor: str | None = None,
    method: str = "tools/list",
) -> Shown:
    """Show everything that is not ambiguous and that `shows` shows."""
    said = message(result)
    sheet = read_sheet(said, method)
    names, ambiguous = show_once(listing or Listing(method), cursor, said.line, sheet)
    kept = [i for i, name in enumerate(names) if name is not None and name not in ambiguous and shows(method, name)]
    line, cleaned = write_page(said, sheet, kept)
    return Shown(line, sheet.next_cursor, len(names) - len(kept), ambiguous, sheet.unclean, cleaned)


def text_of(line: bytes) -> str:
    assert line.startswith(b'{"jsonrpc":"2.0","id":1,"result":')
    return line.decode().removeprefix('{"jsonrpc":"2.0","id":1,"result":').removesuffix("}\n")


def names_of(line: bytes, member: str = "tools") -> list[str]:
    return [item["name"] for item in json.loads(line)["result"][member]]


# One page


def test_a_list_of_which_all_is_shown_is_forwarded_as_it_came() -> None:
    result = '{ "tools" : [ {"name" : "a" , "x":1.10} ] , "ttlMs":99999999, "cacheScope":"public" }'
    shown = page(result)
    assert text_of(shown.line) == result
    assert (shown.left_out, shown.ambiguous, shown.next_cursor) == (0, [], None)


def test_what_is_left_keeps_its_order_and_every_byte() -> None:
    result = (
        '{"x":1.10, "tools" : [ {"name":"b","n":1e2} ,{"name":"a","big":9007199254740993}, {"name":"c","t":"\\u00e9\u00e9"}],'
        '"nextCursor":"","_meta":{"tools":[]}}'
    )
    shown = page(result, all_but("a"))
    assert text_of(shown.line) == (
        '{"x":1.10,"tools" : [{"name":"b","n":1e2},{"name":"c","t":"\\u00e9\u00e9"}],"nextCursor":"","_meta":{"tools":[]}}'
    )
    assert (shown.left_out, shown.next_cursor) == (1, "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"cacheScope":"public","ttlMs":60001', '"cacheScope":"private","ttlMs":60000'),
        ('"cacheScope":"private","ttlMs":60000', '"cacheScope":"private","ttlMs":60000'),
        ('"ttlMs":1.5', '"ttlMs":1.5'),
        ('"ttlMs":1e300', '"ttlMs":60000'),
        ('"ttlMs":"long"', '"ttlMs":60000'),
        ('"ttlMs":null', '"ttlMs":null'),
        ('"cacheScope":7', '"cacheScope":"private"'),
        ('"other":1', '"other":1'),
    ],
)
def test_a_page_with_something_left_out_is_private_and_lives_a_minute_at_most(before: str, after: str) -> None:
    result = '{"tools":[{"name":"a"}],' + before + "}"
    assert text_of(page(result, all_but("a")).line) == '{"tools":[],' + after + "}"
    assert text_of(page(result).line) == result


@pytest.mark.parametrize("item", ['"a"', "null", "{}", '{"name":null}', '{"name":1}', '{"title":"a"}', "[]"])
def test_what_has_no_name_is_left_out(item: str) -> None:
    for more in ("", ',"nextCursor":"2"'):
        shown = page('{"tools":[' + item + ',{"name":"b"}]' + more + "}")
        assert (names_of(shown.line), shown.left_out) == (["b"], 1)


@pytest.mark.parametrize(
    ("method", "item"),
    [
        ("tools/list", '{"name":"a","NAME":"b"}'),
        ("resources/list", '{"uri":"a","URI":"b"}'),
        ("resources/list", '{"uri":"a","Name":"b"}'),
        ("resources/templates/list", '{"uriTemplate":"a","uritemplate":"b"}'),
        ("prompts/list", '{"Name":"b"}'),
    ],
)
def test_an_item_with_a_name_in_another_case_is_refused_with_its_list(method: str, item: str) -> None:
    with pytest.raises(Malformed):
        page('{"' + LISTS[method][0] + '":[' + item + "]}", method=method)


@pytest.mark.parametrize("item", ['{"name":"a","Title":1}', '{"name":"a","inputSchema":{"NAME":1}}'])
def test_other_members_of_an_item_may_be_called_anything(item: str) -> None:
    assert page('{"tools":[' + item + "]}").left_out == 0


@pytest.mark.parametrize("where", ['"tools":[{"name":"\\udc00"}]', '"tools":[],"x":"\\ud800 "'])
def test_a_lone_surrogate_anywhere_in_a_list_is_refused(where: str) -> None:
    with pytest.raises(Malformed):
        page("{" + where + "}")


def test_a_pair_of_surrogates_and_other_escapes_are_text() -> None:
    result = '{"tools":[{"name":"\\ud83d\\ude00\\u0041"}]}'
    assert text_of(page(result, all_but("x")).line) == result
    assert page(result, all_but("\U0001f600A")).left_out == 1


# Names


def test_the_same_bytes_twice_pass_once() -> None:
    shown = page('{"tools":[{"name":"a"},{"name":"b"},{"name":"a"}]}')
    assert (names_of(shown.line), shown.ambiguous, shown.left_out) == (["a", "b"], [], 1)


@pytest.mark.parametrize("second", ['{"name":"a" }', '{"name":"\\u0061"}', '{"name":"a","x":1}'])
def test_one_name_for_two_items_is_left_out_and_named(second: str) -> None:
    shown = page('{"tools":[{"name":"a"},{"name":"b"},' + second + ',{"name":"a"}]}')
    assert (names_of(shown.line), shown.ambiguous) == (["b"], ["a"])


def test_what_is_hidden_counts_too_when_names_are_compared() -> None:
    assert page('{"tools":[{"name":"a"},{"name":"a","x":1}]}', all_but("a")).ambiguous == ["a"]


def test_pages_of_one_listing_are_compared_and_those_of_two_are_not() -> None:
    listing = Listing("tools/list")
    assert page('{"tools":[{"name":"a"}],"nextCursor":"x"}', listing=listing).ambiguous == []
    assert page('{"tools":[{"name":"a","x":1}]}', listing=listing, cursor="x").ambiguous == ["a"]
    assert page('{"tools":[{"name":"a","x":1}]}').ambiguous == []


def test_a_page_that_is_asked_for_again_is_compared_with_the_others_and_not_with_itself() -> None:
    listing = Listing("tools/list")
    page('{"tools":[{"name":"a"}],"nextCursor":"x"}', listing=listing)
    page('{"tools":[{"name":"b"}]}', listing=listing, cursor="x")
    again = page('{"tools":[{"name":"b","x":1},{"name":"b","x":1}]}', listing=listing, cursor="x")
    assert (text_of(again.line), again.ambiguous) == ('{"tools":[{"name":"b","x":1}]}', [])
    twice = page('{"tools":[{"name":"b"},{"name":"b","x":1},{"name":"a","x":1}]}', listing=listing, cursor="x")
    assert (names_of(twice.line), twice.ambiguous) == ([], ["b", "a"])


def test_a_third_item_of_an_ambiguous_name_says_nothing_new() -> None:
    listing = Listing("tools/list")
    page('{"tools":[{"name":"a"},{"name":"a","x":1}],"nextCursor":"2"}', listing=listing)
    third = page('{"tools":[{"name":"a","x":2}]}', listing=listing, cursor="2")
    assert (names_of(third.line), third.ambiguous) == ([], [])


items = st.builds(
    lambda name, more: {"name": name, **more},
    st.sampled_from(["a", "b", "c", "d", "\u2028", ""]),
    st.dictionaries(st.sampled_from(["x", "title"]), st.integers(0, 1), max_size=1),
)


@given(st.lists(items, max_size=8), st.sets(st.sampled_from(["a", "b", "c"])), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_page_shows_each_allowed_name_that_means_one_thing_once_and_in_order(
    listed: list[dict[str, Any]], hidden: set[str], more: bool
) -> None:
    result: dict[str, Any] = {"tools": listed} | ({"nextCursor": "n"} if more else {})
    shown = page(json.dumps(result), lambda _, name: name not in hidden)
    expected: list[dict[str, Any]] = []
    for item in listed:
        alike = [other for other in listed if other["name"] == item["name"]]
        if item["name"] not in hidden and all(other == item for other in alike) and item not in expected:
            expected.append(item)
    assert json.loads(shown.line)["result"] == result | {"tools": expected}
    assert shown.left_out == len(listed) - len(expected)


# Members that do not belong


def test_lists_are_foreign_to_every_other_method_and_the_own_list_is_not() -> None:
    result = {"tools": 1, "Prompts": 1, "resourcetemplates": 1, "RESOURCES": 1, "x": 1, "content": 1}
    assert foreign_members(result, "ping") == ["tools", "Prompts", "resourcetemplates", "RESOURCES"]
    assert foreign_members(result, "tools/list") == ["Prompts", "resourcetemplates", "RESOURCES"]
    assert foreign_members(result, "tools/call") == []
    assert foreign_members({"content": 1}, "ping") == []
