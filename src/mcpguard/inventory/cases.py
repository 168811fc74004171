"""Writes test cases for a drafted policy: calls that it lets pass, and calls that each of its rules stops.

Every case was judged: what is expected is what the policy does, with arguments that the server's own schema accepts.  Where none
can be found, there is no case.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mcpguard.inventory.sensitive import is_required
from mcpguard.policy.decision import Decision, ToolCall
from mcpguard.policy.entries import pointer
from mcpguard.policy.evaluate import evaluate
from mcpguard.policy.examples import examples_of, schemas_at
from mcpguard.policy.mend import Change, mend
from mcpguard.policy.paths import ABSENT, MANY, Step
from mcpguard.policy.patterns import RegexError, compile_regex

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

    from mcpguard.inventory.draft import Draft, DraftedTool
    from mcpguard.policy.decision import Charge

Expectation: TypeAlias = Literal["allow", "deny", "approve", "hide"]
Case: TypeAlias = dict[str, Any]

_PIECE: Final = r"(\\.|\[\^?[^\]]+\]|.)(?:\{(\d{1,3})(?:,\d*)?\}|[+*?])?"
"""An atom of a pattern and how often it stands there at least; alternatives are not understood."""
_LONGEST: Final = 10
"""How many calls a sequence may let pass before the one that is too many."""


def draft_cases(draft: Draft) -> dict[str, list[Case]]:
    """Write the cases of a draft, in the order of its tools: `{"cases": [...]}`."""
    cases: list[Case] = []
    for tool in draft.tools:
        if tool.guards or tool.treatment != "allow":
            cases += _cases(draft, tool)
    cases += _sequence(draft)
    return {"cases": cases}


def expectation_of(decision: Decision) -> Expectation:
    """Say what becomes of a call, in the word of a case."""
    match decision.effect:
        case "deny" if decision.reasons and decision.reasons[0].code == "approval_required":
            return "approve"
        case effect:
            return effect


def lexical(path: str) -> str:
    """Give where a path leads if there are no symbolic links, from a working directory that no policy names."""
    return posixpath.normpath(posixpath.join("/nowhere", path))


def example_arguments(schema: Mapping[str, object]) -> dict[str, Any] | None:
    """Give arguments that a schema accepts, as few as it asks for; None if none are found."""
    validator = _validator(schema)
    if validator is None:
        return None
    root = dict(schema)
    examples = [*examples_of({"type": "object"} | root, root, ABSENT), {}]
    for example in examples:
        if isinstance(example, dict):
            for arguments in (example, example | _texts_for_patterns(root, example)):
                if validator.is_valid(arguments):
                    return arguments
    return None


def text_for(pattern: str, hints: str = "") -> str | None:
    """Give a text in which a pattern is found: a word of the hints, or one that is put together from its pieces; None if neither does."""
    try:
        found_in = compile_regex(pattern)
    except RegexError:
        return None
    pieces = re.findall(_PIECE, pattern)
    made = "".join(_made(atom) * (int(count or 1)) for atom, count in pieces)
    words = [word.strip("\"'`.,;:()") for word in hints.split()]
    return next((text for text in (*words, made) if text and found_in(text)), None)


def _made(atom: str) -> str:
    """Give a character for an atom of a pattern; none for an anchor."""
    match atom:
        case "^" | "$" | "(" | ")":
            return ""
        case "\\d":
            return "1"
        case "\\w" | ".":
            return "a"
        case _ if atom.startswith("["):
            return "-" if atom[1] == "^" else atom[1].replace("\\", "1")
        case _:
            return atom[-1]


def _texts_for_patterns(root: Mapping[str, Any], example: Mapping[str, object]) -> dict[str, str]:
    found = {}
    properties = root.get("properties")
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        if name in example and isinstance(schema, Mapping) and isinstance(schema.get("pattern"), str):
            text = text_for(schema["pattern"], str(schema.get("description", "")))
            if text is not None:
                found[name] = text
    return found


def _cases(draft: Draft, tool: DraftedTool) -> Iterator[Case]:
    validator = _validator(tool.tool.input_schema)
    arguments = example_arguments(tool.tool.input_schema)
    if validator is None or arguments is None:
        return
    good = _good(draft, tool, arguments, validator)
    if good is None:
        return
    yield _case(draft, tool, good, ())
    seen: set[str] = set()
    for rule, guard in tool.guards:
        if guard.bad is ABSENT:
            continue
        bad = _put(tool.tool.input_schema, good, guard.sensitive.steps, guard.bad)
        if not isinstance(bad, dict) or not validator.is_valid(bad):
            continue
        decision = _judged(draft, tool, bad)
        if any(reason.rule == rule for reason in decision.reasons) and repr(bad) not in seen:
            seen.add(repr(bad))
            yield _case(draft, tool, bad, (rule,))


def _good(
    draft: Draft, tool: DraftedTool, arguments: dict[str, Any], validator: Draft202012Validator
) -> dict[str, Any] | None:
    """Find arguments that pass every rule, with which at most a person is asked because of the tool as a whole."""
    good: Any = arguments
    schema = tool.tool.input_schema
    for _, guard in tool.guards:
        if guard.good is not ABSENT and is_required(schema, guard.sensitive.steps):
            good = _put(schema, good, guard.sensitive.steps, guard.good)
    expected = "deny" if tool.treatment == "deny" else "approve" if tool.treatment == "ask" else "allow"
    for candidate in (good, arguments, *_mended(draft, tool, good)):
        if isinstance(candidate, dict) and validator.is_valid(candidate):
            decision = _judged(draft, tool, candidate)
            if expectation_of(decision) == expected and _only_by_action(decision, tool):
                return candidate
    return None


def _only_by_action(decision: Decision, tool: DraftedTool) -> bool:
    return all(reason.rule == pointer("tools", tool.key, "action") for reason in decision.reasons)


def _mended(draft: Draft, tool: DraftedTool, arguments: object) -> Iterator[object]:
    if isinstance(arguments, dict) and tool.treatment == "allow":
        change = mend(draft.policy, draft.file, ToolCall(tool.tool.name, arguments, lexical))
        if isinstance(change, Change):
            yield change.arguments


def _judged(draft: Draft, tool: DraftedTool, arguments: Mapping[str, object]) -> Decision:
    return evaluate(draft.policy, ToolCall(tool.tool.name, arguments, lexical))


def _case(draft: Draft, tool: DraftedTool, arguments: Mapping[str, object], because: tuple[str, ...]) -> Case:
    decision = _judged(draft, tool, arguments)
    rules = because or tuple(dict.fromkeys(reason.rule for reason in decision.reasons))
    case: Case = {"tool": tool.tool.name, "arguments": dict(arguments), "expect": expectation_of(decision)}
    return case | ({"because": list(rules)} if rules else {})


def _sequence(draft: Draft) -> Iterator[Case]:
    """Write one sequence: so many calls of a tool as its limit lets pass, and one more."""
    for tool in draft.tools:
        arguments = example_arguments(tool.tool.input_schema)
        validator = _validator(tool.tool.input_schema)
        if tool.treatment != "allow" or "rate_limit" not in tool.entry or arguments is None or validator is None:
            continue
        good = _good(draft, tool, arguments, validator)
        if good is None:
            continue
        charges = _judged(draft, tool, good).charges
        first = min(charges, key=_fitting, default=None)
        if first is None or not 0 < _fitting(first) <= _LONGEST:
            continue
        passing = _case(draft, tool, good, ()) | {"times": _fitting(first)}
        last = {"tool": tool.tool.name, "arguments": good, "expect": "deny", "because": [first.rule]}
        yield {"sequence": [passing, last]}
        return


def _fitting(charge: Charge) -> int:
    """Count the calls that a limit lets pass, if all are like this one."""
    return int(charge.max // charge.amount) if charge.amount else charge.max


def _put(
    root: Mapping[str, object], value: object, steps: Sequence[Step], leaf: object, done: Sequence[str] = ()
) -> object:
    """Return the value with a leaf at `steps`, and what the schema wants around it; the value itself is left alone."""
    if not steps:
        return leaf
    step, *rest = steps
    if step is MANY:
        items = value if isinstance(value, list) and value else [None]
        return [_put(root, item, rest, leaf, (*done, "0")) for item in items]
    inner = value if isinstance(value, dict) else _object_at(root, done)
    return inner | {step: _put(root, inner.get(step), rest, leaf, (*done, step))}


def _object_at(root: Mapping[str, object], steps: Sequence[str]) -> dict[str, object]:
    """Give an object with what a schema asks for at `steps`."""
    whole = dict(root)
    examples = [each for schema in schemas_at(whole, tuple(steps)) for each in examples_of(schema, whole, ABSENT)]
    return max((each for each in examples if isinstance(each, dict)), key=len, default={})


def _validator(schema: Mapping[str, object]) -> Draft202012Validator | None:
    """Make what checks arguments by a schema; None if it cannot be used, or refers to what cannot be looked up."""
    from jsonschema_rs import Draft202012Validator, ReferencingError

    if not _is_closed(schema, schema, 0):
        return None
    try:
        return Draft202012Validator(dict(schema), offline=True)
    except (ValueError, ReferencingError):
        return None


_DEEPEST: Final = 40


def _is_closed(value: object, root: Mapping[str, object], depth: int) -> bool:
    """Whether every reference in a schema leads to a place in the same schema."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, list):
        return all(_is_closed(item, root, depth + 1) for item in value)
    if not isinstance(value, Mapping):
        return True
    reference = value.get("$ref")
    if isinstance(reference, str) and not _leads_somewhere(reference, root):
        return False
    return all(_is_closed(inner, root, depth + 1) for inner in value.values())


def _leads_somewhere(reference: str, root: Mapping[str, object]) -> bool:
    if reference != "#" and not reference.startswith("#/"):
        return False
    target: object = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or key not in target:
            return False
        target = target[key]
    return True
