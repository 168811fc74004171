"""Finds in a policy, taken alone, what cannot do what it says.

Knows no server's tools.  A policy without a finding here may still name tools or arguments that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.caps import shadowed_limits
from mcpguard.policy.compile import limits_of, pointer
from mcpguard.policy.findings import CheckFinding, named, tick
from mcpguard.policy.match import Pattern, compile_pattern
from mcpguard.policy.model import RISK_CATEGORIES
from mcpguard.policy.operators import UNSET
from mcpguard.policy.paths import ABSENT, Step
from mcpguard.policy.schemas import inner_schemas
from mcpguard.policy.traversal import path_into, path_out_of
from mcpguard.policy.values import NO, UNSURE, YES, Answer
from mcpguard.policy.weak_patterns import weaknesses
from mcpguard.policy.witness import NEGATIVE, answer_about, contradicting, path_of

if TYPE_CHECKING:
    from mcpguard.policy.model import AllTools, ApprovalRule, Condition, PolicyFile, Rule, Tool
    from mcpguard.policy.rules import Kind

AnyRule: TypeAlias = "Rule | ApprovalRule"

_DAY_S: Final = 86_400


def check_policy(document: PolicyFile) -> tuple[CheckFinding, ...]:
    """Return every finding about a policy that can be used, in the order of the checks."""
    return tuple(
        chain(
            _unreached(document),
            _hidden(document),
            _about_rules(document),
            shadowed_limits(document),
            _about_windows(document),
            _about_approvals(document),
            _about_patterns(document),
        )
    )


def rules_in(holder: Tool | AllTools) -> Iterator[tuple[Kind, int, AnyRule]]:
    """Yield every rule on arguments with its kind and its index."""
    kinds: tuple[tuple[Kind, Sequence[AnyRule]], ...] = (
        ("require", holder.require),
        ("deny_if", holder.deny_if),
        ("approve_if", getattr(holder, "approve_if", ())),
    )
    for kind, rules in kinds:
        for index, rule in enumerate(rules):
            yield kind, index, rule


def fires_when_absent(rule: AnyRule, condition: Condition) -> bool:
    """Whether a rule fires because of an argument that is left out, as far as that argument is concerned."""
    steps = path_of(condition).steps
    about = [each for each in rule.conditions if path_of(each).steps == steps]
    return condition.op in NEGATIVE and all(answer_about(each, ABSENT) is not NO for each in about)


def demands(holder: Tool | AllTools, steps: tuple[Step, ...]) -> bool:
    """Whether a holder of rules refuses every call that leaves an argument out."""
    for rule in holder.require:
        if any(path_of(each).steps == steps and answer_about(each, ABSENT) is NO for each in rule.conditions):
            return True
    for rule in holder.deny_if:
        only = {path_of(each).steps for each in rule.conditions} == {steps}
        if only and all(each.op == "exists" and each.value is False for each in rule.conditions):
            return True
    arguments = getattr(holder, "arguments", None) or {}
    return len(steps) == 1 and steps[0] in arguments.get("required", ())


def _unreached(document: PolicyFile) -> Iterator[CheckFinding]:
    """Find what stands under an action that leaves it no say."""
    for name, tool in document.tools.items():
        here = pointer("tools", name)
        if tool.action in {"deny", "hide"}:
            why = f'is never looked at: "action": "{tool.action}" refuses every call of {tick(name)}'
            for kind in ("require", "deny_if", "approve_if", "arguments"):
                if getattr(tool, kind):
                    yield CheckFinding("dead-rule", f"{here}/{kind}", f"`{kind}` {why}")
            for kind in ("limits", "rate_limit"):
                if getattr(tool, kind):
                    yield CheckFinding("dead-limit", f"{here}/{kind}", f"`{kind}` {why}")
        elif tool.action == "require_approval" and tool.approve_if and document.approval.remember == "call":
            # Where answers are remembered, they hold for calls that the same rules ask about.
            why = '`approve_if` adds nothing: "action": "require_approval" asks about every call'
            yield CheckFinding("dead-rule", f"{here}/approve_if", why)
    for section in ("resources", "prompts"):
        for name, use in (getattr(document, section) or {}).items():
            if use.action in {"deny", "hide"} and use.limits:
                why = f'`limits` is never looked at: "action": "{use.action}" refuses every use of {tick(name)}'
                yield CheckFinding("dead-limit", pointer(section, name, "limits"), why)


def _hidden(document: PolicyFile) -> Iterator[CheckFinding]:
    hide = [compile_pattern(text) for text in document.hide]
    for index, pattern in enumerate(hide):
        for other_index, other in enumerate(hide):
            if index != other_index and covers(other, pattern) and (other_index < index or not covers(pattern, other)):
                why = f"{tick(pattern.text)} adds nothing: {tick(other.text)} hides all of it"
                yield CheckFinding("shadowed-hide", pointer("hide", index), why)
                break
    for name in document.tools:
        if name in RISK_CATEGORIES:
            continue
        pattern = compile_pattern(name)
        for other in hide:
            if covers(other, pattern):
                why = f"the entry {tick(name)} decides about no tool: `hide` has {tick(other.text)}"
                yield CheckFinding("hidden-entry", pointer("tools", name), why)
                break


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether every name that `narrow` matches is matched by `wide` too; where that is hard to tell, no."""
    rows = [True] + [False] * len(narrow.tokens)
    for mine in wide.tokens:
        before, rows = rows, [mine == "*" and rows[0]] + [False] * len(narrow.tokens)
        for at, theirs in enumerate(narrow.tokens, start=1):
            if mine == "*":
                rows[at] = before[at] or rows[at - 1]
            else:
                rows[at] = before[at - 1] and (mine == theirs or (mine == "?" and theirs != "*"))
    return rows[-1]


def _about_rules(document: PolicyFile) -> Iterator[CheckFinding]:
    everywhere = document.all_tools
    yield from _about_holder("/all_tools", everywhere, None)
    for name, tool in document.tools.items():
        if tool.action not in {"deny", "hide"}:
            yield from _about_holder(pointer("tools", name), tool, everywhere)


def _about_holder(here: str, holder: Tool | AllTools, common: AllTools | None) -> Iterator[CheckFinding]:
    known: dict[tuple[Kind, str], str] = {}
    for kind, index, rule in () if common is None else rules_in(common):
        known[kind, _said(rule)] = f"/all_tools/{kind}/{index}"
    for kind, index, rule in rules_in(holder):
        place = f"{here}/{kind}/{index}"
        first = known.setdefault((kind, _said(rule)), place)
        if first != place:
            yield CheckFinding("duplicate-rule", place, f"this rule stands at `{first}` already")
        elif not rule.conditions and kind != "approve_if":
            effect = "refuses nothing" if kind == "require" else 'refuses every call; `"action": "deny"` says so'
            yield CheckFinding("empty-rule", place, f"a `{kind}` rule without conditions {effect}")
        elif kind != "require" and (clash := contradicting(rule.conditions, kind)):
            why = f"{_conditions(clash)} cannot hold together, so the rule fires only where it is unsure"
            yield CheckFinding("contradicting-conditions", place, why)
    yield from _impossible(here, holder, common)


def _impossible(here: str, holder: Tool | AllTools, common: AllTools | None) -> Iterator[CheckFinding]:
    """Find `require` rules that no call can meet."""
    if not holder.require:
        return
    everything = [*holder.require, *(common.require if common else ())]
    conditions = [condition for rule in everything for condition in rule.conditions]
    clash = contradicting(conditions, "require")
    if clash:
        places = [i for i, rule in enumerate(holder.require) if any(each in clash for each in rule.conditions)]
        if not places:  # `all_tools` contradicts itself, which is said there
            return
        why = f"no call can meet this: {_conditions(clash)} cannot hold together"
        yield CheckFinding("impossible-require", f"{here}/require/{places[-1]}", why)
        return
    required = {_condition(condition) for condition in conditions}
    for place, each in ((here, holder), ("/all_tools", common)):
        for index, rule in enumerate(each.deny_if if each else ()):
            if rule.conditions and {_condition(condition) for condition in rule.conditions} <= required:
                why = f"no call can meet this: `{place}/deny_if/{index}` refuses what `require` asks for"
                yield CheckFinding("impossible-require", f"{here}/require", why)


def left_out(document: PolicyFile) -> Iterator[CheckFinding]:
    """Find `deny_if` rules that fire on calls that leave an argument out, as long as nobody knows whether they may."""
    everywhere = document.all_tools
    holders: list[tuple[str, Tool | AllTools]] = [("/all_tools", everywhere)]
    holders += [(pointer("tools", name), tool) for name, tool in document.tools.items()]
    for here, holder in holders:
        if getattr(holder, "action", "allow") in {"deny", "hide"}:
            continue
        for rule_index, rule in enumerate(holder.deny_if):
            for index, condition in enumerate(rule.conditions):
                steps = path_of(condition).steps
                if not fires_when_absent(rule, condition) or demands(holder, steps) or demands(everywhere, steps):
                    continue
                place = f"{here}/deny_if/{rule_index}/conditions/{index}"
                yield CheckFinding("fires-when-absent", place, absent_sentence(condition))


def absent_sentence(condition: Condition) -> str:
    """Say that a rule fires on what is left out."""
    return (
        f"`{condition.op}` fires also on a call that leaves {tick(condition.path)} out; if such calls are good, "
        f'add the condition {{"path": "{condition.path}", "op": "exists"}} to the rule'
    )


def _about_windows(document: PolicyFile) -> Iterator[CheckFinding]:
    long = [rule for rule, limit in limits_of(document) if limit.window >= _DAY_S and limit.max]
    if long:
        why = f"counters live in memory: a window of a day or more starts anew with every run ({named(long)})"
        yield CheckFinding("long-window", long[0], why)


def _about_approvals(document: PolicyFile) -> Iterator[CheckFinding]:
    if "approval" not in document.model_fields_set:
        return
    if not _asks_anybody(document):
        why = '`approval` says how a person is asked, and nothing asks: no "require_approval", no `approve_if`'
        yield CheckFinding("unused-approval", "/approval", why)
    elif "terminal" not in document.approval.via and document.approval.min_answer >= document.approval.timeout:
        why = (
            "nobody can approve: a dialog of the client counts from `min_answer` to `timeout` after it was shown, "
            "which leaves no time, and `terminal` is not in `via`"
        )
        yield CheckFinding("impossible-approval", "/approval", why)
    elif "terminal" not in document.approval.via:
        why = "under a client that cannot show its user a dialog nobody can approve: `terminal` is not in `via`"
        yield CheckFinding("client-only-approval", "/approval/via", why)


def _asks_anybody(document: PolicyFile) -> bool:
    for tool in document.tools.values():
        if tool.action == "require_approval" or (tool.action == "allow" and tool.approve_if):
            return True
    uses = chain((document.resources or {}).values(), (document.prompts or {}).values())
    return any(use.action == "require_approval" for use in uses)


def _about_patterns(document: PolicyFile) -> Iterator[CheckFinding]:
    holders: list[tuple[str, Tool | AllTools]] = [("/all_tools", document.all_tools)]
    holders += [(pointer("tools", name), tool) for name, tool in document.tools.items()]
    for here, holder in holders:
        rules = [holder, document.all_tools]
        for kind, rule_index, rule in rules_in(holder):
            for index, condition in enumerate(rule.conditions):
                if condition.op == "regex":
                    place = f"{here}/{kind}/{rule_index}/conditions/{index}/value"
                    accepts = kind == "require"
                    yield from _weak(place, condition.value, accepts=accepts)
                    yield from _traversed(place, condition.value, rules, path_of(condition).steps, accepts=accepts)
        for place, pattern in _schema_patterns(getattr(holder, "arguments", None), f"{here}/arguments"):
            yield from _weak(place, pattern, accepts=True)
            yield from _traversed(place, pattern, rules, None, accepts=True)


def _weak(place: str, pattern: str, *, accepts: bool) -> Iterator[CheckFinding]:
    for code, why in weaknesses(pattern, accepts=accepts):
        yield CheckFinding(code, place, why)


def _traversed(
    place: str, pattern: str, rules: Sequence[Tool | AllTools], steps: tuple[Step, ...] | None, *, accepts: bool
) -> Iterator[CheckFinding]:
    """Find a pattern that path traversal gets past, where no other rule about the argument (None: any) refuses that."""
    path = path_out_of(pattern) if accepts else path_into(pattern)
    if path is None or any(_refuses(holder, steps, path) for holder in rules):
        return
    found = "fits too, and leads elsewhere" if accepts else "does not fit, and leads there"
    yield CheckFinding("regex-traversal", place, f"{tick(path)} {found}: patterns know nothing of `..`; write `under`")


def _refuses(holder: Tool | AllTools, steps: tuple[Step, ...] | None, value: object) -> bool:
    """Whether a rule refuses every call with this value of an argument (None: of any), or cannot say that it does not."""

    def about(condition: Condition, *answers: Answer) -> bool:
        return steps in {None, path_of(condition).steps} and answer_about(condition, value) in answers

    return any(about(each, NO, UNSURE) for rule in holder.require for each in rule.conditions) or any(
        all(about(each, YES, UNSURE) for each in rule.conditions) for rule in holder.deny_if
    )


def _schema_patterns(schema: object, here: str) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("pattern"), str):
        yield f"{here}/pattern", schema["pattern"]
    for keyword, value in schema.items():
        if keyword not in {"not", "if"}:
            for steps, inner in inner_schemas(keyword, value):
                yield from _schema_patterns(inner, here + pointer(keyword, *steps))


def _said(rule: AnyRule) -> str:
    return canonical(sorted(_condition(condition) for condition in rule.conditions))


def _condition(condition: Condition) -> str:
    value = None if condition.value is UNSET else [condition.value]
    return canonical([list(path_of(condition).steps), condition.op, value])


def _conditions(conditions: Iterable[Condition]) -> str:
    return (
        " and ".join(dict.fromkeys(f"`{each.op}`" for each in conditions)) + f" on {tick(next(iter(conditions)).path)}"
    )
