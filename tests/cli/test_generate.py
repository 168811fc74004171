"""Checks `test --generate`: what it writes, what it says of the rest, and that it never writes over anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.test import test as command
from mcpguard.errors import ExitCode
from mcpguard.proof.boundaries import Boundaries
from mcpguard.proof.writing import Boundary

if TYPE_CHECKING:
    from pathlib import Path

POLICY = {
    "version": "1",
    "tools": {
        "send": {
            "require": [{"conditions": [{"path": "args.n", "op": "lte", "value": 10}]}],
            "rate_limit": "5000/day",
        }
    },
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)])


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY, indent=1))
    return path


def cases(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["cases"]
    return found


def test_cases_are_printed_and_rules_without_a_call_named(policy: Path) -> None:
    result = run(policy, "--generate")
    assert result.exit_code == ExitCode.OK
    rule = ["/tools/send/require/0"]
    assert {
        "name": f"{rule[0]}: is refused",
        "tool": "send",
        "arguments": {"n": 11},
        "expect": "deny",
        "because": rule,
    } in cases(result.stdout)
    why = "it takes more than 1000 calls to use it up, or other limits stop them before"
    assert result.stderr == f"{policy}:16:4: /tools/send/rate_limit: {why}\n"


def test_what_was_written_holds_and_is_never_written_over(policy: Path) -> None:
    written = policy.with_suffix(".test.json")
    assert run(policy, "--generate", "-o", written).exit_code == ExitCode.OK
    assert f"{len(cases(written.read_text()))} cases hold" in run(policy).stdout
    before = written.read_bytes()
    again = run(policy, "--generate", "-o", written)
    assert again.exit_code == ExitCode.USAGE
    assert "--force" in again.stderr
    assert written.read_bytes() == before
    assert run(policy, "--generate", "-o", written, "--force").exit_code == ExitCode.OK


def test_tools_of_a_list_are_called_with_arguments_that_they_take(policy: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    tools.write_text(json.dumps({"tools": [{"name": "send", "inputSchema": schema}]}))
    found = cases(run(policy, "--generate", "--tools", tools).stdout)
    assert all("to" in case["arguments"] for case in found if case.get("tool") == "send")


def test_a_case_that_the_guard_judges_otherwise_is_said(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Boundaries((Boundary("/x", {"name": "x", "tool": "send", "expect": "allow"}),), ())
    monkeypatch.setattr("mcpguard.cli.generating.boundaries_of", lambda *_: wrong)
    result = run(policy, "--generate")
    assert result.exit_code == ExitCode.FINDINGS
    assert result.stderr == "mcpguard: not judged as the rules read: x: send: expected allow, got deny\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--generate", "more.json"], "neither CASES nor --json nor --mutate"),
        (["--generate", "--json"], "neither CASES nor --json nor --mutate"),
        (["-o", "x.json"], "-o is for --generate"),
        (["--generate", "-o", "x.yaml"], "let the name end in `.json`"),
        (["--generate", "-o", "nowhere/x.json"], "there is no directory"),
    ],
)
def test_wrong_usage_is_said(policy: Path, arguments: list[str], said: str) -> None:
    result = run(policy, *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert said in " ".join(result.stderr.split())


def test_a_policy_that_cannot_be_used_has_no_cases(policy: Path) -> None:
    policy.write_text("{")
    assert run(policy, "--generate").exit_code == ExitCode.POLICY
