"""Checks laws: cases are judged as the guard judges calls; small changes leave the policy alone and do what they are said to do."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mcpguard.errors import PolicyError
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import CANONICAL, PolicyFile
from mcpguard.proof.cases import AnyCase, Case, CasesFile, Step
from mcpguard.proof.judge import START_NS, Session, Surroundings, judge
from mcpguard.proof.mutants import Mutant, mutants_of
from mcpguard.proof.survivors import notices
from mcpguard.protocol.commands import Consult, InFlight
from mcpguard.protocol.wire import CLIENT
from mcpguard.proxy.enforce import Enforcer
from mcpguard.proxy.records import Journal
from mcpguard.stores.counters import MemoryCounters
from support.verdicts import at_once

Json = dict[str, Any]
AROUND: Final = Surroundings(lambda path: path if path.startswith("/") else f"/home/{path}", {"get": "read"})
STRICTNESS: Final = ("allow", "approve", "deny", "hide")

WORDS = st.sampled_from(["us", "us.de", "usxde", "/srv/a", "/etc", "https://a.example/x", "https://b.example"])
VALUES = st.one_of(WORDS, st.sampled_from([0, 1, 2, 5, Decimal("0.5"), True, None]), st.lists(WORDS, max_size=2))
PATHS = st.sampled_from(["args.a", "args.b", "args.a.*"])


def condition(ops: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"path": PATHS, "op": st.sampled_from(ops), "value": values})


CONDITIONS = st.one_of(
    condition(["eq", "neq", "contains"], VALUES),
    condition(["in", "not_in"], st.lists(WORDS, max_size=2)),
    condition(["lt", "lte", "gt", "gte"], st.sampled_from([1, 2, Decimal("0.5")])),
    condition(["exists"], st.booleans()),
    condition(["regex"], st.sampled_from([r"^us\.de$", "^us", "e$", r"\\$", "s"])),
    condition(["under", "not_under"], st.sampled_from(["/srv", ["/srv", "/home"]])),
    condition(["host_in", "not_host_in"], st.sampled_from(["a.example", ["*.example", "b.example"]])),
)
RULES = st.lists(st.fixed_dictionaries({"conditions": st.lists(CONDITIONS, max_size=2)}), max_size=2)
LIMITS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"window": st.sampled_from([1, 60]), "max": st.integers(0, 2)},
            optional={"cost": st.just("args.b"), "per": st.sampled_from(["args.a", "tool"])},
        ),
        st.fixed_dictionaries({"window": st.just("minute"), "max": st.integers(1, 2), "align": st.just("calendar")}),
        st.fixed_dictionaries(
            {
                "counter": st.just("all"),
                "window": st.just("hour"),
                "max": st.integers(1, 3),
                "align": st.just("calendar"),
            }
        ),
    ),
    max_size=2,
)
SCHEMAS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={
        "required": st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=2),
        "additionalProperties": st.just(False),
        "maxProperties": st.integers(0, 2),
        "properties": st.fixed_dictionaries(
            {},
            optional={
                "a": st.sampled_from(
                    [
                        {"type": ["string", "null"], "maxLength": 3},
                        {"enum": ["us", "/etc"]},
                        {"anyOf": [{"pattern": r"^us\.de$"}, {"type": "null"}]},
                        {"items": {"minLength": 3}, "minItems": 1},
                        {"not": {"pattern": "^us$"}},
                    ]
                ),
                "b": st.sampled_from([{"minimum": 1}, {"type": "integer", "exclusiveMaximum": 2}, {"const": 1}]),
            },
        ),
    },
)
ACTIONS = st.sampled_from(["allow", "require_approval", "deny", "hide"])
RULED: Json = {"require": RULES, "deny_if": RULES, "limits": LIMITS}
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        **RULED,
        "action": ACTIONS,
        "approve_if": RULES,
        "arguments": SCHEMAS,
        "rate_limit": st.sampled_from(["1/minute", "2/second"]),
    },
)
USES = st.dictionaries(
    st.sampled_from(["x", "x*", "?"]),
    st.fixed_dictionaries({}, optional={"action": ACTIONS, "limits": st.just([{"window": 60, "max": 1}])}),
    max_size=2,
)
POLICIES = st.fixed_dictionaries(
    {"version": st.just("1")},
    optional={
        "$comment": st.just("c"),
        "default": st.sampled_from(["allow", "deny"]),
        "hide": st.lists(st.sampled_from(["hidden", "ge*", "v?*", "x"]), max_size=2),
        "tools": st.dictionaries(
            st.sampled_from(["get", "g*", "get*", "put", "*", "@read", "@write"]), TOOLS, max_size=3
        ),
        "all_tools": st.fixed_dictionaries({}, optional=RULED),
        "resources": USES,
        "prompts": USES,
        "approval": st.just({"timeout": "90s"}),
    },
)
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "b", "A"]), VALUES, max_size=2)
CALLS = st.one_of(
    st.fixed_dictionaries(
        {"tool": st.sampled_from(["get", "gea", "put", "vxy"]), "arguments": ARGUMENTS},
        optional={"category": st.sampled_from(["read", "write"])},
    ),
    st.sampled_from([{"resource": "x"}, {"resource": "xy"}, {"prompt": "x"}]),
)
TIMES = st.sampled_from(["0s", "999ms", "1s", "30s", "59s", "60s", "60m"])
STEPS = st.tuples(CALLS, st.integers(1, 3), TIMES)


def loaded(document: Json) -> PolicyFile | None:
    try:
        file = PolicyFile.model_validate(document)
        compile_policy(file)
    except (ValidationError, PolicyError):
        return None
    return file


def holding(file: PolicyFile, calls: list[Json], steps: list[tuple[Json, int, str]]) -> list[AnyCase]:
    """Make cases that hold: what is expected is what the policy does."""
    policy = compile_policy(file)
    raw: list[Json] = []
    for call in calls:
        outcome, _ = Session(policy, AROUND).call(Case.model_validate({**call, "expect": "allow"}))
        rules = [reason.rule for reason in outcome.reasons] if outcome.effect != "allow" else []
        raw.append({**call, "expect": outcome.effect, "because": rules})
    session = Session(policy, AROUND)
    sequence = []
    for call, times, after in steps:
        step = Step.model_validate({**call, "expect": "allow", "after": after})
        session.wait(step.after)
        for index in range(times):
            outcome, _ = session.call(step)
            sequence.append({**call, "expect": outcome.effect, **({"after": after} if index == 0 else {})})
    cases = [*raw, *([{"sequence": sequence}] if sequence else [])]
    return list(CasesFile.model_validate({"cases": cases}).cases)


def is_noticed(mutant: Mutant, cases: list[AnyCase]) -> bool | None:
    """Answer as `notices`, without any of its short cuts."""
    try:
        policy = compile_policy(mutant.document())
    except (ValidationError, PolicyError):
        return None
    return any(not judge(policy, case, AROUND, mutant.place_of).holds for case in cases)


def meant(file: PolicyFile) -> str:
    return file.model_dump_json(by_alias=True, exclude_unset=True, context=CANONICAL)


METHODS: Final = {"tool": "tools/call", "resource": "resources/read", "prompt": "prompts/get"}


REFUSING: Final = {"conditions": [{"path": "args.c", "op": "exists"}]}
LIMITED: Final = st.fixed_dictionaries(
    {"limits": LIMITS}, optional={"rate_limit": st.just("1/second"), "deny_if": st.just([REFUSING])}
)
COUNTING: Final = st.fixed_dictionaries(
    {
        "version": st.just("1"),
        "default": st.just("allow"),
        "all_tools": st.fixed_dictionaries({}, optional={"limits": LIMITS}),
        "tools": st.fixed_dictionaries({"get": LIMITED}, optional={"g*": LIMITED, "put": LIMITED, "*": LIMITED}),
        "resources": st.just({"x*": {"limits": [{"window": 60, "max": 1}]}, "xy": {"action": "hide"}}),
    },
    optional={"hide": st.just(["v*"]), "prompts": st.just({"x": {"action": "deny"}})},
)
"""Policies under which most calls pass until a limit is used up, and nobody has to be asked."""
COUNTED: Final = st.fixed_dictionaries(
    {
        "tool": st.sampled_from(["get", "gea", "put", "vxy"]),
        "arguments": st.fixed_dictionaries(
            {"b": st.sampled_from([0, 1, 2, Decimal("0.5")]), "a": st.sampled_from(["us", "US", "de"])},
            optional={"c": st.just(1)},
        ),
    }
)
RUNS: Final = st.lists(
    st.tuples(
        COUNTED | st.sampled_from([{"resource": "x"}, {"resource": "xy"}, {"prompt": "x"}]), st.integers(1, 3), TIMES
    ),
    min_size=2,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(COUNTING, RUNS)
def test_a_sequence_is_judged_as_the_guard_judges_the_calls(document: Json, steps: list[tuple[Json, int, str]]) -> None:
    file = loaded(document)
    if file is None:
        return
    now = SimpleNamespace(ns=0)
    session = Session(compile_policy(file), AROUND)
    guard = Enforcer(
        compile_policy(file),
        MemoryCounters(),
        clock=lambda: now.ns,
        wall_clock=lambda: START_NS + now.ns,
        session_id="s",
        parties=SimpleNamespace(client=None, server=None),
        resolve=AROUND.resolve,
    )
    for call, times, after in steps:
        step = Step.model_validate({**call, "expect": "allow", "after": after})
        session.wait(step.after)
        now.ns += step.after
        for _ in range(times):
            outcome, _ = session.call(step)
            kind = next(kind for kind in METHODS if kind in call)
            ticket = InFlight(CLIENT, 1, METHODS[kind], b"", 1)
            ticket.subject = step.subject
            verdict = at_once(guard.consult(Consult(ticket, kind, step.subject, call.get("arguments")), Journal()))
            assert (verdict.admitted, verdict.hidden) == (outcome.effect == "allow", outcome.effect == "hide")
            if not verdict.admitted:
                first = outcome.reasons[0]
                assert (verdict.code, verdict.rule) == (first.code, first.rule)
                # What is used up is said in the same words; when it will do again, only a running guard knows.
                assert first.message in verdict.text


@settings(max_examples=80, deadline=None)
@given(POLICIES, st.lists(CALLS, max_size=4), st.lists(STEPS, max_size=3))
def test_no_short_cut_misses_what_a_case_notices(
    document: Json, calls: list[Json], steps: list[tuple[Json, int, str]]
) -> None:
    file = loaded(document)
    if file is None:
        return
    before = meant(file)
    cases = holding(file, calls, steps)
    assert all(judge(compile_policy(file), case, AROUND).holds for case in cases)
    singles = [case for case in cases if isinstance(case, Case)]
    was = [judge(compile_policy(file), case, AROUND).outcomes[0].effect for case in singles]
    for mutant in mutants_of(file, cases, AROUND.resolve):
        noticed = notices(mutant, cases, AROUND)
        assert noticed is is_noticed(mutant, cases), mutant
        if noticed is None:
            continue
        changed = mutant.document()
        assert meant(changed) != before, mutant
        policy = compile_policy(changed)
        of_a_name = mutant.rule.count("/") == 2
        for case, effect in zip(singles, was, strict=True):
            if of_a_name and "A" in case.arguments:
                continue  # the comparison of policies does not look at keys that could be taken for others
            now = judge(policy, case, AROUND).outcomes[0].effect
            difference = STRICTNESS.index(now) - STRICTNESS.index(effect)
            assert mutant.direction != "looser" or difference <= 0, str(mutant)
            assert mutant.direction != "stricter" or difference >= 0, str(mutant)
    assert meant(file) == before
