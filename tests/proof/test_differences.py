"""Checks what holds for the differences of any two policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fuzz.policies import PATTERNS, POLICIES, TOOLS
from mcpguard.errors import PolicyError
from mcpguard.inventory.cases import lexical
from mcpguard.policy.compare import loosened
from mcpguard.policy.compile import compile_policy
from mcpguard.policy.model import PolicyFile
from mcpguard.proof.differences import differences, witnesses
from mcpguard.proof.judge import Surroundings

if TYPE_CHECKING:
    from mcpguard.policy.evaluate import Policy

Json = dict[str, Any]
LOOSER = ("newly allowed", "no longer asked about", "now asked about, was refused")
LEXICAL = Surroundings(lexical)


def compiled(policy: Json) -> Policy | None:
    try:
        return compile_policy(PolicyFile.model_validate(policy))
    except (ValidationError, PolicyError):
        return None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POLICIES, PATTERNS, TOOLS, st.booleans())
def test_what_provably_tightens_has_no_witness_that_something_is_looser(
    policy: Json, name: str, tool: Json, is_hidden: bool
) -> None:
    changed = policy | ({"hide": [name]} if is_hidden else {"tools": policy["tools"] | {name: tool}})
    old, new = compiled(policy), compiled(changed)
    if old is None or new is None:
        return
    found = differences(old, new, (), LEXICAL)
    if not loosened(old.document, new.document):
        assert [each for each in found.shown if each.kind in LOOSER] == []
    back = differences(new, old, (), LEXICAL)
    assert sum(len(each.witnesses) for each in found.shown) == sum(len(each.witnesses) for each in back.shown)
    assert not differences(old, old, (), LEXICAL)


def test_a_sequence_is_a_witness_at_the_first_call_that_differs() -> None:
    def limited(most: int) -> Policy:
        return compile_policy(
            PolicyFile.model_validate({"version": "1", "tools": {"t": {"rate_limit": {"max": most, "window": 60}}}})
        )

    steps = [{"tool": "t", "expect": "allow", "times": 2}, {"tool": "t", "expect": "allow", "times": 3, "after": "5s"}]
    (found,) = witnesses(limited(3), limited(4), [{"sequence": steps}])
    assert (found.number, found.elapsed_ns, found.old.effect, found.new.effect) == (4, 5_000_000_000, "deny", "allow")
    assert [*witnesses(limited(5), limited(6), [{"sequence": steps}])] == []
