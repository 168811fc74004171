"""Checks that a trace of a resource or a prompt shows what was looked at, and never says anything but what `evaluate` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.errors import PolicyError
from mcpguard.policy.decision import PromptUse, ResourceUse
from mcpguard.policy.evaluate import compile_policy, evaluate
from mcpguard.policy.model import PolicyFile
from mcpguard.policy.trace_uses import trace_use

if TYPE_CHECKING:
    from mcpguard.policy.trace import Trace

Json = dict[str, Any]

LIMITS = st.lists(
    st.fixed_dictionaries({"window": st.just(60), "max": st.integers(0, 2)}, optional={"counter": st.just("shared")}),
    max_size=2,
)
USES = st.dictionaries(
    st.sampled_from(["a:b", "a:*", "a:?", "*", "a:b*", "a:\\*", "../a"]),
    st.fixed_dictionaries(
        {},
        optional={"action": st.sampled_from(["allow", "require_approval", "deny", "hide"]), "limits": LIMITS},
    ),
    max_size=4,
)
POLICIES = st.fixed_dictionaries(
    {"version": st.just("1")},
    optional={"default": st.sampled_from(["allow", "deny"]), "resources": USES, "prompts": USES},
)
SUBJECTS = st.sampled_from(["a:b", "a:c", "a:bc", "a:*", "../a", "a:/../b", "A:b", "c", ""])


def traced(policy: Json, use: ResourceUse | PromptUse) -> Trace:
    document = PolicyFile.model_validate({"version": "1"} | policy)
    return trace_use(compile_policy(document), document, use)


@given(policy=POLICIES, subject=SUBJECTS, is_prompt=st.booleans())
def test_a_trace_leads_to_what_is_decided(policy: Json, subject: str, is_prompt: bool) -> None:
    document = PolicyFile.model_validate(policy)
    try:
        compiled = compile_policy(document)
    except PolicyError:
        return
    use = PromptUse(subject) if is_prompt else ResourceUse(subject)
    decision = evaluate(compiled, use)
    found = trace_use(compiled, document, use)
    assert (found.decision, found.subject, found.kind) == (decision, subject, "prompt" if is_prompt else "resource")
    assert [name.rule for name in found.names if name.decides] == [decision.entry]
    assert all(name.matches for name in found.names if name.decides)
    assert bool(found.over) is any(charge.amount > charge.max for charge in decision.charges)
    assert found.charges == (() if found.over else decision.charges)
    assert {charge.rule for charge in decision.charges} <= {limit.rule for limit in found.limits}
    assert bool(found.limits) is bool(decision.charges)
    assert bool(found.asks) is (decision.awaits_approval and not found.over)


RESOURCES: Json = {
    "resources": {"file:///a/../b": {}, "file:///a/*": {"action": "deny"}, "*": {}},
    "prompts": {"p*": {"action": "require_approval"}},
}


@pytest.mark.parametrize(
    ("use", "action", "names"),
    [
        pytest.param(
            ResourceUse("file:///a/../b"),
            "allow",
            [
                ("file:///a/../b", "exact", True, "the exact name decides alone"),
                ("file:///a/*", "glob", False, 'it matches too, and "file:///a/../b" is more specific'),
                ("*", "glob", False, 'it matches too, and "file:///a/../b" is more specific'),
            ],
            id="an exact URI, however it is written",
        ),
        pytest.param(
            ResourceUse("file:///a/./b"),
            None,
            [
                ("file:///a/./b", "strange", True, "it has a dot segment, and no entry has exactly this URI"),
                ("file:///a/*", "glob", False, "no pattern decides about a URI that has a dot segment"),
                ("*", "glob", False, "no pattern decides about a URI that has a dot segment"),
            ],
            id="a strange URI",
        ),
        pytest.param(
            ResourceUse("file:///a/b"),
            "deny",
            [
                ("file:///a/*", "glob", True, "`*` decides only where nothing else matches"),
                ("*", "glob", False, 'it matches too, and "file:///a/*" is more specific'),
            ],
            id="a pattern",
        ),
        pytest.param(
            PromptUse("../p"),
            None,
            [("p*", "glob", False, ""), ("deny", "default", True, "no name and no pattern matches")],
            id="a prompt that nothing names",
        ),
    ],
)
def test_names_are_shown_in_the_order_in_which_they_are_looked_at(
    use: ResourceUse | PromptUse, action: str | None, names: list[tuple[str, str, bool, str]]
) -> None:
    found = traced(RESOURCES, use)
    assert found.action == action
    assert [(name.text, name.kind, name.decides, name.why) for name in found.names] == names


def test_every_limit_is_shown_also_where_two_share_a_counter() -> None:
    limits = [{"counter": "c", "window": 60, "max": 5}, {"counter": "c", "window": 60, "max": 3}]
    found = traced({"prompts": {"p": {"limits": limits}}}, PromptUse("p"))
    assert [limit.rule for limit in found.limits] == ["/prompts/p/limits/0", "/prompts/p/limits/1"]
    assert [charge.max for charge in found.charges] == [3]
