"""Finds what rules and limits say about arguments that a server's tools do not have, or not so.

Every tool that an entry decides is looked at, and what is said of several is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.inventory.comparisons import (
    NUMBERS,
    SCALARS,
    Remark,
    remarks_on_comparison,
    remarks_on_default,
    remarks_on_values,
    type_text,
)
from mcpguard.inventory.inputs import Argument, find_argument, required_of
from mcpguard.inventory.pieces import path_text
from mcpguard.policy.check import AnyRule, absent_sentence, demands, fires_when_absent, rules_in
from mcpguard.policy.entries import pointer
from mcpguard.policy.findings import CheckFinding, named, tick
from mcpguard.policy.paths import ABSENT, MANY, Step, parse_path
from mcpguard.policy.values import YES
from mcpguard.policy.witness import answer_about, path_of

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.model import AllTools, Condition
    from mcpguard.policy.model import Tool as Entry
    from mcpguard.policy.rules import Kind

Holder: TypeAlias = "Entry | AllTools"
Steps: TypeAlias = tuple[Step, ...]

_TYPED: Final = {"number": NUMBERS, "integer": NUMBERS}


def check_holder(here: str, holder: Holder, tools: Sequence[Tool], common: AllTools | None) -> Iterator[CheckFinding]:
    """Find what is wrong with the rules and limits of an entry, or of every tool, for the tools that meet them.

    `here` points at `holder`; `common` are the rules that those tools meet, too.
    """
    holders = [holder] if common is None else [holder, common]
    for kind, rule_index, rule in rules_in(holder):
        for index, condition in enumerate(rule.conditions):
            place = f"{here}/{kind}/{rule_index}/conditions/{index}"
            yield from _about_condition(place, kind, rule, condition, tools=tools, holders=holders)
    for index, limit in enumerate(holder.limits):
        for key, path in (("cost", limit.cost), ("per", limit.per)):
            if path is not None and path != "tool":
                yield from _about_limit(f"{here}/limits/{index}/{key}", path, key, tools, holders)
    schema = getattr(holder, "arguments", None)
    if schema is not None:
        yield from _about_schema(f"{here}/arguments", schema, (), tools)
        yield from _about_closing(f"{here}/arguments", schema, tools)


def _about_condition(
    place: str, kind: Kind, rule: AnyRule, condition: Condition, *, tools: Sequence[Tool], holders: Sequence[Holder]
) -> Iterator[CheckFinding]:
    steps = path_of(condition).steps
    needs = answer_about(condition, ABSENT) is not YES if kind == "require" else fires_when_absent(rule, condition)
    found = _arguments(tools, steps)
    yield from _about_missing(
        f"{place}/path", condition.path, found, refuses=needs and kind != "approve_if", steps=steps
    )
    demanded = any(demands(each, steps) for each in holders)
    handles_absence = demanded or any(each.op == "exists" and path_of(each).steps == steps for each in rule.conditions)
    said: list[tuple[Tool, Remark]] = []
    for tool, argument in found:
        if not argument.exists:
            continue
        items = find_argument(tool.input_schema, (*steps, MANY))
        remarks = list(remarks_on_comparison(condition, kind, argument, items))
        remarks += remarks_on_default(condition, kind, argument, handles_absence=handles_absence)
        if _forbids(condition, kind, rule) and argument.is_required:
            remarks.append(
                (
                    "forbids-required",
                    f"the server requires {tick(condition.path)}, and the rule refuses calls that give it",
                )
            )
        optional = not argument.is_required and not argument.is_open
        if kind == "deny_if" and optional and fires_when_absent(rule, condition) and not demanded:
            remarks.append(("fires-when-absent", absent_sentence(condition)))
        said += [(tool, remark) for remark in remarks]
    yield from _together(place, said, tools)


def _forbids(condition: Condition, kind: Kind, rule: AnyRule) -> bool:
    wanted = condition.value is not False
    if condition.op != "exists" or kind == "approve_if":
        return False
    return not wanted if kind == "require" else wanted and len(rule.conditions) == 1


def _about_limit(
    place: str, text: str, key: str, tools: Sequence[Tool], holders: Sequence[Holder]
) -> Iterator[CheckFinding]:
    steps = parse_path(text).steps
    found = _arguments(tools, steps)
    yield from _about_missing(place, text, found, refuses=True)
    fitting, what = (NUMBERS, "adds up numbers") if key == "cost" else (SCALARS, "counts by text, numbers or booleans")
    demanded = any(demands(each, steps) for each in holders)
    said: list[tuple[Tool, Remark]] = []
    for tool, argument in found:
        if not argument.exists:
            continue
        if not argument.types & fitting:
            why = f"the limit {what}, and {tick(text)} is {type_text(argument.types)}: it refuses every call"
            said.append((tool, ("type-mismatch", why)))
        elif not argument.is_required and not argument.is_open and not demanded:
            said.append((tool, ("limit-needs-argument", f"the limit refuses a call that leaves {tick(text)} out")))
    yield from _together(place, said, tools)


def _about_missing(
    place: str, text: str, found: Sequence[tuple[Tool, Argument]], *, refuses: bool, steps: Steps = ()
) -> Iterator[CheckFinding]:
    without = [(tool, argument) for tool, argument in found if not argument.exists]
    names = [tool.name for tool, _ in without]
    if without and len(without) == len(found):
        effect = ", so every call is refused" if refuses else ""
        yield CheckFinding(
            "unknown-argument",
            place,
            f"{_nowhere(names)} has {tick(text)}{effect}{_in_lists(steps, without) or _meant(without)}",
        )
    elif without and refuses:
        why = f"every call of {named(names)} is refused here, for there is no {tick(text)} in {'it' if len(names) == 1 else 'them'}"
        yield CheckFinding("refuses-every-call", place, why)


def _nowhere(names: Sequence[str]) -> str:
    return f"no argument of {named(names)}" if len(names) == 1 else f"none of {named(names)}"


def _meant(without: Sequence[tuple[Tool, Argument]]) -> str:
    for _, argument in without:
        close = get_close_matches(argument.missing, argument.known, n=1)
        if close:
            return f"; did you mean {tick(close[0])} for {tick(argument.missing)}?"
    known = sorted({key for _, argument in without for key in argument.known})
    return f"; there is {named(known)}" if known else ""


def _in_lists(steps: Steps, without: Sequence[tuple[Tool, Argument]]) -> str:
    """Say how the path is written that goes into a list on its way; empty if there is none."""
    for at in range(1, len(steps)):
        longer = (*steps[:at], MANY, *steps[at:])
        path = path_text(longer)
        if path and any(find_argument(tool.input_schema, longer).alternatives for tool, _ in without):
            return f"; did you mean {tick(path)}, in every element of a list?"
    return ""


def _about_schema(
    place: str, schema: Mapping[str, object], steps: Steps, tools: Sequence[Tool]
) -> Iterator[CheckFinding]:
    properties, items = schema.get("properties"), schema.get("items")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        below = (*steps, name)
        yield from _about_property(f"{place}/properties{pointer(name)}", inner, below, tools)
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if not (isinstance(properties, Mapping) and name in properties):
            found = _arguments(tools, (*steps, name))
            yield from _about_missing(f"{place}/required", _text((*steps, name)), found, refuses=True)
    if isinstance(items, Mapping):
        yield from _about_property(f"{place}/items", items, (*steps, MANY), tools)
    parts = schema.get("allOf")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, Mapping):
            yield from _about_schema(f"{place}/allOf/{index}", part, steps, tools)


def _about_property(place: str, schema: object, steps: Steps, tools: Sequence[Tool]) -> Iterator[CheckFinding]:
    found = _arguments(tools, steps)
    text = _text(steps)
    yield from _about_missing(place, text, found, refuses=False)
    said: list[tuple[Tool, Remark]] = []
    for tool, argument in found:
        if argument.exists and schema is False and argument.is_required:
            said.append((tool, ("forbids-required", f"the server requires {tick(text)}, and `arguments` forbids it")))
        if argument.exists and isinstance(schema, Mapping):
            said += [(tool, remark) for remark in _remarks_on_schema(text, schema, argument)]
    yield from _together(place, said, tools)
    if isinstance(schema, Mapping) and any(argument.exists for _, argument in found):
        yield from _about_schema(place, schema, steps, [tool for tool, argument in found if argument.exists])


def _remarks_on_schema(text: str, schema: Mapping[str, object], argument: Argument) -> Iterator[Remark]:
    given = schema.get("type")
    types = {given} if isinstance(given, str) else set(given) if isinstance(given, list) else set()
    wide = frozenset(each for name in types for each in _TYPED.get(name, {name}))
    if wide and not wide & argument.types:
        why = f"`arguments` wants {type_text(frozenset(types))} for {tick(text)}, which is {type_text(argument.types)}"
        yield "type-mismatch", why
    elif "const" in schema:
        yield from remarks_on_values(tick(text), [schema["const"]], argument)
    elif isinstance(values := schema.get("enum"), list):
        yield from remarks_on_values(tick(text), values, argument)


def _about_closing(place: str, schema: Mapping[str, object], tools: Sequence[Tool]) -> Iterator[CheckFinding]:
    if schema.get("additionalProperties") is not False or "patternProperties" in schema:
        return
    properties = schema.get("properties")
    allowed = properties if isinstance(properties, Mapping) else {}
    said: list[tuple[Tool, Remark]] = []
    for tool in tools:
        barred = sorted(required_of(tool.input_schema) - set(allowed))
        if barred:
            why = (
                f"the server requires {named(barred)}, and `arguments` lets only {named(allowed) or 'nothing'} through"
            )
            said.append((tool, ("forbids-required", why)))
    yield from _together(f"{place}/additionalProperties", said, tools)


def _arguments(tools: Sequence[Tool], steps: Steps) -> list[tuple[Tool, Argument]]:
    return [(tool, find_argument(tool.input_schema, steps)) for tool in tools]


def _together(place: str, said: Sequence[tuple[Tool, Remark]], tools: Sequence[Tool]) -> Iterator[CheckFinding]:
    """Say once what holds for several tools, and for which."""
    by_remark: dict[Remark, list[str]] = {}
    for tool, remark in said:
        by_remark.setdefault(remark, []).append(tool.name)
    for (code, why), names in by_remark.items():
        yield CheckFinding(code, place, why if len(names) == len(tools) else f"{why} (of {named(names)})")


def _text(steps: Steps) -> str:
    plain = all(step is MANY or (step and "." not in step) for step in steps)
    if plain:
        return ".".join(("args", *("*" if step is MANY else step for step in steps)))
    return pointer(*(step or "" for step in steps))
