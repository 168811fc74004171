"""Checks `diff`: every witness is what `explain` says by either file, and what no call shows is named."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jiter
import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.diff import diff
from mcpguard.cli.explain import explain
from mcpguard.cli.json_lines import json_line
from mcpguard.errors import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "diff.md"
Json = dict[str, Any]


def rule(path: str, op: str, value: Any, **texts: str) -> Json:
    return {"conditions": [{"path": path, "op": op, "value": value}], **texts}


def one(**entry: Any) -> Json:
    return {"tools": {"t": entry}}


def write(directory: Path, name: str, value: Json) -> Path:
    path = directory / name
    path.write_text(json.dumps({"version": "1", **value}, indent=1))
    return path


def run(old: Path, new: Path, *more: str) -> Result:
    return CliRunner().invoke(diff, [str(old), str(new), *more])


def compared(directory: Path, old: Json, new: Json, *more: str) -> Json:
    result = run(write(directory, "old.json", old), write(directory, "new.json", new), "--json", *more)
    assert result.exit_code in (ExitCode.OK, ExitCode.FINDINGS), result.output
    found: Json = jiter.from_json(result.stdout.encode(), float_mode="decimal")
    return found


def explained(path: Path, witness: Json, *more: str) -> Json:
    """Ask `explain` about a witness."""
    words = [str(path), "--json", *more]
    words += ["--args", json_line(witness["arguments"])] if witness.get("arguments") else []
    for option in ("category", "resource", "prompt"):
        words += [f"--{option}", witness[option]] if option in witness else []
    return asked(*words, *(("--", witness["tool"]) if "tool" in witness else ()))


def asked(*words: str) -> Json:
    result = CliRunner().invoke(explain, words)
    assert result.exit_code in (ExitCode.OK, ExitCode.FINDINGS), result.output
    told: Json = json.loads(result.stdout)
    return told


def calls_in(printed: str) -> list[list[str]]:
    """Give the words of every call that is no part of a sequence, as they are to be put behind `mcpguard explain FILE`."""
    lines = [
        line.partition(": was ")[0] for line in printed.splitlines() if line.startswith("    ") and ": was " in line
    ]
    return [shlex.split(line) for line in lines if not re.search(r" \(call \d+ of a sequence, .*\)$", line)]


def effect_of(told: Json) -> str:
    return "approve" if told["ask"] is not None else told["effect"]


def wraps(condition: Json) -> Json:
    return {"conditions": [condition]}


USD, EUR = ["usd"], ["usd", "eur"]
PAIRS: dict[str, tuple[Json, Json, str, str]] = {
    "a bound that grows": (
        one(require=[rule("args.n", "lte", 10)]),
        one(require=[rule("args.n", "lte", 20)]),
        "newly allowed",
        "/tools/t/require/0",
    ),
    "a bound that shrinks": (
        one(require=[rule("args.n", "lte", 20)]),
        one(require=[rule("args.n", "lte", 10)]),
        "newly refused",
        "/tools/t/require/0",
    ),
    "a bound off by one": (
        one(deny_if=[rule("args.n", "gt", 10)]),
        one(deny_if=[rule("args.n", "gte", 10)]),
        "newly refused",
        "/tools/t/deny_if/0",
    ),
    "a member more": (one(require=[rule("args.c", "in", USD)]), one(require=[rule("args.c", "in", EUR)]), "newly allowed", "/tools/t/require/0"),
    "an anchor less": (
        one(require=[rule("args.s", "regex", "^a+$")]),
        one(require=[rule("args.s", "regex", "^a+")]),
        "newly allowed",
        "/tools/t/require/0",
    ),
    "a dot that means anything": (
        one(require=[rule("args.s", "regex", "^a\\.b$")]),
        one(require=[rule("args.s", "regex", "^a.b$")]),
        "newly allowed",
        "/tools/t/require/0",
    ),
    "a wider directory": (
        one(require=[rule("args.p", "under", "/srv/docs")]),
        one(require=[rule("args.p", "under", "/srv")]),
        "newly allowed",
        "/tools/t/require/0",
    ),
    "hosts below": (
        one(require=[rule("args.u", "host_in", "example.com")]),
        one(require=[rule("args.u", "host_in", ["example.com", "*.example.com"])]),
        "newly allowed",
        "/tools/t/require/0",
    ),
    "a rule that is gone": (one(deny_if=[rule("args.f", "eq", True)]), one(), "newly allowed", "/tools/t/deny_if/0"),
    "a rule that has come": (one(), one(require=[rule("args.f", "exists", True)]), "newly refused", "/tools/t/require/0"),
    "a rule of every tool": (
        {"tools": {"t": {}}, "all_tools": {"deny_if": [rule("args.f", "eq", 1)]}},
        {"tools": {"t": {}}},
        "newly allowed",
        "/all_tools/deny_if/0",
    ),
    "a schema": (one(arguments={"required": ["a"]}), one(), "newly allowed", "/tools/t/arguments"),
    "a person who is not asked": (one(action="require_approval"), one(), "no longer asked about", "/tools/t/action"),
    "a person who is asked": (one(), one(approve_if=[rule("args.n", "gt", 5)]), "now asked about", "/tools/t/approve_if/0"),
    "asked instead of refused": (one(action="deny"), one(action="require_approval"), "now asked about, was refused", "/tools/t/action"),
    "an entry": ({"tools": {}}, one(), "newly allowed", "/tools/t"),
    "an entry that is gone": (one(), {"tools": {}}, "newly refused", "/tools/t"),
    "a wider pattern": ({"tools": {"get_*": {}}}, {"tools": {"get*": {}}}, "newly allowed", "/tools/get*"),
    "hidden": ({"tools": {"t": {}}}, {"hide": ["t"], "tools": {"t": {}}}, "newly refused", "/hide/0"),
    "hidden instead of denied": (one(action="deny"), one(action="hide"), "now hidden", "/tools/t/action"),
    "shown and denied": (one(action="hide"), one(action="deny"), "no longer hidden", "/tools/t/action"),
    "the default": ({"default": "deny"}, {"default": "allow"}, "newly allowed", "/default"),
    "a name like an option": (
        {"tools": {"-x": {"deny_if": [rule("args.n", "gt", 5)]}}},
        {"tools": {"-x": {}}},
        "newly allowed",
        "/tools/-x/deny_if/0",
    ),
    "a wider pattern of resources": (
        {"resources": {"file:///a/*": {}}},
        {"resources": {"file:///*": {}}},
        "newly allowed",
        "/resources/file:~1~1~1*",
    ),
    "a resource with a blank": (
        {"resources": {"file:///it's a": {}}},
        {"resources": {"file:///it's a": {"action": "deny"}}},
        "newly refused",
        "/resources/file:~1~1~1it's a/action",
    ),
    "resources that a person is asked about": (
        {"resources": {"x:*": {}}},
        {"resources": {"x:*": {"action": "require_approval"}}},
        "now asked about",
        "/resources/x:*/action",
    ),
    "resources that are gone": ({"resources": {"x:*": {}}}, {"resources": {}}, "newly refused", "/resources/x:*"),
    "a prompt": ({"prompts": {"p": {}}}, {"prompts": {"p": {"action": "deny"}}}, "newly refused", "/prompts/p/action"),
    "a prompt like an option": ({"prompts": {}}, {"prompts": {"--json": {}}}, "newly allowed", "/prompts/--json"),
    "a prompt nobody is asked about": (
        {"prompts": {"p*": {"action": "require_approval"}}},
        {"prompts": {"p*": {}}},
        "no longer asked about",
        "/prompts/p*/action",
    ),
    "a hidden prompt": ({"prompts": {"p": {"action": "hide"}}}, {"prompts": {"p": {"action": "deny"}}}, "no longer hidden", "/prompts/p/action"),
    "a prompt that never passes": (
        {"prompts": {"p": {"limits": [{"window": "day", "max": 0}]}}},
        {"prompts": {"p": {}}},
        "newly allowed",
        "/prompts/p/limits/0",
    ),
    "a category": (
        {"tools": {"@read": {}, "@destructive": {"action": "require_approval"}}},
        {"tools": {"@read": {}, "@destructive": {}}},
        "no longer asked about",
        "/tools/@destructive/action",
    ),
    "a category that is gone": (
        {"tools": {"@read": {}, "@write": {}}},
        {"tools": {"@read": {}}},
        "newly refused",
        "/tools/@write",
    ),
    "a rule of a category": (
        {"tools": {"@write": {"require": [rule("args.n", "lte", 10)]}}},
        {"tools": {"@write": {"require": [rule("args.n", "lte", 20)]}}},
        "newly allowed",
        "/tools/@write/require/0",
    ),
    "categories for a name": (one(), {"tools": {"@read": {}}}, "newly refused", "/tools/t"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "kind", "pointer"), PAIRS.values(), ids=PAIRS.keys())
def test_a_difference_has_a_witness_that_explain_reproduces(
    tmp_path: Path, old: Json, new: Json, kind: str, pointer: str
) -> None:
    found = compared(tmp_path, old, new)
    assert (kind, pointer) in {(each["kind"], each["rule"]) for each in found["differences"]}
    witnesses = [witness for each in found["differences"] for witness in each["witnesses"]]
    assert witnesses
    for witness in witnesses:
        for side, name in (("was", "old.json"), ("is", "new.json")):
            told = explained(tmp_path / name, witness)
            assert effect_of(told) == witness[side]["effect"]
            rules = {each["rule"] for each in told["reasons"]} | ({told["ask"]["rule"]} if told["ask"] else set())
            assert {each["rule"] for each in witness[side]["reasons"][:1]} <= rules
    printed = calls_in(run(tmp_path / "old.json", tmp_path / "new.json").stdout)
    assert printed
    for words in printed:
        was, is_now = (effect_of(asked(str(tmp_path / name), "--json", *words)) for name in ("old.json", "new.json"))
        assert was != is_now, words
    # What a wider pattern takes the place of has no calls of its own.
    replaced = {"/tools/get_*", "/resources/file:~1~1~1a~1*"}
    assert [each for each in found["not_compared"] if each["rule"] not in replaced] == []


def uses(section: str, **entry: Any) -> Json:
    return {section: {"x:y": entry}}


def most(count: int) -> list[Json]:
    return [{"window": "minute", "max": count}]


LIMITS: dict[str, tuple[Json, Json, str, int, str]] = {
    "more calls": (one(rate_limit="10/minute"), one(rate_limit="20/minute"), "newly allowed", 11, "/tools/t/rate_limit"),
    "fewer calls": (one(rate_limit="10/minute"), one(rate_limit="9/minute"), "newly refused", 10, "/tools/t/rate_limit"),
    "a longer window": (one(rate_limit="2/minute"), one(rate_limit="2/hour"), "newly refused", 5, "/tools/t/rate_limit"),
    "a shorter window": (one(rate_limit="2/hour"), one(rate_limit="2/minute"), "newly allowed", 4, "/tools/t/rate_limit"),
    "no limit": (one(rate_limit="2/hour"), one(), "newly allowed", 3, "/tools/t/rate_limit"),
    "more reads": (uses("resources", limits=most(2)), uses("resources", limits=most(3)), "newly allowed", 3, "/resources/x:y/limits/0"),
    "fewer prompts": (uses("prompts", limits=most(3)), uses("prompts", limits=most(2)), "newly refused", 3, "/prompts/x:y/limits/0"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "kind", "number", "pointer"), LIMITS.values(), ids=LIMITS.keys())
def test_a_limit_that_changes_is_shown_by_a_sequence_and_explain_shows_both_limits(
    tmp_path: Path, *, old: Json, new: Json, kind: str, number: int, pointer: str
) -> None:
    found = compared(tmp_path, old, new)
    (difference,) = found["differences"]
    assert difference["kind"] == kind
    assert difference["rule"] == pointer
    assert number in [witness["call"] for witness in difference["witnesses"]]
    witness = difference["witnesses"][0]
    before, after = (explained(tmp_path / name, witness)["charges"] for name in ("old.json", "new.json"))
    assert before != after
    assert found["not_compared"] == []


def test_costs_are_compared_too(tmp_path: Path) -> None:
    def spend(most: int) -> Json:
        return one(limits=[{"window": "day", "max": most, "cost": "args.n"}])

    found = compared(tmp_path, spend(1000), spend(1001))
    assert [each["kind"] for each in found["differences"]] == ["newly allowed"]


def test_what_no_call_shows_is_compared_by_what_is_written(tmp_path: Path) -> None:
    old: Json = {"tools": {"t": {"limits": [{"window": "hour", "max": 5}]}}}
    new: Json = {
        "tools": {"t": {"limits": [{"window": "hour", "max": 5, "scope": "grant"}]}},
        "server_requests": {"roots/list": "deny"},
        "methods": {"skills/*": "allow"},
        "drift": "allow",
        "list": "all",
        "approval": {"ttl": "1h", "via": ["terminal"]},
        "audit": {"arguments": "full"},
    }
    found = compared(tmp_path, old, new)
    assert {each["rule"] for each in found["changed"]} == {
        "/tools/t/limits/0/scope",
        "/server_requests/roots~1list",
        "/methods/skills~1*",
        "/drift",
        "/list",
        "/approval/ttl",
        "/approval/via",
        "/audit/arguments",
    }
    assert found["differences"] == found["not_compared"] == []


def test_a_changed_rule_of_which_no_call_is_found_is_named_with_the_reason(tmp_path: Path) -> None:
    old, new = one(require=[rule("args.x", "regex", "^\\p{Lu}$")]), one(require=[rule("args.x", "regex", "^\\p{Ll}$")])
    found = compared(tmp_path, old, new)
    assert {each["rule"] for each in found["not_compared"]} == {"/tools/t/require/0"}
    assert "args.x" in found["not_compared"][0]["why"]
    assert run(tmp_path / "old.json", tmp_path / "new.json").exit_code == ExitCode.FINDINGS


def test_the_same_policy_in_other_words_has_no_difference(tmp_path: Path) -> None:
    old = write(tmp_path, "old.json", one(deny_if=[rule("args.n", "gt", 5, on_deny="too much")]))
    same = write(tmp_path, "new.json", {"$comment": "x", **one(deny_if=[rule("args.n", "gt", 5, on_deny="too much")])})
    result = run(old, same)
    assert (result.exit_code, result.stdout) == (ExitCode.OK, f"{old} and {same}: no difference\n")
    texts = write(tmp_path, "new.json", one(deny_if=[rule("args.n", "gt", 5, on_deny="no")]))
    result = run(old, texts)
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [
        "only the texts for people differ: /tools/t",
        f"{old} and {texts}: no difference",
    ]


def test_what_loosens_most_comes_first_and_each_line_is_a_call_for_explain(tmp_path: Path) -> None:
    old = write(tmp_path, "old.json", {"tools": {"a": {}, "b": {"action": "require_approval"}, "c": {"action": "deny"}}})  # fmt: skip
    new = write(tmp_path, "new.json", {"tools": {"a": {"action": "deny"}, "b": {}, "c": {"deny_if": [rule("args.n", "gt", 5)]}}})  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-m", "mcpguard", "diff", str(old), str(new)], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert process.returncode == ExitCode.FINDINGS
    lines = process.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines if not line.startswith("    ")][:-1] == [
        "newly allowed",
        "no longer asked about",
        "newly refused",
        "not shown by a call",
    ]
    for call in calls_in(process.stdout):
        effects = []
        for path in (old, new):
            result = subprocess.run(
                [sys.executable, "-m", "mcpguard", "explain", str(path), *call, "--json"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            effects.append(effect_of(json.loads(result.stdout)))
        assert effects[0] != effects[1], call
    assert lines[-1].startswith(f"{old} and {new}: ")


def test_with_the_servers_tools_categories_are_compared_and_explained(tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"tools": [{"name": "get_rows"}, {"name": "delete_rows"}]}))
    old = {"tools": {"@read": {}, "@destructive": {"action": "require_approval"}}}
    new: Json = {"tools": {"@read": {}, "@destructive": {}}}
    found = compared(tmp_path, old, new, "--tools", str(tools))
    witnesses = [witness for each in found["differences"] for witness in each["witnesses"]]
    assert [(witness["tool"], witness["is"]["effect"]) for witness in witnesses] == [("delete_rows", "allow")]
    for side, name in (("was", "old.json"), ("is", "new.json")):
        for more in ((), ("--tools", str(tools))):
            told = explained(tmp_path / name, witnesses[0], *more)
            assert effect_of(told) == witnesses[0][side]["effect"]
    printed = run(tmp_path / "old.json", tmp_path / "new.json", "--tools", str(tools)).stdout
    assert calls_in(printed) == [["delete_rows", "--category", "destructive"]]


def test_a_call_of_a_listed_tool_says_its_category_also_where_only_one_policy_has_entries_for_it(
    tmp_path: Path,
) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"tools": [{"name": "delete_rows"}]}))
    found = compared(tmp_path, {"tools": {"delete_rows": {}}}, {"tools": {"@read": {}}}, "--tools", str(tools))
    witnesses = [witness for each in found["differences"] for witness in each["witnesses"]]
    assert [(each["tool"], each["category"]) for each in witnesses if each["tool"] == "delete_rows"] == [
        ("delete_rows", "destructive")
    ]


def test_resources_and_prompts_are_compared(tmp_path: Path) -> None:
    old: Json = {"resources": {"file:///a/*": {}}, "prompts": {"p": {}}}
    new: Json = {"resources": {"file:///*": {}}, "prompts": {"p": {"action": "require_approval"}}}
    found = compared(tmp_path, old, new)
    kinds = {(each["kind"], each["rule"]) for each in found["differences"]}
    assert kinds == {("newly allowed", "/resources/file:~1~1~1*"), ("now asked about", "/prompts/p/action")}


def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    good, bad = write(tmp_path, "good.json", one()), tmp_path / "bad.json"
    bad.write_text('{"version": "2"}')
    for pair in ((good, bad), (bad, good)):
        result = run(*pair)
        assert result.exit_code == ExitCode.POLICY
        assert str(bad) in result.stderr


def test_the_example_of_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(?:json|console)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "policy.json").write_text(blocks[0])
    (tmp_path / "new.json").write_text(blocks[1])
    command, _, output = blocks[2].partition("\n")
    assert command == "$ mcpguard diff policy.json new.json"
    assert CliRunner().invoke(diff, ["policy.json", "new.json"]).stdout == output
