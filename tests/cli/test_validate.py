"""Checks what `validate` prints, and the status it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.validate import summary, validate
from mcpguard.errors import ExitCode
from mcpguard.policy.model import PolicyFile


def run(*arguments: str) -> Result:
    return CliRunner().invoke(validate, arguments)


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.json"
    path.write_text('{"version": "1", "tools": {"a": {"rate_limit": "1/day"}}}')
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.json"
    path.write_text('{"version": "1",\n "tools": {"a": {"action": "alow", "limit": 1}}}')
    return str(path)


def test_a_good_policy_gets_one_line_and_its_notes(good: str) -> None:
    result = run(good)
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [
        f"{good}: ok: default deny; 1 tool allowed, 1 limit",
        (
            f"{good}: note: counters live in memory: a window of a day or more starts anew with every run "
            "(`/tools/a/rate_limit`)"
        ),
    ]
    assert not result.stderr


def test_a_bad_policy_gets_all_of_its_errors(good: str, bad: str) -> None:
    result = run(bad, good)
    assert result.exit_code == ExitCode.POLICY
    assert result.stdout.splitlines()[:3] == [
        f"{bad}:2:28: unknown action `alow`; did you mean `allow`?",
        f"{bad}:2:36: unknown key `limit` in a tool; did you mean `limits`?",
        f"{good}: ok: default deny; 1 tool allowed, 1 limit",
    ]


def test_a_missing_file_is_an_error_without_a_place(tmp_path: Path) -> None:
    path = str(tmp_path / "none.json")
    result = run(path)
    assert (result.exit_code, result.stdout) == (ExitCode.POLICY, f"{path}: there is no such file\n")
    (found,) = json.loads(run("--json", path).stdout)
    assert found["errors"] == [{"line": None, "column": None, "message": "there is no such file", "rule": ""}]


def test_json_says_the_same(good: str, bad: str) -> None:
    result = run("--json", good, bad)
    assert result.exit_code == ExitCode.POLICY
    fine, wrong = json.loads(result.stdout)
    assert (fine["file"], fine["ok"], fine["errors"], len(fine["notes"])) == (good, True, [], 1)
    assert (wrong["file"], wrong["ok"], wrong["notes"]) == (bad, False, [])
    assert wrong["errors"][0] == {
        "line": 2,
        "column": 28,
        "message": "unknown action `alow`; did you mean `allow`?",
        "rule": "/tools/a/action",
    }


def test_json_of_good_policies_ends_well(good: str) -> None:
    assert run(good, "--json").exit_code == ExitCode.OK


def test_no_file_is_wrong_usage() -> None:
    assert run().exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        pytest.param({}, "default deny; nothing named", id="an empty policy"),
        pytest.param(
            {"default": "allow", "tools": {"a": {"action": "deny"}}}, "default allow; 1 tool denied", id="deny"
        ),
        pytest.param(
            {
                "tools": {
                    "a": {"arguments": {}},
                    "b": {"rate_limit": "1/minute"},
                    "c": {"action": "deny"},
                    "d": {"action": "hide"},
                    "e": {"action": "require_approval"},
                },
                "hide": ["x", "y*"],
                "all_tools": {"limits": [{"window": 1, "max": 1}]},
                "methods": {"z": "allow"},
                "resources": {"x": {}, "y": {}},
                "prompts": {"x": {}},
            },
            "default deny; 2 tools allowed, 1 denied, 1 hidden, 1 needing approval, 2 hidden patterns, 1 rule, 2 limits, "
            "2 resource patterns, 1 prompt pattern, 1 method",
            id="a bit of everything",
        ),
    ],
)
def test_the_summary_counts_what_the_policy_says(parts: dict[str, object], said: str) -> None:
    assert summary(PolicyFile.model_validate({"version": "1"} | parts)) == said
