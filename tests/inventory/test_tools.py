"""Checks what is taken for a list of tools."""

from __future__ import annotations

import pytest

from mcpguard.inventory.tools import Tool, ToolListError, parse_tools

ONE = {"name": "a", "description": "does it", "inputSchema": {"type": "object"}, "annotations": {}}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([ONE], id="the list alone"),
        pytest.param({"tools": [ONE]}, id="an object"),
        pytest.param({"tools": [ONE], "nextCursor": None, "_meta": {}}, id="a result"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": {"tools": [ONE]}}, id="an answer"),
    ],
)
def test_every_usual_form_is_read(value: object) -> None:
    assert parse_tools(value) == (Tool("a", "does it", {"type": "object"}),)


def test_a_tool_needs_no_more_than_a_name() -> None:
    assert parse_tools([{"name": "a", "description": None}]) == (Tool("a"),)
    assert parse_tools([]) == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("a", "the tools are not a list", id="text"),
        pytest.param({"tools": {}}, "the tools are not a list", id="an object of tools"),
        pytest.param({}, "there are no `tools` in it", id="no tools"),
        pytest.param({"error": {"code": -1}}, "the server answered with the error", id="an error"),
        pytest.param({"tools": [], "nextCursor": "2"}, "one page of several", id="a page"),
        pytest.param([1], "tool 1 of the list is not an object", id="a number"),
        pytest.param([ONE, {}], "tool 2 of the list has no `name`", id="no name"),
        pytest.param(
            [{"name": "a", "inputSchema": True}], "the `inputSchema` of tool `a` is not an object", id="a schema"
        ),
        pytest.param([ONE, ONE], "two tools have the name `a`", id="twice"),
    ],
)
def test_anything_else_is_refused(value: object, said: str) -> None:
    with pytest.raises(ToolListError, match=said):
        parse_tools(value)
