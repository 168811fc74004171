"""Tells programs what was found about one call: `mcpguard explain --json`.

Finds nothing out itself.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from mcpguard.policy.compile import pointer
from mcpguard.policy.decision import ApprovalTerms, Charge, Reason
from mcpguard.policy.mend import Change, NoChange
from mcpguard.policy.operators import UNSET
from mcpguard.policy.paths import ABSENT, BLOCKED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpguard.policy.edits import Edit
    from mcpguard.policy.trace import ConditionTrace, LimitTrace, NameTrace, RuleTrace, SubjectKind, Trace

MOST_LOOKS: Final = 100
"""How many of the values that a condition looks at are told."""
_FIT: Final = 60
_EXACT_EXPONENT: Final = 30
_MS: Final = 1_000_000


def as_json(
    found: Trace,
    terms: ApprovalTerms,
    change: Change | NoChange | None,
    listed: Mapping[str, object] | None,
    similar: list[str],
) -> dict[str, object]:
    """Give what was found as one object.  `listed` are the server's tools, if known, `similar` names that may be meant."""
    names = [_name_as_json(name) for name in found.names]
    limits = [_limit_as_json(limit) for limit in found.limits]
    of_tools: dict[str, object] = {
        "looked_at": {
            "names": names,
            "rules": [_rule_as_json(rule) for rule in found.rules],
            "arguments": None
            if found.schema is None
            else {"rule": found.schema.rule, "problem": found.schema.problem or None},
            "limits": limits,
        },
        "smallest_change": _change_as_json(change),
        **({} if listed is None else {"listed": found.subject in listed}),
    }
    return {
        found.kind: found.subject,
        "effect": found.effect,
        "entry": found.decision.entry,
        "reasons": [{"rule": reason.rule, "code": reason.code, "message": reason.message} for reason in found.reasons],
        "ask": _ask_as_json(found.asks[0], terms, found.kind) if found.asks else None,
        "charges": [_charge_as_json(charge) for charge in found.charges],
        **(of_tools if found.kind == "tool" else {"looked_at": {"names": names, "limits": limits}}),
        "did_you_mean": similar,
    }


def written(value: object, indent: str = "") -> str:
    """Write a value with every digit of its numbers, objects and lists of some length on lines of their own."""
    line = flat(value)
    if len(line) <= _FIT or not isinstance(value, (dict, list, tuple)):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {written(item, deeper)}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        items = [written(item, deeper) for item in value]
        opening, closing = "[", "]"
    lines = ",".join(f"\n{deeper}{item}" for item in items)
    return f"{opening}{lines}\n{indent}{closing}"


def flat(value: object) -> str:
    """Write a value on one line, with every digit of its numbers."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {flat(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flat, value)) + "]"
        case Decimal():
            return f"{value:f}" if abs(value.adjusted()) < _EXACT_EXPONENT else str(value)
        case _:
            return json.dumps(value)


def _ask_as_json(first: Reason, terms: ApprovalTerms, kind: SubjectKind) -> dict[str, object]:
    return {
        "rule": first.rule,
        "reason": first.message,
        "via": sorted(terms.via),
        "timeout_ms": terms.timeout_ns // _MS,
        "ttl_ms": terms.ttl_ns // _MS,
        "remember": terms.remember if kind == "tool" else "call",
    }


def _charge_as_json(charge: Charge) -> dict[str, object]:
    return {
        "counter": charge.counter,
        "window_s": charge.window_s,
        "max": charge.max,
        "cost": charge.amount,
        "per": charge.key,
    }


def _name_as_json(name: NameTrace) -> dict[str, object]:
    return {
        "rule": name.rule,
        "name": name.text,
        "kind": name.kind,
        "matches": name.matches,
        "decides": name.decides,
        "why": name.why or None,
    }


def _rule_as_json(rule: RuleTrace) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "kind": rule.kind,
        "answer": rule.answer.name.lower(),
        "refuses": rule.refuses,
        "alias": rule.alias or None,
        "conditions": [_condition_as_json(condition) for condition in rule.conditions],
    }


def _condition_as_json(condition: ConditionTrace) -> dict[str, object]:
    looks = condition.looks[:MOST_LOOKS]
    return {
        "path": condition.path,
        "op": condition.op,
        **({} if condition.value is UNSET else {"value": condition.value}),
        "outcome": condition.outcome,
        "counts_as": condition.counts.name.lower(),
        "found": [
            {
                "path": pointer(*look.place),
                **({} if look.found is ABSENT or look.found is BLOCKED else {"value": look.found}),
                "outcome": look.outcome,
            }
            for look in looks
        ],
        "more": len(condition.looks) - len(looks),
    }


def _limit_as_json(limit: LimitTrace) -> dict[str, object]:
    match limit.owed:
        case Charge():
            return {"rule": limit.rule, "charge": _charge_as_json(limit.owed), "problem": None}
        case Reason():
            return {"rule": limit.rule, "charge": None, "problem": limit.owed.message}
        case None:
            return {"rule": limit.rule, "charge": None, "problem": None}


def _change_as_json(change: Change | NoChange | None) -> dict[str, object] | None:
    if not isinstance(change, Change):
        return None
    edits = [_edit_as_json(edit) for edit in change.edits]
    return {"edits": edits, "arguments": change.arguments, "asked": change.asked}


def _edit_as_json(edit: Edit) -> dict[str, object]:
    place = {"edit": edit.kind, "path": pointer(*edit.place)}
    match edit.kind:
        case "set" | "add":
            return {**place, "value": edit.value}
        case "remove":
            return {**place}
        case "rename":
            return {**place, "to": edit.name}
