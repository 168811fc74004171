"""Checks what each command makes of a policy with entries for risk categories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpguard.errors import ExitCode
from mcpguard.stores.files import load_policy
from support.fake_server import fake_server

POLICY: dict[str, Any] = {
    "version": "1",
    "tools": {"@read": {}, "@destructive": {"action": "deny", "reason": "never"}, "get_*": {"rate_limit": "1/minute"}},
}
TOOLS = [{"name": "get_note"}, {"name": "list_notes"}, {"name": "wipe_notes"}]


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY, indent=1))
    return str(path)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def mcpguard(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcpguard", *words], capture_output=True, text=True, timeout=60, check=False, input=""
    )


def test_validate_has_nothing_against_them(policy: str) -> None:
    assert mcpguard("validate", policy).returncode == ExitCode.OK


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_the_loader_reads_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"policy.{suffix}"
    path.write_text(json.dumps(POLICY))
    assert set(load_policy(path).policy.categories) == {"read", "destructive"}


def test_explain_knows_the_category_from_the_list(policy: str, tools: str) -> None:
    read = mcpguard("explain", policy, "get_note", "--tools", tools)
    assert (read.returncode, read.stderr) == (ExitCode.OK, "")
    assert 'its risk category is read: the name says "get"' in read.stdout
    wiped = mcpguard("explain", policy, "wipe_notes", "--tools", tools, "--json")
    assert wiped.returncode == ExitCode.FINDINGS
    found = json.loads(wiped.stdout)
    assert (found["effect"], found["entry"], found["category"]) == ("deny", "/tools/@destructive", "destructive")
    assert {"kind": "category", "matches": True, "decides": True} in [
        {key: each[key] for key in ("kind", "matches", "decides")} for each in found["looked_at"]["names"]
    ]


def test_explain_does_not_guess_the_category_of_a_tool_that_no_list_names(policy: str, tools: str) -> None:
    for more in ((), ("--tools", tools)):
        result = mcpguard("explain", policy, "list_secrets", *more)
        assert result.returncode == ExitCode.FINDINGS
        assert "its risk category is not known" in result.stdout
        assert "decided by /tools/@destructive" in result.stdout


def test_explain_says_what_is_wrong_with_the_definition_of_the_tool(policy: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('[{"name": "get_note", "inputSchema": 5}]')
    result = mcpguard("explain", policy, "get_note", "--tools", str(path))
    assert result.returncode == ExitCode.USAGE
    assert "the `inputSchema` of tool `get_note` is not an object" in result.stderr


def test_check_knows_the_categories_from_the_list(policy: str, tools: str) -> None:
    result = mcpguard("check", policy, "--tools", tools)
    assert (result.returncode, result.stderr) == (ExitCode.OK, "")
    assert result.stdout == f"{policy}: no findings, checked against 3 tools\n"


def test_scan_shows_what_becomes_of_each_tool(policy: str) -> None:
    result = mcpguard("scan", "--policy", policy, "--json", "--", *fake_server())
    assert result.returncode == ExitCode.OK
    states = {tool["name"]: (tool["category"], tool["policy"]["state"]) for tool in json.loads(result.stdout)["tools"]}
    assert states == {"echo": ("read", "callable"), "danger": ("write", "denied")}
