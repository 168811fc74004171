"""Checks the table of methods against the specification's types, and which spellings are taken for them."""

from __future__ import annotations

import sys
from typing import Any, get_args

import mcp_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.protocol import methods
from mcpguard.protocol.methods import CLIENT_FEATURES, CLIENT_TASKS, KNOWN, declares, resembles_known


def methods_of(union: Any) -> set[str]:
    """Give the methods of the messages in one of the specification's unions."""
    return {get_args(kind.model_fields["method"].annotation)[0] for kind in get_args(union)}


def test_every_request_of_the_specification_is_in_the_table() -> None:
    asked_by_clients = methods.PASSING_REQUESTS | methods.GOVERNED_REQUESTS | {"initialize", "server/discover"}
    assert methods_of(mcp_types.ClientRequest) <= asked_by_clients
    assert methods_of(mcp_types.ServerRequest) <= CLIENT_FEATURES.keys() | CLIENT_TASKS | {"ping"}


def test_every_notification_of_the_specification_is_in_the_table() -> None:
    apart = {"notifications/cancelled", "notifications/resources/updated"}
    assert methods_of(mcp_types.ClientNotification) <= methods.CLIENT_NOTIFICATIONS | apart
    assert methods_of(mcp_types.ServerNotification) <= methods.UPSTREAM_NOTIFICATIONS | methods.LIST_CHANGED | apart


def test_no_method_is_both_passed_and_governed() -> None:
    assert not methods.PASSING_REQUESTS & methods.GOVERNED_REQUESTS
    assert not methods.CLIENT_NOTIFICATIONS & methods.LIST_CHANGED


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("Tools/Call", id="capitals"),
        pytest.param("tool\u017f/call", id="long s"),
        pytest.param("ta\u017f\u212as/get", id="Kelvin sign"),
        pytest.param("tools\uff0fcall", id="full-width solidus"),
        pytest.param("tools/ca\uff4c\uff4c", id="full-width letters"),
        pytest.param("\U0001d42d\U0001d428\U0001d428\U0001d425\U0001d42c/call", id="mathematical letters"),
        pytest.param("tools/call\n", id="a line end after it"),
        pytest.param("\ufeffping", id="a BOM before it"),
        pytest.param("\x00tools/call\x85", id="control characters around it"),
        pytest.param("tools/call\u00a0\u3000", id="wide spaces"),
        pytest.param("notifications/Cancelled", id="a notification"),
        pytest.param("SAMPLING/createmessage", id="a request of servers"),
    ],
)
def test_another_spelling_of_a_known_method_resembles_it(method: str) -> None:
    assert resembles_known(method)


@pytest.mark.parametrize("method", ["tools/call/", "tools//call", "tool/call", "skills/list", "", "to\u043els/call"])
def test_a_method_of_its_own_does_not(method: str) -> None:
    assert not resembles_known(method)


@pytest.mark.parametrize("method", sorted(KNOWN))
def test_a_known_method_does_not_resemble_itself(method: str) -> None:
    assert not resembles_known(method)
    assert resembles_known(method.upper())
    assert resembles_known(f" {method}")


def test_every_white_space_is_trimmed() -> None:
    spaces = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace()]
    assert [hex(ord(space)) for space in spaces if not resembles_known(f"ping{space}")] == []


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_asked_about(method: str) -> None:
    assert isinstance(resembles_known(method), bool)


@pytest.mark.parametrize("capabilities", [None, [], "x", 1, {}, {"sampling": None, "roots": [], "elicitation": True}])
@pytest.mark.parametrize("method", sorted({*CLIENT_FEATURES, *CLIENT_TASKS}))
def test_what_is_not_declared_cannot_be_asked_of_a_client(capabilities: object, method: str) -> None:
    assert not declares(capabilities, method, {})


@pytest.mark.parametrize(
    ("feature", "mode", "declared"),
    [
        ({}, {}, True),
        ({}, {"mode": "form"}, True),
        ({}, {"mode": "url"}, False),
        ({"form": {}}, {}, True),
        ({"url": {}}, {}, False),
        ({"url": {}}, {"mode": "url"}, True),
        ({"form": {}, "url": {}}, {}, True),
        ({}, {"mode": 1}, False),
        ({}, {"mode": None}, False),
        ({"url": {}}, {"mode": "URL"}, False),
        ({"form": {}}, {"mode": "form", "MODE": "url"}, False),
    ],
)
def test_an_elicitation_needs_its_mode(feature: object, mode: dict[str, object], declared: bool) -> None:
    assert declares({"elicitation": feature}, "elicitation/create", mode) is declared


@pytest.mark.parametrize("name", ["tools", "toolChoice", "Tools", "TOOLCHOICE"])
def test_sampling_with_tools_needs_that_too(name: str) -> None:
    assert not declares({"sampling": {}}, "sampling/createMessage", {name: []})
    assert declares({"sampling": {"tools": {}}}, "sampling/createMessage", {name: []})
    assert declares({"sampling": {}}, "sampling/createMessage", {"messages": []})


def test_what_no_capability_covers_is_not_declared() -> None:
    assert not declares({"": {}}, "tools/call", {}) or "tools/call" not in CLIENT_FEATURES
