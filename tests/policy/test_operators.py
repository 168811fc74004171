"""Checks every operator: what is yes, no, unsure and absent, and what becomes of that under `require` and under `deny_if`.

The table below is the definition; a rule that cannot be judged refuses in both directions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from mcpguard.policy.decision import ToolCall
from mcpguard.policy.evaluate import Policy, compile_policy, evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.policy.operators import OPERATORS, UNSET, ValueProblem, prepare

ABSENT: Final = object()

LINKS = {"/home/me/link": "/etc", "/srv/real": "/srv/real", "/alias": "/srv/docs", "/srv/docs/caf\u00e9": "/etc"}


def resolve(path: str) -> str | None:
    """Play a file system with a few symbolic links, seen from /home/me."""
    if path == ".":
        return "/home/me"
    if "loop" in path:
        return None
    import posixpath

    parts = [""]
    for name in path.split("/")[1:]:
        parts = parts[:-1] or [""] if name == ".." else parts if name in {"", "."} else [*parts, name]
        here = "/".join(parts)
        parts = LINKS.get(here, here).split("/")
    return posixpath.normpath("/".join(parts) or "/")


TABLE: list[tuple[str, object, dict[str, list[object]]]] = [
    (
        "eq",
        "main",
        {
            "yes": ["main"],
            "no": ["dev", "", "mainly", "[1, 2]", '{"a": "dev"}', '["main"', True, 5, ABSENT],
            "unsure": [
                "Main",
                " main\n",
                "\uff4dain",
                "ma\u0131n",
                None,
                ["main"],
                {"a": "main"},
                '["main"]',
                '{"a": {"b": "MAIN"}}',
                '{"main": 1}',
                '"main"',
                '"\\"main\\""',
                "[" * 300 + '"main"' + "]" * 300,
                '{"a": "main", "a": 1}',
            ],
        },
    ),
    (
        "eq",
        5,
        {
            "yes": [5, Decimal("5.0"), Decimal("5e0")],
            "no": [6, Decimal("5.1"), "five", "", True, ABSENT],
            "unsure": ["5", "no 5", "\u0665", "7", None, [5], {"a": 5}, Decimal("5.00000000000000000001")],
        },
    ),
    ("eq", 1, {"yes": [1], "no": [2], "unsure": [True, False]}),
    ("eq", 0, {"yes": [0, Decimal("-0.0")], "no": [2], "unsure": [True, False]}),
    ("eq", "v2", {"yes": ["v2"], "no": ["v3", "v"], "unsure": [2, 7, "V2"]}),
    (
        "eq",
        True,
        {
            "yes": [True],
            "no": [False, 2, -1, "maybe", "", '["maybe"]', ABSENT],
            "unsure": [
                1,
                0,
                "true",
                "FALSE",
                " yes ",
                "no",
                "on",
                "off",
                "y",
                "n",
                "t",
                "f",
                "1",
                "0",
                None,
                '["true"]',
            ],
        },
    ),
    ("eq", "yes", {"yes": ["yes"], "no": ["no", 5], "unsure": [True, False, "YES"]}),
    ("eq", "perhaps", {"yes": ["perhaps"], "no": [True, False]}),
    ("eq", None, {"yes": [None], "no": [ABSENT], "unsure": ["", "null", 0, False, [], {}]}),
    ("eq", 2**53, {"yes": [2**53], "no": [2**53 - 1], "unsure": [2**53 + 1]}),
    ("eq", 2**1000, {"no": [1, 2**1030, -(2**1030)], "unsure": [2**1000 + 1]}),
    (
        "eq",
        ["a", 1],
        {
            "yes": [["a", 1], ["a", Decimal("1.0")]],
            "no": [["a"], [1, "a"], ["b", 1], [], ABSENT],
            "unsure": [["A", 1], ["a", "1"], "a", None, {"a": 1}],
        },
    ),
    (
        "eq",
        {"a": "x", "b_c": 1},
        {
            "yes": [{"b_c": 1, "a": "x"}],
            "no": [{"a": "x"}, {"a": "y", "b_c": 1}, {"a": "y", "bC": 1}, {}],
            "unsure": [{"a": "x", "bC": 1}, {"a": "X", "b_c": 1}, []],
        },
    ),
    ("eq", {"a": 1, "A": 1}, {"yes": [{"a": 1, "A": 1}], "unsure": [{"_a": 1}]}),
    ("eq", [], {"yes": [[]], "no": [[1]]}),
    (
        "neq",
        "main",
        {
            "yes": ["dev", 5, True],
            "no": ["main"],
            "unsure": ["Main", " main", None, ["main"], '["main"]', ABSENT],
        },
    ),
    (
        "in",
        ["usd", 5],
        {
            "yes": ["usd", 5, Decimal("5.0")],
            "no": ["gbp", 6, ABSENT],
            "unsure": ["USD", "5", None, ["usd"]],
        },
    ),
    ("in", [], {"no": ["usd", None, ABSENT]}),
    (
        "not_in",
        ["usd", 5],
        {"yes": ["gbp", 6], "no": ["usd", 5], "unsure": ["USD", "5", None, ABSENT]},
    ),
    ("lt", 5, {"yes": [4, Decimal("4.99")], "no": [5, 6, ABSENT], "unsure": ["4", None, True, [4], {}]}),
    ("lte", 5, {"yes": [4, 5], "no": [Decimal("5.0000000000000000000001"), ABSENT], "unsure": ["4", False]}),
    ("gt", 5, {"yes": [6, Decimal("5.0000000000000000000001")], "no": [5, ABSENT], "unsure": ["6", True]}),
    ("gte", Decimal("0.1"), {"yes": [Decimal("0.1"), 1], "no": [Decimal("0.09"), ABSENT], "unsure": ["6", None]}),
    (
        "regex",
        "^feat/[a-z]+$",
        {
            "yes": ["feat/abc"],
            "no": ["Feat/abc", "feat/abc\n", "", ABSENT],
            "unsure": [5, None, ["feat/abc"], True, "\ud800"],
        },
    ),
    ("regex", "b", {"yes": ["abc"], "no": ["ac"]}),
    (
        "contains",
        "rm",
        {
            "yes": ["rm -rf", "alarm", ["rm", 1]],
            "no": ["RM", "", [], ["ls"], ["rm -rf"], ABSENT],
            "unsure": [5, None, {"rm": 1}, ["RM"], [None]],
        },
    ),
    ("contains", 5, {"yes": [[5]], "no": [[6]], "unsure": ["5", [Decimal("5.00000000000000000001")]]}),
    ("exists", UNSET, {"yes": [0, "", False, []], "no": [None, ABSENT]}),
    ("exists", True, {"yes": [1], "no": [ABSENT]}),
    ("exists", False, {"yes": [None, ABSENT], "no": [0, ""]}),
    (
        "under",
        ["/srv/docs", "data"],
        {
            "yes": [
                "/srv/docs",
                "/srv/docs/a",
                "/srv/docs/a/../b",
                "data/x",
                "/home/me/data",
                "//srv/docs/a",
                "./data/.",
                "/srv/docs/na\u00efve",
                "/srv/docs/nai\u0308ve",
            ],
            "no": ["/etc/passwd", "/srv/docsx", "/srv/docs/../x", "..", "", "/", ABSENT],
            "unsure": [
                "link/../srv/docs/a",
                "/alias/a",
                "~root/x",
                "~/x",
                "a%2fb",
                "a\\b",
                "a\0",
                "/srv/docs/..$HOME/../etc",
                "/srv/docs/caf\u00e9/passwd",
                "/srv/docs/cafe\u0301/passwd",
                "file:///srv/docs",
                "FILE:x",
                " /srv/docs",
                "/srv/docs/loop",
                5,
                None,
                ["/srv/docs"],
            ],
        },
    ),
    ("under", "/alias", {"yes": ["/alias/x"], "no": ["/etc"], "unsure": ["/srv/docs/x"]}),
    ("under", "/", {"yes": ["/etc", "x"]}),
    ("under", "/home/me", {"yes": ["x"], "unsure": ["/home/me/link/passwd", "link"]}),
    ("under", "/loop", {"unsure": ["/x"]}),
    ("under", "/srv/\u00e9", {"yes": ["/srv/\u00e9/x"], "no": ["/etc"], "unsure": ["/srv/e\u0301/x"]}),
    (
        "not_under",
        ["/etc", "/srv/docs"],
        {
            "yes": ["/home/x", "/etcetera", "data"],
            "no": ["/etc", "/etc/passwd", "/home/../etc"],
            "unsure": ["link/passwd", "/alias/a", "~", "%", 5, None, ABSENT],
        },
    ),
    (
        "host_in",
        ["example.com", "*.example.org", "10.0.0.1", "[::1]"],
        {
            "yes": [
                "https://example.com",
                "HTTPS://EXAMPLE.com:8443/a?b#c",
                "http://a.b.example.org/",
                "http://10.0.0.1/",
                "http://[::1]:80/",
                "https://example.com/a@b\\c",
            ],
            "no": [
                "https://example.org/",
                "https://example.com.evil.net",
                "https://notexample.com",
                "http://10.0.0.2",
                "http://[::2]/",
                ABSENT,
            ],
            "unsure": [
                "example.com",
                "//example.com",
                "https:example.com",
                "https://user@example.com",
                "https://example.com@evil.net",
                "https://example.com\\@evil.net",
                "https://example.com.",
                "https://ex%61mple.com",
                "https://ex\u00e4mple.com",
                " https://example.com",
                "https://example.com:",
                "https://example.com:x",
                "https://",
                "http://10.0.0.01",
                "http://10.1",
                "http://0x0a000001",
                "http://167772161",
                "http://10.0.0.256",
                "http://[::ffff:10.0.0.1]/",
                "http://[0:0::1]/",
                "http://[::1",
                "http://[nonsense]/",
                "http://[1::2::3]/",
                "http://" + "a." * 150 + "example.org",
                5,
                None,
                ["https://example.com"],
            ],
        },
    ),
    (
        "not_host_in",
        "internal.example.com",
        {
            "yes": ["https://example.com"],
            "no": ["https://internal.example.com/x"],
            "unsure": ["https://internal.example.com.", "internal.example.com", 5, ABSENT],
        },
    ),
]
ROWS = [
    pytest.param(op, value, argument, answer, id=f"{op} {value!r:.20} {argument!r:.30} {answer}")
    for op, value, answers in TABLE
    for answer, arguments in answers.items()
    for argument in arguments
]


def policy(kind: str, op: str, value: object) -> Policy:
    condition = {"path": "args.x", "op": op} | ({} if value is UNSET else {"value": value})
    tool = {kind: [{"conditions": [condition]}]}
    return compile_policy(PolicyFile.model_validate({"version": "1", "tools": {"t": tool}}))


def passes(kind: str, op: str, value: object, argument: object) -> bool:
    arguments = {} if argument is ABSENT else {"x": argument}
    return evaluate(policy(kind, op, value), ToolCall("t", arguments, resolve)).effect == "allow"


@pytest.mark.parametrize(("op", "value", "argument", "answer"), ROWS)
def test_require_holds_on_yes_alone_and_deny_if_fires_on_all_but_no(
    op: str, value: object, argument: object, answer: str
) -> None:
    assert passes("require", op, value, argument) is (answer == "yes")
    assert passes("deny_if", op, value, argument) is (answer == "no")
    assert passes("approve_if", op, value, argument) is (answer == "no")


def test_the_table_has_every_operator_with_every_answer_that_it_can_give() -> None:
    for op in OPERATORS:
        answers = {answer for name, _, rows in TABLE if name == op for answer, some in rows.items() if some}
        assert answers == ({"yes", "no"} if op == "exists" else {"yes", "no", "unsure"})
        assert any(ABSENT in some for name, _, rows in TABLE if name == op for some in rows.values())


@pytest.mark.parametrize(
    ("op", "value", "words"),
    [
        ("eq", UNSET, "`eq` needs a `value`"),
        ("in", "usd", "`value` must be a list"),
        ("not_in", {}, "`value` must be a list"),
        ("lt", "5", "`value` must be a number"),
        ("gte", True, "`value` must be a number"),
        ("regex", 5, "`value` must be a string"),
        ("regex", "(", "no look-around and no back-references"),
        ("regex", "(?=a)", "no look-around and no back-references"),
        ("regex", "(a)\\1", "no look-around and no back-references"),
        ("regex", "a{1000}{1000}", "no look-around and no back-references"),
        ("exists", "yes", "`exists` takes `true` or `false`"),
        ("under", 5, "a string or a list of strings"),
        ("under", [], "a string or a list of strings"),
        ("under", "~/x", "`~` means somebody's home"),
        ("not_under", ["/a", "%"], "are read in different ways"),
        ("under", "", "a directory has a name"),
        ("host_in", [5], "a string or a list of strings"),
        ("host_in", "https://example.com", "is no host"),
        ("host_in", "example.com.", "is no host"),
        ("host_in", "*.10.0.0.1", "is no host"),
        ("not_host_in", "*.[::1]", "is no host"),
    ],
)
def test_a_value_that_an_operator_cannot_work_with_is_refused(op: Any, value: object, words: str) -> None:
    with pytest.raises(ValueProblem, match="`") as raised:
        prepare(op, value)
    assert words in str(raised.value)


def test_a_path_that_nobody_can_resolve_is_unsure() -> None:
    for kind in ("require", "deny_if"):
        assert evaluate(policy(kind, "under", "/srv"), ToolCall("t", {"x": "/srv/a"})).effect == "deny"
