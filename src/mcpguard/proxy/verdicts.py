"""Gives the verdicts that follow from decisions, in the words that an agent reads.

Judges nothing: why a request is refused, it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcpguard.policy.charging import used_up
from mcpguard.policy.decision import Verdict
from mcpguard.protocol.wire import printable

if TYPE_CHECKING:
    from mcpguard.policy.decision import Decision
    from mcpguard.proxy.question import Refused
    from mcpguard.stores.counters import Exhausted

ADMITTED: Final = Verdict(admitted=True)
UNRECORDED: Final = Verdict(
    admitted=False,
    code="internal",
    text="mcpguard: refused: the decision log cannot be written, so nothing may pass. Ask the user to look at "
    "mcpguard's messages; do not retry.",
    rule="",
)
_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000


def refused(subject: str, decision: Decision) -> Verdict:
    """The policy refuses it."""
    reason = decision.reasons[0]
    verb = "needs approval" if reason.code == "approval_required" else "denied"
    return Verdict(
        admitted=False,
        code=reason.code,
        text=f"mcpguard: {_name(subject)} {verb}: {reason.message}. Do not retry unchanged.",
        rule=reason.rule,
        hidden=decision.effect == "hide",
    )


def not_approved(subject: str, rule: str, refusal: Refused) -> Verdict:
    """The rule wants a person's approval, and there is none."""
    return Verdict(admitted=False, code=refusal.code, text=f"mcpguard: {_name(subject)} {refusal.text}", rule=rule)


def exhausted(subject: str, outcome: Exhausted) -> Verdict:
    """A limit is used up."""
    wait_ns = outcome.retry_after_ns
    limit = used_up(outcome.charge, full=outcome.full, never=wait_ns is None)
    if wait_ns is None:
        advice, wait_ms = "Do not retry", None
    else:
        advice, wait_ms = f"Try again in {max(1, -(-wait_ns // _NS_PER_S))} s", -(-wait_ns // _NS_PER_MS)
    return Verdict(
        admitted=False,
        code="rate_limited",
        text=f"mcpguard: {_name(subject)} rate limited: {limit}. {advice}.",
        rule=outcome.charge.rule,
        retry_after_ms=wait_ms,
        remaining=outcome.remaining,
    )


def not_judged(subject: str) -> Verdict:
    """Something went wrong while it was judged."""
    text = f"mcpguard: {printable(subject)} refused: the call could not be judged. Do not retry."
    return Verdict(admitted=False, code="internal", text=text)


def _name(subject: str) -> str:
    return printable(subject).strip("`")
