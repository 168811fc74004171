"""Checks that the JSON Schema says what the loader does, as far as a schema can."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from mcpguard.cli.schema import policy_schema, schema
from mcpguard.policy.model import PolicyFile

POLICIES = Path(__file__).parents[2] / "policies"
EXAMPLES = sorted(path for path in POLICIES.glob("*.json") if not path.match("*.test.json"))


@pytest.fixture(scope="module")
def judge() -> Any:
    """Return a validator of the schema; the library comes with the MCP SDK."""
    jsonschema = importlib.import_module("jsonschema")
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    return jsonschema.Draft202012Validator(policy_schema())


def objects(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


def test_the_command_prints_the_schema_with_its_dialect_first() -> None:
    result = CliRunner().invoke(schema)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed == policy_schema()
    assert next(iter(printed.items())) == ("$schema", "https://json-schema.org/draft/2020-12/schema")


def test_it_is_the_same_every_time() -> None:
    assert CliRunner().invoke(schema).stdout == CliRunner().invoke(schema).stdout


def test_every_property_is_described_in_one_line() -> None:
    for described in objects(policy_schema()):
        properties = described.get("properties", {})
        assert isinstance(properties, dict)
        for name, body in properties.items():
            assert body.get("description"), name
            assert "\n" not in body["description"]


def test_no_absent_key_is_said_to_be_null() -> None:
    assert not [part for part in objects(policy_schema()) if part.get("default", "") is None]


def test_every_default_is_valid_itself() -> None:
    jsonschema = importlib.import_module("jsonschema")
    for part in objects(policy_schema()):
        if "default" in part and "$ref" not in part:
            jsonschema.Draft202012Validator(part).validate(part["default"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid(judge: Any, path: Path) -> None:
    judge.validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("parts", "good"),
    [
        pytest.param({}, True, id="the smallest policy"),
        pytest.param({"version": 1}, False, id="a number for the version"),
        pytest.param(
            {"tools": {"$comment": "x", "a": {"$comment": "x"}}, "methods": {"$comment": "x"}}, True, id="comments"
        ),
        pytest.param({"tools": {"a": {"reason": None}}}, False, id="null"),
        pytest.param({"tools": {"a": {"rate_limit": "10/15m"}}}, True, id="a rate as text"),
        pytest.param({"tools": {"a": {"rate_limit": "10/60"}}}, True, id="a rate with bare seconds"),
        pytest.param({"tools": {"a": {"rate_limit": "10/0"}}}, False, id="a rate in no time"),
        pytest.param({"tools": {"a": {"rate_limit": "10/fortnight"}}}, False, id="no rate"),
        pytest.param({"tools": {"a": {"rate_limit": {"max": 1, "window": "6h"}}}}, True, id="a rate as a block"),
        pytest.param({"tools": {"a": {"limits": [{"window": 0, "max": 1}]}}}, False, id="no window"),
        pytest.param({"tools": {"a": {"limits": [{"window": "0s", "max": 1}]}}}, False, id="no window in words"),
        pytest.param({"tools": {"a": {"limits": [{"window": 1, "max": -1}]}}}, False, id="less than nothing"),
        pytest.param({"tools": {"a": {"limits": [{"window": 1, "max": 1, "counter": "/c"}]}}}, False, id="a counter"),
        pytest.param({"approval": {}}, True, id="the terms of approvals"),
        pytest.param(
            {"approval": {"timeout": "0s", "ttl": "2h", "min_answer": "150ms", "remember": "tool", "via": ["client"]}},
            True,
            id="every term",
        ),
        pytest.param({"approval": {"via": ["client", "client"], "$comment": "x"}}, True, id="one way twice"),
        pytest.param({"approval": {"via": []}}, False, id="no way to answer"),
        pytest.param({"approval": {"via": "client"}}, False, id="a way that is no list"),
        pytest.param({"approval": {"via": ["web"]}}, False, id="an unknown way"),
        pytest.param({"approval": {"timeout": 45}}, False, id="a time without unit"),
        pytest.param({"approval": {"ttl": "45"}}, False, id="such a time in text"),
        pytest.param({"approval": {"ttl": "1d"}}, False, id="a time in days"),
        pytest.param({"approval": {"ttl": None}}, False, id="null for a time"),
        pytest.param({"approval": {"remember": "run"}}, False, id="an unknown memory"),
        pytest.param({"resources": {"*": {}}, "prompts": {"$comment": "x"}}, True, id="resources and prompts"),
        pytest.param({"resources": {"*": {"require": []}}}, False, id="a rule where there are no arguments"),
        pytest.param({"audit": {"arguments": "keys"}}, True, id="what the log holds"),
        pytest.param({"tools": {"a": {"deny_if": [{"conditions": []}]}}}, True, id="a rule"),
        pytest.param({"tools": {"a": {"deny_if": [{}]}}}, False, id="a rule without conditions"),
        pytest.param(
            {"tools": {"a": {"require": [{"conditions": [{"path": "args.a", "op": "eq", "value": None}]}]}}},
            True,
            id="a condition",
        ),
        pytest.param(
            {"tools": {"a": {"require": [{"conditions": [{"path": "args.a", "op": "is", "value": 1}]}]}}},
            False,
            id="no operator",
        ),
        pytest.param(
            {"tools": {"a": {"limits": [{"window": "day", "max": 1, "align": "calendar", "per": "tool"}]}}},
            True,
            id="a limit that follows the calendar",
        ),
        pytest.param({"server_requests": {"roots/list": "deny"}}, True, id="a server request"),
    ],
)
def test_schema_and_loader_agree(judge: Any, parts: dict[str, object], good: bool) -> None:
    policy = {"version": "1"} | parts
    assert judge.is_valid(policy) is good
    try:
        PolicyFile.model_validate(policy)
    except ValidationError:
        assert not good
    else:
        assert good
