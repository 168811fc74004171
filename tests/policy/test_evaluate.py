"""Checks what is allowed and why: effects, reasons, pointers and charges."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.errors import PolicyError
from mcpguard.policy.decision import (
    ApprovalTerms,
    Charge,
    Decision,
    PromptUse,
    Reason,
    ResourceUse,
    ToolCall,
)
from mcpguard.policy.evaluate import (
    Policy,
    closed_sections,
    compile_policy,
    evaluate,
    method_effect,
    server_request_effect,
    visible,
    visible_prompt,
    visible_resource,
)
from mcpguard.policy.model import PolicyFile

STRICTNESS = ("allow", "require_approval", "deny", "hide")
NAMES = st.text(alphabet="ab", max_size=4)
PATTERNS = st.text(alphabet="ab*?", min_size=1, max_size=3)
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(STRICTNESS),
        "reason": st.just("because"),
        "rate_limit": st.fixed_dictionaries({"max": st.integers(0, 3), "window": st.integers(1, 9)}),
    },
)
POLICIES = st.fixed_dictionaries(
    {"version": st.just("1")},
    optional={
        "default": st.sampled_from(["allow", "deny"]),
        "hide": st.lists(PATTERNS, max_size=2),
        "list": st.sampled_from(["callable", "all"]),
        "tools": st.dictionaries(PATTERNS, TOOLS, max_size=4).filter(lambda tools: _compiles({"tools": tools})),
    },
)


def _compiles(parts: dict[str, object]) -> bool:
    try:
        compiled(parts)
    except PolicyError:  # patterns that tie, of which other tests are
        return False
    return True


def compiled(parts: dict[str, object]) -> Policy:
    return compile_policy(PolicyFile.model_validate({"version": "1"} | parts))


def decide(policy: Policy, name: str) -> Decision:
    """Judge a call without arguments."""
    return evaluate(policy, ToolCall(name, {}))


def shuffled(value: object, random: Random) -> object:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.shuffle(keys)
    return {key: shuffled(value[key], random) for key in keys}


def refused(decision: Decision) -> Reason:
    assert decision.effect in {"deny", "hide"}
    assert not decision.charges
    (reason,) = decision.reasons
    return reason


@pytest.mark.parametrize(
    ("tool", "effect", "code", "message"),
    [
        pytest.param(
            {"action": "deny"}, "deny", "denied", "the policy refuses this tool", id="denied without a reason"
        ),
        pytest.param({"action": "deny", "reason": "no"}, "deny", "denied", "no", id="denied with a reason"),
        pytest.param({"action": "hide"}, "hide", "denied", "the policy hides this tool", id="hidden"),
        pytest.param({"action": "hide", "reason": "no"}, "hide", "denied", "no", id="hidden with a reason"),
    ],
)
def test_a_refusing_action_says_why(tool: dict[str, object], effect: str, code: str, message: str) -> None:
    decision = decide(compiled({"tools": {"a/b~c": tool}}), "a/b~c")
    assert decision.effect == effect
    assert decision.entry == "/tools/a~1b~0c"
    assert refused(decision) == Reason(code, "/tools/a~1b~0c/action", message)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        pytest.param({}, "the policy wants a person to approve this tool", id="without a reason"),
        pytest.param({"reason": "it costs"}, "it costs", id="with a reason"),
    ],
)
def test_what_needs_approval_is_refused_until_somebody_asks(reason: dict[str, object], message: str) -> None:
    policy = compiled({"tools": {"pay": {"action": "require_approval", **reason}}})
    decision = decide(policy, "pay")
    assert decision.awaits_approval
    assert refused(decision) == Reason("approval_required", "/tools/pay/action", message)
    assert visible(policy, "pay")


def test_what_needs_approval_owes_what_it_owes_without() -> None:
    limits = {"rate_limit": "3/minute"}
    policy = compiled(
        {
            "all_tools": {"limits": [{"counter": "all", "window": 60, "max": 9}]},
            "tools": {"pay": limits | {"action": "require_approval"}, "get": limits},
        }
    )
    asked, allowed = decide(policy, "pay"), decide(policy, "get")
    assert asked.awaits_approval
    assert not allowed.awaits_approval
    assert [charge.rule for charge in asked.charges] == ["/tools/pay/rate_limit", "/all_tools/limits/0"]
    assert [charge.max for charge in asked.charges] == [charge.max for charge in allowed.charges]


def test_what_is_refused_awaits_nobody() -> None:
    policy = compiled({"hide": ["h"], "tools": {"d": {"action": "deny"}, "i": {"action": "hide"}, "a": {}}})
    assert not any(decide(policy, name).awaits_approval for name in ("h", "d", "i", "a", "x"))


def test_the_terms_of_an_approval_are_those_of_the_language_unless_the_policy_has_others() -> None:
    assert compiled({}).approval == compiled({"approval": {}}).approval == ApprovalTerms()
    assert ApprovalTerms() == ApprovalTerms(
        timeout_ns=45 * 10**9,
        ttl_ns=600 * 10**9,
        remember="call",
        via=frozenset(("client", "terminal")),
        min_answer_ns=150 * 10**6,
    )
    terms = {"timeout": "2m", "ttl": "1h", "remember": "tool", "via": ["terminal"] * 2, "min_answer": "0s"}
    assert compiled({"approval": terms}).approval == ApprovalTerms(
        timeout_ns=120 * 10**9, ttl_ns=3600 * 10**9, remember="tool", via=frozenset(("terminal",)), min_answer_ns=0
    )


def test_what_is_not_named_is_denied_by_default_with_the_section_to_add() -> None:
    for policy in (compiled({}), compiled({"default": "deny"})):
        decision = evaluate(policy, ToolCall("x", {}))
        assert decision.entry == "/default"
        assert refused(decision) == Reason(
            "default_deny",
            "/default",
            'the policy does not name this tool (default: deny); ask the user to add it under "tools"',
        )


@pytest.mark.parametrize(
    ("use", "section"),
    [
        pytest.param(ResourceUse("file:///a"), "resources", id="a resource"),
        pytest.param(PromptUse("a"), "prompts", id="a prompt"),
    ],
)
def test_resources_and_prompts_follow_the_default(use: ResourceUse | PromptUse, section: str) -> None:
    said = refused(evaluate(compiled({}), use))
    assert (said.code, said.rule) == ("default_deny", "/default")
    assert said.message.endswith(f'ask the user to add it under "{section}"')
    assert evaluate(compiled({"default": "allow"}), use) == Decision("allow", "/default")


@pytest.mark.parametrize(("default", "shown"), [("allow", True), ("deny", False)])
def test_resources_and_prompts_are_visible_if_they_are_open(default: str, shown: bool) -> None:
    policy = compiled({"default": default})
    assert visible_resource(policy, "file:///a") is shown
    assert visible_prompt(policy, "a") is shown


def test_hide_outranks_an_entry_that_allows() -> None:
    policy = compiled({"hide": ["x", "admin_*"], "tools": {"admin_x": {}}, "list": "all"})
    decision = decide(policy, "admin_x")
    assert (decision.effect, decision.entry) == ("hide", "/hide/1")
    assert refused(decision) == Reason("denied", "/hide/1", "the policy hides this tool")
    assert not visible(policy, "admin_x")


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        pytest.param("callable", {"open", "sometimes"}, id="callable"),
        pytest.param("all", {"open", "sometimes", "never", "shut", "unnamed"}, id="all"),
    ],
)
def test_lists_show_what_can_be_called_or_all_that_is_not_hidden(mode: str, shown: set[str]) -> None:
    never: dict[str, object] = {"deny_if": [{"conditions": []}]}
    sometimes = {"deny_if": [{"conditions": [{"path": "args.a", "op": "exists"}]}]}
    tools = {"open": {}, "shut": {"action": "deny"}, "gone": {"action": "hide"}, "never": never, "sometimes": sometimes}
    policy = compiled({"list": mode, "tools": tools})
    assert {name for name in (*tools, "unnamed") if visible(policy, name)} == shown


def test_an_allowed_call_owes_every_limit_of_its_entry_and_of_all_tools() -> None:
    policy = compiled(
        {
            "default": "allow",
            "all_tools": {"limits": [{"window": "day", "max": 100}]},
            "tools": {
                "a*": {
                    "limits": [
                        {"counter": "c", "window": "minute", "max": 10, "scope": "grant"},
                        {"window": 5, "max": 1},
                    ],
                    "rate_limit": "7/15m",
                }
            },
        }
    )
    everywhere = Charge("/all_tools/limits/0", "/all_tools/limits/0", 86_400, 100, "session")
    assert decide(policy, "ab") == Decision(
        "allow",
        "/tools/a*",
        charges=(
            Charge("c", "/tools/a*/limits/0", 60, 10, "grant"),
            Charge("/tools/a*/limits/1", "/tools/a*/limits/1", 5, 1, "session"),
            Charge("/tools/a*/rate_limit", "/tools/a*/rate_limit", 900, 7, "session"),
            everywhere,
        ),
    )
    assert decide(policy, "b") == Decision("allow", "/default", charges=(everywhere,))


@pytest.mark.parametrize(("mine", "theirs", "rule"), [(3, 5, "/tools/a/limits/0"), (5, 3, "/all_tools/limits/0")])
def test_a_counter_that_is_met_twice_is_charged_once_against_the_smaller_max(mine: int, theirs: int, rule: str) -> None:
    limit = {"counter": "c", "window": "minute"}
    policy = compiled(
        {"all_tools": {"limits": [limit | {"max": theirs}]}, "tools": {"a": {"limits": [limit | {"max": mine}]}}}
    )
    assert decide(policy, "a").charges == (Charge("c", rule, 60, 3, "session"),)


def test_a_refused_call_owes_nothing_to_all_tools() -> None:
    policy = compiled({"all_tools": {"limits": [{"window": 1, "max": 1}]}, "tools": {"a": {"action": "deny"}}})
    assert not decide(policy, "a").charges
    assert not decide(policy, "b").charges


@pytest.mark.parametrize(
    ("parts", "method", "effect"),
    [
        pytest.param({}, "skills/list", "deny", id="the default denies"),
        pytest.param({"default": "allow"}, "skills/list", "allow", id="the default allows"),
        pytest.param({"methods": {"skills/*": "allow"}}, "skills/list", "allow", id="a glob"),
        pytest.param(
            {"methods": {"skills/*": "allow", "skills/l*": "deny"}}, "skills/list", "deny", id="a better glob"
        ),
        pytest.param({"methods": {"skills/*": "deny", "skills/list": "allow"}}, "skills/list", "allow", id="the name"),
    ],
)
def test_unknown_methods_follow_the_best_entry_else_the_default(
    parts: dict[str, object], method: str, effect: str
) -> None:
    assert method_effect(compiled(parts), method) == effect


@pytest.mark.parametrize(
    ("parts", "effects"),
    [
        pytest.param({}, ("deny", "allow", "allow", "deny"), id="deny by default closes sampling and the unknown"),
        pytest.param({"default": "allow"}, ("allow", "allow", "allow", "allow"), id="allow by default"),
        pytest.param(
            {
                "server_requests": {
                    "sampling/createMessage": "allow",
                    "elicitation/create": "deny",
                    "roots/list": "deny",
                }
            },
            ("allow", "deny", "deny", "deny"),
            id="what is said holds",
        ),
    ],
)
def test_server_requests_follow_their_key_else_what_is_usual(
    parts: dict[str, object], effects: tuple[str, ...]
) -> None:
    policy = compiled(parts)
    asked = ("sampling/createMessage", "elicitation/create", "roots/list", "new/thing")
    assert tuple(server_request_effect(policy, method) for method in asked) == effects


@pytest.mark.parametrize(
    ("parts", "closed"),
    [
        pytest.param({}, ("tools", "resources", "prompts", "sampling"), id="an empty policy"),
        pytest.param({"tools": {"a": {}}}, ("resources", "prompts", "sampling"), id="tools are named"),
        pytest.param(
            {"tools": {"a": {}}, "server_requests": {"sampling/createMessage": "deny"}},
            ("resources", "prompts"),
            id="what is denied in so many words is no surprise",
        ),
        pytest.param({"resources": {}, "prompts": {}}, ("tools", "sampling"), id="sections are there"),
        pytest.param({"default": "allow"}, (), id="allow by default"),
    ],
)
def test_closed_sections_are_those_that_the_default_closes(parts: dict[str, object], closed: tuple[str, ...]) -> None:
    assert closed_sections(compiled(parts)) == closed


@given(POLICIES, NAMES, st.randoms(use_true_random=False))
def test_the_order_of_keys_never_matters(parts: dict[str, object], name: str, random: Random) -> None:
    policy, other = compiled(parts), compiled(shuffled(parts, random))  # type: ignore[arg-type]
    assert policy.digest == other.digest
    assert decide(policy, name) == decide(other, name)
    assert visible(policy, name) == visible(other, name)


@given(POLICIES, NAMES, st.data())
def test_a_stricter_action_never_allows_more(parts: dict[str, object], name: str, data: st.DataObject) -> None:
    tools = parts.get("tools")
    if not isinstance(tools, dict) or not tools:
        return
    entry = data.draw(st.sampled_from(sorted(tools)))
    loose, strict = sorted(data.draw(st.tuples(st.sampled_from(range(4)), st.sampled_from(range(4)))))
    before = compiled(parts | {"tools": tools | {entry: tools[entry] | {"action": STRICTNESS[loose]}}})
    after = compiled(parts | {"tools": tools | {entry: tools[entry] | {"action": STRICTNESS[strict]}}})
    if decide(after, name).effect == "allow":
        assert decide(before, name) == decide(after, name)
    if visible(after, name):
        assert visible(before, name)


@given(POLICIES, NAMES)
def test_every_refusal_has_a_reason_and_what_is_hidden_is_refused_and_never_listed(
    parts: dict[str, object], name: str
) -> None:
    policy = compiled(parts)
    decision = decide(policy, name)
    assert (decision.effect == "allow") == (not decision.reasons)
    assert decision.effect == "allow" or decision.awaits_approval or not decision.charges
    if decision.effect == "hide":
        assert not visible(policy, name)


@given(POLICIES, NAMES)
def test_a_name_gets_the_same_answer_every_time(parts: dict[str, object], name: str) -> None:
    policy = compiled(parts)
    assert decide(policy, name) is evaluate(policy, ToolCall(name, {"a": 1})) is decide(policy, name)


def test_names_from_strangers_do_not_fill_the_memory() -> None:
    policy = compiled({"tools": {"a*": {}}})
    for number in range(10_000):
        decide(policy, f"a{number}")
    decide(policy, "a" * 1_000_000)
    assert len(policy.memo) <= 4096
    assert max(map(len, policy.memo)) <= 256
    assert decide(policy, "a" * 1_000_000).effect == "allow"
