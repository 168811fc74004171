"""Checks what holds for the draft of every tool, whatever its server says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.inventory.cases import example_arguments, lexical
from mcpguard.inventory.draft import Posture, draft_policy
from mcpguard.inventory.tools import Tool
from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import evaluate
from support.drafts import faults_of

if TYPE_CHECKING:
    import pytest

NAMES: Final = st.sampled_from([
    "action", "command", "sql", "query", "path", "file_path", "paths", "url", "urls", "output_s3_uri", "bucket_name", "role_arn", "resource_arn", "amount", "to", "profile", "force", "revision", "table_name", "files", "a.b", "code", "params", "source", "data",
])  # fmt: skip
SIMPLE: Final = st.sampled_from([
    {"type": "string"}, {"type": "string", "format": "uri"}, {"type": "number"}, {"type": "integer", "default": 500}, {"type": "boolean"},
    {"type": "string", "default": "/x"}, {"type": "string", "default": "delete"}, {"enum": ["get", "delete"]}, {"enum": ["list", "create"]},
    {"enum": ["delete"]}, {"type": ["string", "null"]}, {"type": "string", "pattern": "^[a-z]+$"}, {}, {"type": "object"},
    {"type": "array", "items": {"type": "string"}}, {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    {"type": "array", "items": {"enum": ["get", "drop"]}}, {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    {"$ref": "#/$defs/x"}, {"$ref": "#/nowhere"}, {"type": "strange"}, {"minimum": 200, "type": "number"}, {"const": "delete"},
])  # fmt: skip
SAID: Final = st.sampled_from(
    ["", "AWS profile", "Absolute path", 'Has "bucket" and "key".', "SQL query to run", "S3 URI", "one of: get, drop"]
)


def _described(schema: dict[str, Any], said: str) -> dict[str, Any]:
    return schema | {"description": said} if said else schema


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [name for name in required if name in properties]}


ARGUMENTS: Final = st.recursive(
    st.builds(_described, SIMPLE, SAID),
    lambda inner: (
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES, max_size=2))
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
    ),
    max_leaves=6,
)
SCHEMAS: Final = st.builds(
    lambda properties, required: {**_object(properties, required), "$defs": {"x": {"type": "string"}}},
    st.dictionaries(NAMES, ARGUMENTS, max_size=4),
    st.lists(NAMES, max_size=3),
)
TOOLS: Final = st.builds(
    Tool,
    st.sampled_from(
        [
            "get_it",
            "add_it",
            "run_it",
            "delete_it",
            "pay_it",
            "manage_it",
            "git_log",
            "send_it",
            "read_file",
            "valkey_read",
            "x*",
        ]
    ),
    st.sampled_from(
        ["", "Reads only.", "Runs an AWS CLI command.", "A Valkey command.", "Delete or create.", "Run a SQL query."]
    ),
    SCHEMAS,
    annotations=st.fixed_dictionaries({}, optional={"readOnlyHint": st.booleans(), "destructiveHint": st.booleans()}),
)
POSTURES: Final = st.sampled_from(get_args(Posture))
DIRECTORIES: Final = st.sampled_from([(), ("/srv/docs",), ("/etc", "/root", "/var/lib")])
STRICTNESS: Final = {"allow": 0, "ask": 1, "deny": 2}


@given(TOOLS, POSTURES, DIRECTORIES)
def test_every_draft_loads_fits_and_does_what_its_cases_say(
    tmp_path_factory: pytest.TempPathFactory, tool: Tool, posture: Posture, directories: tuple[str, ...]
) -> None:
    draft = draft_policy([tool], posture, directories=directories)
    assert faults_of(draft, [tool], tmp_path_factory.getbasetemp() / "policy.json") == []
    assert draft_policy([tool], posture, directories=directories).document == draft.document


@given(TOOLS, POSTURES)
def test_the_hints_of_a_server_never_make_a_draft_milder(tool: Tool, posture: Posture) -> None:
    bare = Tool(tool.name, tool.description, tool.input_schema)
    with_hints, without = (draft_policy([each], posture).tools[0].treatment for each in (tool, bare))
    assert STRICTNESS[with_hints] >= STRICTNESS[without]


@settings(max_examples=200)
@given(TOOLS, DIRECTORIES)
def test_null_is_as_good_as_nothing_where_the_server_takes_it(tool: Tool, directories: tuple[str, ...]) -> None:
    properties: dict[str, Any] = tool.input_schema["properties"]  # type: ignore[assignment]
    required: list[str] = tool.input_schema["required"]  # type: ignore[assignment]
    nullable = [
        name for name, each in properties.items() if each == {"type": ["string", "null"]} and name not in required
    ]
    draft = draft_policy([tool], "balanced", directories=directories)
    arguments = example_arguments(tool.input_schema)
    if arguments is not None and nullable:
        without, given_null = (
            evaluate(draft.policy, ToolCall(tool.name, each, lexical))
            for each in (arguments, arguments | dict.fromkeys(nullable))
        )
        assert {reason.rule for reason in given_null.reasons} == {reason.rule for reason in without.reasons}
