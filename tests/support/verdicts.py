"""Reads what the enforcement point answers at once."""

from __future__ import annotations

from mcpguard.policy.decision import Verdict


def at_once(answer: object) -> Verdict:
    """Return the verdict; it is a failure if a person is asked first."""
    assert isinstance(answer, Verdict), "a person is asked"
    return answer
