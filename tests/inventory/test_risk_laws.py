"""Checks what holds for every tool, whatever its server says of it."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from mcpguard.inventory.risk import classify
from mcpguard.inventory.tools import Tool, ToolListError, parse_tools
from mcpguard.inventory.words import RANK, read_name, words_of

SEVERITIES: Final = ["low", "medium", "high", "critical"]
WORDS = st.sampled_from(
    ["get", "list", "create", "delete", "and", "run", "query", "user", "image", "set", "pay", "refund", "manage", "check", "status", "tag"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["type", "properties", "enum", "const", "anyOf", "oneOf", "items", "$ref", "description", "required", "action", "sql", "params"]
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS | st.sampled_from(["string", "#/properties/action"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
SENTENCES = st.lists(
    WORDS | st.sampled_from(["the", ".", ",", "not", "permanently", "SQL", "read-only"]), max_size=8
).map(" ".join)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("_".join) | st.text(max_size=12)
HINTS = st.fixed_dictionaries(
    {},
    optional={
        "readOnlyHint": st.booleans() | JSON,
        "destructiveHint": st.booleans() | JSON,
        "idempotentHint": st.booleans(),
        "openWorldHint": st.booleans(),
        "title": SENTENCES,
    },
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["action", "sql", "id", "command", "output_path", "params", "confirm"]), JSON, max_size=4
)
SCHEMAS = st.builds(lambda properties: {"type": "object", "properties": properties}, ARGUMENTS)
TOOLS = st.builds(
    Tool, NAMES, SENTENCES | st.text(max_size=40), SCHEMAS | st.dictionaries(KEYS, JSON, max_size=4), title=SENTENCES
)


@given(TOOLS, HINTS)
@example(Tool("get_user", "Delete a user."), {"readOnlyHint": True})
def test_adding_hints_never_lowers_the_severity(tool: Tool, hints: dict[str, object]) -> None:
    bare, hinted = classify(tool), classify(Tool(tool.name, tool.description, tool.input_schema, tool.title, hints))
    assert SEVERITIES.index(hinted.severity) >= SEVERITIES.index(bare.severity)
    assert RANK[hinted.category] >= RANK[bare.category]


@given(TOOLS)
def test_every_tool_is_judged_the_same_each_time_and_says_why(tool: Tool) -> None:
    risk = classify(tool)
    assert classify(tool) == risk
    assert risk.evidence
    assert all(risk.evidence)
    assert 0 <= risk.confidence <= 1


@given(
    st.fixed_dictionaries({"name": JSON, "description": JSON, "inputSchema": JSON, "annotations": JSON, "title": JSON})
)
def test_every_json_value_that_is_read_as_a_tool_can_be_judged(value: dict[str, Any]) -> None:
    try:
        tools = parse_tools([value])
    except ToolListError:
        return
    assert classify(tools[0]).evidence


@given(st.lists(WORDS, min_size=1, max_size=4), SENTENCES)
def test_the_style_of_a_name_does_not_matter(words: list[str], description: str) -> None:
    capitals = [word.capitalize() for word in words]
    styles = [
        "_".join(words),
        "-".join(words),
        ".".join(words),
        "".join(capitals),
        words[0] + "".join(capitals[1:]),
        "_".join(words).upper(),
    ]
    assert {words_of(name) for name in styles} == {tuple(words)}
    assert len({str(classify(Tool(name, description))) for name in styles}) == 1


@given(ARGUMENTS, NAMES, st.randoms())
def test_the_order_of_arguments_does_not_matter(arguments: dict[str, Any], name: str, random: Any) -> None:
    items = list(arguments.items())
    random.shuffle(items)
    first, second = ({"properties": dict(each)} for each in (arguments.items(), items))
    assert classify(Tool(name, "", first)) == classify(Tool(name, "", second))


@given(st.lists(WORDS, min_size=1, max_size=3))
def test_a_name_that_also_deletes_is_no_better_than_one_that_deletes(words: list[str]) -> None:
    assert read_name("_".join([*words, "and", "delete"])).category == "destructive"


@given(ARGUMENTS, NAMES)
def test_a_tool_is_no_better_than_the_worst_value_of_its_arguments(arguments: dict[str, Any], name: str) -> None:
    risk = classify(Tool(name, "", {"properties": arguments}))
    assert all(RANK[risk.category] >= RANK[choice.worst] for choice in risk.arguments)
