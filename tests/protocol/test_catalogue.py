"""Holds conversations about lists: what a session remembers of them, and what it refuses for that from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol import catalogue, drift
from mcpguard.protocol.catalogue import MAX_OPEN_LISTINGS, Catalogue
from mcpguard.protocol.commands import Forward, Note
from mcpguard.protocol.lists import Listing
from mcpguard.protocol.repeats import MIN_BYTES
from mcpguard.protocol.wire import UPSTREAM, decode, encode
from support.conversation import (
    Conversation,
    Policy,
    call,
    error,
    modern,
    noted,
    refused,
    request,
    result,
    to_client,
    to_server,
)

if TYPE_CHECKING:
    from support.conversation import Happening, Json

X = "\u200b"
LONG = "y" * MIN_BYTES


def tool(name: str, **members: Any) -> Json:
    return {"name": name, "inputSchema": {}, **members}


def listed(talk: Conversation, id_: int, *items: Json, method: str = "tools/list", **more: Any) -> list[Happening]:
    """Ask for a list and answer with these items; `cursor` is asked for, everything else goes into the answer."""
    member = {"prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resourceTemplates"}
    cursor = {"cursor": more.pop("cursor")} if "cursor" in more else {}
    talk.client(request(id_, method, **cursor))
    return talk.server(result(id_, **{member.get(method, "tools"): list(items)}, **more))


def shown(happened: list[Happening]) -> list[str]:
    (message,) = [said for what, said in happened if what == "to client"]
    (items,) = [value for value in message["result"].values() if isinstance(value, list)]
    return [item["name"] for item in items]


def notes(talk: Conversation, id_: int, answer: Json, method: str = "tools/list") -> list[tuple[str, str]]:
    talk.client(request(id_, method))
    commands = talk.session.receive(UPSTREAM, encode(result(id_, **answer)), 0)
    return [(command.kind, command.detail) for command in commands if isinstance(command, Note)]


# Tools that change


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("newer", [False, True])
def test_a_tool_that_changes_is_left_out_and_refused_from_then_on(long: bool, newer: bool) -> None:
    talk = Conversation()
    first, second = tool("a", description=LONG if long else "x"), tool("a", description="y", title="z")
    assert shown(listed(talk, 1, first, tool("b"))) == ["a", "b"]
    assert talk.client(call(2, "a")) == [to_server(call(2, "a"))]
    assert listed(talk, 3, second, tool("b")) == [noted("drift"), to_client(result(3, tools=[tool("b")]))]
    said = modern(call(4, "a")) if newer else call(4, "a")
    assert talk.client(said) == [to_client(refused(4, "drift", modern=newer))]
    for id_, items in enumerate(((first, tool("b")), (second, tool("b")), (second, tool("b"))), 5):
        assert listed(talk, id_, *items) == [to_client(result(id_, tools=[tool("b")]))]
        assert talk.client(call("x", "a")) == [to_client(refused("x", "drift"))]
    assert talk.client(call(8, "b")) == [to_server(call(8, "b"))]


def test_the_refusal_and_the_record_name_what_changed() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a", description="x"))
    changed = {"tools": [tool("a", description="y", title="z")]}
    assert notes(talk, 2, changed) == [
        ("drift", "definitions that changed during the session, left out and refused: `a` (description, title)")
    ]
    assert talk.client(call(3, "a")) == [to_client(refused(3, "drift"))]
    fault = talk.judged[-1].fault
    assert fault is not None
    assert fault[0] == "drift"
    assert "(description, title)" in fault[1]


def test_a_change_counts_on_any_page_under_any_cursor() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a"), nextCursor="2")
    listed(talk, 2, tool("b"), cursor="2")
    assert listed(talk, 3, tool("a", x=1), cursor="made up")[0] == noted("drift")
    assert listed(talk, 4, tool("b", x=1), nextCursor="2")[0] == noted("drift")
    assert shown(listed(talk, 5, tool("a"), tool("b"), tool("c"))) == ["c"]


def test_a_page_of_one_listing_that_is_read_again_and_shows_another_tool_has_changed() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a"), nextCursor="2")
    listed(talk, 2, tool("b"), cursor="2")
    assert listed(talk, 3, tool("b", x=1), cursor="2") == [noted("drift"), to_client(result(3, tools=[]))]
    assert talk.client(call(4, "b")) == [to_client(refused(4, "drift"))]


def test_one_name_for_two_tools_in_one_listing_is_no_change() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a"), tool("b"), nextCursor="2")
    assert listed(talk, 2, tool("a", x=1), cursor="2") == [noted("ambiguous"), to_client(result(2, tools=[]))]
    assert talk.client(call(3, "a")) == [to_client(refused(3, "malformed"))]
    assert listed(talk, 4, tool("a", x=2), tool("b")) == [to_client(result(4, tools=[tool("b")]))]


def test_a_tool_that_changed_is_refused_whatever_another_listing_shows_meanwhile() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a"), nextCursor="2")
    talk.client(request(2, "tools/list"))
    talk.client(request(3, "tools/list", cursor="2"))
    assert talk.server(result(3, tools=[tool("b")])) == [to_client(result(3, tools=[tool("b")]))]
    assert talk.server(result(2, tools=[tool("a", x=1), tool("b")]))[0] == noted("drift")
    assert talk.client(call(4, "a")) == [to_client(refused(4, "drift"))]


def test_what_the_policy_does_not_show_may_change_unseen_and_is_not_shown_later() -> None:
    policy = Policy(hidden={"a"})
    talk = Conversation(policy)
    first, second = [tool("a"), tool("b")], [tool("a", x=1), tool("b")]
    before = listed(talk, 1, *first)
    after = listed(talk, 1, *second)
    assert (before, after) == ([to_client(result(1, tools=[tool("b")]))], [noted("drift"), *before])
    policy.hidden.clear()
    assert shown(listed(talk, 2, *second)) == ["b"]


@pytest.mark.parametrize("method", ["prompts/list", "resources/list", "resources/templates/list"])
def test_only_tools_drift(method: str) -> None:
    talk = Conversation()
    keys = {"uri": "a", "uriTemplate": "a", "name": "a"}
    listed(talk, 1, keys, method=method)
    assert shown(listed(talk, 2, {**keys, "title": "other"}, method=method)) == ["a"]
    listed(talk, 3, tool("a"))
    assert shown(listed(talk, 4, tool("a"))) == ["a"]


@pytest.mark.parametrize("text", ["x", LONG])
def test_a_policy_that_permits_changes_lets_them_through_and_they_are_recorded(text: str) -> None:
    talk = Conversation(Policy(drift=True))
    first, second = tool("a", description=text), tool("a", description=text + "!")
    listed(talk, 1, first)
    for id_, item in ((2, second), (3, first), (4, second)):
        assert listed(talk, id_, item) == [noted("drift"), to_client(result(id_, tools=[item]))]
        assert listed(talk, id_, item) == [to_client(result(id_, tools=[item]))]
        assert talk.client(call(str(id_), "a")) == [to_server(call(str(id_), "a"))]
    assert notes(talk, 5, {"tools": [first]}) == [
        ("drift", "definitions that changed during the session, as the policy permits: `a` (description)")
    ]


@pytest.mark.parametrize("text", ["x", LONG])
def test_a_policy_that_begins_or_ceases_to_permit_changes_takes_effect(text: str) -> None:
    policy = Policy()
    talk = Conversation(policy)
    first, second = tool("a", description=text), tool("a", description=text + "!")
    listed(talk, 1, first)
    assert shown(listed(talk, 2, second)) == []
    policy.drift = True
    assert talk.client(call(3, "a")) == [to_server(call(3, "a"))]
    assert shown(listed(talk, 4, second)) == ["a"]
    policy.drift = False
    assert talk.client(call(5, "a")) == [to_server(call(5, "a"))]
    assert shown(listed(talk, 6, second)) == ["a"]
    assert shown(listed(talk, 7, first)) == []
    assert talk.client(call(8, "a")) == [to_client(refused(8, "drift"))]


def test_tools_beyond_those_that_can_be_watched_are_left_out_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MAX_TOOLS", 2)
    policy = Policy()
    talk = Conversation(policy)
    assert shown(listed(talk, 1, tool("a"), tool("b"))) == ["a", "b"]
    assert shown(listed(talk, 2, tool("a"), tool("c"), tool("b"))) == ["a", "b"]
    assert talk.client(call(3, "c")) == [to_client(refused(3, "drift"))]
    assert talk.client(call(4, "never listed")) == [to_client(refused(4, "drift"))]
    assert talk.client(call(5, "a")) == [to_server(call(5, "a"))]
    policy.drift = True
    assert shown(listed(talk, 6, tool("a"), tool("c"), tool("b"))) == ["a", "c", "b"]
    assert talk.client(call(7, "c")) == [to_server(call(7, "c"))]


# Names


@pytest.mark.parametrize(
    ("method", "item", "asks"),
    [
        ("tools/list", {"name": f"a{X}"}, call(9, f"a{X}")),
        ("prompts/list", {"name": f"a{X}"}, request(9, "prompts/get", name=f"a{X}")),
        ("resources/list", {"uri": f"a:{X}", "name": "a"}, request(9, "resources/read", uri=f"a:{X}")),
        ("resources/list", {"uri": "a:", "name": f"a{X}"}, request(9, "resources/subscribe", uri="a:")),
        (
            "resources/templates/list",
            {"uriTemplate": f"a:{X}{{x}}", "name": "a"},
            request(9, "completion/complete", ref={"type": "ref/resource", "uri": f"a:{X}{{x}}"}),
        ),
    ],
)
def test_an_item_with_such_a_name_is_left_out_and_refused_once_it_was_seen(method: str, item: Json, asks: Json) -> None:
    talk = Conversation()
    assert talk.client(asks) == [to_server(asks)]
    talk.server(result(9))
    other = {"name": "b", "uri": "b:", "uriTemplate": "b:"}
    happened = listed(talk, 1, item, other, method=method)
    assert happened[0] == noted("unclean_name")
    assert shown(happened) == ["b"]
    (answer,) = talk.client(asks)
    assert answer == to_client(refused(9, "malformed") if method == "tools/list" else error(9, -32602))
    assert shown(listed(talk, 2, item, other, method=method)) == ["b"]


def test_the_record_shows_such_a_name_escaped() -> None:
    (note,) = notes(Conversation(), 1, {"tools": [tool(f"a{X}"), tool("\u202eb")]})
    assert note == (
        "unclean_name",
        "names with characters that nobody sees, left out and refused: 'a\\u200b', '\\u202eb'",
    )


def test_such_a_character_in_what_programs_compare_stays_and_so_does_the_tool() -> None:
    schema = {"properties": {X: {"enum": [X], "default": X, "pattern": X}}, "required": [X]}
    talk = Conversation()
    answer = tool("a", inputSchema=schema)
    assert listed(talk, 1, answer) == [to_client(result(1, tools=[answer]))]


def test_what_has_no_name_at_all_is_left_out_beside_it() -> None:
    happened = listed(Conversation(), 1, {"title": X}, tool(f"a{X}"), tool("b", title=X))
    assert happened == [noted("unclean_name"), noted("cleaned"), to_client(result(1, tools=[tool("b", title="")]))]


def test_two_tools_with_one_such_name_are_no_more_than_that() -> None:
    happened = listed(Conversation(), 1, tool(f"a{X}"), tool(f"a{X}", x=1), tool("b"), nextCursor="2")
    assert happened[0] == noted("unclean_name")
    assert happened[1:] == [to_client(result(1, tools=[tool("b")], nextCursor="2"))]


@pytest.mark.parametrize(("limit", "value"), [("MAX_REFUSED", 2), ("MAX_REFUSED_CHARS", 4)])
def test_where_too_many_names_are_refused_the_whole_kind_is(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, limit, value)
    talk = Conversation()
    assert shown(listed(talk, 1, tool(f"a{X}"), tool("c"))) == ["c"]
    assert shown(listed(talk, 2, tool(f"a{X}"), tool(f"b{X}"), tool("c"))) == ["c"]
    assert shown(listed(talk, 3, tool("e"), tool("e", x=1), tool("c"))) == []
    assert talk.client(call(4, "c")) == [to_client(refused(4, "malformed"))]
    assert shown(listed(talk, 5, {"name": "p"}, method="prompts/list")) == ["p"]


# Texts


def test_a_list_is_cleaned_and_the_record_says_how_much_of_what() -> None:
    talk = Conversation(Policy(denied={"c"}))
    items = [tool("a", title=f"x{X}", description=f"{X}\x1b[1m"), tool("b"), tool("c", title=X), tool("d", title=X)]
    clean = [tool("a", title="x", description=""), tool("b"), tool("d", title="")]
    assert listed(talk, 1, *items) == [noted("cleaned"), to_client(result(1, tools=clean))]
    assert notes(talk, 2, {"tools": items}) == [
        ("cleaned", "characters that nobody sees, removed from texts: 7, of `a` (6), `d` (1)")
    ]
    many = {"tools": [tool(f"t{index}", title=X) for index in range(25)]}
    assert notes(talk, 3, many)[0][1].endswith("of " + ", ".join(f"`t{i}` (1)" for i in range(20)) + " and 5 more")


@pytest.mark.parametrize("pad", ["", LONG])
def test_what_is_cleaned_keeps_every_other_byte_each_time(pad: str) -> None:
    talk = Conversation()
    for id_ in (1, 23):
        talk.client(request(id_, "tools/list"))
        before = (
            f'{{"jsonrpc":"2.0","id":{id_},"result":{{ "x":1.10,"tools" : [ {{"name" : "a" ,"n":1e2,"title": '
            f'"t\u00e9\\u200b" ,"d":"\\u00e9"}} ,{{"name":"b"}}] ,"pad":"{pad}"}}}}\n'
        )
        after = (
            f'{{"jsonrpc":"2.0","id":{id_},"result":{{"x":1.10,"tools" : [{{"name" : "a","n":1e2,"title": '
            f'"t\\u00e9","d":"\\u00e9"}},{{"name":"b"}}],"pad":"{pad}"}}}}\n'
        )
        note, forward = talk.session.receive(UPSTREAM, before.encode(), 0)
        assert isinstance(note, Note)
        assert isinstance(forward, Forward)
        assert (note.kind, forward.line.decode()) == ("cleaned", after)


@pytest.mark.parametrize("step", ["items", "properties"])
def test_a_schema_as_deep_as_a_message_may_be_is_cleaned_and_compared(step: str) -> None:
    def nested(text: str) -> Json:
        schema: Json = {"title": text}
        for _ in range(194 if step == "items" else 97):
            schema = {step: schema if step == "items" else {"x": schema}}
        return tool("a", inputSchema=schema)

    talk = Conversation()
    dirty, clean = nested(X), nested("")
    assert listed(talk, 1, dirty) == [noted("cleaned"), to_client(result(1, tools=[clean]))]
    assert listed(talk, 2, clean) == [noted("drift"), to_client(result(2, tools=[]))]


def test_a_definition_is_what_was_received_and_not_what_was_shown() -> None:
    talk = Conversation()
    listed(talk, 1, tool("a", title=f"x{X}"))
    happened = listed(talk, 2, tool("a", title="x"))
    assert happened == [noted("drift"), to_client(result(2, tools=[]))]


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
def test_an_introduction_is_cleaned_and_its_lists_are_announced(method: str) -> None:
    talk = Conversation()
    talk.client(request(1, method, capabilities={}))
    info = {"name": X, "title": f"s{X}", "version": "1"}
    said = result(1, capabilities={"tools": {}}, serverInfo=info, instructions=f"do\r\n{X}this")
    clean = result(
        1,
        capabilities={"tools": {"listChanged": True}},
        serverInfo={**info, "title": "s"},
        instructions="do\nthis",
    )
    assert talk.server(said) == [("silent", False), noted("cleaned"), to_client(clean)]
    assert talk.session.server == info


def test_a_prompt_is_cleaned_in_its_description_alone() -> None:
    talk = Conversation()
    talk.client(request(1, "prompts/get", name="p"))
    messages = [{"role": "user", "content": {"type": "text", "text": X}}]
    said, clean = result(1, description=f"d{X}", messages=messages), result(1, description="d", messages=messages)
    assert talk.server(said)[:2] == [noted("cleaned"), to_client(clean)]
    talk.client(request(2, "prompts/get", name="p"))
    assert talk.server(result(2, description="d", messages=messages))[0] == to_client({**clean, "id": 2})


# What is remembered


def test_the_listing_that_was_continued_longest_ago_is_forgotten_first() -> None:
    known = Catalogue()
    listing = Listing("tools/list")
    for index in [*range(MAX_OPEN_LISTINGS), 0, MAX_OPEN_LISTINGS]:
        page = decode(encode(result(1, tools=[], nextCursor=str(index))), UPSTREAM)
        known.read(page, listing, None, Policy())
    kept = [index for index in range(MAX_OPEN_LISTINGS + 1) if known.continued("tools/list", str(index))]
    assert kept == [0, *range(2, MAX_OPEN_LISTINGS + 1)]
    assert known.continued("prompts/list", "0") is None


def test_the_same_answer_to_another_method_is_read_anew() -> None:
    talk = Conversation()
    answer = {"tools": [tool("a", description=LONG)], "prompts": [{"name": "b"}]}
    talk.client(request(1, "tools/list"))
    assert talk.server(result(1, **answer))[1] == to_client(result(1, tools=answer["tools"]))
    talk.client(request(2, "prompts/list"))
    assert talk.server(result(2, **answer))[1] == to_client(result(2, prompts=answer["prompts"]))


def test_pages_that_come_again_are_compared_within_their_listing() -> None:
    talk = Conversation()
    first, second = [tool("a", description=LONG), tool("b")], [tool("b"), tool("c", description=LONG)]
    for id_ in (1, 3):
        assert shown(listed(talk, id_, *first, nextCursor="2")) == ["a", "b"]
        assert shown(listed(talk, id_ + 1, *second, cursor="2")) == ["c"]
    assert shown(listed(talk, 5, *second)) == ["b", "c"]
    other = [tool("a", description=LONG), tool("c", description=LONG, x=1)]
    assert shown(listed(talk, 6, *other, nextCursor="2")) == ["a"]


names = st.sampled_from(["a", "b", f"c{X}", "d"])
items = st.builds(
    lambda name, text, pad: tool(name, description=text) | ({"pad": LONG} if pad else {}),
    names,
    st.sampled_from(["x", "y", f"x{X}", "\x1b[1mz"]),
    st.booleans(),
)
pages = st.tuples(st.lists(items, max_size=4), st.sampled_from([None, "1", "2"]), st.sampled_from([None, "1", "2"]))


@given(st.lists(st.tuples(pages, st.booleans()), max_size=8))
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_lists_a_name_that_is_shown_means_one_clean_thing(listings: list[Any]) -> None:
    talk = Conversation()
    meant: dict[str, Json] = {}
    lost: set[str] = set()
    for id_, ((listing, cursor, next_cursor), again) in enumerate(listings):
        for _ in range(2 if again else 1):
            talk.client(request(id_, "tools/list", **({} if cursor is None else {"cursor": cursor})))
            more = {} if next_cursor is None else {"nextCursor": next_cursor}
            (answer,) = [said for what, said in talk.server(result(id_, tools=listing, **more)) if what == "to client"]
            for item in listing:
                if meant.setdefault(item["name"], item) != item:
                    lost.add(item["name"])
            for item in answer["result"]["tools"]:
                source = meant[item["name"]]
                assert item["name"] not in lost
                assert X not in str(item)
                assert {**item, "description": ""} == {**source, "description": ""}
                assert item["description"] == source["description"].replace(X, "").replace("\x1b[1m", "")
            for name in meant:
                passes = talk.client(call(name, name)) == [to_server(call(name, name))]
                talk.server(result(name))
                assert passes is (X not in name and name not in lost)
