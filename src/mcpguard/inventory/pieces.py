"""Writes the pieces that the rules of a draft consist of: conditions, rules, JSON Schemas, each with the comment that explains it.

Knows which forms an argument may have, and not what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from mcpguard.inventory.sensitive import Sensitive, is_required
from mcpguard.policy.entries import pointer
from mcpguard.policy.paths import ABSENT, MANY, Step

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.decision import Category

Posture: TypeAlias = Literal["strict", "balanced", "open"]
RuleKind: TypeAlias = Literal["require", "deny_if", "approve_if", "arguments"]
Piece: TypeAlias = dict[str, Any]
"""A piece of a policy file."""


class Guard(NamedTuple):
    """One rule about one argument.

    `body` is the rule, or for `arguments` a JSON Schema.  `own` says what the owner has to put in, empty if nothing.  `good` passes
    it and `bad` does not, as far as this rule is concerned; `ABSENT` for none.
    """

    kind: RuleKind
    body: Piece
    sensitive: Sensitive
    own: str = ""
    good: object = ABSENT
    bad: object = ABSENT


class Setting(NamedTuple):
    """What a rule depends on besides the argument: the posture, whether every call is asked about anyway, and where files are."""

    tool: Tool
    category: Category
    posture: Posture
    asks: bool
    directories: Sequence[str]


def path_text(steps: Sequence[Step]) -> str | None:
    """Write the path of a condition; None if none can be written: a JSON Pointer has no wildcard."""
    if all(step is MANY or (step and "." not in step and step != "*") for step in steps):
        return ".".join(("args", *("*" if step is MANY else step for step in steps)))
    return None if MANY in steps else pointer(*(step or "" for step in steps))


def only(
    each: Sensitive, setting: Setting, values: list[str], comment: str, why: str, *, own: str = "", bad: object = ABSENT
) -> Iterator[Guard]:
    """Let an argument be one of the values; it may be left out if the server does not ask for it."""
    good = values[0]
    if is_required(setting.tool.input_schema, each.steps):
        yield Guard("require", rule_of([condition(each, "in", values)], comment, why), each, own, good, bad)
        return
    rule = rule_of([condition(each, "exists"), condition(each, "not_in", values)], comment, why)
    yield Guard("deny_if", rule, each, own, good, bad)


def deny(
    each: Sensitive,
    setting: Setting,
    test: tuple[str, object],
    comment: str,
    why: str,
    *,
    examples: tuple[object, object],
) -> Guard:
    """Refuse what a test finds; null is as good as nothing."""
    return Guard("deny_if", rule_of(_given(each, setting, test), comment, on_deny=why), each, "", *examples)


def ask(
    each: Sensitive,
    setting: Setting,
    test: tuple[str, object],
    comment: str,
    why: str,
    *,
    examples: tuple[object, object],
) -> Guard:
    """Have a person approve what a test finds."""
    return Guard("approve_if", rule_of(_given(each, setting, test), comment, reason=why), each, "", *examples)


def by_pattern(
    each: Sensitive,
    setting: Setting,
    pattern: str,
    comment: str,
    why: str,
    *,
    own: str = "",
    good: object,
    bad: object = ABSENT,
) -> Iterator[Guard]:
    """Hold a text to a pattern; where it may be left out, or be something else, with a JSON Schema."""
    if is_plain(each, setting):
        yield Guard("require", rule_of([condition(each, "regex", pattern)], comment, why), each, own, good, bad)
        return
    said = {"$comment": comment, "description": why}
    schema = said | in_every_form(each, setting, {"type": "string", "pattern": pattern})
    yield Guard("arguments", placed(each.steps, schema), each, own, good, bad)


def joined(schemas: Sequence[Mapping[str, Any]]) -> Piece:
    """Join schemas that are about different arguments into one."""
    if len(schemas) == 1:
        return dict(schemas[0])
    if all(schema.keys() == {"properties"} for schema in schemas):
        keys = [key for schema in schemas for key in schema["properties"]]
        if len(set(keys)) == len(keys):
            return {"properties": {key: inner for schema in schemas for key, inner in schema["properties"].items()}}
    return {"allOf": [dict(schema) for schema in schemas]}


def condition(each: Sensitive, op: str, value: object = ABSENT) -> Piece:
    """Write a condition on an argument whose path can be written."""
    path = path_text(each.steps)
    return {"path": path, "op": op} | ({} if value is ABSENT else {"value": value})


def rule_of(conditions: list[Piece], comment: str, on_deny: str = "", reason: str = "") -> Piece:
    """Write a rule; agents are told `on_deny`, and people `reason` when they are asked."""
    return (
        {"$comment": comment, "conditions": conditions}
        | ({"on_deny": on_deny} if on_deny else {})
        | ({"reason": reason} if reason else {})
    )


def is_plain(each: Sensitive, setting: Setting, kind: str = "string") -> bool:
    """Whether an argument is always given, and always of one type."""
    types = each.argument.types - ({"integer"} if kind == "number" else set())
    return types <= {kind} and is_required(setting.tool.input_schema, each.steps)


def in_every_form(each: Sensitive, setting: Setting, text: Piece) -> Piece:
    """Write the schema of a text that may also be null, or a list of texts, where the server takes these."""
    forms = [text]
    if "array" in each.argument.types:
        forms.append({"type": "array", "items": text})
    if not is_required(setting.tool.input_schema, each.steps) or "null" in each.argument.types:
        forms.append({"type": "null"})
    return dict(text) if len(forms) == 1 else {"anyOf": forms}


def placed(steps: Sequence[Step], schema: Piece) -> Piece:
    """Wrap the schema of an argument into those of what surrounds it, which may be null."""
    for index, step in reversed([*enumerate(steps)]):
        schema = {"type": "array", "items": schema} if step is MANY else {"properties": {step: schema}}
        if index:
            schema = {"anyOf": [{"type": "object"} | schema, {"type": "null"}]}
    return schema


def sentence(text: str) -> str:
    """Begin a sentence with evidence, quoted so that it can stand in JSON without escapes."""
    plain = text.replace('"', "'")
    return plain[:1].upper() + plain[1:]


def quoted(values: Sequence[str]) -> str:
    """Write the first few values in quotation marks."""
    most = 8
    texts = [f"'{value}'" for value in values[:most]]
    return ", ".join(texts) + (f" and {len(values) - most} more" if len(values) > most else "")


def _given(each: Sensitive, setting: Setting, test: tuple[str, object]) -> list[Piece]:
    """Write the conditions of a rule that refuses: what is left out or null is no case of doubt."""
    plain = "null" not in each.argument.types and is_required(setting.tool.input_schema, each.steps)
    return [*([] if plain else [condition(each, "exists")]), condition(each, *test)]
