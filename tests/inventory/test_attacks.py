"""Checks the table of attacks: complete, of one piece with its page, and true of the drafts that it points at."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

from mcpguard.inventory.attacks import ATTACKS, attacks_on, attacks_table, rules_against
from mcpguard.inventory.draft import draft_tool
from mcpguard.inventory.sensitive import Kind
from mcpguard.inventory.tools import Tool
from mcpguard.policy.decision import Category

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
TEXT = {"type": "string"}
EXPORT = Tool(
    "start_export",
    "Start an export.",
    {
        "type": "object",
        "properties": {"output_s3_uri": TEXT, "role_arn": TEXT},
        "required": ["output_s3_uri", "role_arn"],
    },
)


def test_the_page_has_the_table_as_it_is() -> None:
    assert attacks_table() in PAGE.read_text(encoding="utf-8")


def test_every_attack_says_how_it_goes_what_stops_it_what_is_left_and_where_it_is_documented() -> None:
    assert len({each.key for each in ATTACKS}) == len(ATTACKS)
    for each in ATTACKS:
        assert all(each[:7])
        assert urlsplit(each.link).scheme == "https"


@pytest.mark.parametrize("category", [each for each in get_args(Category) if each != "read"])
def test_something_is_documented_against_every_category_that_does_more_than_read(category: Category) -> None:
    assert any(category in each.categories for each in ATTACKS)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_something_is_documented_about_every_kind_of_argument_that_gets_a_rule(kind: Kind) -> None:
    assert any(kind in each.kinds for each in ATTACKS)


def test_a_tool_is_told_of_what_is_special_to_it_first_and_of_what_is_about_all() -> None:
    drafted = draft_tool(EXPORT, "balanced")
    found = attacks_on(drafted.risk.category, drafted.sensitive)
    assert [each.key for each in found] == [
        "runaway-loop", "excessive-agency", "confused-deputy", "exfiltration", "tool-poisoning", "rug-pull"
    ]  # fmt: skip
    assert {each.key: rules_against(each, drafted) for each in found} == {
        "runaway-loop": ["/rate_limit"],
        "excessive-agency": [],
        "confused-deputy": ["/require/1"],
        "exfiltration": ["/require/0"],
        "tool-poisoning": [],
        "rug-pull": [],
    }


def test_what_is_denied_or_asked_about_is_stopped_by_that() -> None:
    asked, denied = (draft_tool(Tool("delete_it"), posture) for posture in ("balanced", "strict"))
    (agency,) = [each for each in ATTACKS if each.key == "excessive-agency"]
    assert rules_against(agency, asked) == rules_against(agency, denied) == ["/action"]
    shell = Tool("run_shell", "", {"type": "object", "properties": {"command": TEXT}, "required": ["command"]})
    (smuggling,) = [each for each in ATTACKS if each.key == "argument-smuggling"]
    assert rules_against(smuggling, draft_tool(shell, "balanced")) == ["/require/0"]
    assert rules_against(smuggling, draft_tool(shell, "strict")) == ["/action"]
