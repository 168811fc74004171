"""Checks each kind of small change: how it is called, which case notices it, and which does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.cases import AnyCase, CasesFile
from mcpguard.proof.judge import Surroundings, judge
from mcpguard.proof.mutants import Mutant, mutants_of
from mcpguard.proof.survivors import notices, survey

Json = dict[str, Any]
AROUND: Final = Surroundings(lambda path: path if path.startswith("/") else f"/home/{path}")


def policy(**keys: Any) -> PolicyFile:
    return PolicyFile.model_validate({"version": "1", **keys})


def tool(**keys: Any) -> PolicyFile:
    return policy(tools={"t": keys})


def rule(kind: str, op: str, value: Any, *more: Json) -> PolicyFile:
    return tool(**{kind: [{"conditions": [{"path": "args.a", "op": op, "value": value}, *more]}]})


def limit(**keys: Any) -> PolicyFile:
    return tool(limits=[{"window": 60, "max": 2, **keys}])


def schema(**keys: Any) -> PolicyFile:
    return tool(arguments=keys)


def cases(*values: Json) -> list[AnyCase]:
    return list(CasesFile.model_validate({"cases": values}).cases)


def call(expect: str, *because: str, name: str = "t", **arguments: Any) -> Json:
    return {"tool": name, "arguments": arguments, "expect": expect, "because": because}


def allow(**arguments: Any) -> Json:
    return call("allow", **arguments)


def deny(*because: str, **arguments: Any) -> Json:
    return call("deny", *because, **arguments)


def steps(*each: Json) -> Json:
    return {"sequence": list(each)}


def mutants(file: PolicyFile, values: list[AnyCase]) -> dict[str, Mutant]:
    found = list(mutants_of(file, values, AROUND.resolve))
    by_name = {str(mutant): mutant for mutant in found}
    assert len(by_name) == len(found)
    return by_name


IN: Final = rule("require", "in", ["usd", "eur"])
TWO: Final = rule("require", "eq", "x", {"path": "args.b", "op": "exists"})
ALL: Final = {"tool": "t", "expect": "allow"}
KINDS: Final[dict[str, tuple[PolicyFile, str, Json, Json]]] = {
    "the default": (
        policy(tools={"t": {}}),
        '/default: "allow" instead of "deny"',
        call("deny", name="u"),
        allow(),
    ),
    "an entry": (tool(), "/tools/t: without this entry", allow(), call("deny", name="u")),
    "a hidden pattern": (
        policy(hide=["a*", "b"], default="allow"),
        '/hide/0: without "a*"',
        call("hide", name="ax"),
        call("hide", "/hide/1", name="b"),
    ),
    "a wider hidden pattern": (
        policy(hide=["ab*"], default="allow"),
        '/hide/0: "a*" instead of "ab*"',
        call("allow", name="a"),
        call("hide", name="ab"),
    ),
    "a wider name": (
        policy(tools={"get_*": {}}),
        '/tools/get_*: "get*" instead of "get_*"',
        call("deny", name="getx"),
        call("allow", name="get_x"),
    ),
    "a wider name with an escape": (
        policy(tools={"a\\**": {"action": "deny"}}),
        '/tools/a\\**: "a*" instead of "a\\**"',
        call("deny", "/default", name="ab"),
        call("deny", "/tools/a\\**/action", name="a*b"),
    ),
    "a name of any length": (
        policy(resources={"x?": {}}),
        '/resources/x?: "x*" instead of "x?"',
        {"resource": "xyz", "expect": "deny"},
        {"resource": "xy", "expect": "allow"},
    ),
    "an action": (tool(), '/tools/t/action: "deny" instead of "allow"', allow(), call("deny", name="u")),
    "an approval": (
        tool(action="require_approval"),
        '/tools/t/action: "allow" instead of "require_approval"',
        call("approve"),
        call("deny", name="u"),
    ),
    "an action of a prompt": (
        policy(prompts={"p*": {"action": "deny"}}),
        '/prompts/p*/action: "hide" instead of "deny"',
        {"prompt": "px", "expect": "deny"},
        {"resource": "px", "expect": "deny"},
    ),
    "a rule": (IN, "/tools/t/require/0: without this rule", deny(a="gbp"), allow(a="usd")),
    "a rule of every tool": (
        policy(all_tools={"deny_if": [{"conditions": [{"path": "args.x", "op": "exists"}]}]}, tools={"t": {}}),
        "/all_tools/deny_if/0: without this rule",
        deny(x=1),
        allow(),
    ),
    "a rule turned round": (
        rule("require", "eq", "x"),
        '/tools/t/require/0: in "deny_if" instead of "require"',
        allow(a="x"),
        call("deny", name="u"),
    ),
    "a condition": (
        TWO,
        "/tools/t/require/0/conditions/1: without the condition on args.b",
        deny(a="x"),
        deny(a="y"),
    ),
    "an operator": (
        rule("deny_if", "gt", 5),
        '/tools/t/deny_if/0/conditions/0: "lte" instead of "gt"',
        deny(a=6),
        deny(a="much"),
    ),
    "whether it exists": (
        rule("deny_if", "exists", True),
        '/tools/t/deny_if/0/conditions/0: "exists" false instead of true',
        allow(),
        call("deny", name="u"),
    ),
    "one more": (
        rule("deny_if", "gt", 5),
        '/tools/t/deny_if/0/conditions/0: "gt" 6 instead of 5',
        deny(a=6),
        deny(a=7),
    ),
    "one less in the last digit": (
        rule("require", "lte", Decimal("0.50")),
        '/tools/t/require/0/conditions/0: "lte" 49e-2 instead of 5e-1',
        allow(a=Decimal("0.5")),
        allow(a=Decimal("0.49")),
    ),
    "one less in the last of many digits": (
        rule("require", "lte", Decimal("0.111111111111111111111111111112")),
        '/tools/t/require/0/conditions/0: "lte" 111111111111111111111111111111e-30 instead of 111111111111111111111111111112e-30',
        allow(a=Decimal("0.111111111111111111111111111112")),
        allow(a=Decimal("0.111111111111111111111111111111")),
    ),
    "one more of the smallest that can be written": (
        rule("deny_if", "gt", Decimal("1E-99999999")),
        '/tools/t/deny_if/0/conditions/0: "gt" 2e-99999999 instead of 1e-99999999',
        deny(a=Decimal("2E-99999999")),
        deny(a=Decimal("3E-99999999")),
    ),
    "a stranger": (
        IN,
        '/tools/t/require/0/conditions/0: "in" ["usd","eur"] with "gbp" and "yen"',
        deny("/tools/t/require/0", a="gbp"),
        call("deny", name="u"),
    ),
    "a member": (
        IN,
        '/tools/t/require/0/conditions/0: "in" ["usd","eur"] without "eur"',
        allow(a="eur"),
        allow(a="usd"),
    ),
    "a host": (
        rule("deny_if", "not_host_in", ["a.example"]),
        '/tools/t/deny_if/0/conditions/0: "not_host_in" ["a.example"] with "b.example"',
        deny(a="https://b.example/x"),
        deny(a="b.example"),
    ),
    "a directory": (
        rule("require", "under", "/srv"),
        '/tools/t/require/0/conditions/0: "under" ["/srv"] with "/srv2/x"',
        deny(a="/srv2/x"),
        allow(a="/srv/x"),
    ),
    "the first anchor": (
        rule("require", "regex", r"^a\.b$"),
        '/tools/t/require/0/conditions/0: "regex" "^a\\\\.b$" without "^"',
        deny(a="xa.b"),
        deny(a="a.bx"),
    ),
    "the last anchor": (
        rule("require", "regex", r"^a\.b$"),
        '/tools/t/require/0/conditions/0: "regex" "^a\\\\.b$" without "$"',
        deny(a="a.bx"),
        deny(a="xa.b"),
    ),
    "a dot": (
        rule("require", "regex", r"^a\.b$"),
        '/tools/t/require/0/conditions/0: "regex" "^a\\\\.b$" with every dot for any character',
        deny(a="axb"),
        deny(a="a.bx"),
    ),
    "a limit": (
        limit(max=0),
        "/tools/t/limits/0: without this limit",
        deny(),
        call("deny", name="u"),
    ),
    "a limit that is larger": (
        limit(),
        '/tools/t/limits/0: "max" 3 instead of 2',
        steps({**ALL, "times": 2}, deny()),
        steps({**ALL, "times": 2}),
    ),
    "a limit that is smaller": (
        tool(rate_limit="2/minute"),
        '/tools/t/rate_limit: "max" 1 instead of 2',
        steps({**ALL, "times": 2}),
        allow(),
    ),
    "half a window": (
        limit(),
        '/tools/t/limits/0: "window" of 30 seconds instead of 1 minute',
        steps({**ALL, "times": 2}, deny() | {"after": "59s"}),
        steps({**ALL, "times": 2}, deny() | {"after": "29s"}),
    ),
    "two windows": (
        limit(),
        '/tools/t/limits/0: "window" of 2 minutes instead of 1 minute',
        steps({**ALL, "times": 2}, ALL | {"after": "60s"}),
        steps({**ALL, "times": 2}, ALL | {"after": "120s"}),
    ),
    "the next window of the calendar": (
        limit(window="day", align="calendar"),
        '/tools/t/limits/0: "window" of 1 week instead of 1 day',
        steps({**ALL, "times": 2}, ALL | {"after": "24h"}),
        steps({**ALL, "times": 2}, ALL | {"after": "168h"}),
    ),
    "windows that slide": (
        limit(align="calendar"),
        '/tools/t/limits/0: without "align"',
        steps({**ALL, "times": 2, "after": "59s"}, ALL | {"after": "1s"}),
        steps({**ALL, "times": 2}, ALL | {"after": "60s"}),
    ),
    "a cost": (limit(cost="args.n"), '/tools/t/limits/0: without "cost"', deny(n=3), allow(n=1)),
    "one for all": (
        limit(per="args.who"),
        '/tools/t/limits/0: without "per"',
        steps(*(allow(who=who) for who in "aab")),
        steps(*(allow(who=who) for who in "ab")),
    ),
    "a window that counters share": (
        policy(
            tools={
                "t": {"limits": [{"counter": "c", "window": 60, "max": 1}]},
                "u": {"limits": [{"counter": "c", "window": 60, "max": 1}]},
            }
        ),
        '/tools/t/limits/0: "window" of 2 minutes instead of 1 minute',
        steps(call("allow", name="u"), call("allow", name="u") | {"after": "60s"}),
        steps(call("allow", name="u"), allow() | {"after": "120s"}),
    ),
    "a keyword": (
        schema(properties={"a": {"maxLength": 3}}),
        '/tools/t/arguments/properties/a/maxLength: without "maxLength": 3',
        deny(a="four"),
        allow(a="for"),
    ),
    "a length": (
        schema(properties={"a": {"maxLength": 3}}),
        '/tools/t/arguments/properties/a/maxLength: "maxLength": 4 instead of 3',
        deny(a="four"),
        deny(a="fours"),
    ),
    "what is required": (
        schema(required=["a", "b"]),
        '/tools/t/arguments/required: "required": ["a","b"] without "b"',
        deny(a=1),
        deny(b=1),
    ),
    "a property": (
        schema(properties={"a": {}}, additionalProperties=False),
        '/tools/t/arguments/properties: "properties" without "a"',
        allow(a=1),
        deny(b=1),
    ),
    "a listed value": (
        schema(properties={"a": {"items": {"enum": ["x", "y"]}}}),
        '/tools/t/arguments/properties/a/items/enum: "enum": ["x","y"] with "z"',
        deny(a=["x", "z"]),
        deny(a="x"),
    ),
    "a pattern": (
        schema(properties={"a": {"anyOf": [{"pattern": "^x$"}, {"type": "null"}]}}),
        '/tools/t/arguments/properties/a/anyOf/0/pattern: "pattern": "^x$" without "$"',
        deny(a="xy"),
        deny(a="yx"),
    ),
    "a type": (
        schema(properties={"a": {"type": ["string", "null"]}}),
        '/tools/t/arguments/properties/a/type: "type": ["string","null"] without "null"',
        allow(a=None),
        allow(a="x"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_noticed_by_the_case_that_shows_the_difference(kind: str) -> None:
    file, name, seeing, blind = KINDS[kind]
    tried = cases(seeing, blind, deny("/tools/t/require/0", a="yen")) if kind == "a stranger" else cases(seeing, blind)
    assert all(judge(compile_policy(file), case, AROUND).holds for case in tried)
    found = mutants(file, tried)
    assert name in found
    assert notices(found[name], tried[:1], AROUND) is True
    assert notices(found[name], tried[1:2], AROUND) is False


def test_a_rule_is_known_again_where_another_was_dropped_before_it() -> None:
    rules = [{"conditions": [{"path": path, "op": "eq", "value": 1}]} for path in ("args.a", "args.b")]
    file = tool(require=rules, limits=[{"window": 1, "max": 0}, {"window": 60, "max": 0}])
    blind, seeing, counted = cases(
        deny("/tools/t/require/1", a=1, b=2),
        deny("/tools/t/require/0", a=2, b=1),
        deny("/tools/t/limits/1", a=1, b=1),
    )
    found = mutants(file, [])
    gone = found["/tools/t/require/0: without this rule"]
    assert (notices(gone, [blind]), notices(gone, [seeing])) == (False, True)
    assert gone.place_of("/tools/t/require/0") == "/tools/t/require/1"
    turned = found['/tools/t/require/0: in "deny_if" instead of "require"']
    assert turned.place_of("/tools/t/deny_if/0") == "/tools/t/require/0"
    assert notices(found["/tools/t/limits/0: without this limit"], [counted]) is False


def test_a_set_is_made_wider_by_something_that_nobody_tried_where_nobody_tried_anything() -> None:
    names = {
        '"in" ["x"] with "stranger"': ("in", ["x"]),
        '"in" [1,3] with 4': ("in", [1, 3]),
        '"under" ["/srv"] with "/stranger"': ("under", "/srv"),
        '"host_in" ["a.example"] with "stranger.example"': ("host_in", ["a.example"]),
    }
    for said, (op, value) in names.items():
        file = rule("require", op, value)
        name = f"/tools/t/require/0/conditions/0: {said}"
        assert notices(mutants(file, [])[name], cases(call("deny", name="u")), AROUND) is False


def test_what_surely_means_the_same_is_left_out() -> None:
    file = tool(
        action="deny",
        limits=[{"window": 60, "max": 2}],
        rate_limit="5/minute",
        arguments={"$comment": "c", "properties": {"a": {"type": "string", "maxLength": 3}}},
        require=[{"conditions": [{"path": "args.a", "op": "in", "value": ["x", "x"]}]}],
    )
    names = mutants(file, [])
    assert not any("limit" in name for name in names)
    assert not any('without "type"' in name or '["x","x"] without' in name for name in names)
    hidden = policy(tools={"t": {"action": "hide", "require": [{"conditions": []}]}})
    assert set(mutants(hidden, [])) == {
        '/default: "allow" instead of "deny"',
        "/tools/t: without this entry",
        '/tools/t/action: "allow" instead of "hide"',
        '/tools/t/action: "deny" instead of "hide"',
    }


def test_what_no_case_can_show_stays_as_it_is() -> None:
    file = policy(
        methods={"x/*": "allow"},
        server_requests={"roots/list": "deny"},
        approval={"timeout": "90s", "via": ["client"]},
        audit={"arguments": "full"},
        drift="allow",
        list="all",
    )
    (only,) = mutants(file, []).values()
    changed = only.document()
    for name in ("methods", "server_requests", "approval", "audit", "drift", "listing"):
        assert getattr(changed, name) == getattr(file, name)


def test_what_makes_no_policy_is_counted_and_no_survivor() -> None:
    file = policy(tools={"a*c": {}, "ab*": {}})
    wider = next(mutant for mutant in mutants_of(file) if mutant.change == '"a*" instead of "ab*"')
    assert notices(wider, []) is False
    rivals = policy(tools={"ab*c": {}, "a*c*": {}})
    told = survey(rivals, [])
    assert told.skipped == sum(notices(mutant, []) is None for mutant in mutants_of(rivals)) == 1
    assert (told.noticed, told.total) == (0, len(told.survivors))


def test_what_may_let_more_pass_comes_first() -> None:
    file = policy(
        default="allow",
        tools={
            "t": {"require": [{"conditions": [{"path": "args.n", "op": "lte", "value": 5}]}]},
            "u": {"action": "deny"},
        },
    )
    directions = [mutant.direction for mutant in survey(file, []).survivors]
    assert set(directions) == {"looser", "stricter", "either"}
    assert directions == sorted(directions, key=["looser", "either", "stricter"].index)
    by_name = {name: mutant.direction for name, mutant in mutants(file, []).items()}
    assert by_name["/tools/u: without this entry"] == "looser"
    assert by_name['/tools/t/require/0/conditions/0: "lte" 6 instead of 5'] == "looser"
    assert by_name['/tools/t/require/0/conditions/0: "lte" 4 instead of 5'] == "stricter"
