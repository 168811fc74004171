"""Checks who hears of changed lists and resources, and that what they hear says nothing else."""

from __future__ import annotations

import json
import re

import pytest

from mcpguard.protocol import splice
from mcpguard.protocol.announcements import announced, keep_subscriptions, only_meta
from mcpguard.protocol.wire import UPSTREAM, decode


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"capabilities":{"tools":{}}}', '{"capabilities":{"tools":{"listChanged":true}}}'),
        (
            '{"capabilities":{"tools":{"listChanged":false,"x":1.0},"prompts":{"listChanged":true}},"i":"\\ud800"}',
            '{"capabilities":{"tools":{"listChanged":true,"x":1.0},"prompts":{"listChanged":true}},"i":"\\ud800"}',
        ),
        ('{"capabilities":{"resources":{"listChanged":null}}}', '{"capabilities":{"resources":{"listChanged":true}}}'),
        ('{"capabilities":{"tools":null,"logging":{}}}', '{"capabilities":{"tools":null,"logging":{}}}'),
        ('{"capabilities":[]}', '{"capabilities":[]}'),
        ("{}", "{}"),
    ],
)
def test_capabilities_with_lists_say_that_they_change(before: str, after: str) -> None:
    def said(result: str) -> bytes:
        return b'{"jsonrpc":"2.0","id":1,"result":' + result.encode() + b"}\n"

    message = decode(said(before), UPSTREAM)
    assert message.result is not None
    changes = announced(message.result)
    assert splice.rewrite_line(message.line, {"result": changes}) == said(after)
    assert (changes == {}) is (before == after)


# Notifications and subscriptions


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"params":{"_meta":{"n":1.0}}', '"params":{"_meta":{"n":1.0}}'),
        ('"params":{"x":1,"_meta":{"n":1.0},"\\ud800":2}', '"params":{"_meta":{"n":1.0}}'),
        ('"params":{"_meta":{}},"tools":[1]', '"params":{"_meta":{}}'),
        ('"params":{"_meta":[1]}', ""),
        ('"params":{"x":1}', ""),
        ('"params":null', ""),
        ("", ""),
    ],
)
def test_a_changed_list_is_told_with_its_meta_alone(before: str, after: str) -> None:
    def said(more: str) -> bytes:
        return re.sub(
            r",}", "}", '{"jsonrpc":"2.0","method":"notifications/tools/list_changed",' + more + "}\n"
        ).encode()

    assert only_meta(decode(said(before), UPSTREAM)) == said(after)


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ('{"resourceSubscriptions":["a","b","a"],"x":1.0}', '{"resourceSubscriptions":["b"],"x":1.0}', 2),
        ('{"resourceSubscriptions":["b"]}', '{"resourceSubscriptions":["b"]}', 0),
        ('{"resourceSubscriptions":["a"]}', '{"resourceSubscriptions":[]}', 1),
        ('{"resourceSubscriptions":null}', '{"resourceSubscriptions":null}', 0),
        ('{"toolsListChanged":true}', '{"toolsListChanged":true}', 0),
        ("null", "null", 0),
    ],
)
def test_refused_uris_are_taken_out_of_a_subscription(before: str, after: str, taken: int) -> None:
    def said(filter_: str) -> bytes:
        text = '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":' + filter_ + "}}\n"
        return text.encode()

    line, gone = keep_subscriptions(decode(said(before), UPSTREAM), lambda uri: uri != "a")
    assert (line, gone) == (said(after), taken)


def test_white_space_before_a_notification_is_no_part_of_it() -> None:
    line = b' \t{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"tools":[]}}\n'
    told = only_meta(decode(line, UPSTREAM))
    assert json.loads(told) == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
