"""Turns a policy file into the form in which calls are judged, or says which of its parts contradict each other.

Knows no calls, reads no files: where in the text a part stands is somebody else's knowledge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, assert_never

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.arguments import SchemaError, Shape, compile_schema
from mcpguard.policy.charging import AnyLimit, levy
from mcpguard.policy.decision import ApprovalTerms, Category, Decision, Reason
from mcpguard.policy.entries import HIDDEN, Common, Entry, Ruling, compile_rules, constant_decision, pointer
from mcpguard.policy.match import Pattern, Table, build_table, compile_pattern, conflicts
from mcpguard.policy.methods import SERVER_REQUESTS
from mcpguard.policy.model import (
    CANONICAL,
    RISK_CATEGORIES,
    Effect,
    Limit,
    PlainLimit,
    PolicyFile,
    RateLimit,
    Tool,
    Use,
)

__all__ = ["ListMode", "Policy", "Section", "compile_policy", "limits_of", "pointer", "rules_of"]

ListMode: TypeAlias = Literal["callable", "all"]
DriftMode: TypeAlias = Literal["refuse", "allow"]
AuditMode: TypeAlias = Literal["digest", "keys", "masked", "full"]

_NOT_NAMED: Final = 'the policy does not name this {0} (default: deny); ask the user to add it under "{1}"'


@dataclass(frozen=True, slots=True)
class Section:
    """What holds for resources, or for prompts.  `is_open` says whether the policy has entries for them."""

    entries: Table[Decision]
    otherwise: Decision
    is_open: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that is ready to judge.

    `document` is the parsed file that it was made from.  `memo` only saves work: it remembers what decides by tool name (and category, if
    the policy has entries for some), and equal
    policies are equal whatever they have seen.
    """

    default: Effect
    list_mode: ListMode
    audit: AuditMode
    drift: DriftMode
    hidden: tuple[tuple[Pattern, Decision], ...]
    tools: Table[Entry]
    categories: Mapping[Category, Entry]
    otherwise: Ruling = field(compare=False)
    resources: Section
    prompts: Section
    methods: Table[Effect]
    server_requests: Mapping[str, Effect]
    approval: ApprovalTerms
    closed_sections: tuple[str, ...]
    document: PolicyFile = field(compare=False, repr=False)
    memo: dict[str | tuple[str, str | None], Ruling] = field(default_factory=dict, compare=False, repr=False)
    _digests: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the parsed file; the order of keys, comments and `$schema` do not change it."""
        # Made when first asked for: of a large policy it takes as long as half of compiling it.
        if not self._digests:
            self._digests.append(_digest(self.document))
        return self._digests[0]


def compile_policy(document: PolicyFile) -> Policy:
    """Compile `document`.

    Raises:
        PolicyError: names of which none is more specific, limits that disagree about the counter they share, or a JSON
            Schema that cannot be used; the findings have a `rule` and no position.
    """
    resources, prompts = document.resources or {}, document.prompts or {}
    names = (*document.tools, *document.methods, *resources, *prompts)
    patterns = {text: compile_pattern(text) for text in names if text not in RISK_CATEGORIES}
    named_tools = [patterns[text] for text in document.tools if text in patterns]
    findings = [
        *_ambiguous("/tools", named_tools),
        *_ambiguous("/resources", [patterns[text] for text in resources]),
        *_ambiguous("/prompts", [patterns[text] for text in prompts]),
        *_ambiguous("/methods", [patterns[text] for text in document.methods]),
        *_disagreeing(document),
    ]
    shapes: dict[str, Shape] = {}
    for name, tool in document.tools.items():
        if tool.arguments is not None:
            try:
                shapes[name] = compile_schema(tool.arguments)
            except SchemaError as error:
                place = ("tools", name, "arguments")
                findings += [Finding(problem.message, pointer(*place, *problem.steps)) for problem in error.problems]
    if findings:
        raise PolicyError(tuple(findings))
    common = _common(document)
    entries = {
        text: Entry(pointer("tools", text), tool, common, shapes.get(text)) for text, tool in document.tools.items()
    }
    return Policy(
        default=document.default,
        list_mode=document.listing,
        audit=document.audit.arguments,
        drift=document.drift,
        hidden=tuple(_hidden(document)),
        tools=build_table((patterns[text], entry) for text, entry in entries.items() if text in patterns),
        categories={category: entries[text] for text, category in RISK_CATEGORIES.items() if text in entries},
        otherwise=_otherwise(document.default, common),
        resources=_section(document, "resources", document.resources, patterns),
        prompts=_section(document, "prompts", document.prompts, patterns),
        methods=build_table((patterns[text], effect) for text, effect in document.methods.items()),
        server_requests=_server_requests(document),
        approval=_approval_terms(document),
        closed_sections=tuple(_closed(document)),
        document=document,
    )


def _approval_terms(document: PolicyFile) -> ApprovalTerms:
    given = document.approval
    return ApprovalTerms(
        timeout_ns=given.timeout,
        ttl_ns=given.ttl,
        remember=given.remember,
        via=frozenset(given.via),
        min_answer_ns=given.min_answer,
    )


def limits_of(document: PolicyFile) -> Iterator[tuple[str, AnyLimit]]:
    """Yield every limit with its pointer."""
    for index, common in enumerate(document.all_tools.limits):
        yield pointer("all_tools", "limits", index), common
    for name, tool in document.tools.items():
        for index, limit in enumerate(tool.limits):
            yield pointer("tools", name, "limits", index), limit
        if tool.rate_limit is not None:
            yield pointer("tools", name, "rate_limit"), tool.rate_limit
    for section, uses in (("resources", document.resources), ("prompts", document.prompts)):
        for name, use in (uses or {}).items():
            for index, plain in enumerate(use.limits):
                yield pointer(section, name, "limits", index), plain


def rules_of(document: PolicyFile) -> Iterator[tuple[str, str]]:
    """Yield the pointer of every rule on arguments, and its kind: `require`, `deny_if`, `approve_if` or `arguments`."""
    for index in range(len(document.all_tools.require)):
        yield pointer("all_tools", "require", index), "require"
    for index in range(len(document.all_tools.deny_if)):
        yield pointer("all_tools", "deny_if", index), "deny_if"
    for name, tool in document.tools.items():
        for kind, rules in (("require", tool.require), ("deny_if", tool.deny_if), ("approve_if", tool.approve_if)):
            for index in range(len(rules)):
                yield pointer("tools", name, kind, index), kind
        if tool.arguments is not None:
            yield pointer("tools", name, "arguments"), "arguments"


def _ambiguous(section: str, patterns: Iterable[Pattern]) -> Iterator[Finding]:
    for earlier, later in conflicts(patterns):
        problem = (
            "mean the same name; keep one of them"
            if later.is_exact
            else "can match one name and neither is more specific; write one of them with more literal characters"
        )
        yield Finding(f"`{later.text}` and `{earlier.text}` {problem}", section + pointer(later.text))


def _disagreeing(document: PolicyFile) -> Iterator[Finding]:
    first: dict[str, tuple[str, PlainLimit]] = {}
    for rule, limit in limits_of(document):
        if isinstance(limit, RateLimit) or limit.counter is None:
            continue
        first_rule, known = first.setdefault(limit.counter, (rule, limit))
        for what, mine, theirs in (
            ("window", f"{limit.window} seconds", f"{known.window} seconds"),
            ("scope", limit.scope, known.scope),
            ("align", limit.align or "none", known.align or "none"),
            ("per", _per(limit), _per(known)),
        ):
            if mine != theirs:
                yield Finding(
                    f"counter `{limit.counter}` has the {what} `{mine}` here and `{theirs}` at `{first_rule}`; "
                    "limits that name one counter must agree, so change one or give it another counter",
                    rule,
                )


def _per(limit: PlainLimit) -> str:
    return (limit.per if isinstance(limit, Limit) else None) or "none"


def _common(document: PolicyFile) -> Common:
    everywhere = document.all_tools
    return Common(
        compile_rules("require", "/all_tools/require", everywhere.require),
        compile_rules("deny_if", "/all_tools/deny_if", everywhere.deny_if),
        tuple(levy(pointer("all_tools", "limits", index), limit) for index, limit in enumerate(everywhere.limits)),
    )


def _hidden(document: PolicyFile) -> Iterator[tuple[Pattern, Decision]]:
    for index, text in enumerate(document.hide):
        rule = pointer("hide", index)
        yield compile_pattern(text), Decision("hide", rule, (Reason("denied", rule, HIDDEN.format("tool")),))


def _otherwise(default: Effect, common: Common) -> Ruling:
    match default:
        case "allow":
            return Entry("/default", Tool(), common).ruling()
        case "deny":
            return _refused_by_default("tool", "tools")
        case _:
            assert_never(default)


def _section(
    document: PolicyFile, name: str, uses: Mapping[str, Use] | None, patterns: Mapping[str, Pattern]
) -> Section:
    noun = name.removesuffix("s")
    table = build_table(
        (patterns[text], constant_decision(pointer(name, text), use, noun)) for text, use in (uses or {}).items()
    )
    match document.default:
        case "allow":
            otherwise = Decision("allow", "/default")
        case "deny":
            otherwise = _refused_by_default(noun, name)
        case _:
            assert_never(document.default)
    return Section(table, otherwise, uses is not None)


def _refused_by_default(noun: str, section: str) -> Decision:
    return Decision("deny", "/default", (Reason("default_deny", "/default", _NOT_NAMED.format(noun, section)),))


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
    if document.resources is None:
        yield "resources"
    if document.prompts is None:
        yield "prompts"
    if document.server_requests.sampling is None:
        yield "sampling"


def _digest(document: PolicyFile) -> str:
    # Models write their keys in one order; only these are dictionaries.
    named: dict[str, Any] = {
        name: dict(sorted(entries.items()))
        for name in ("tools", "resources", "prompts", "methods")
        if (entries := getattr(document, name)) and name in document.model_fields_set
    }
    text = document.model_copy(update=named).model_dump_json(by_alias=True, exclude_unset=True, context=CANONICAL)
    return hashlib.sha256(text.encode()).hexdigest()
