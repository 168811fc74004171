"""Checks what `test` prints, where it finds cases, and the status it ends with."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.app import app
from mcpguard.errors import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
MCPGUARD = [sys.executable, "-m", "mcpguard"]
POLICY: dict[str, Any] = {
    "version": "1",
    "tools": {
        "send": {
            "require": [{"conditions": [{"path": "args.to", "op": "eq", "value": "us"}], "on_deny": "only to us"}],
            "limits": [{"window": "minute", "max": 2}],
        },
        "-x": {"action": "require_approval"},
    },
}
GOOD: list[dict[str, Any]] = [
    {"tool": "send", "arguments": {"to": "us"}, "expect": "allow"},
    {"tool": "send", "arguments": {"to": "it's"}, "expect": "deny", "because": ["/tools/send/require/0"]},
    {
        "name": "two a minute",
        "sequence": [
            {"tool": "send", "arguments": {"to": "us"}, "expect": "allow", "times": 2},
            {"tool": "send", "arguments": {"to": "us"}, "expect": "deny", "because": ["/tools/send/limits/0"]},
        ],
    },
]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["test", *words])


def write(directory: Path, name: str, value: Any) -> str:
    path = directory / name
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1))
    return str(path)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "policy.json", POLICY)
    return "policy.json"


def test_cases_that_hold_are_one_line(policy: str, tmp_path: Path) -> None:
    write(tmp_path, "policy.test.json", {"cases": GOOD})
    done = subprocess.run([*MCPGUARD, "test", policy], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "policy.json: 3 cases hold\n", "")


def test_every_file_beside_the_policy_is_read(policy: str, tmp_path: Path) -> None:
    write(tmp_path, "policy.test.json", {"cases": GOOD[:1]})
    write(tmp_path, "policy.test.yaml", "cases:\n- {tool: send, expect: deny}\n")
    assert run(policy).stdout == "policy.json: 2 cases hold\n"
    other = write(tmp_path, "other.yml", "cases:\n- {tool: send, expect: deny}\n")
    assert run(policy, other).stdout == "policy.json: 1 case holds\n"


def test_without_cases_it_says_how_to_get_some(policy: str) -> None:
    result = run(policy)
    assert result.exit_code == ExitCode.USAGE
    assert "none of `policy.test.json`, `policy.test.yaml`, `policy.test.yml`" in result.stderr
    assert "mcpguard init" in result.stderr


def test_what_does_not_hold_is_said_with_its_line_and_the_command_that_explains_it(policy: str, tmp_path: Path) -> None:
    cases = [
        {"tool": "send", "arguments": {"to": "it's", "n": 1.50}, "expect": "allow"},
        {"name": "who", "tool": "send", "expect": "deny", "because": ["/default"]},
        {"tool": "-x", "expect": "allow"},
        {"sequence": [{"tool": "send", "arguments": {"to": "us"}, "expect": "allow", "times": 11}]},
        {"resource": "x://\u202e", "expect": "allow"},
        {"resource": "file:///it's", "expect": "allow"},
        {"prompt": "-p", "expect": "approve"},
        {"tool": "drop", "category": "write", "expect": "hide"},
        *GOOD,
    ]
    write(tmp_path, "policy.test.json", {"cases": cases})
    result = run(policy)
    assert result.exit_code == ExitCode.FINDINGS
    lines = result.stdout.splitlines()
    assert lines[0] == "policy.test.json:3: send: expected allow, got deny: only to us (/tools/send/require/0)"
    assert lines[1] == """    mcpguard explain policy.json send --args '{ "to": "it'"'"'s", "n": 1.5 }'"""
    assert lines[2].startswith(
        "policy.test.json:11: who: send: expected deny because of /default, got deny: only to us (args.to"
    )
    assert lines[2].endswith(" (/tools/send/require/0)")
    assert lines[3] == "    mcpguard explain policy.json send"
    assert lines[4].startswith("policy.test.json:19: -x: expected allow, got approve: ")
    assert lines[5] == "    mcpguard explain -- policy.json -x"
    assert lines[6] == (
        "policy.test.json:25: send: call 3 of the sequence: expected allow, got deny: "
        "counter /tools/send/limits/0 allows 2 per minute (/tools/send/limits/0)"
    )
    assert lines[7].startswith(r"policy.test.json:35: x://\u202e: expected allow, got deny: ")
    assert lines[8].startswith("policy.test.json:39: file:///it's: expected allow, got deny: ")
    assert lines[9] == """    mcpguard explain policy.json --resource 'file:///it'"'"'s'"""
    assert lines[10].startswith("policy.test.json:43: -p: expected approve, got deny: ")
    assert lines[11] == "    mcpguard explain policy.json --prompt -p"
    assert lines[12].startswith("policy.test.json:47: drop: expected hide, got deny: ")
    assert lines[13] == "    mcpguard explain policy.json drop --category write"
    assert lines[14:] == ["policy.json: 3 cases hold, 8 do not"]
    for command in lines[1:14:2]:
        if command.startswith("    "):
            explain, *words = shlex.split(command)[1:]
            explained = CliRunner().invoke(app, [explain, "--json", *words])
            assert json.loads(explained.stdout)["effect"] == "deny"


def test_json_tells_every_case(policy: str, tmp_path: Path) -> None:
    write(
        tmp_path, "policy.test.json", {"cases": [*GOOD, {"tool": "send", "arguments": {"n": 0.10}, "expect": "allow"}]}
    )
    result = run(policy, "--json")
    assert result.exit_code == ExitCode.FINDINGS
    told = json.loads(result.stdout)
    assert (told["policy"], told["held"], told["failed"]) == ("policy.json", 3, 1)
    place = {"file": "policy.test.json", "name": None}
    assert told["cases"][0] == {
        **place,
        "at": "/cases/0",
        "line": 3,
        **GOOD[0],
        "got": "allow",
        "because": [],
        "reasons": [],
        "holds": True,
    }
    reason = {"code": "require", "rule": "/tools/send/require/0", "message": "only to us"}
    assert told["cases"][1]["reasons"] == [reason]
    sequence = told["cases"][2]
    assert [(step["got"], step["times"]) for step in sequence["sequence"]] == [("allow", 2), ("deny", 1)]
    assert (sequence["name"], sequence["holds"], sequence["failed_call"]) == ("two a minute", True, None)
    assert (told["cases"][3]["got"], told["cases"][3]["holds"]) == ("deny", False)


def test_files_that_cannot_be_used_are_refused(policy: str, tmp_path: Path) -> None:
    bad = write(tmp_path, "bad.json", {"cases": [{"tool": "t"}]})
    worse = write(
        tmp_path, "worse.json", '{"cases": [{"tool": "t", "expect": "deny", "because": ["/tools/sned/action"]}]}'
    )
    result = run(policy, bad, worse)
    assert (result.exit_code, result.stdout) == (ExitCode.POLICY, "")
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [f"{bad}:3:3", f"{worse}:1:56"]
    assert run("none.json").exit_code == ExitCode.POLICY
    assert "there is no such file" in run("none.json", bad).stderr


def test_a_file_without_cases_shows_nothing(policy: str, tmp_path: Path) -> None:
    write(tmp_path, "policy.test.json", {"cases": []})
    assert (run(policy).stdout, run(policy).exit_code) == ("policy.json: no cases\n", ExitCode.OK)


def test_a_list_says_what_the_tools_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "policy.json", {"version": "1", "tools": {"@read": {}}})
    write(tmp_path, "policy.test.json", {"cases": [{"tool": "get_it", "expect": "allow"}]})
    tools = write(tmp_path, "list.json", {"tools": [{"name": "get_it", "inputSchema": {}}]})
    failed = run("policy.json")
    assert failed.exit_code == ExitCode.FINDINGS
    assert "no list of the server has shown this tool" in failed.stdout
    assert run("policy.json", "--tools", tools).stdout == "policy.json: 1 case holds\n"
    write(tmp_path, "policy.test.json", {"cases": [{"tool": "get_it", "expect": "deny"}]})
    _, command, _ = run("policy.json", "--tools", tools).stdout.splitlines()
    assert command == f"    mcpguard explain policy.json get_it --tools {tools}"
    cases = [{"tool": "get_it", "category": "write", "expect": "allow"}, {"prompt": "p", "expect": "allow"}]
    write(tmp_path, "policy.test.json", {"cases": cases})
    _, by_case, _, of_prompt, _ = run("policy.json", "--tools", tools).stdout.splitlines()
    assert by_case == "    mcpguard explain policy.json get_it --category write"
    assert of_prompt == "    mcpguard explain policy.json --prompt p"
    for command in (by_case, of_prompt):
        explained = CliRunner().invoke(app, [*shlex.split(command)[1:], "--json"])
        assert json.loads(explained.stdout)["effect"] == "deny"
    write(tmp_path, "policy.test.json", {"cases": [{"tool": "get_it", "category": "read", "expect": "allow"}]})
    assert run("policy.json").exit_code == ExitCode.OK


def test_paths_are_looked_up_from_the_present_directory(policy: str, tmp_path: Path) -> None:
    rule = {"conditions": [{"path": "args.path", "op": "under", "value": [str(tmp_path / "in")]}]}
    write(tmp_path, "policy.json", {"version": "1", "tools": {"read": {"require": [rule]}}})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to("/etc")
    cases = [
        {"tool": "read", "arguments": {"path": path}, "expect": effect}
        for path, effect in (("in/x", "allow"), ("x", "deny"), ("in/../x", "deny"), ("in/out/x", "deny"))
    ]
    write(tmp_path, "policy.test.json", {"cases": cases})
    assert run(policy).stdout == "policy.json: 4 cases hold\n"


def test_changes_that_no_case_notices_are_listed_with_their_lines(policy: str, tmp_path: Path) -> None:
    write(tmp_path, "policy.test.json", {"cases": [*GOOD, {"tool": "-x", "expect": "approve"}]})
    before = Path(policy).read_bytes()
    result = run(policy, "--mutate")
    assert result.exit_code == ExitCode.FINDINGS
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith("    ")] == [
        "policy.json: 4 cases hold",
        'policy.json:1: looser, and no case notices: /default: "allow" instead of "deny"',
        'policy.json:18: looser, and no case notices: /tools/send/limits/0: "window" of 30 seconds instead of 1 minute',
        'policy.json:18: stricter, and no case notices: /tools/send/limits/0: "window" of 2 minutes instead of 1 minute',
        "policy.json: 12 of 15 changes are noticed, 3 are not",
    ]
    offered = [
        line.partition("notice it: ")[2] for line in lines if line.startswith("    a case that would notice it: ")
    ]
    assert lines.count("    the same case would notice it") == 1
    assert Path(policy).read_bytes() == before
    told = json.loads(run(policy, "--mutate", "--json").stdout)["mutants"]
    assert {key: told[key] for key in ("total", "noticed", "skipped")} == {"total": 15, "noticed": 12, "skipped": 0}
    assert told["survivors"][0].pop("case")["because"] == ["/default"]
    assert told["survivors"][0] == {
        "rule": "/default",
        "line": 1,
        "change": '"allow" instead of "deny"',
        "direction": "looser",
    }
    more = [
        {"tool": "other", "expect": "deny"},
        {
            "sequence": [
                {"tool": "send", "arguments": {"to": "us"}, "expect": "allow", "times": 2},
                {"tool": "send", "arguments": {"to": "us"}, "expect": "deny", "after": "59s"},
                {"tool": "send", "arguments": {"to": "us"}, "expect": "allow", "after": "1s"},
            ]
        },
    ]
    write(tmp_path, "policy.test.yaml", {"cases": more})
    noticed = run(policy, "--mutate")
    assert noticed.stdout == "policy.json: 6 cases hold\npolicy.json: 15 of 15 changes are noticed\n"
    assert noticed.exit_code == ExitCode.OK
    (tmp_path / "policy.test.yaml").unlink()
    write(
        tmp_path, "policy.test.json", {"cases": [*GOOD, *map(json.loads, offered), {"tool": "-x", "expect": "approve"}]}
    )
    assert run(policy, "--mutate").stdout.splitlines()[-1] == "policy.json: 15 of 15 changes are noticed"


def test_a_policy_whose_cases_do_not_hold_is_not_changed(policy: str, tmp_path: Path) -> None:
    write(tmp_path, "policy.test.json", {"cases": [*GOOD, {"tool": "-x", "expect": "allow"}]})
    result = run(policy, "--mutate")
    assert result.exit_code == ExitCode.FINDINGS
    assert result.stdout.splitlines()[-2:] == [
        "policy.json: 3 cases hold, 1 does not",
        "policy.json: nothing was changed: first, every case has to hold",
    ]
    assert json.loads(run(policy, "--mutate", "--json").stdout)["mutants"] is None


def test_the_example_of_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(?:json|console)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    write(tmp_path, "policy.json", blocks[0])
    write(tmp_path, "policy.test.json", blocks[1])
    command, _, output = blocks[2].partition("\n")
    assert command == "$ mcpguard test policy.json"
    assert run("policy.json").stdout == output
    wrong = '"tool": "delete_report", "arguments": { "id": 7 }, "expect": "deny"'
    assert wrong in blocks[1]
    write(tmp_path, "policy.test.json", blocks[1].replace(wrong, wrong.replace("deny", "approve")))
    command, _, output = next(block for block in blocks if "--mutate\n" in block).partition("\n")
    assert command == "$ mcpguard test policy.json --mutate"
    assert run("policy.json", "--mutate").stdout == output
