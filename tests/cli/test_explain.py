"""Checks what `explain` prints for people and for programs, and the status it ends with."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.explain import explain
from mcpguard.errors import ExitCode

ESCAPE = "\x1b"
DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(json|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
POLICY: dict[str, Any] = {
    "version": "1",
    "hide": ["admin_*"],
    "all_tools": {"deny_if": [{"conditions": [{"path": "args.dry_run", "op": "eq", "value": False}]}]},
    "tools": {
        "get_*": {},
        "wipe": {"action": "deny", "reason": "never"},
        "charge": {
            "require": [{"conditions": [{"path": "args.currency", "op": "in", "value": ["usd", "eur"]}]}],
            "deny_if": [{"conditions": [{"path": "args.amount", "op": "gt", "value": 10000}], "on_deny": "too much"}],
            "approve_if": [{"conditions": [{"path": "args.amount", "op": "gt", "value": 500}], "reason": "large"}],
            "arguments": {"properties": {"memo": {"minLength": 10}}},
            "limits": [
                {"counter": "spend", "window": "day", "max": 9000, "cost": "args.amount", "per": "args.who"},
                {"window": 90, "max": 3},
            ],
        },
        "tag": {
            "require": [{"conditions": [{"path": "args.tags.*", "op": "exists"}]}],
            "deny_if": [{"conditions": []}],
            "approve_if": [{"conditions": [{"path": "args.tags.*.x", "op": "neq", "value": 1}]}],
        },
    },
}
GOOD = {"currency": "usd", "amount": 5, "who": "Me"}
TOOLS = {"tools": [{"name": "charge"}, {"name": "get_x"}]}


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY))
    return str(path)


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "80", **environment}).invoke(explain, arguments, input=stdin)


def call(policy: str, tool: str, arguments: object, *more: str) -> Result:
    return run(policy, tool, "--args", json.dumps(arguments), *more)


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


def as_json(policy: str, tool: str, arguments: object, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(policy, tool, arguments, "--json", *more).stdout)
    return found


CHARGES = [
    {"counter": "spend", "window_s": 86400, "max": 9000, "cost": 5, "per": "me"},
    {"counter": "/tools/charge/limits/1", "window_s": 90, "max": 3, "cost": 1, "per": None},
]


def test_json_tells_what_an_allowed_call_is_charged(policy: str) -> None:
    found = as_json(policy, "charge", GOOD)
    told = {key: found[key] for key in ("tool", "effect", "entry", "reasons", "ask", "charges")}
    assert told == {
        "tool": "charge",
        "effect": "allow",
        "entry": "/tools/charge",
        "reasons": [],
        "ask": None,
        "charges": CHARGES,
    }
    assert found["smallest_change"] is None


def test_json_tells_every_reason_and_the_smallest_change(policy: str) -> None:
    found = as_json(policy, "charge", GOOD | {"currency": "gbp", "amount": 20000})
    assert (found["effect"], found["ask"], found["charges"]) == ("deny", None, [])
    assert [(reason["rule"], reason["code"]) for reason in found["reasons"]] == [
        ("/tools/charge/require/0", "require"),
        ("/tools/charge/deny_if/0", "deny_if"),
    ]
    assert found["reasons"][1]["message"] == "too much"
    change = found["smallest_change"]
    assert {edit["path"] for edit in change["edits"]} == {"/currency", "/amount"}
    assert as_json(policy, "charge", change["arguments"])["effect"] == "allow"
    rules = {rule["rule"]: rule for rule in found["looked_at"]["rules"]}
    assert list(rules) == [
        "/tools/charge/require/0",
        "/tools/charge/deny_if/0",
        "/all_tools/deny_if/0",
        "/tools/charge/approve_if/0",
    ]
    assert rules["/tools/charge/require/0"]["conditions"] == [
        {
            "path": "args.currency",
            "op": "in",
            "value": ["usd", "eur"],
            "outcome": "no",
            "counts_as": "no",
            "found": [{"path": "/currency", "value": "gbp", "outcome": "no"}],
            "more": 0,
        }
    ]
    assert rules["/all_tools/deny_if/0"]["conditions"][0]["found"] == [{"path": "/dry_run", "outcome": "absent"}]


def test_json_tells_who_asks_when_only_an_approval_is_missing(policy: str) -> None:
    found = as_json(policy, "charge", GOOD | {"amount": 700})
    assert found["effect"] == "deny"
    assert found["ask"] == {
        "rule": "/tools/charge/approve_if/0",
        "reason": "large",
        "via": ["client", "terminal"],
        "timeout_ms": 45_000,
        "ttl_ms": 600_000,
        "remember": "call",
    }
    assert [charge["cost"] for charge in found["charges"]] == [700, 1]
    assert found["smallest_change"] == {
        "edits": [{"edit": "set", "path": "/amount", "value": 500}],
        "arguments": GOOD | {"amount": 500},
        "asked": False,
    }


def test_json_tells_what_not_even_an_empty_counter_admits(policy: str) -> None:
    found = as_json(policy, "charge", GOOD | {"amount": 9001})
    assert [(reason["rule"], reason["code"]) for reason in found["reasons"]] == [
        ("/tools/charge/limits/0", "rate_limited"),
        ("/tools/charge/approve_if/0", "approval_required"),
    ]
    assert (found["ask"], found["charges"]) == (None, [])


def test_json_keeps_every_digit(policy: str) -> None:
    exact = "0.1000000000000000000000000000000001"
    result = run(policy, "charge", "--json", "--args", f'{{"currency": "usd", "who": true, "amount": {exact}}}')
    assert json.loads(result.stdout, parse_float=Decimal)["charges"][0]["cost"] == Decimal(exact)
    tiny = run(policy, "charge", "--json", "--args", '{"currency": "usd", "who": 1, "amount": 1e-50}').stdout
    assert json.loads(tiny)["charges"][0]["cost"] == 1e-50


@pytest.mark.parametrize(
    ("arguments", "edit"),
    [
        ({"Amount": 5}, {"edit": "rename", "path": "/Amount", "to": "amount"}),
        ({"amount": 5, "AMOUNT": 5}, {"edit": "remove", "path": "/AMOUNT"}),
        ({"amount": 5, "memo": "short"}, {"edit": "set", "path": "/memo", "value": "short exam"}),
    ],
)
def test_json_names_every_kind_of_edit(policy: str, arguments: dict[str, object], edit: dict[str, object]) -> None:
    assert as_json(policy, "charge", {"currency": "usd", "who": "me"} | arguments)["smallest_change"]["edits"] == [edit]


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "told"),
    [
        pytest.param("get_x", {}, 0, "get_x is allowed decided by /tools/get_*", id="allowed"),
        pytest.param("charge", GOOD, 0, 'takes 5 of 9000 per day, for "me" counter spend', id="what is charged"),
        pytest.param("charge", GOOD, 0, "/tools/charge/limits/1 takes 1 of 3 per 90 seconds", id="what is counted"),
        pytest.param(
            "wipe", {}, 1, "wipe is denied decided by /tools/wipe denied: never /tools/wipe/action", id="denied"
        ),
        pytest.param("wipe", {}, 1, "its action is deny all_tools is not looked at", id="its action"),
        pytest.param("wipe", {}, 1, "None: the policy refuses every call of this tool", id="no change helps"),
        pytest.param("admin_x", {}, 1, "admin_x is hidden decided by /hide/0", id="hidden"),
        pytest.param("other", {}, 1, "/default decides no name and no pattern matches", id="by default"),
        pytest.param("chrage", {}, 1, "the policy does not name `chrage`; did you mean `charge`?", id="misspelt"),
        pytest.param("charge", GOOD | {"amount": 20000}, 1, "deny_if: too much /tools/charge/deny_if/0", id="a reason"),
        pytest.param("charge", GOOD | {"amount": 20000}, 1, "args.amount gt 10000 20000 yes", id="a condition"),
        pytest.param("charge", GOOD | {"amount": 20000}, 1, "set args.amount to 500 (it is 20000)", id="a change"),
        pytest.param("charge", GOOD | {"amount": 20000}, 1, "A refused call is not charged.", id="no charge"),
        pytest.param(
            "charge",
            GOOD | {"amount": 700},
            1,
            "charge needs a person's approval decided by /tools/charge approval_required: large /tools/charge/approve_if/0",
            id="an approval",
        ),
        pytest.param(
            "charge",
            GOOD | {"amount": 700},
            1,
            "Looked at before a person is asked, and charged once the call is approved. How a person is asked In a dialog",
            id="what is charged for an approval",
        ),
        pytest.param(
            "charge",
            GOOD | {"amount": 700},
            1,
            "The smallest change with which nobody is asked set args.amount to 500 (it is 700)",
            id="a change without approval",
        ),
        pytest.param("charge", GOOD | {"amount": 9001}, 1, "charge is denied decided by", id="no approval helps"),
        pytest.param(
            "charge", GOOD | {"currency": "USD"}, 1, "/tools/charge/require/0 does not hold, in doubt", id="doubt"
        ),
        pytest.param(
            "charge", GOOD | {"currency": "USD"}, 1, 'args.currency in ["usd", "eur"] "USD" unsure', id="unsure"
        ),
        pytest.param("charge", GOOD, 0, "args.dry_run eq false not given: counts as no absent", id="absent"),
        pytest.param("charge", {"Amount": 1}, 1, "not looked at: a key could be taken for another", id="no limits"),
        pytest.param("charge", {"Amount": 1}, 1, "args.Amount could be taken for", id="an alias"),
        pytest.param(
            "charge", {"Amount": 5, "currency": "usd", "who": 1}, 1, "rename args.Amount to amount", id="rename"
        ),
        pytest.param(
            "charge", {"currency": "usd", "who": 1}, 1, "nobody can say what it takes", id="nothing to add up"
        ),
        pytest.param("charge", {"currency": "usd", "who": 1}, 1, "add args.amount: 500", id="add"),
        pytest.param(
            "charge", GOOD | {"memo": 1}, 1, "/tools/charge/arguments refuses the arguments args.memo", id="schema"
        ),
        pytest.param("charge", GOOD | {"dry_run": False}, 1, "leave out args.dry_run", id="leave out"),
        pytest.param("tag", {"tags": [1] * 9}, 1, "it has no conditions: it is about every call", id="no conditions"),
        pytest.param("tag", {"tags": [1] * 9}, 1, "args.tags.0 is 1 yes args.tags.1 is 1 yes", id="each element"),
        pytest.param("tag", {"tags": [1] * 9}, 1, "and 4 more", id="not every element"),
        pytest.param("tag", {"tags": [1]}, 1, "args.tags.0 has nothing below it unsure", id="nothing to look into"),
        pytest.param(
            "tag", {"tags": [{}]}, 1, "args.tags.0.x not given: counts as unsure absent", id="absent and unsure"
        ),
    ],
)
def test_people_are_told(policy: str, tool: str, arguments: object, status: int, told: str) -> None:
    result = call(policy, tool, arguments)
    assert result.exit_code == status
    assert told in flat(result)
    assert not result.stderr
    assert ESCAPE not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("approval", "told"),
    [
        pytest.param(
            {},
            "In a dialog of the client, or in another terminal: mcpguard approve. "
            "The call waits 45 seconds for an answer, and is refused without one. "
            "A later approval is for the same call, made again within 10 minutes. The smallest change",
            id="as the language has it",
        ),
        pytest.param(
            {"via": ["client"], "timeout": "1m", "ttl": "1500ms"},
            "In a dialog of the client, and nowhere else: under a client without dialogs nobody can approve. "
            "The call waits 1 minute for an answer, and is refused without one. "
            "A later approval is for the same call, made again within 1500 ms.",
            id="by the client alone",
        ),
        pytest.param(
            {"via": ["terminal"], "timeout": "0s", "remember": "tool", "ttl": "120m"},
            "In another terminal: mcpguard approve. The call does not wait for an answer: it is refused at once. "
            "A later approval is for the same call, made again within 2 hours. "
            "The answer may be about later calls that the same rules ask about, too.",
            id="in a terminal, for more than a call",
        ),
        pytest.param({"ttl": "0s"}, "refused without one. The smallest change", id="no later approval"),
    ],
)
def test_people_are_told_how_a_person_is_asked(tmp_path: Path, approval: dict[str, object], told: str) -> None:
    path = tmp_path / "policy.json"
    tools = {"wipe": {"action": "require_approval"}}
    path.write_text(json.dumps({"version": "1", "approval": approval, "tools": tools}))
    result = run(str(path), "wipe")
    assert result.exit_code == ExitCode.FINDINGS
    assert told in flat(result).split("How a person is asked ")[1]
    assert "None: a person is asked about every call of this tool, whatever its arguments." in flat(result)


def test_a_change_of_a_call_that_is_asked_about_anyway_says_so(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    refused = {"deny_if": [{"conditions": [{"path": "args.n", "op": "gt", "value": 5}]}]}
    path.write_text(json.dumps({"version": "1", "tools": {"wipe": refused | {"action": "require_approval"}}}))
    found = flat(call(str(path), "wipe", {"n": 7}))
    assert "The smallest change with which it passes set args.n to 5 (it is 7)" in found
    assert "Judged again: only a person's approval is missing." in found
    assert "How a person is asked" not in found
    assert as_json(str(path), "wipe", {"n": 7})["smallest_change"]["asked"] is True


def test_a_search_without_success_says_how_much_was_tried(tmp_path: Path) -> None:
    rules = [{"conditions": [{"path": f"args.{key}", "op": "eq", "value": 1}]} for key in "abcd"]
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"version": "1", "tools": {"t": {"require": rules}}}))
    assert "None was found. Tried " in flat(run(str(path), "t"))
    assert json.loads(run(str(path), "t", "--json").stdout)["smallest_change"] is None
    pattern = {"required": ["m"], "properties": {"m": {"pattern": "^[0-9]{9}$"}}}
    path.write_text(json.dumps({"version": "1", "tools": {"t": {"arguments": pattern}}}))
    assert "None was found." in flat(run(str(path), "t"))


def test_many_patterns_that_do_not_match_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"version": "1", "hide": [f"x{number}*" for number in range(9)], "tools": {"t": {}}}))
    assert "and 4 more that do not match" in flat(run(str(path), "t"))


@pytest.mark.parametrize("shape", [TOOLS, TOOLS["tools"], {"jsonrpc": "2.0", "id": 1, "result": TOOLS}])
def test_a_list_of_tools_says_whether_the_tool_exists(policy: str, tmp_path: Path, shape: object) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(shape))
    more = ("--tools", str(tools))
    assert "`charge` is in the list of tools" in flat(call(policy, "charge", GOOD, *more))
    missing = "`Charge` is not in the list of 2 tools; did you mean `charge`?"
    assert missing in flat(call(policy, "Charge", GOOD, *more))
    found = as_json(policy, "Charge", GOOD, *more)
    assert (found["listed"], found["did_you_mean"]) == (False, ["charge"])
    assert "listed" not in as_json(policy, "charge", GOOD)


def test_arguments_come_from_a_file_or_from_stdin(policy: str, tmp_path: Path) -> None:
    text = json.dumps(GOOD, indent=1).encode()
    (tmp_path / "call.json").write_bytes(text)
    assert run(policy, "charge", "--args", f"@{tmp_path / 'call.json'}").exit_code == ExitCode.OK
    assert run(policy, "charge", "--args", "@-", stdin=text).exit_code == ExitCode.OK
    assert run(policy, "get_x", "--args", "null").exit_code == ExitCode.OK


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param('{"a": 1, "a": 2}', 'Detected duplicate key "a" at line 1 column 14', id="a key twice"),
        pytest.param('{"a": ', "no JSON that everybody reads alike", id="broken"),
        pytest.param('{}, "name": "x"', "no JSON that everybody reads alike", id="more than a value"),
        pytest.param('{"a": NaN}', "no JSON that everybody reads alike", id="not a number"),
        pytest.param('{"a": 1e999}', "the guard refuses to read this: a number beyond", id="beyond a double"),
        pytest.param("[" * 150 + "]" * 150, "the guard refuses to read this: nested too deeply", id="too deep"),
        pytest.param("[]", "the arguments of a call are a JSON object", id="a list"),
        pytest.param("@/nowhere", "`/nowhere` cannot be read: no such file or directory", id="no file"),
        pytest.param("@a\0b", "cannot be read: no file can have this name", id="no name"),
    ],
)
def test_arguments_that_the_guard_would_not_read_are_wrong_usage(policy: str, text: str, told: str) -> None:
    result = run(policy, "charge", "--args", text)
    assert result.exit_code == ExitCode.USAGE
    assert told in result.stderr
    assert not result.stdout


def test_arguments_that_are_too_large_are_wrong_usage(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpguard.cli.explain.MAX_BYTES", 3)
    (tmp_path / "call.json").write_text('{"a": 1}')
    assert run(policy, "charge", "--args", f"@{tmp_path / 'call.json'}").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("content", ['{"tools": {}}', '["a"]', '[{"name": 1}]', "7", "x"])
def test_what_is_no_list_of_tools_is_wrong_usage(policy: str, tmp_path: Path, content: str) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(content)
    assert run(policy, "charge", "--tools", str(tools)).exit_code == ExitCode.USAGE


def test_a_policy_that_cannot_be_used_gets_all_of_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"version": "1",\n "tools": {"a": {"action": "alow", "limit": 1}}}')
    result = run(str(path), "a", "--json")
    assert (result.exit_code, result.stdout) == (ExitCode.POLICY, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{path}:2:28", f"{path}:2:36"]


@pytest.mark.parametrize("bad", [f"{ESCAPE}[31m", "\u202e", "\r", "\x9b"])
def test_nothing_from_outside_reaches_the_terminal_as_it_is(policy: str, bad: str) -> None:
    arguments = GOOD | {"currency": f"usd{bad}", f"amo{bad}unt": bad, "dry_run": {bad: bad}}
    result = call(policy, "charge", arguments)
    assert bad not in result.stdout
    assert bad not in call(policy, f"x{bad}", {}).stdout
    assert bad not in call(policy, "charge", arguments, "--json").stdout


def test_the_examples_of_the_page_are_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((DOCS / "explain.md").read_text())
    (own,) = [text for kind, text in blocks if kind == "json"]
    _, _, approvals = (DOCS / "policy.md").read_text().partition("\n## Approvals\n")
    examples = [text for kind, text in blocks if kind == "console"]
    assert len(examples) == 5
    for example in examples:
        command, _, printed = example.partition("\n")
        begin, *arguments = shlex.split(command.removeprefix("$ mcpguard "))
        assert begin == "explain"
        of_page = BLOCK.findall(approvals)[0][1] if "approval" in printed else own
        Path("policy.json").write_text(of_page)
        assert run(*arguments).stdout == printed


def on_a_terminal(policy: str, **more: str) -> str:
    told = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    environment = {name: value for name, value in os.environ.items() if name not in told}
    ours, theirs = pty.openpty()
    command = (sys.executable, "-P", "-m", "mcpguard", "explain", policy, "wipe")
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm-256color"} | more
    )
    os.close(theirs)
    read = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            read += chunk
    except OSError:  # EIO: the other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == ExitCode.FINDINGS
    return read.decode()


def test_a_terminal_gets_colours_unless_they_are_not_wanted(policy: str) -> None:
    assert f"{ESCAPE}[1;31mwipe is denied" in on_a_terminal(policy)
    assert "31m" not in on_a_terminal(policy, NO_COLOR="1")


def test_the_command_is_one_of_mcpguard(policy: str) -> None:
    command = (sys.executable, "-P", "-m", "mcpguard", "explain", policy, "get_x")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("get_x is allowed\n")
