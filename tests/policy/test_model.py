"""Checks the format: what loads, what does not, and how values are read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from pydantic import ValidationError

from mcpguard.policy.methods import KNOWN_METHODS
from mcpguard.policy.model import IN_OUR_WORDS, Limit, PolicyFile, RateLimit


def errors(parts: dict[str, object]) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as raised:
        PolicyFile.model_validate({"version": "1"} | parts)
    return [(error["loc"], error["type"]) for error in raised.value.errors()]


def test_absent_keys_have_the_values_that_the_language_gives_them() -> None:
    policy = PolicyFile.model_validate({"version": "1", "tools": {"a": {}}})
    assert (policy.default, policy.hide, policy.listing, policy.methods) == ("deny", (), "callable", {})
    assert (policy.all_tools.limits, policy.drift) == ((), "refuse")
    tool = policy.tools["a"]
    assert (tool.action, tool.reason, tool.limits, tool.rate_limit) == ("allow", None, (), None)


@pytest.mark.parametrize(
    ("window", "seconds"), [("minute", 60), ("90s", 90), (7, 7)], ids=["a word", "a number with a unit", "seconds"]
)
def test_windows_are_read_as_seconds(window: object, seconds: int) -> None:
    assert Limit.model_validate({"window": window, "max": 0}).window == seconds


@pytest.mark.parametrize(
    "window", [True, 0, -1, 1.0, "0s", "minutes", "", None, [], {}], ids=lambda value: f"{type(value).__name__} {value}"
)
def test_what_is_no_window_is_refused(window: object) -> None:
    assert errors({"all_tools": {"limits": [{"window": window, "max": 1}]}}) == [
        (("all_tools", "limits", 0, "window"), IN_OUR_WORDS)
    ]


@pytest.mark.parametrize(
    ("text", "most", "seconds"),
    [
        pytest.param("10/minute", 10, 60, id="a word"),
        pytest.param("10/15m", 10, 900, id="minutes"),
        pytest.param("10/90s", 10, 90, id="seconds"),
        pytest.param("10/60", 10, 60, id="bare seconds"),
        pytest.param("0/day", 0, 86_400, id="never"),
    ],
)
def test_a_rate_limit_may_be_text(text: str, most: int, seconds: int) -> None:
    policy = PolicyFile.model_validate({"version": "1", "tools": {"a": {"rate_limit": text}}})
    rate = policy.tools["a"].rate_limit
    assert isinstance(rate, RateLimit)
    assert (rate.max, rate.window) == (most, seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/minute", "ten/minute", "-1/minute", "1.5/minute", "10/minutes", "1/0"]
)
def test_text_that_is_no_rate_is_refused(text: str) -> None:
    assert errors({"tools": {"a": {"rate_limit": text}}}) == [(("tools", "a", "rate_limit"), IN_OUR_WORDS)]


@pytest.mark.parametrize(
    ("parts", "loc", "kind"),
    [
        pytest.param({"version": 1}, ("version",), "literal_error", id="a number for the version"),
        pytest.param({"default": None}, ("default",), "literal_error", id="null for an effect"),
        pytest.param({"description": None}, ("description",), "string_type", id="null for a text"),
        pytest.param({"tools": None}, ("tools",), "dict_type", id="null for the tools"),
        pytest.param({"tools": {"a": None}}, ("tools", "a"), "model_type", id="null for a tool"),
        pytest.param(
            {"tools": {"a": {"rate_limit": None}}}, ("tools", "a", "rate_limit"), "model_type", id="null rate"
        ),
        pytest.param({"hide": "a"}, ("hide",), "tuple_type", id="a string for a list"),
        pytest.param({"hide": [1]}, ("hide", 0), "string_type", id="a number for a name"),
        pytest.param({"hide": ["a\\b"]}, ("hide", 0), IN_OUR_WORDS, id="a bad escape"),
        pytest.param({"hide": ["@read"]}, ("hide", 0), IN_OUR_WORDS, id="a risk category that is hidden"),
        pytest.param({"prompts": {"@read": {}}}, ("prompts", "@read", "[key]"), IN_OUR_WORDS, id="one of prompts"),
        pytest.param({"tools": {"@reed": {}}}, ("tools", "@reed", "[key]"), IN_OUR_WORDS, id="no risk category"),
        pytest.param({"$comment": 1}, ("$comment",), "string_type", id="a comment that is no string"),
        pytest.param({"tools": {"$comment": 1}}, ("tools",), IN_OUR_WORDS, id="a comment of the tools that is none"),
        pytest.param({"require": []}, ("require",), "extra_forbidden", id="an unknown key"),
        pytest.param({"drift": "alow"}, ("drift",), "literal_error", id="no way to treat a tool that changes"),
        pytest.param({"drift": None}, ("drift",), "literal_error", id="none at all"),
        pytest.param({"approval": []}, ("approval",), "model_type", id="a list of terms"),
        pytest.param({"approval": {"time": "1s"}}, ("approval", "time"), "extra_forbidden", id="no term of approvals"),
        pytest.param({"approval": {"remember": "run"}}, ("approval", "remember"), "literal_error", id="no such memory"),
        pytest.param({"approval": {"via": []}}, ("approval", "via"), IN_OUR_WORDS, id="nobody to answer"),
        pytest.param({"approval": {"via": "client"}}, ("approval", "via"), "tuple_type", id="one way, not in a list"),
        pytest.param({"approval": {"via": ["web"]}}, ("approval", "via", 0), "literal_error", id="no way to answer"),
        pytest.param({"approval": {"timeout": 45}}, ("approval", "timeout"), IN_OUR_WORDS, id="a time without unit"),
        pytest.param({"approval": {"ttl": None}}, ("approval", "ttl"), IN_OUR_WORDS, id="null for a time"),
        pytest.param({"methods": {"x": True}}, ("methods", "x"), "literal_error", id="no effect"),
        pytest.param(
            {"server_requests": {"ping": "allow"}}, ("server_requests", "ping"), "extra_forbidden", id="another request"
        ),
    ],
)
def test_what_the_format_does_not_know_is_refused(
    parts: dict[str, object], loc: tuple[int | str, ...], kind: str
) -> None:
    assert errors(parts) == [(loc, kind)]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0s", 0),
        ("150ms", 150_000_000),
        ("45s", 45 * 10**9),
        ("10m", 600 * 10**9),
        ("2h", 7200 * 10**9),
        ("007s", 7 * 10**9),
    ],
)
@pytest.mark.parametrize("key", ["timeout", "ttl", "min_answer"])
def test_a_time_is_a_whole_number_and_a_unit(key: str, text: str, nanoseconds: int) -> None:
    document = PolicyFile.model_validate({"version": "1", "approval": {key: text}})
    assert getattr(document.approval, key) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "45", "s", "-1s", "1.5s", "1d", "1S", " 1s", "1 s", "1s\n", "1m30s", "\u0661s", "1000000000s"]
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    assert errors({"approval": {"ttl": text}}) == [(("approval", "ttl"), IN_OUR_WORDS)]


def test_entries_may_be_for_risk_categories() -> None:
    document = {"version": "1", "tools": {"@write": {}, "\\@read": {}, "a": {}}}
    assert [*PolicyFile.model_validate(document).tools] == ["@write", "\\@read", "a"]


@pytest.mark.parametrize("most", [True, "7", 10.0, None, -1])
def test_a_maximum_is_a_whole_number_from_zero(most: object) -> None:
    ((loc, _),) = errors({"tools": {"a": {"rate_limit": {"max": most, "window": 1}}}})
    assert loc == ("tools", "a", "rate_limit", "max")


@pytest.mark.parametrize("name", ["", "/tools/a/limits/0"])
def test_a_counter_cannot_take_the_name_of_a_limits_own(name: str) -> None:
    limit = {"counter": name, "window": 1, "max": 1}
    assert errors({"all_tools": {"limits": [limit]}}) == [(("all_tools", "limits", 0, "counter"), IN_OUR_WORDS)]


def test_comments_may_stand_in_every_object() -> None:
    remark = {"$comment": "why"}
    PolicyFile.model_validate(
        {
            "version": "1",
            "$schema": "https://example.com/policy.json",
            **remark,
            "all_tools": {"limits": [{"window": 1, "max": 1, **remark}], **remark},
            "tools": {"a": {"rate_limit": {"max": 1, "window": 1, **remark}, **remark}, **remark},
            "methods": {"x": "allow", **remark},
            "server_requests": {"roots/list": "deny", **remark},
            "approval": {"ttl": "1m", **remark},
        }
    )


@pytest.mark.parametrize("method", sorted(KNOWN_METHODS))
def test_methods_that_the_protocol_knows_are_refused_with_where_they_are_governed(method: str) -> None:
    with pytest.raises(ValidationError) as raised:
        PolicyFile.model_validate({"version": "1", "methods": {method: "allow"}})
    (error,) = raised.value.errors()
    assert error["loc"] == ("methods", method, "[key]")
    assert error["msg"].endswith(f"it knows `{method}`: {KNOWN_METHODS[method]}")


def test_a_glob_may_match_methods_that_the_protocol_knows() -> None:
    assert PolicyFile.model_validate({"version": "1", "methods": {"tools/*": "allow"}}).methods == {"tools/*": "allow"}


def conditioned(**condition: object) -> dict[str, object]:
    return {"tools": {"a": {"require": [{"conditions": [{"path": "args.a", "op": "eq"} | condition]}]}}}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        pytest.param(0.1, Decimal("0.1"), id="a fraction"),
        pytest.param([{"a": 1.5}, None], [{"a": Decimal("1.5")}, None], id="a fraction inside"),
        pytest.param(None, None, id="null"),
    ],
)
def test_values_are_json_with_exact_numbers(value: object, kept: object) -> None:
    policy = PolicyFile.model_validate({"version": "1"} | conditioned(value=value))
    assert policy.tools["a"].require[0].conditions[0].value == kept


@pytest.mark.parametrize("value", [float("inf"), float("nan"), Decimal("1e400"), Decimal("0." + "1" * 401), 2**1024])
def test_a_number_that_no_call_can_hold_is_refused(value: object) -> None:
    ((loc, kind),) = errors(conditioned(value=value))
    assert (loc[-1], kind) == ("value", IN_OUR_WORDS)


@pytest.mark.parametrize(
    ("condition", "key"),
    [
        pytest.param({}, "value", id="no value"),
        pytest.param({"op": "in", "value": 1}, "value", id="a value of the wrong kind"),
        pytest.param({"path": "a", "value": 1}, "path", id="no path"),
        pytest.param({"op": "is", "value": 1}, "op", id="no operator"),
    ],
)
def test_a_condition_that_cannot_be_judged_is_refused(condition: dict[str, object], key: str) -> None:
    ((loc, _),) = errors(conditioned(**condition))
    assert loc == ("tools", "a", "require", 0, "conditions", 0, key)


def test_a_policy_is_written_as_it_was_read() -> None:
    policy = PolicyFile.model_validate({"version": "1"} | conditioned(value="x"))
    written = policy.model_dump_json(by_alias=True, exclude_unset=True)
    assert json.loads(written) == {"version": "1"} | conditioned(value="x")
