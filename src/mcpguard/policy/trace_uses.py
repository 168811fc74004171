"""Shows how the use of a resource or a prompt is judged: every entry that is looked at, and what it would be charged.

Judges nothing itself: the effect and the reasons are those of `evaluate`.  Such a use has no rules and no arguments that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mcpguard.policy.decision import Charge, PromptUse, ResourceUse
from mcpguard.policy.entries import own_levies, pointer
from mcpguard.policy.evaluate import Policy, evaluate
from mcpguard.policy.trace import LimitTrace, NameTrace, Trace, globs_beside, over_limit
from mcpguard.policy.uris import strange_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpguard.policy.compile import Section
    from mcpguard.policy.decision import Decision
    from mcpguard.policy.model import PolicyFile
    from mcpguard.policy.trace import SubjectKind

_STRANGE = "/resources"
"""What decides about a URI that servers read in different ways."""


def trace_use(policy: Policy, document: PolicyFile, use: ResourceUse | PromptUse) -> Trace:
    """Judge a use and keep what was looked at; `policy` is what `document` was compiled to."""
    match use:
        case ResourceUse():
            kind: SubjectKind = "resource"
            subject, section, uses = use.uri, policy.resources, document.resources
        case PromptUse():
            kind = "prompt"
            subject, section, uses = use.name, policy.prompts, document.prompts
        case _:
            assert_never(use)
    decision = evaluate(policy, use)
    passes = decision.effect == "allow" or decision.awaits_approval
    by_pointer = {pointer(f"{kind}s", text): entry for text, entry in (uses or {}).items()}
    entry = by_pointer.get(decision.entry)
    levies = own_levies(decision.entry, entry) if entry is not None and passes else ()
    over = over_limit(decision.charges)
    return Trace(
        subject=subject,
        decision=decision,
        names=tuple(_names(section, subject, decision, policy.default)),
        action=None if entry is None else entry.action,
        rules=(),
        schema=None,
        limits=tuple(LimitTrace(each.rule, each) for each in levies if isinstance(each, Charge)),
        over=over,
        charges=() if over else decision.charges,
        kind=kind,
    )


def _names(section: Section, subject: str, decision: Decision, default: str) -> Iterator[NameTrace]:
    """Yield the names and patterns in the order in which they are looked at, and what else would match."""
    exact = section.entries.exact.get(subject)
    if exact is not None:
        yield NameTrace(exact.entry, subject, "exact", matches=True, decides=True, why="the exact name decides alone")
    passed_over = ""
    if decision.entry == _STRANGE:
        strange = strange_in(subject)
        why = f"it has {strange}, and no entry has exactly this URI"
        yield NameTrace(_STRANGE, subject, "strange", matches=True, decides=True, why=why)
        passed_over = f"no pattern decides about a URI that has {strange}"
    globs = [(pattern, found.entry) for pattern, found in section.entries.globs]
    yield from globs_beside(subject, globs, {decision.entry}, passed_over, exact=exact is not None)
    if decision.entry == "/default":
        yield NameTrace(
            "/default", default, "default", matches=True, decides=True, why="no name and no pattern matches"
        )
