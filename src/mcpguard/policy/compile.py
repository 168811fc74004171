"""Turns a policy file into the form in which calls are judged, or says which of its parts contradict each other.

Knows no calls, reads no files: where in the text a part stands is somebody else's knowledge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, assert_never

from pydantic_core import to_json

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.decision import Charge, Decision, Reason
from mcpguard.policy.match import Pattern, Table, build_table, compile_pattern, conflicts
from mcpguard.policy.methods import SERVER_REQUESTS
from mcpguard.policy.model import Effect, Limit, PolicyFile, RateLimit, Tool

ListMode: TypeAlias = Literal["callable", "all"]

_REFUSED: Final = "the policy refuses this tool"
_HIDDEN: Final = "the policy hides this tool"
_NO_PERSON: Final = (
    "a person has to approve this call, and this release cannot ask one yet; "
    'the user can let such calls pass with "action": "allow"'
)
_NOT_NAMED: Final = 'the policy does not name this tool (default: deny); ask the user to add it under "tools"'
_SECTION_CLOSED: Final = (
    'the policy does not open {0} (default: deny), and a section "{0}" is not enforced yet: '
    'this release opens them only with "default": "allow"'
)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that is ready to judge.

    `digest` is the SHA-256 (hex) of the parsed file; the order of keys, comments and `$schema` do not change it.
    `memo` only saves work: it remembers decisions by tool name, and equal policies are equal whatever they have seen.
    """

    default: Effect
    list_mode: ListMode
    digest: str
    hidden: tuple[tuple[Pattern, Decision], ...]
    tools: Table[Decision]
    otherwise: Decision
    resources: Decision
    prompts: Decision
    methods: Table[Effect]
    server_requests: Mapping[str, Effect]
    closed_sections: tuple[str, ...]
    memo: dict[str, Decision] = field(default_factory=dict, compare=False, repr=False)


def compile_policy(document: PolicyFile) -> Policy:
    """Compile `document`.

    Raises:
        PolicyError: names of which none is more specific, or limits that disagree about the counter they share; the
            findings have a `rule` and no position.
    """
    patterns = {text: compile_pattern(text) for text in (*document.tools, *document.methods)}
    findings = [
        *_ambiguous("/tools", [patterns[text] for text in document.tools]),
        *_ambiguous("/methods", [patterns[text] for text in document.methods]),
        *_disagreeing(document),
    ]
    if findings:
        raise PolicyError(tuple(findings))
    everywhere = [_charge(pointer, limit) for pointer, limit in _limits_of_all_tools(document)]
    return Policy(
        default=document.default,
        list_mode=document.listing,
        digest=_digest(document),
        hidden=tuple(_hidden(document)),
        tools=build_table((patterns[text], _entry(text, tool, everywhere)) for text, tool in document.tools.items()),
        otherwise=_otherwise(document.default, _NOT_NAMED, everywhere),
        resources=_otherwise(document.default, _SECTION_CLOSED.format("resources")),
        prompts=_otherwise(document.default, _SECTION_CLOSED.format("prompts")),
        methods=build_table((patterns[text], effect) for text, effect in document.methods.items()),
        server_requests=_server_requests(document),
        closed_sections=tuple(_closed(document)),
    )


def pointer(*steps: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) that takes `steps`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def limits_of(document: PolicyFile) -> Iterator[tuple[str, Limit | RateLimit]]:
    """Yield every limit with its pointer."""
    yield from _limits_of_all_tools(document)
    for name, tool in document.tools.items():
        yield from _limits_of_tool(name, tool)


def _ambiguous(section: str, patterns: Iterable[Pattern]) -> Iterator[Finding]:
    for earlier, later in conflicts(patterns):
        problem = (
            "mean the same name; keep one of them"
            if later.is_exact
            else "can match one name and neither is more specific; write one of them with more literal characters"
        )
        yield Finding(f"`{later.text}` and `{earlier.text}` {problem}", section + pointer(later.text))


def _disagreeing(document: PolicyFile) -> Iterator[Finding]:
    first: dict[str, tuple[str, Limit]] = {}
    for rule, limit in limits_of(document):
        if isinstance(limit, RateLimit) or limit.counter is None:
            continue
        first_rule, known = first.setdefault(limit.counter, (rule, limit))
        for what, mine, theirs in (
            ("window", f"{limit.window} seconds", f"{known.window} seconds"),
            ("scope", limit.scope, known.scope),
        ):
            if mine != theirs:
                yield Finding(
                    f"counter `{limit.counter}` has the {what} `{mine}` here and `{theirs}` at `{first_rule}`; "
                    "limits that name one counter must agree, so change one or give it another counter",
                    rule,
                )


def _limits_of_all_tools(document: PolicyFile) -> Iterator[tuple[str, Limit]]:
    for index, limit in enumerate(document.all_tools.limits):
        yield pointer("all_tools", "limits", index), limit


def _limits_of_tool(name: str, tool: Tool) -> Iterator[tuple[str, Limit | RateLimit]]:
    for index, limit in enumerate(tool.limits):
        yield pointer("tools", name, "limits", index), limit
    if tool.rate_limit is not None:
        yield pointer("tools", name, "rate_limit"), tool.rate_limit


def _charge(rule: str, limit: Limit | RateLimit) -> Charge:
    if isinstance(limit, RateLimit):
        return Charge(rule, rule, limit.window, limit.max, "session")
    return Charge(limit.counter or rule, rule, limit.window, limit.max, limit.scope)


def _merged(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    strictest: dict[str, Charge] = {}
    for charge in charges:
        known = strictest.get(charge.counter)
        if known is None or charge.max < known.max:
            strictest[charge.counter] = charge
    return tuple(strictest.values())


def _hidden(document: PolicyFile) -> Iterator[tuple[Pattern, Decision]]:
    for index, text in enumerate(document.hide):
        rule = pointer("hide", index)
        yield compile_pattern(text), Decision("hide", rule, (Reason("denied", rule, _HIDDEN),))


def _entry(name: str, tool: Tool, everywhere: list[Charge]) -> Decision:
    rule = pointer("tools", name)
    action = pointer("tools", name, "action")
    match tool.action:
        case "allow":
            own = [_charge(rule, limit) for rule, limit in _limits_of_tool(name, tool)]
            return Decision("allow", rule, charges=_merged([*own, *everywhere]))
        case "deny":
            return Decision("deny", rule, (Reason("denied", action, tool.reason or _REFUSED),))
        case "require_approval":
            why = f"{tool.reason}; {_NO_PERSON}" if tool.reason else _NO_PERSON
            return Decision("deny", rule, (Reason("approval_required", action, why),))
        case "hide":
            return Decision("hide", rule, (Reason("denied", action, tool.reason or _HIDDEN),))
        case _:
            assert_never(tool.action)


def _otherwise(default: Effect, refusal: str, charges: Iterable[Charge] = ()) -> Decision:
    match default:
        case "allow":
            return Decision("allow", "/default", charges=_merged(charges))
        case "deny":
            return Decision("deny", "/default", (Reason("default_deny", "/default", refusal),))
        case _:
            assert_never(default)


def _server_requests(document: PolicyFile) -> dict[str, Effect]:
    asked = document.server_requests
    effects: tuple[Effect, ...] = (
        asked.sampling or document.default,
        asked.elicitation or "allow",
        asked.roots or "allow",
    )
    return dict(zip(SERVER_REQUESTS, effects, strict=True))


def _closed(document: PolicyFile) -> Iterator[str]:
    if document.default == "allow":
        return
    if not document.tools:
        yield "tools"
    yield "resources"
    yield "prompts"
    if document.server_requests.sampling is None:
        yield "sampling"


def _digest(document: PolicyFile) -> str:
    parsed = document.model_dump(by_alias=True, exclude_unset=True)
    return hashlib.sha256(to_json(_sorted(parsed))).hexdigest()


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value
