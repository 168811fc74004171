"""Defines what a check has to say: its codes, how much each matters, and one finding.

Finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mcpguard.policy.rules import shortened

Severity: TypeAlias = Literal["error", "warning", "note"]
Code: TypeAlias = Literal[
    "impossible-require",
    "contradicting-conditions",
    "dead-rule",
    "duplicate-rule",
    "empty-rule",
    "hidden-entry",
    "shadowed-hide",
    "dead-limit",
    "shadowed-limit",
    "long-window",
    "unused-approval",
    "impossible-approval",
    "client-only-approval",
    "regex-alternation",
    "regex-multiline",
    "regex-dot",
    "regex-traversal",
    "regex-unanchored",
    "fires-when-absent",
    "unknown-tool",
    "absent-tool",
    "unmatched-pattern",
    "shadowed-pattern",
    "unnamed-allowed",
    "unnamed-denied",
    "destructive-allowed",
    "unknown-argument",
    "refuses-every-call",
    "forbids-required",
    "type-mismatch",
    "outside-enum",
    "partly-outside-enum",
    "outside-range",
    "default-escapes",
    "default-refused",
    "limit-needs-argument",
]

SEVERITIES: Final[Mapping[Code, Severity]] = {
    "impossible-require": "error",
    "contradicting-conditions": "error",
    "dead-rule": "warning",
    "duplicate-rule": "warning",
    "empty-rule": "warning",
    "hidden-entry": "warning",
    "shadowed-hide": "warning",
    "dead-limit": "warning",
    "shadowed-limit": "warning",
    "long-window": "note",
    "unused-approval": "warning",
    "impossible-approval": "warning",
    "client-only-approval": "note",
    "regex-alternation": "warning",
    "regex-multiline": "warning",
    "regex-dot": "warning",
    "regex-traversal": "warning",
    "regex-unanchored": "note",
    "fires-when-absent": "note",
    "unknown-tool": "error",
    "absent-tool": "note",
    "unmatched-pattern": "warning",
    "shadowed-pattern": "note",
    "unnamed-allowed": "warning",
    "unnamed-denied": "note",
    "destructive-allowed": "warning",
    "unknown-argument": "error",
    "refuses-every-call": "warning",
    "forbids-required": "error",
    "type-mismatch": "error",
    "outside-enum": "error",
    "partly-outside-enum": "warning",
    "outside-range": "warning",
    "default-escapes": "error",
    "default-refused": "note",
    "limit-needs-argument": "note",
}

_MOST_NAMES: Final = 6


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One remark of a check: `rule` is a JSON Pointer (RFC 6901) into the policy, `message` is one line.

    What a server wrote stands in a message as it is: whoever prints it makes it safe.
    """

    code: Code
    rule: str
    message: str

    @property
    def severity(self) -> Severity:
        """How much it matters: an `error` is a rule that cannot do what it says."""
        return SEVERITIES[self.code]


def named(names: Iterable[str]) -> str:
    """Write names in backticks, the first few of many: `` `a`, `b` and 3 more``."""
    every = sorted(set(names))
    most = _MOST_NAMES if len(every) > _MOST_NAMES + 1 else len(every)
    text = ", ".join(tick(name) for name in every[:most])
    return text if len(every) == most else f"{text} and {len(every) - most} more"


def tick(name: str) -> str:
    """Write a name in backticks, short."""
    return f"`{shortened(name)}`"
