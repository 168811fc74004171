"""Checks what a client gets of an answer, and of a notification, as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcpguard.protocol import answers
from mcpguard.protocol.catalogue import Catalogue
from mcpguard.protocol.commands import InFlight
from mcpguard.protocol.wire import CLIENT, UPSTREAM, Malformed, Message, decode, encode
from support.conversation import Policy, failure, noted, notice, result, shortened

if TYPE_CHECKING:
    from support.conversation import Json

CAPABLE: Json = {"roots": {}, "sampling": {}}


def entry(method: str, *, modern: bool = False, capabilities: object = None, subject: str = "") -> InFlight:
    made = InFlight(CLIENT, 1, method, b"", 1)
    made.modern, made.capabilities, made.subject = modern, capabilities, subject
    return made


def message(said: Json) -> Message:
    return decode(encode(said), UPSTREAM)


def read(of: InFlight, said: Json, *, policy: Policy | None = None, capabilities: object = None) -> answers.Reading:
    return answers.read(of, message(said), policy or Policy(), Catalogue(), capabilities)


def test_an_error_passes_as_it_came() -> None:
    reading = read(entry("tools/list"), failure(1))
    assert (reading.line, reading.status, reading.notes) == (encode(failure(1)), "error", ())


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_an_ordinary_result_passes_as_it_came(method: str) -> None:
    said = result(1, content=[], contents=[], messages=[], _meta={})
    reading = read(entry(method), said)
    assert (reading.line, reading.status, reading.notes) == (encode(said), "ok", ())


def test_a_list_before_the_policy_is_refused() -> None:
    with pytest.raises(Malformed, match="before the policy"):
        answers.read(entry("tools/list"), message(result(1, tools=[])), None, Catalogue(), None)


@pytest.mark.parametrize(
    ("modern", "own", "handshake", "passes"),
    [
        (True, CAPABLE, None, True),
        (True, None, CAPABLE, False),
        (False, None, CAPABLE, True),
        (False, CAPABLE, None, False),
    ],
)
def test_capabilities_are_those_of_the_request_or_of_the_handshake(
    modern: bool, own: object, handshake: object, passes: bool
) -> None:
    said = result(1, inputRequests={"a": {"method": "roots/list"}})
    reading = read(entry("tools/call", modern=modern, capabilities=own), said, capabilities=handshake)
    assert (reading.line == encode(said)) is passes


def test_one_refused_request_among_many_stops_the_call_and_the_text_says_which_and_why() -> None:
    asks = {"a": {"method": "roots/list"}, "b": {"method": "sampling/createMessage", "params": {}}}
    of = entry("tools/call", modern=True, capabilities=CAPABLE, subject="t")
    reading = read(of, result(1, inputRequests=asks), policy=Policy(server_requests={"roots/list"}))
    said = json.loads(reading.line)["result"]
    assert said["resultType"] == "complete"
    assert said["content"][0]["text"] == (
        "mcpguard: `t` stopped: the server asked for more input, and that was refused "
        "(sampling/createMessage: the policy refuses it). Do not retry unchanged."
    )
    assert reading.status == "error"
    assert [(note.kind, note.side, note.id, note.method) for note in reading.notes] == [
        ("input_refused", UPSTREAM, 1, "tools/call")
    ]


def test_before_the_policy_nothing_may_be_asked() -> None:
    assert "policy" in answers.refused_input({"inputRequests": {"a": {"method": "roots/list"}}}, CAPABLE, None)


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        ({"inputRequests": {"a": {"method": "roots/list"}}}, ""),
        ({"inputRequests": {"a": {"method": "sampling/createMessage"}}}, "sampling"),
        ({"result": {"inputRequests": {"a": {"method": "roots/list"}}}}, ""),
        ({"result": {"inputRequests": {"a": {"method": "sampling/createMessage"}}}}, "sampling"),
        ({"result": [], "status": "completed"}, ""),
    ],
)
def test_a_task_may_ask_by_itself_and_through_the_result_that_it_ended_with(body: Json, asks: str) -> None:
    assert asks in answers.refused_in_task(body, {"roots": {}}, Policy())
    reading = read(entry("tasks/get"), result(1, **body), capabilities={"roots": {}})
    assert [note.kind for note in reading.notes] == (["input_refused"] if asks else [])
    told = message(notice("notifications/tasks", **body))
    if asks:
        with pytest.raises(Malformed):
            answers.read_notification(told, Policy(), {"roots": {}})
    else:
        assert answers.read_notification(told, Policy(), {"roots": {}}) == told.line


def test_the_result_that_a_tool_gives_itself_is_not_read() -> None:
    said = result(1, result={"inputRequests": {"a": {"method": "sampling/createMessage"}}})
    assert read(entry("tools/call"), said).line == encode(said)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"serverInfo": {"name": "a"}}, {"name": "a"}),
        ({"_meta": {answers.SERVER_INFO_KEY: {"name": "b"}}}, {"name": "b"}),
        ({"serverInfo": "x", "_meta": {answers.SERVER_INFO_KEY: {"name": "b"}}}, {"name": "b"}),
        ({"serverInfo": "x", "_meta": {answers.SERVER_INFO_KEY: 1}}, None),
        ({"_meta": []}, None),
        ({}, None),
    ],
)
def test_a_server_introduces_itself_in_either_era(said: Json, name: object) -> None:
    assert answers.server_info(said) == name


def test_a_page_names_what_was_removed_and_what_is_ambiguous() -> None:
    items = [{"name": "a"}, {"name": "a", "x": 1}]
    reading = read(entry("tools/list"), result(1, tools=items, Prompts=[]))
    assert [noted(note.kind) for note in reading.notes] == [noted("removed_member"), noted("ambiguous")]
    assert shortened(reading.line) == result(1, tools=[])
    assert "`a`" in reading.notes[1].detail


def test_a_notification_gives_a_line_or_a_reason() -> None:
    policy = Policy(denied={"secret:"}, methods={"x"})
    for passing in (notice("x"), notice("notifications/resources/updated", uri="a:"), notice("notifications/tasks")):
        assert answers.read_notification(message(passing), policy, None) == encode(passing)
    for refused in (notice("y"), notice("X/list"), notice("notifications/resources/updated", uri="secret:")):
        with pytest.raises(Malformed):
            answers.read_notification(message(refused), policy, None)
