"""Holds our frozen view of a server's tools, read from what the server says of them.

Asks no server: the list comes as a JSON value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mcpguard.errors import GuardError

_SHAPE: Final = 'a tool list is {"tools": [...]}, the result of `tools/list`, or the list alone'


class ToolListError(GuardError):
    """A value is no list of tools; the message says why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as its server describes it: evidence, and never proof.

    `input_schema` is a JSON Schema of its arguments whose numbers are `int` or `decimal.Decimal`; `annotations` are the
    server's own hints, `meta` is what it says to programs.
    """

    name: str
    description: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict)
    title: str = ""
    annotations: Mapping[str, object] = field(default_factory=dict)
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as its server describes it; `arguments` are pairs of a name and a description, and all of them texts."""

    name: str
    description: str = ""
    arguments: tuple[tuple[str, str], ...] = ()


def parse_tools(value: object) -> tuple[Tool, ...]:
    """Read a list of tools: a whole answer to `tools/list`, its result, `{"tools": [...]}`, or the list alone.

    Raises:
        ToolListError: it is none of these, or one page of several.
    """
    if isinstance(value, dict):
        result = value.get("result")
        holder = result if isinstance(result, dict) and "tools" not in value else value
        if "tools" not in holder:
            error = value.get("error")
            said = f": the server answered with the error {error}" if isinstance(error, dict) else ""
            raise ToolListError(f"there are no `tools` in it{said}", _SHAPE)
        if holder.get("nextCursor"):
            raise ToolListError("this is one page of several: it has a `nextCursor`", "join the tools of all pages")
        value = holder["tools"]
    if not isinstance(value, list):
        raise ToolListError("the tools are not a list", _SHAPE)
    return _tools(value)


def _tools(items: Sequence[object]) -> tuple[Tool, ...]:
    tools: dict[str, Tool] = {}
    for index, item in enumerate(items):
        tool = _tool(item, index)
        if tool.name in tools:
            raise ToolListError(f"two tools have the name `{tool.name}`")
        tools[tool.name] = tool
    return tuple(tools.values())


def _tool(item: object, index: int) -> Tool:
    if not isinstance(item, dict):
        raise ToolListError(f"tool {index + 1} of the list is not an object", _SHAPE)
    name, description, schema = item.get("name"), item.get("description"), item.get("inputSchema", {})
    if not isinstance(name, str) or not name:
        raise ToolListError(f"tool {index + 1} of the list has no `name`", _SHAPE)
    if not isinstance(schema, dict):
        raise ToolListError(f"the `inputSchema` of tool `{name}` is not an object")
    title, annotations, meta = item.get("title"), item.get("annotations"), item.get("_meta")
    return Tool(
        name,
        description if isinstance(description, str) else "",
        schema,
        title if isinstance(title, str) else "",
        annotations if isinstance(annotations, dict) else {},
        meta if isinstance(meta, dict) else {},
    )
