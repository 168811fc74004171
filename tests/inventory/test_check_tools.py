"""Checks what is found where a policy and the tools of a server do not fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcpguard.inventory.check import check_tools
from mcpguard.inventory.tools import parse_tools
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile

if TYPE_CHECKING:
    from mcpguard.policy.findings import CheckFinding

Parts = dict[str, Any]


def check(parts: Parts, **schemas: Parts) -> tuple[CheckFinding, ...]:
    document = PolicyFile.model_validate({"version": "1"} | parts)
    tools = parse_tools([{"name": name, "inputSchema": schema} for name, schema in schemas.items()])
    return check_tools(document, compile_policy(document), tools)


def found(parts: Parts, **schemas: Parts) -> list[tuple[str, str]]:
    return [(each.code, each.rule) for each in check(parts, **schemas)]


def inputs(*required: str, **properties: Any) -> Parts:
    return {"type": "object", "properties": properties, "required": list(required)}


def rule(*conditions: tuple[Any, ...]) -> Parts:
    keys = ("path", "op", "value")
    return {"conditions": [dict(zip(keys, (f"args.{path}", *rest), strict=False)) for path, *rest in conditions]}


TEXT, NUMBER, LIST = {"type": "string"}, {"type": "number"}, {"type": "array", "items": {"type": "string"}}
SEND = inputs(
    "to",
    to=TEXT,
    amount={"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    kind={"anyOf": [{"enum": ["mail", "fax"]}, {"type": "null"}], "default": None},
    copies=LIST,
    urgent={"type": "boolean"},
    options=inputs(colour={"enum": ["red", "blue"]}),
)


def of_send(tool: Parts) -> list[tuple[str, str]]:
    return [(code, rule.removeprefix("/tools/send")) for code, rule in found({"tools": {"send": tool}}, send=SEND)]


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param({}, id="allowed"),
        pytest.param({"require": [rule(("amount", "lte", 40)), rule(("kind", "in", ["mail", "fax"]))]}, id="demands"),
        pytest.param({"deny_if": [rule(("amount", "gt", 60)), rule(("kind", "eq", "fax"))]}, id="refusals"),
        pytest.param({"deny_if": [rule(("kind", "exists"), ("kind", "not_in", ["mail"]))]}, id="if it is given"),
        pytest.param({"deny_if": [rule(("to", "not_in", ["a"]))]}, id="a required argument"),
        pytest.param(
            {"require": [rule(("to", "regex", "^a$")), rule(("copies.*", "neq", "b"))]}, id="text and elements"
        ),
        pytest.param(
            {"deny_if": [rule(("copies", "contains", "b")), rule(("kind", "eq", None))]}, id="a list, and null"
        ),
        pytest.param({"approve_if": [rule(("options.colour", "eq", "red"))]}, id="a question"),
        pytest.param({"limits": [{"window": 60, "max": 1, "per": "args.to"}]}, id="a counter for each"),
        pytest.param(
            {"limits": [{"window": 60, "max": 1, "per": "tool"}], "rate_limit": "1/hour"}, id="a counter for the tool"
        ),
        pytest.param(
            {"require": [rule(("amount", "exists"))], "limits": [{"window": 60, "max": 1, "cost": "args.amount"}]},
            id="a cost",
        ),
        pytest.param(
            {
                "arguments": {
                    "properties": {
                        "to": {"pattern": "^a$"},
                        "amount": {"type": "number"},
                        "copies": {"items": {"maxLength": 5}},
                    },
                    "additionalProperties": False,
                }
            },
            id="a schema",
        ),
        pytest.param(
            {"require": [rule(("to", "under", "/a"))], "deny_if": [rule(("to", "exists"), ("urgent", "eq", True))]},
            id="more",
        ),
    ],
)
def test_a_policy_that_fits_has_no_findings(tool: Parts) -> None:
    assert not of_send(tool)


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        pytest.param([("too", "exists")], "unknown-argument", id="no such argument"),
        pytest.param([("options.color", "exists")], "unknown-argument", id="no such argument below"),
        pytest.param([("to", "gt", 5)], "type-mismatch", id="a number for text"),
        pytest.param([("amount", "regex", "^5$")], "type-mismatch", id="a pattern for a number"),
        pytest.param([("amount", "eq", "5")], "type-mismatch", id="text for a number"),
        pytest.param([("urgent", "contains", "x")], "type-mismatch", id="something in a boolean"),
        pytest.param([("to", "contains", 5)], "type-mismatch", id="a number in text"),
        pytest.param([("copies", "contains", 5)], "type-mismatch", id="a number in a list of texts"),
        pytest.param([("urgent", "host_in", "a.com")], "type-mismatch", id="a host in a boolean"),
        pytest.param([("amount", "under", "/a")], "type-mismatch", id="a place in a number"),
        pytest.param([("kind", "eq", "telex")], "outside-enum", id="another value"),
        pytest.param([("kind", "in", ["telex", "telegram"])], "outside-enum", id="other values"),
        pytest.param([("kind", "in", ["mail", "telex"])], "partly-outside-enum", id="one other value"),
        pytest.param([("options.colour", "regex", "^green$")], "outside-enum", id="a pattern for no value"),
        pytest.param([("options.colour", "contains", "x")], "outside-enum", id="in no value"),
        pytest.param([("amount", "gt", 100)], "outside-range", id="above the maximum"),
        pytest.param([("amount", "gte", 101)], "outside-range", id="at least above the maximum"),
        pytest.param([("amount", "lt", 1)], "outside-range", id="below the minimum"),
        pytest.param([("amount", "lte", 0)], "outside-range", id="at most below the minimum"),
        pytest.param([("amount", "eq", 500)], "outside-range", id="a number out of range"),
    ],
)
@pytest.mark.parametrize("kind", ["require", "approve_if"])
def test_a_comparison_that_means_nothing_is_found(kind: str, conditions: list[tuple[Any, ...]], code: str) -> None:
    ((found_code, place),) = of_send({kind: [rule(*conditions)]})
    assert (found_code, place.removesuffix("/path")) == (code, f"/{kind}/0/conditions/0")


def test_an_ordering_of_listed_numbers_is_tried_on_each() -> None:
    assert found({"tools": {"a": {"deny_if": [rule(("n", "gt", 3))]}}}, a=inputs(n={"enum": [1, 2]})) == [
        ("outside-enum", "/tools/a/deny_if/0/conditions/0")
    ]


def test_a_default_escapes_a_refusal_that_never_sees_it() -> None:
    (finding,) = check({"tools": {"send": {"deny_if": [rule(("amount", "gt", 10))]}}}, send=SEND)
    assert (finding.code, finding.severity) == ("default-escapes", "error")
    assert finding.message == (
        "a call that leaves `args.amount` out passes, and the server's default is 50, which the rule refuses; "
        'require it: {"path": "args.amount", "op": "exists"}'
    )
    assert not of_send({"deny_if": [rule(("amount", "gt", 10))], "require": [rule(("amount", "exists"))]})
    assert not of_send({"deny_if": [rule(("amount", "gt", 10)), rule(("amount", "exists", False))]})


def test_a_default_that_would_be_good_is_refused() -> None:
    assert of_send({"require": [rule(("amount", "lt", 60))]}) == [("default-refused", "/require/0/conditions/0")]


def test_a_refusal_fires_on_what_is_left_out() -> None:
    assert of_send({"deny_if": [rule(("kind", "not_in", ["mail"]))]}) == [
        ("fires-when-absent", "/deny_if/0/conditions/0")
    ]


def test_what_the_server_requires_must_not_be_forbidden() -> None:
    forbidden = [("forbids-required", "/require/0/conditions/0")]
    assert of_send({"require": [rule(("to", "exists", False))]}) == forbidden
    assert of_send({"deny_if": [rule(("to", "exists"))]}) == [("forbids-required", "/deny_if/0/conditions/0")]
    assert of_send({"arguments": {"properties": {"to": False}}}) == [("forbids-required", "/arguments/properties/to")]
    assert of_send({"arguments": {"properties": {"kind": {}}, "additionalProperties": False}}) == [
        ("forbids-required", "/arguments/additionalProperties")
    ]
    assert not of_send({"deny_if": [rule(("amount", "exists"))]})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param({"cost": "args.amunt"}, ("unknown-argument", "/limits/0/cost"), id="no such cost"),
        pytest.param({"per": "args.too"}, ("unknown-argument", "/limits/0/per"), id="nothing to count by"),
        pytest.param({"cost": "args.to"}, ("type-mismatch", "/limits/0/cost"), id="text as a cost"),
        pytest.param({"per": "args.copies"}, ("type-mismatch", "/limits/0/per"), id="a list to count by"),
        pytest.param(
            {"cost": "args.amount"}, ("limit-needs-argument", "/limits/0/cost"), id="a cost that may be left out"
        ),
    ],
)
def test_a_limit_needs_an_argument_that_fits(limit: Parts, expected: tuple[str, str]) -> None:
    assert of_send({"limits": [{"window": "minute", "max": 5} | limit]}) == [expected]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"properties": {"too": {}}}, ("unknown-argument", "/properties/too"), id="no such property"),
        pytest.param({"required": ["too"]}, ("unknown-argument", "/required"), id="no such requirement"),
        pytest.param(
            {"properties": {"amount": {"type": "string"}}}, ("type-mismatch", "/properties/amount"), id="a type"
        ),
        pytest.param({"properties": {"kind": {"const": "x"}}}, ("outside-enum", "/properties/kind"), id="a constant"),
        pytest.param(
            {"properties": {"kind": {"enum": ["x", "fax"]}}}, ("partly-outside-enum", "/properties/kind"), id="an enum"
        ),
        pytest.param(
            {"properties": {"options": {"properties": {"color": {}}}}},
            ("unknown-argument", "/properties/options/properties/color"),
            id="below",
        ),
        pytest.param(
            {"properties": {"copies": {"items": {"type": "integer"}}}},
            ("type-mismatch", "/properties/copies/items"),
            id="elements",
        ),
        pytest.param(
            {"allOf": [{"properties": {"x.y": {}}}]}, ("unknown-argument", "/allOf/0/properties/x.y"), id="in a part"
        ),
    ],
)
def test_a_schema_of_the_policy_fits_that_of_the_server(schema: Parts, expected: tuple[str, str]) -> None:
    assert of_send({"arguments": schema}) == [(expected[0], f"/arguments{expected[1]}")]


def test_names_that_the_server_does_not_have() -> None:
    parts = {
        "hide": ["wipe", "drop_*", "get_mial"],
        "tools": {
            "send": {},
            "snd_mail": {},
            "fetch": {},
            "erase": {"action": "deny"},
            "list_*": {},
            "kill_*": {"action": "deny"},
        },
    }
    assert found(parts, send={}, send_mail={}, get_mail={}) == [
        ("absent-tool", "/hide/0"),
        ("absent-tool", "/hide/1"),
        ("unknown-tool", "/hide/2"),
        ("unknown-tool", "/tools/snd_mail"),
        ("unknown-tool", "/tools/fetch"),
        ("absent-tool", "/tools/erase"),
        ("unmatched-pattern", "/tools/list_*"),
        ("absent-tool", "/tools/kill_*"),
        ("unnamed-denied", "/default"),
    ]
    messages = [finding.message for finding in check(parts, send={}, send_mail={}, get_mail={})]
    assert messages[2] == "the server has no tool `get_mial`; did you mean `get_mail`?"


def test_a_name_that_stands_in_the_policy_is_not_what_was_meant() -> None:
    (finding,) = check({"tools": {"get_mail": {}, "get_mails": {}}}, get_mail={})
    assert finding.message == "the server has no tool `get_mails`"


def test_an_entry_that_hide_covers_is_left_to_the_check_of_the_policy() -> None:
    assert not found({"hide": ["a*"], "tools": {"abc": {}}}, a={})


def test_a_pattern_whose_tools_others_decide_about() -> None:
    assert found({"hide": ["get_c"], "tools": {"get_*": {}, "get_a": {}, "*": {}}}, get_a={}, get_c={}, b={}) == [
        ("shadowed-pattern", "/tools/get_*")
    ]


def test_what_nothing_names() -> None:
    tools: dict[str, Parts] = {"read": {}, "delete_all": {}, "purge": {}}
    assert found({"default": "allow"}, **tools) == [
        ("destructive-allowed", "/default"),
        ("unnamed-allowed", "/default"),
    ]
    assert found({"default": "allow"}, delete={}) == [("destructive-allowed", "/default")]
    assert found({"tools": {"*": {}}}, **tools) == [("destructive-allowed", "/tools/*")]
    assert found({}, **tools) == [("unnamed-denied", "/default")]
    assert not found({"tools": {"*": {"action": "deny"}}}, **tools)


def test_what_destroys_or_moves_money_is_told_by_its_category() -> None:
    tools: dict[str, Parts] = {"deleteUser": {}, "git_reset": {}, "get_deleted": {}, "create_charge": {}}
    assert [finding.message for finding in check({"default": "allow"}, **tools)] == [
        "`deleteUser`, `git_reset` are destructive, and `default` allows what nothing names",
        "`create_charge` is financial, and `default` allows what nothing names",
        "nothing names `get_deleted`: allowed by default",
    ]
    (finding,) = check({"tools": {"*": {}, "get_*": {}, "create_*": {}, "git_*": {}}}, **tools)
    assert finding.message == "`deleteUser` is destructive, and nothing but `*` decides"


SMALL = inputs(a=TEXT)


def test_a_demand_that_some_tools_cannot_meet() -> None:
    parts = {"all_tools": {"require": [rule(("region", "eq", "eu"))]}, "tools": {"*": {}, "gone": {"action": "deny"}}}
    tools = {"x": inputs("region", region=TEXT), "y": SMALL, "gone": SMALL}
    (finding,) = check(parts, **tools)
    assert (finding.code, finding.rule) == ("refuses-every-call", "/all_tools/require/0/conditions/0/path")
    assert finding.message == "every call of `y` is refused here, for there is no `args.region` in it"


def test_a_refusal_that_fires_where_there_is_no_such_argument() -> None:
    parts = {"default": "allow", "all_tools": {"deny_if": [rule(("region", "neq", "eu"))]}}
    assert ("refuses-every-call", "/all_tools/deny_if/0/conditions/0/path") in found(
        parts, x=inputs("region", region=TEXT), y=SMALL
    )


def test_a_refusal_of_what_only_some_tools_have_is_good() -> None:
    parts = {"all_tools": {"deny_if": [rule(("region", "eq", "us"))]}, "tools": {"*": {}}}
    assert not found(parts, x=inputs(region=TEXT), y=SMALL)


def test_what_holds_for_some_tools_names_them() -> None:
    parts = {"tools": {"*": {"require": [rule(("n", "gt", 3))]}}}
    (finding,) = check(parts, x=inputs("n", n=NUMBER), y=inputs("n", n=TEXT))
    assert finding.message == "`gt` compares numbers, and `args.n` is a string: the rule never holds (of `y`)"


def test_an_unknown_argument_of_many_tools_is_said_once() -> None:
    (finding,) = check({"tools": {"*": {"require": [rule(("b", "eq", 1))]}}}, x=SMALL, y=SMALL)
    assert finding.message == "none of `x`, `y` has `args.b`, so every call is refused; there is `a`"
    (near,) = check({"tools": {"x": {"require": [rule(("ab", "exists"))]}}}, x=inputs(abc=TEXT))
    assert near.message == "no argument of `x` has `args.ab`, so every call is refused; did you mean `abc` for `ab`?"


def test_what_the_schema_leaves_open_is_not_judged() -> None:
    tool = {
        "require": [rule(("a.b", "gt", 1))],
        "deny_if": [rule(("c", "neq", 1))],
        "arguments": {"properties": {"d": {"const": 1}}},
    }
    assert not found({"tools": {"x": tool}}, x={"type": "object"})


CATEGORIES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "entries that decide about something": ({"@read": {}, "@destructive": {"action": "deny"}}, []),
    "an entry that allows nothing": ({"@read": {}, "@destructive": {}, "@execute": {}}, [("unmatched-pattern", "/tools/@execute")]),
    "an entry that refuses nothing": (
        {"@read": {}, "@destructive": {}, "@financial": {"action": "deny"}},
        [("absent-tool", "/tools/@financial")],
    ),
    "an entry whose tools have entries of their own": (
        {"@read": {}, "get_note": {}, "@destructive": {}},
        [("shadowed-pattern", "/tools/@read")],
    ),
    "tools of no category that is named": ({"@read": {}}, [("unnamed-denied", "/default")]),
    "a rule on an argument that the tools of a category do not have": (
        {"@read": {"deny_if": [{"conditions": [{"path": "args.nte", "op": "exists"}]}]}, "@destructive": {}},
        [("unknown-argument", "/tools/@read/deny_if/0/conditions/0/path")],
    ),
    "a rule of a category beside a glob": (
        {"get_*": {}, "@read": {"deny_if": [{"conditions": [{"path": "args.id", "op": "exists"}]}]}, "@destructive": {}},
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tools", "expected"), CATEGORIES.values(), ids=CATEGORIES.keys())
def test_entries_for_categories_are_checked_against_the_tools(
    tools: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    document = PolicyFile.model_validate({"version": "1", "tools": tools})
    offered = parse_tools(
        [
            {"name": "get_note", "inputSchema": {"type": "object", "properties": {"id": {}}, "additionalProperties": False}},
            {"name": "delete_note", "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False}},
        ]
    )  # fmt: skip
    found = check_tools(document, compile_policy(document), offered)
    assert [(finding.code, finding.rule) for finding in found] == expected


def test_a_path_that_forgets_a_list_is_told_how_it_goes_into_it() -> None:
    items = inputs(notes={"type": "array", "items": inputs(name=TEXT, tags=LIST)}, to=TEXT)
    for path, meant in (
        ("notes.name", "; did you mean `args.notes.*.name`, in every element of a list?"),
        ("notes.nme", ""),
        ("to.name", ""),
    ):
        (finding,) = check({"tools": {"add": {"require": [rule((path, "regex", "^a$"))]}}}, add=items)
        assert finding.code == "unknown-argument"
        assert finding.message.partition(", so every call is refused")[2] == meant
