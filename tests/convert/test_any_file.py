"""Checks that whatever stands in a file is refused with its reasons, or becomes a policy that can be used."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.convert.source import SourceError, read_source
from mcpguard.convert.translate import convert
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.stores.yaml_text import read_yaml

TEXTS = st.sampled_from(
    [
        *(
            "",
            "r",
            "*",
            "?",
            "\\",
            "@read",
            "@",
            "$comment",
            "$schema",
            "/",
            "/a",
            "~",
            "a.b",
            "_global",
            "args.",
            "args.a",
        ),
        *(
            "args..",
            "args.*",
            "args.0",
            "args.a.0",
            "args.a/b~",
            "state.",
            "state.t",
            "state.t.c",
            "state..",
            "state.*.c",
        ),
        *(
            "allow",
            "deny",
            "evaluate",
            "day",
            "hour",
            "1/day",
            "-1/day",
            "1/day/day",
            "9999999999999999999/day",
            "\n",
            "\x85",
        ),
        *("eq", "neq", "in", "lt", "regex", "contains", "exists", "(?i)\\bk[^a-z]", "(", "\\p{L}", "a{1000}{2}"),
        *("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{GRINNING FACE}", "é"),
    ]
)
NUMBERS = st.sampled_from([-1, 0, 1, 3, 0.5, 1e300, -1e300, 2**53 + 1, 2**63 - 1])
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), NUMBERS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)


def either(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, rarely anything."""
    return st.integers(0, 40).flatmap(lambda roll: VALUES if roll == 0 else strategy)


def an_object(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return either(st.fixed_dictionaries({key: either(value) for key, value in members.items()}))


PATHS = st.sampled_from(["args.a", "args.", "args.a..*", "args.*", "args.a.0", "args.a/b~", "args.\N{GRINNING FACE}"])
COUNTERS = st.sampled_from(["state.t.c", "state.t.c", "state._global.c", "state..c", "state.t"])
PATTERNS = st.sampled_from(["a", "(?i)\\bk[^a-z]", "(", "\\p{L}", "(a{1000}){1000}", "\n", "{"])
CONDITION = st.one_of(
    an_object(path=PATHS, op=st.sampled_from(["eq", "neq", "contains"]), value=VALUES),
    an_object(path=PATHS, op=st.sampled_from(["in", "not_in"]), value=st.lists(VALUES, max_size=2)),
    an_object(path=st.one_of(PATHS, PATHS, COUNTERS), op=st.sampled_from(["lt", "lte", "gt"]), value=NUMBERS),
    an_object(path=st.one_of(PATHS, COUNTERS), op=st.just("exists"), value=st.booleans()),
    an_object(path=PATHS, op=st.just("regex"), value=PATTERNS),
)
STATE = an_object(
    counter=st.sampled_from(["c", "c", "d"]),
    window=st.just("day"),
    increment=st.sampled_from([0, 1, 2, -1]),
    increment_from=st.sampled_from([None, None, "args.a", "args.a.0", "args."]),
)
RULE = st.one_of(
    an_object(
        name=TEXTS.filter(bool), conditions=st.lists(CONDITION, min_size=1, max_size=2), on_deny=TEXTS, state=STATE
    ),
    an_object(name=st.just("r"), conditions=st.lists(CONDITION, min_size=1, max_size=2)),
    an_object(name=st.just("r"), rate_limit=st.sampled_from(["1/day", "9007199254740993/hour"])),
    an_object(name=st.just("r"), action=st.just("deny"), on_deny=TEXTS),
)
NAMES = st.one_of(st.sampled_from(["t", "*", "_global"]), TEXTS)
POLICY = an_object(
    version=st.just("1"),
    description=TEXTS,
    default=st.sampled_from(["allow", "deny"]),
    hide=st.lists(NAMES.filter(str.strip), max_size=3, unique=True),
    tools=st.dictionaries(NAMES, an_object(rules=st.lists(RULE, max_size=2)), max_size=3),
)


@settings(max_examples=1000, deadline=None)
@given(POLICY)
def test_whatever_is_in_a_file_is_refused_or_becomes_a_policy(policy: Any) -> None:
    reading = read_yaml(json.dumps(policy))
    try:
        source = read_source(reading)
    except SourceError:
        return
    made, notes = convert(source)
    compile_policy(PolicyFile.model_validate(made))
    assert all(note.pointer in reading.places for note in notes)
