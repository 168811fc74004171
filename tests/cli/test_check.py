"""Checks what `check` prints, and the status it ends with."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.check import check
from mcpguard.errors import ExitCode
from mcpguard.policy.findings import SEVERITIES, Code
from support.fake_server import fake_server

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
SERVER = [
    {"name": "send", "inputSchema": {"properties": {"to": {"type": "string"}}}},
    {"name": "wi\u202epe", "inputSchema": {}},
]


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(check, arguments, env=env)


@pytest.fixture
def policy(tmp_path: Path) -> str:
    return write(tmp_path, "policy.json", {"version": "1", "tools": {"sendd": {}}})


@pytest.fixture
def tools(tmp_path: Path) -> str:
    return write(tmp_path, "tools.json", {"tools": SERVER})


def write(directory: Path, name: str, value: Any) -> str:
    path = directory / name
    path.write_text(json.dumps(value, indent=1))
    return str(path)


def test_a_policy_alone_without_findings(policy: str) -> None:
    result = run(policy)
    assert (result.exit_code, result.stdout) == (ExitCode.OK, f"{policy}: no findings\n")


def test_findings_are_grouped_and_placed(policy: str, tools: str) -> None:
    result = run(policy, "--tools", tools)
    assert result.exit_code == ExitCode.FINDINGS
    assert result.stdout.splitlines() == [
        f"{policy}:4:3: error: the server has no tool `sendd`; did you mean `send`? [unknown-tool]",
        "",
        f'{policy}:1:1: note: nothing names `send`, `"wi\\u202epe"`: denied by default [unnamed-denied]',
        "",
        f"{policy}: 1 error, 1 note, checked against 2 tools",
    ]


def test_json_says_the_same(policy: str, tools: str) -> None:
    result = run(policy, "--json", "--tools", tools)
    assert result.exit_code == ExitCode.FINDINGS
    assert [list(each) for each in json.loads(result.stdout)] == [["code", "severity", "rule", "message"]] * 2
    assert json.loads(result.stdout)[0] == {
        "code": "unknown-tool",
        "severity": "error",
        "rule": "/tools/sendd",
        "message": "the server has no tool `sendd`; did you mean `send`?",
    }
    assert run(policy, "--json").stdout == "[]\n"


def test_warnings_are_no_failure(tmp_path: Path, tools: str) -> None:
    path = write(tmp_path, "open.json", {"version": "1", "default": "allow"})
    result = run(path, "--tools", tools)
    assert result.exit_code == ExitCode.OK
    assert "warning: nothing names" in result.stdout


def test_a_server_is_asked(policy: str) -> None:
    result = run(policy, "--", *fake_server())
    assert result.exit_code == ExitCode.FINDINGS
    assert "note: nothing names `danger`, `echo`" in result.stdout
    assert result.stderr == f"mcpguard: starting {sys.executable}\n"


def test_colours_are_for_terminals(policy: str, tools: str) -> None:
    assert (
        "\x1b[1;31merror" in run(policy, "--tools", tools, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="").stdout
    )
    plain = run(policy, "--tools", tools, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1").stdout
    assert "31m" not in plain


def test_a_policy_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "bad.json", {"version": "2", "tool": {}})
    result = run(path)
    assert (result.exit_code, result.stdout) == (ExitCode.POLICY, "")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("{", "this is no JSON", id="no JSON"),
        pytest.param("{}", "there are no `tools` in it; a tool list is", id="no tools"),
        pytest.param(
            '[{"name": "\\u001b"}, {"name": "\\u001b"}]',
            r"two tools have the name `\x1b`",
            id="a name that is not printable",
        ),
    ],
)
def test_a_list_that_is_none_is_wrong_usage(policy: str, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(content)
    result = run(policy, "--tools", str(path))
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr


def test_a_list_and_a_command_are_wrong_usage(policy: str, tools: str) -> None:
    assert run(policy, "--tools", tools, "--", "true").exit_code == ExitCode.USAGE
    assert run().exit_code == ExitCode.USAGE


def test_every_code_is_documented_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (error|warning|note) \|", PAGE.read_text(), re.MULTILINE))
    assert rows == {code: SEVERITIES[code] for code in get_args(Code)}


def test_the_example_of_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policy, said = re.findall(r"^```(?:json|console)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1:3]
    Path("policy.json").write_text(policy)
    command, _, output = said.partition("\n")
    assert command == "$ mcpguard check policy.json -- mcpguard demo-server"
    assert run("policy.json", "--", sys.executable, "-m", "mcpguard", "demo-server").stdout == output
