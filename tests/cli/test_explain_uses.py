"""Checks what `explain` prints about resources and prompts, and about tools whose category is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcpguard.cli.explain import explain
from mcpguard.errors import ExitCode

POLICY: dict[str, Any] = {
    "version": "1",
    "all_tools": {"limits": [{"window": "day", "max": 9}]},
    "approval": {"remember": "tool", "via": ["terminal"], "timeout": "2m", "ttl": "10m"},
    "tools": {"@read": {}, "@destructive": {"action": "deny", "reason": "never"}, "get_*": {"rate_limit": "1/minute"}},
    "resources": {
        "file:///srv/*": {"limits": [{"counter": "reads", "window": "minute", "max": 30}]},
        "file:///srv/drafts/*": {"action": "require_approval", "limits": [{"window": "hour", "max": 2}]},
        "file:///srv/keys/*": {"action": "hide"},
        "*": {"action": "deny", "reason": "not from here"},
    },
    "prompts": {
        "review": {},
        "full": {"action": "require_approval", "limits": [{"window": "hour", "max": 0}]},
    },
}
TOOLS = [{"name": "get_note"}, {"name": "wipe_notes"}]


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY))
    return str(path)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(explain, words)


def as_json(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json").stdout)
    return found


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


SRV = "/resources/file:~1~1~1srv~1"


def test_json_tells_what_a_read_is_charged_and_which_entries_were_looked_at(policy: str) -> None:
    charge = {"counter": "reads", "window_s": 60, "max": 30, "cost": 1, "per": None}
    found = as_json(policy, "--resource", "file:///srv/a")
    assert {key: value for key, value in found.items() if key != "looked_at"} == {
        "resource": "file:///srv/a",
        "effect": "allow",
        "entry": f"{SRV}*",
        "reasons": [],
        "ask": None,
        "charges": [charge],
        "did_you_mean": [],
    }
    assert found["looked_at"]["limits"] == [{"rule": f"{SRV}*/limits/0", "charge": charge, "problem": None}]
    names = [(each["name"], each["kind"], each["matches"], each["decides"]) for each in found["looked_at"]["names"]]
    assert names == [
        ("file:///srv/drafts/*", "glob", False, False),
        ("file:///srv/keys/*", "glob", False, False),
        ("file:///srv/*", "glob", True, True),
        ("*", "glob", True, False),
    ]


def test_json_tells_who_asks_and_that_an_answer_is_about_one_request_only(policy: str) -> None:
    found = as_json(policy, "--resource", "file:///srv/drafts/a")
    assert found["effect"] == "deny"
    assert found["ask"] == {
        "rule": f"{SRV}drafts~1*/action",
        "reason": "the policy wants a person to approve this resource",
        "via": ["terminal"],
        "timeout_ms": 120_000,
        "ttl_ms": 600_000,
        "remember": "call",
    }
    assert [charge["max"] for charge in found["charges"]] == [2]


def test_json_tells_what_not_even_an_empty_counter_admits(policy: str) -> None:
    found = as_json(policy, "--prompt", "full")
    assert found["prompt"] == "full"
    assert [(reason["rule"], reason["code"]) for reason in found["reasons"]] == [
        ("/prompts/full/limits/0", "rate_limited"),
        ("/prompts/full/action", "approval_required"),
    ]
    assert (found["ask"], found["charges"]) == (None, [])


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        pytest.param(
            ["--resource", "file:///srv/a"], 0, f"resource file:///srv/a is allowed decided by {SRV}*", id="allowed"
        ),
        pytest.param(["--resource", "file:///srv/a"], 0, "takes 1 of 30 per minute counter reads", id="charged"),
        pytest.param(["--resource", "x:"], 1, "denied: not from here /resources/*/action", id="denied"),
        pytest.param(["--resource", "x:"], 1, "its action is deny", id="its action"),
        pytest.param(["--resource", "file:///srv/keys/a"], 1, "resource file:///srv/keys/a is hidden", id="hidden"),
        pytest.param(
            ["--resource", "file:///srv/../a"],
            1,
            "/resources decides it has a dot segment, and no entry has exactly this URI",
            id="strange",
        ),
        pytest.param(
            ["--resource", "file:///srv/../a"],
            1,
            "file:///srv/* matches no pattern decides about a URI that has a dot segment",
            id="no pattern",
        ),
        pytest.param(
            ["--resource", "file:///srv/drafts/a"],
            1,
            "How a person is asked In another terminal: mcpguard approve. "
            "The request waits 2 minutes for an answer, and is refused without one. "
            "A later approval is for the same request, made again within 10 minutes.",
            id="asked about",
        ),
        pytest.param(
            ["--resource", "file:///srv/drafts/a"],
            1,
            "Looked at before a person is asked, and charged once the request is approved.",
            id="charged once approved",
        ),
        pytest.param(["--prompt", "review"], 0, "prompt review is allowed decided by /prompts/review", id="a prompt"),
        pytest.param(["--prompt", "full"], 1, "A refused request is not charged.", id="not charged"),
        pytest.param(["--prompt", "reviwe"], 1, "the policy does not name `reviwe`; did you mean `review`?", id="misspelt"),
        pytest.param(["--prompt", "other"], 1, "/default decides no name and no pattern matches", id="by default"),
    ],
)  # fmt: skip
def test_people_are_told_about_resources_and_prompts(policy: str, words: list[str], status: int, told: str) -> None:
    result = run(policy, *words)
    assert (result.exit_code, result.stderr) == (status, "")
    assert told in flat(result)
    for of_tools in ("smallest change", "risk category", "all_tools", "the same rules"):
        assert of_tools not in flat(result)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_names_that_look_like_options_are_names(policy: str) -> None:
    assert as_json(policy, "--prompt", "--json")["prompt"] == "--json"
    assert as_json(policy, "--resource=-x")["resource"] == "-x"


ONE = "Name exactly one thing: a TOOL, --resource URI or --prompt NAME."


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param([], ONE, id="nothing"),
        pytest.param(["t", "--prompt", "p"], ONE, id="a tool and a prompt"),
        pytest.param(["--resource", "x:", "--prompt", "p"], ONE, id="a resource and a prompt"),
        pytest.param(["t", "--resource", "x:", "--prompt", "p"], ONE, id="all of them"),
        pytest.param(["--prompt", "p", "--args", "{}"], "--args can only be given with a TOOL.", id="arguments"),
        pytest.param(
            ["--resource", "x:", "--category", "read", "--tools", "x"],
            "--tools and --category can only be given with a TOOL.",
            id="what tools have",
        ),
        pytest.param(["t", "--category", "harmless"], "'harmless' is not one of 'read', 'write'", id="no category"),
    ],
)
def test_what_is_asked_about_has_to_be_clear(policy: str, words: list[str], told: str) -> None:
    result = run(policy, *words)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert told in result.stderr


@pytest.mark.parametrize(
    ("category", "effect", "entry"),
    [("read", "allow", "/tools/@read"), ("destructive", "deny", "/tools/@destructive"), ("write", "deny", "/default")],
)
def test_a_category_that_is_said_is_as_good_as_one_of_a_list(
    policy: str, category: str, effect: str, entry: str
) -> None:
    found = as_json(policy, "anything", "--category", category)
    assert (found["effect"], found["entry"], found["category"]) == (effect, entry, category)
    assert f"its risk category is {category}: --category says so" in flat(
        run(policy, "anything", "--category", category)
    )


def test_without_a_category_it_is_said_how_to_give_one(policy: str) -> None:
    told = flat(run(policy, "anything"))
    assert "its risk category is not known: --tools LIST.json names it, --category says it" in told


def test_a_list_that_says_the_same_is_the_better_evidence(policy: str, tools: str) -> None:
    result = run(policy, "get_note", "--category", "read", "--tools", tools)
    assert result.exit_code == ExitCode.OK
    assert 'its risk category is read: the name says "get"' in flat(result)


def test_a_list_that_says_another_category_is_a_contradiction(policy: str, tools: str) -> None:
    result = run(policy, "wipe_notes", "--category", "read", "--tools", tools)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert (
        "--category read: by its list, `wipe_notes` is destructive; leave out --category, or --tools." in result.stderr
    )


def test_a_tool_that_the_list_does_not_name_has_the_category_that_is_said(policy: str, tools: str) -> None:
    found = as_json(policy, "other", "--category", "read", "--tools", tools)
    assert (found["listed"], found["entry"], found["category"]) == (False, "/tools/@read", "read")


def test_a_category_makes_no_difference_where_the_policy_has_no_entries_for_any(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"version": "1", "tools": {"t": {}}}')
    told = flat(run(str(path), "t", "--category", "read"))
    assert "the policy has no entries for risk categories: it makes no difference" in told
    assert as_json(str(path), "t", "--category", "read")["category"] == "read"
    assert "category" not in as_json(str(path), "t")


@pytest.mark.parametrize("bad", ["\x1b[31m", "\u202e", "\r", "\x9b"])
def test_nothing_from_outside_reaches_the_terminal_as_it_is(policy: str, bad: str) -> None:
    for words in (["--resource", f"file:///srv/{bad}"], ["--prompt", bad]):
        assert bad not in run(policy, *words).stdout
        assert bad not in run(policy, *words, "--json").stdout
