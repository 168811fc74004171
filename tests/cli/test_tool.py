"""Checks the page of one tool."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.app import app
from mcpguard.errors import ExitCode
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from support.fake_server import fake_server

DEMO = [sys.executable, "-m", "mcpguard", "demo-server"]
TEXT = {"type": "string"}
TOOLS: list[dict[str, Any]] = [
    {
        "name": "start_export",
        "description": "Start an export.\nTo a bucket.\n\nMore of it.",
        "inputSchema": {
            "type": "object",
            "properties": {"output_s3_uri": TEXT, "amount": {"type": "number", "default": 100.5}},
            "required": ["output_s3_uri"],
        },
    },
    {"name": "get\u202e_it", "description": "x\u001b[31m" + "y" * 700},
]


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def tool(*words: str) -> Result:
    return CliRunner().invoke(app, ["tool", *words])


def test_the_page_says_what_why_which_rule_and_what_it_stops(tools: str) -> None:
    result = tool("start_export", "--list", tools)
    assert result.exit_code == ExitCode.OK
    lines = result.stdout.splitlines()
    assert lines[:2] == ["start_export  execute, high", "Start an export. To a bucket."]
    for said in (
        '  the name says "start"',
        "  args.output_s3_uri  S3 URI",
        '  "start_export": {',
        '    "rate_limit": "10/minute"',
        "  Exfiltration through a destination",
        "    https://invariantlabs.ai/blog/mcp-github-vulnerability",
        "  Rug pull",
    ):
        assert said in lines
    assert "here /require/0" in " ".join(result.stdout.split())
    assert "Server-side request forgery" not in result.stdout
    assert "\x1b" not in result.stdout


def test_json_says_the_same_with_a_policy_that_can_be_used(tools: str) -> None:
    result = tool("start_export", "--json", "--list", tools)
    found = json.loads(result.stdout)
    assert list(found) == [
        "name", "category", "severity", "confidence", "evidence", "arguments", "description", "deserve_rules", "policy", "attacks"
    ]  # fmt: skip
    assert [each["what"] for each in found["deserve_rules"]] == ["amount", "S3 URI"]
    assert list(found["attacks"][0]) == ["key", "name", "what", "stopped_by", "left", "here", "source"]
    policy = compile_policy(PolicyFile.model_validate({"version": "1", **found["policy"]}))
    assert [*policy.tools.exact] == ["start_export"]


def test_a_posture_changes_the_rule() -> None:
    balanced, strict = (tool("delete_it", "--posture", posture).stdout for posture in ("balanced", "strict"))
    assert '"action": "require_approval"' in balanced
    assert '"action": "deny"' in strict


def test_a_tool_without_its_server_is_judged_by_its_name() -> None:
    result = tool("refund_charge")
    assert result.stdout.splitlines()[:2] == [
        "refund_charge  financial, critical",
        "judged by its name alone: name its server after `--`, or a --list, for its description and arguments",
    ]


def test_a_server_is_asked() -> None:
    result = tool("start_dicom_export_job", "--", *DEMO)
    assert result.stderr == f"mcpguard: starting {sys.executable}\n"
    assert result.exit_code == ExitCode.OK
    assert "Start a job that exports all images of one patient as DICOM files" in result.stdout


def test_what_a_server_writes_is_printed_safely(tools: str) -> None:
    result = tool("get\u202e_it", "--list", tools)
    assert result.exit_code == ExitCode.OK
    assert "get\\u202e_it" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "yyy…" in result.stdout


def test_colours_are_for_terminals() -> None:
    words = ["tool", "delete_it"]
    coloured = CliRunner().invoke(
        app, words, env={"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": ""}, color=True
    )
    assert "\x1b[1;31mdestructive" in coloured.stdout
    assert (
        "\x1b[1;31m" not in CliRunner().invoke(app, words, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}, color=True).stdout
    )


WRONG = {
    "an unknown tool": (
        ["start_exprt"],
        "there is no tool `start_exprt` among the 2 of the server; did you mean `start_export`?",
    ),
    "a strange name": (["\u202e"], "there is no tool `\\u202e` among the 2"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_tool_that_is_not_there_is_wrong_usage(words: list[str], said: str, tools: str) -> None:
    result = tool(*words, "--list", tools)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert said in result.stderr


def test_a_list_and_a_server_are_wrong_usage(tools: str) -> None:
    assert tool("x", "--list", tools, "--", "cat").exit_code == ExitCode.USAGE
    assert tool().exit_code == ExitCode.USAGE


def test_a_server_that_dies_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    from mcpguard.errors import GuardError

    result = tool("x", "--", *fake_server("exit=3"))
    assert isinstance(result.exception, GuardError)
    assert "the server did not list its tools" in result.exception.message
    assert capfd.readouterr().out == ""
