"""Draws policies from the whole vocabulary of the language, and calls that meet them.

Knows how a policy is written, and not what it means.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

from mcpguard.policy.schemas import KEYWORDS

Json = dict[str, Any]

KEYS: Final = ("a", "b_c", "bC", "A", "0", "*", "a.b", "", "\u00e9", "a/b")
TEXTS: Final = (
    *(
        "main",
        "Main",
        " main\n",
        "5",
        "true",
        "",
        "\uff4dain",
        '["main"]',
        '{"a":1}',
        "\U0001f600",
        "caf\u00e9",
        "cafe\u0301",
        "\u2028",
        "\x00",
        "%2e",
    ),
    *("/srv/docs/a", "/srv/docs/../x", "../a", "~root", "file:///srv", "C:\\a", "/", ".", "/srv/docs", "/srv/docs/"),
    *(
        "https://example.com/x",
        "https://a.example.com:8/",
        "http://u@example.com",
        "https://example.com.",
        "http://127.0.0.1",
        "http://0x7f.1",
    ),
    *("//example.com", "http://[::1]/", "http://ex\u00e4mple.com", "2026-01-01", "a@b.c", "x" * 300),
)
NUMBERS: Final = (
    *(0, 1, -1, 5, 2**53, 2**53 + 1, 2**63, 10**30, 10**308, -(10**308), 2**1024 - 2**971),
    *map(
        Decimal,
        (
            "5.0",
            "0.5",
            "-0.0",
            "1e308",
            "1e-400",
            "5E+0",
            "1.10",
            "0E+999999999999999999",
            "1E-1999999999999999997",
            "0." + "1" * 390,
        ),
    ),
)
SCALARS = st.one_of(
    st.sampled_from([*TEXTS, *NUMBERS, True, False, None]),
    st.text(max_size=6),
    st.integers(-100, 100),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-1000, max_value=1000),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)


def nested(value: Any, levels: int, name: str | None) -> Any:
    """Put a value deep into lists, or into objects."""
    for _ in range(levels):
        value = [value] if name is None else {name: value}
    return value


ARGUMENTS = st.one_of(
    st.fixed_dictionaries({"a": st.sampled_from(NUMBERS)}, optional={"b_c": SCALARS}),
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), VALUES, max_size=4),
    st.builds(
        lambda value, levels, name: {"a": nested(value, levels, name)},
        VALUES,
        st.integers(1, 120),
        st.sampled_from([None, "a", "b_c"]),
    ),
)

# The parts of a policy

PATHS = st.sampled_from(
    [
        "args.a",
        "args.a.b_c",
        "args.*",
        "args.a.*.b_c",
        "args.a.0",
        "args.0",
        "/a",
        "/a~1b",
        "/a.b/0",
        "/",
        "/*",
        "args.bC.*.*.a",
        "args.\u00e9",
    ]
)
SINGLE_PATHS = st.sampled_from(["args.a", "args.b_c", "/a.b", "args.a.0", "/"])
PATTERNS = st.sampled_from(
    [
        "t",
        "t*",
        "*",
        "?",
        "t?",
        "*u",
        "a\\*b",
        "\\@x",
        "get_*_x",
        "**",
        "*?*",
        "\u00e9*",
        "tools/*",
        "x" * 80,
        "file:///*",
        "file:///a",
        "*.md",
        "{a}*",
    ]
)
DIRECTORIES = st.sampled_from(["/srv/docs", "/", "docs", "/srv/docs/", "/srv/\u00e9"])
HOSTS = st.sampled_from(["example.com", "*.example.com", "127.0.0.1", "::1", "localhost"])
REGEXES = st.sampled_from(["^main$", "m", "[0-9]+", "^(a|b)*$", "\\d{3}", "\\p{L}", ".", "", "^https?://", "(?i)x"])
TEXT = st.sampled_from(["why", "", "\u00e9\u2028", "a `b`", "x" * 200])


def listed(one: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, max_size=most)


def several(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return one | st.lists(one, min_size=1, max_size=2)


def condition(ops: list[str], value: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries(
        {"path": PATHS, "op": st.sampled_from(ops), "value": value}, optional={"$comment": TEXT}
    )


CONDITIONS = st.one_of(
    condition(["eq", "neq", "contains"], VALUES),
    condition(["in", "not_in"], listed(VALUES)),
    condition(["lt", "lte", "gt", "gte"], st.sampled_from(NUMBERS) | st.integers(-5, 5)),
    condition(["regex"], REGEXES),
    condition(["under", "not_under"], several(DIRECTORIES)),
    condition(["host_in", "not_host_in"], several(HOSTS)),
    st.fixed_dictionaries({"path": PATHS, "op": st.just("exists")}, optional={"value": st.booleans()}),
)
RULES = listed(
    st.fixed_dictionaries({"conditions": listed(CONDITIONS, 2)}, optional={"on_deny": TEXT, "$comment": TEXT}), 2
)
APPROVALS = listed(st.fixed_dictionaries({"conditions": listed(CONDITIONS, 2)}, optional={"reason": TEXT}), 2)
WINDOWS = st.sampled_from(
    ["second", "minute", "hour", "day", "week", 1, 60, 90, 10**12, "90s", "15m", "6h", "7d", "007s"]
)
MOSTS = st.sampled_from([0, 1, 3, 65_536, 65_537, 10**20])
LIMIT_KEYS: Json = {"scope": st.sampled_from(["session", "grant"]), "$comment": TEXT}
LIMITS = listed(
    st.fixed_dictionaries(
        {"window": WINDOWS, "max": MOSTS},
        optional={**LIMIT_KEYS, "cost": SINGLE_PATHS, "per": SINGLE_PATHS | st.just("tool")},
    )
    | st.fixed_dictionaries(
        {"window": st.sampled_from(["minute", "day", 3600]), "max": MOSTS, "align": st.just("calendar")},
        optional=LIMIT_KEYS,
    )
    | st.fixed_dictionaries(
        {"counter": st.sampled_from(["c", "mail"]), "window": st.just("minute"), "max": MOSTS},
        optional={"cost": SINGLE_PATHS},
    ),
    2,
)
PLAIN_LIMITS = listed(st.fixed_dictionaries({"window": WINDOWS, "max": MOSTS}, optional=LIMIT_KEYS), 2)
RATES = st.sampled_from(["10/minute", "1/90s", "0/day", "5/60"]) | st.fixed_dictionaries(
    {"max": MOSTS, "window": WINDOWS}
)
KINDS = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
SMALL = st.integers(0, 4)


def schema(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Draw a schema of one type, with keywords that judge that type."""
    named = st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    by_type: dict[str, Json] = {
        "object": {
            "properties": named,
            "required": listed(st.sampled_from(KEYS[:4]), 2).map(lambda keys: sorted(set(keys))),
            "additionalProperties": inner | st.booleans(),
            "maxProperties": SMALL,
            "propertyNames": st.just({"maxLength": 9}),
            "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        },
        "array": {
            "items": inner,
            "minItems": SMALL,
            "uniqueItems": st.booleans(),
            "contains": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
        },
        "string": {
            "minLength": SMALL,
            "maxLength": SMALL,
            "pattern": REGEXES,
            "format": st.sampled_from(["date", "email", "uri", "uuid"]),
        },
        "number": {
            "minimum": st.sampled_from(NUMBERS),
            "maximum": st.sampled_from(NUMBERS),
            "multipleOf": st.sampled_from([1, 3, Decimal("0.01")]),
        },
    }
    typed = [
        st.fixed_dictionaries({}, optional={"type": st.just(kind), **keywords, "description": TEXT})
        for kind, keywords in by_type.items()
    ]
    joined = st.fixed_dictionaries(
        {},
        optional={"allOf": st.lists(inner, min_size=1, max_size=2), "not": inner, "if": inner, "enum": listed(VALUES)},
    )
    return st.one_of(*typed, joined, st.builds(lambda value: {"const": value}, VALUES))


SCHEMAS = st.recursive(st.booleans() | st.fixed_dictionaries({}, optional={"type": KINDS}), schema, max_leaves=4)
ARGUMENT_SCHEMAS = st.one_of(
    st.fixed_dictionaries(
        {"properties": st.dictionaries(st.sampled_from(KEYS), SCHEMAS, max_size=3)},
        optional={"additionalProperties": st.booleans()},
    ),
    SCHEMAS.filter(lambda schema: isinstance(schema, dict)),
    st.dictionaries(st.sampled_from(sorted(KEYWORDS)), VALUES, max_size=2),
)
ACTIONS = st.sampled_from(["allow", "allow", "deny", "hide", "require_approval"])
FULL_TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "action": ACTIONS,
        "reason": TEXT,
        "require": RULES,
        "deny_if": RULES,
        "approve_if": APPROVALS,
        "limits": LIMITS,
        "rate_limit": RATES,
        "arguments": ARGUMENT_SCHEMAS,
        "$comment": TEXT,
    },
)
LIGHT_TOOLS = st.fixed_dictionaries({}, optional={"limits": LIMITS}) | st.fixed_dictionaries({"deny_if": RULES})
"""Entries that mostly allow."""
ASKING_TOOLS = st.fixed_dictionaries(
    {"action": st.just("require_approval")}, optional={"limits": LIMITS, "approve_if": APPROVALS}
)
TOOLS = st.one_of(LIGHT_TOOLS, FULL_TOOLS, ASKING_TOOLS)
USES = st.dictionaries(
    PATTERNS,
    st.fixed_dictionaries({}, optional={"action": ACTIONS, "reason": TEXT, "limits": PLAIN_LIMITS}),
    max_size=3,
)
EFFECTS = st.sampled_from(["allow", "deny"])
TIMES = st.sampled_from(["0s", "150ms", "45s", "007m", "999999999h"])
APPROVAL = st.fixed_dictionaries(
    {},
    optional={
        "timeout": TIMES,
        "ttl": TIMES,
        "remember": st.sampled_from(["call", "tool"]),
        "via": st.lists(st.sampled_from(["client", "terminal"]), min_size=1, max_size=3),
        "min_answer": TIMES,
        "$comment": TEXT,
    },
)
POLICIES: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"version": st.just("1"), "tools": st.dictionaries(PATTERNS, TOOLS, min_size=1, max_size=4)},
    optional={
        "default": st.sampled_from(["deny", "deny", "allow"]),
        "hide": listed(PATTERNS, 2),
        "list": st.sampled_from(["callable", "all"]),
        "all_tools": st.fixed_dictionaries({}, optional={"require": RULES, "deny_if": RULES, "limits": LIMITS}),
        "resources": USES,
        "prompts": USES,
        "server_requests": st.fixed_dictionaries(
            {}, optional={"sampling/createMessage": EFFECTS, "elicitation/create": EFFECTS, "roots/list": EFFECTS}
        ),
        "methods": st.dictionaries(st.sampled_from(["skills/*", "x", "*", "tools/*"]), EFFECTS, max_size=2),
        "audit": st.fixed_dictionaries(
            {}, optional={"arguments": st.sampled_from(["digest", "keys", "masked", "full"])}
        ),
        "approval": APPROVAL,
        "description": TEXT,
        "$schema": st.just("x"),
        "$comment": TEXT,
    },
)

# Anything at all

ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *KEYS,
                    "tools",
                    "hide",
                    "version",
                    "default",
                    "limits",
                    "require",
                    "conditions",
                    "arguments",
                    "window",
                    "op",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """Draw a policy in which something stands in the place of something else, or under another name."""
    policy: Any = draw(POLICIES)
    here = policy
    for _ in range(draw(st.integers(0, 5))):
        below = [
            item
            for item in (here.values() if isinstance(here, dict) else here)
            if isinstance(item, dict | list) and item
        ]
        if not below:
            break
        here = draw(st.sampled_from(below))
    if isinstance(here, dict):
        name = draw(st.sampled_from(sorted(here)))
        value = here.pop(name)
        here[draw(st.sampled_from([name, name.upper(), "x", "$comment"]))] = draw(st.just(value) | ANYTHING)
    else:
        here[draw(st.integers(0, len(here) - 1))] = draw(ANYTHING)
    return policy


# Names


def names_for(policy: Any) -> st.SearchStrategy[str]:
    """Draw names that the policy speaks of, mostly, and others."""
    fill = st.sampled_from(["", "u", "ab", "\u00e9", "\n"])
    others = ["t", "tu", "get_a_x", "v", "", "\u00e9a", "a*b", "@x", "x" * 300, "file:///a"]
    tools = sorted(policy.get("tools") or others)
    named = st.builds(name_of, st.sampled_from(tools), fill)
    return st.one_of(named, named, st.builds(name_of, st.sampled_from(others), fill), st.text(max_size=5))


def name_of(pattern: str, many: str) -> str:
    """Write a name that a pattern means, with `many` in the place of each `*`."""
    put = {"*": many, "?": "z"}
    return re.sub(r"\\([*?@\\])|([*?])", lambda found: found[1] or put[found[2]], pattern)


def means(pattern: str, name: str) -> bool:
    """Whether a pattern means a name, found out the slow way."""
    parts = [found.group() for found in re.finditer(r"\\.|.", pattern, re.DOTALL)]
    ends = {0}
    for part in parts:
        if part == "*":
            ends = set(range(min(ends), len(name) + 1)) if ends else ends
        else:
            ends = {end + 1 for end in ends if end < len(name) and (part == "?" or name[end] == part[-1])}
    return len(name) in ends


# Text


def json_text(value: Any) -> str:
    """Write JSON, with numbers exactly."""
    match value:
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{json_text(item)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(json_text, value)) + "]"
        case Decimal():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
