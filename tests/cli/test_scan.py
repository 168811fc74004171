"""Checks what `scan` prints about live servers, and how it ends when they do not do their part."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcpguard.cli.app import app
from mcpguard.errors import ExitCode
from mcpguard.proxy.linux import find_descendants
from support.fake_server import fake_server

MCPGUARD = [sys.executable, "-m", "mcpguard"]
DEMO = [*MCPGUARD, "demo-server"]
POLICY: dict[str, Any] = {
    "version": "1",
    "hide": ["wipe_*"],
    "tools": {
        "list_patients": {},
        "get_patient": {"rate_limit": "5/minute"},
        "add_note": {"require": [{"conditions": [{"path": "args.text", "op": "exists"}]}]},
        "start_dicom_export_job": {"action": "require_approval"},
    },
    "resources": {"hospital://*": {}},
}
STATES = {
    "list_patients": "callable",
    "get_patient": "limited",
    "add_note": "callable",
    "start_dicom_export_job": "needs approval",
    "delete_patient": "denied",
    "wipe_store": "hidden",
}


def scan(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MCPGUARD, "scan", *words], capture_output=True, text=True, timeout=120, check=False)


def policy(directory: Path, document: object = POLICY) -> str:
    path = directory / "policy.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_a_server_is_listed_with_what_its_tools_can_do_at_worst() -> None:
    result = scan("--", *DEMO)
    assert (result.returncode, result.stderr) == (ExitCode.OK, f"mcpguard: starting {sys.executable}\n")
    lines = [line.split() for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert lines[0] == ["tool", "category", "severity", "sure", "evidence"]
    assert [line[:3] for line in lines[1:7]] == [
        ["delete_patient", "destructive", "critical"],
        ["wipe_store", "destructive", "critical"],
        ["start_dicom_export_job", "execute", "high"],
        ["add_note", "write", "medium"],
        ["get_patient", "read", "low"],
        ["list_patients", "read", "low"],
    ]
    assert "6 tools: 2 read, 1 write, 1 execute, 2 destructive" in result.stdout
    assert ["hospital://wards", "read", "low", "resource"] in lines
    assert ["hand_over", "read", "low", "prompt"] in lines


def test_json_says_what_a_policy_makes_of_everything(tmp_path: Path) -> None:
    result = scan("--json", "--policy", policy(tmp_path), "--", *DEMO)
    assert result.returncode == ExitCode.OK
    found = json.loads(result.stdout)
    assert list(found) == ["tools", "resources", "resourceTemplates", "prompts", "unanswered"]
    assert {tool["name"]: tool["policy"]["state"] for tool in found["tools"]} == STATES
    assert {tool["name"] for tool in found["tools"] if not tool["policy"]["visible"]} == {
        "delete_patient",
        "wipe_store",
    }
    assert list(found["tools"][0]) == [
        "name", "category", "severity", "confidence", "evidence", "arguments", "policy"
    ]  # fmt: skip
    assert found["tools"][1]["policy"] == {
        "state": "limited",
        "entry": "/tools/get_patient",
        "visible": True,
        "reason": "",
        "rules": 0,
        "asks": 0,
        "limits": 1,
    }
    assert [(each["uri"], each["category"], each["policy"]["state"]) for each in found["resources"]] == [
        ("hospital://wards", "read", "callable")
    ]
    assert [(each["name"], each["severity"], each["policy"]["state"]) for each in found["prompts"]] == [
        ("hand_over", "low", "denied")
    ]
    assert (found["resourceTemplates"], found["unanswered"]) == ([], [])


def test_the_table_says_what_a_policy_makes_of_everything(tmp_path: Path) -> None:
    result = scan("--policy", policy(tmp_path), "--", *DEMO)
    assert result.stdout.splitlines()[0].split() == ["tool", "category", "severity", "sure", "policy", "evidence"]
    for said in ("0.97  hidden ", "limited (1 limit)", "callable (1 rule)", "needs approval", "denied    prompt"):
        assert said in result.stdout


@pytest.mark.parametrize("command", ["classify", "check", "explain"])
def test_what_is_saved_is_read_by_the_other_commands(tmp_path: Path, command: str) -> None:
    saved = tmp_path / "list.json"
    saved.write_text('[{"name": "old"}]')
    result = scan("--save", str(saved), "--json", "--", *DEMO)
    assert result.stderr.splitlines()[-1] == f"mcpguard: wrote 6 tools to {saved}"
    assert [path.name for path in tmp_path.iterdir()] == ["list.json"]
    scanned = json.loads(result.stdout)["tools"]
    words = {
        "classify": ["classify", str(saved), "--json"],
        "check": ["check", policy(tmp_path), "--tools", str(saved)],
        "explain": ["explain", policy(tmp_path), "list_patients", "--tools", str(saved)],
    }[command]
    other = CliRunner().invoke(app, words)
    assert other.exit_code == ExitCode.OK
    if command == "classify":
        assert json.loads(other.stdout) == scanned
    else:
        assert {"check": "checked against 6 tools", "explain": "is in the list of tools"}[command] in other.stdout


def test_what_a_server_writes_is_printed_safely(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        "from mcp.server import MCPServer\n"
        "server = MCPServer('x')\n"
        "@server.tool(name='del\\u202eete')\n"
        "def one() -> str:\n    'Delete.'\n    return ''\n"
        "@server.resource('a://{b}')\n"
        "def two(b: str) -> str:\n    return b\n"
        "server.run('stdio')\n"
    )
    result = scan("--", sys.executable, str(script))
    assert result.returncode == ExitCode.OK
    assert "\u202e" not in result.stdout
    assert "del\\u202eete" in result.stdout
    assert "resource template" in result.stdout


ENDS = {
    "no such command": (["--", "/none/such"], ExitCode.NOT_FOUND, "cannot find the server's command `/none/such`"),
    "no program": (["--", "/"], ExitCode.NOT_EXECUTABLE, "cannot execute the server's command `/`"),
    "a dying server": (["--", *fake_server("exit=3")], ExitCode.FINDINGS, "the server did not list its tools"),
    "a server that is none": (["--", "cat"], ExitCode.FINDINGS, "the server did not list its tools"),
    "a server that never answers": (
        ["--timeout", "1", "--", *fake_server("silent=server/discover", "silent=initialize", "ignore-term")],
        ExitCode.FINDINGS,
        "the server did not list its tools within 1 seconds",
    ),
    "a server that never lists": (
        ["--timeout", "1.5", "--", *fake_server("silent=tools/list")],
        ExitCode.FINDINGS,
        "the server did not list its tools within 1.5 seconds",
    ),
}


@pytest.mark.parametrize(("words", "status", "said"), ENDS.values(), ids=ENDS.keys())
def test_a_server_that_does_not_do_its_part_ends_with_a_clear_error(words: list[str], status: int, said: str) -> None:
    before = set(find_descendants(os.getpid()))
    result = scan(*words)
    assert (result.returncode, result.stdout) == (status, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert set(find_descendants(os.getpid())) <= before


USAGE = {
    "no command": ([], "Missing argument"),
    "no time": (["--timeout", "0", "--", "cat"], "is not in the range"),
    "a time that is none": (["--timeout", "soon", "--", "cat"], "is not a valid float"),
    "endless time": (["--timeout", "inf", "--", "cat"], "is not in the range"),
    "no place to save": (["--save", "/none/such/list.json", "--", "cat"], "there is no directory /none/such"),
}


@pytest.mark.parametrize(("words", "said"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_starts_nothing(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["scan", *words])
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr
    assert "starting" not in result.stderr


def test_what_is_no_list_of_tools_is_not_written_over(tmp_path: Path) -> None:
    path = policy(tmp_path)
    result = CliRunner().invoke(app, ["scan", "--save", path, "--", "cat"])
    assert result.exit_code == ExitCode.USAGE
    assert f"{path} is there already, and is no list of tools; it stays as it is." in result.stderr
    assert "starting" not in result.stderr
    assert json.loads(Path(path).read_text()) == POLICY
    assert CliRunner().invoke(app, ["scan", "--save", os.devnull, "--", "cat"]).exit_code == ExitCode.USAGE


def test_a_policy_that_cannot_be_used_starts_nothing(tmp_path: Path) -> None:
    result = scan("--policy", policy(tmp_path, {"version": "2"}), "--", "cat")
    assert (result.returncode, result.stdout) == (ExitCode.POLICY, "")
    assert "policy.json:1:" in result.stderr
    assert "starting" not in result.stderr


def test_a_list_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mcpguard.cli.saving.Path.replace", full)
    result = CliRunner().invoke(app, ["scan", "--save", str(tmp_path / "list.json"), "--", *fake_server()])
    assert result.exit_code == ExitCode.FINDINGS
    assert "list.json cannot be written: No space left on device" in result.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_list_that_the_server_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcpguard.inventory.tools import Tool
    from mcpguard.proxy.probe import Offer

    offer = Offer((Tool("get_it"),), ({"name": "get_it"},), (), (), (), ("the server did not list its prompts: no",))
    monkeypatch.setattr("mcpguard.proxy.probe.ask_for_all", lambda *_: offer)
    result = CliRunner().invoke(app, ["scan", "--", "x"])
    assert result.exit_code == ExitCode.OK
    assert "mcpguard: the server did not list its prompts: no" in result.stderr


def test_the_example_of_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "risk.md").read_text()
    blocks = re.findall(r"^```(?:json|console)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    document = next(block for block in blocks if '"version"' in block)
    command, _, output = next(block for block in blocks if block.startswith("$ mcpguard scan")).partition("\n")
    assert command == "$ mcpguard scan --policy policy.json --save tools.json -- mcpguard demo-server"
    monkeypatch.chdir(tmp_path)
    Path("policy.json").write_text(document)
    result = scan("--policy", "policy.json", "--save", "tools.json", "--", *DEMO)
    assert result.stdout == output
    assert json.loads(Path("tools.json").read_text())["tools"][0]["name"] == "list_patients"
