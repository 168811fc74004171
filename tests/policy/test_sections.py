"""Checks what may be read and listed of resources, templates and prompts."""

from __future__ import annotations

import pytest

from mcpguard.policy.decision import Charge, Decision, PromptUse, ResourceUse, TemplateUse
from mcpguard.policy.evaluate import (
    Policy,
    compile_policy,
    evaluate,
    visible_prompt,
    visible_resource,
    visible_template,
)
from mcpguard.policy.model import PolicyFile

Json = dict[str, object]


def compiled(parts: Json) -> Policy:
    return compile_policy(PolicyFile.model_validate({"version": "1"} | parts))


def read(policy: Policy, uri: str) -> Decision:
    return evaluate(policy, ResourceUse(uri))


DOCS = compiled(
    {
        "resources": {
            "file:///srv/docs/*": {},
            "file:///srv/docs/secret/*": {"action": "deny", "reason": "secret"},
            "file:///srv/docs/a%2fb": {},
            "mem://hidden/*": {"action": "hide"},
            "mem://asked/*": {"action": "require_approval"},
        }
    }
)


@pytest.mark.parametrize(
    ("uri", "effect", "rule"),
    [
        ("file:///srv/docs/a", "allow", None),
        ("file:///srv/docs/a/b/c", "allow", None),
        ("file:///srv/docs/secret/x", "deny", "/resources/file:~1~1~1srv~1docs~1secret~1*/action"),
        ("file:///srv/other", "deny", "/default"),
        ("mem://hidden/x", "hide", "/resources/mem:~1~1hidden~1*/action"),
        ("mem://asked/x", "deny", "/resources/mem:~1~1asked~1*/action"),
        ("file:///srv/docs/a%2fb", "allow", None),
    ],
)
def test_the_best_entry_decides_about_a_uri(uri: str, effect: str, rule: str | None) -> None:
    decision = read(DOCS, uri)
    assert decision.effect == effect
    assert [reason.rule for reason in decision.reasons] == ([] if rule is None else [rule])
    assert visible_resource(DOCS, uri) is (effect == "allow" or "asked" in uri)


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("FILE:///srv/docs/a", "an upper-case scheme"),
        ("filE:///srv/docs/a", "an upper-case scheme"),
        ("file:///srv/docs/../x", "a dot segment"),
        ("file:///srv/docs/./x", "a dot segment"),
        ("file:///srv/docs/..", "a dot segment"),
        ("file:///srv/docs/..?x", "a dot segment"),
        ("file:///srv/docs/%2E%2e/x", "an encoded dot, slash or backslash"),
        ("file:///srv/docs/a%5Cb", "an encoded dot, slash or backslash"),
        ("file:///srv/docs/a%2Fb", "an encoded dot, slash or backslash"),
        ("file:///srv/docs/a\\b", "a backslash"),
        ("file:///srv/docs/a b", "white space"),
        ("file:///srv/docs/a\u00a0b", "white space"),
        ("file:///srv/docs/a\nb", "white space"),
        ("file:///srv/docs/a\0b", "a control character"),
        ("file:///srv/docs/a\x9bb", "a control character"),
    ],
)
def test_a_uri_that_servers_read_in_different_ways_is_refused(uri: str, what: str) -> None:
    decision = read(DOCS, uri)
    assert (decision.effect, decision.entry, decision.reasons[0].code) == ("deny", "/resources", "denied")
    assert decision.reasons[0].message.startswith(f"this URI has {what}, which")
    assert read(compiled({"default": "allow", "resources": {}}), uri).effect == "deny"
    assert read(compiled({"default": "allow"}), uri).effect == "allow"
    exact = uri.replace("\\", "\\\\").replace("?", "\\?")
    assert read(compiled({"resources": {exact: {}}}), uri).effect == "allow"


@pytest.mark.parametrize("uri", ["file:///srv/docs/a.b", "file:///srv/docs/..a", "file:///srv/docs/%20", "x:..."])
def test_a_usual_uri_is_not_strange(uri: str) -> None:
    assert read(compiled({"resources": {"*": {}}}), uri).effect == "allow"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("file:///srv/docs/{name}", True),
        ("file:///{+path}", True),
        ("file:///srv/docs/secret/{name}", True),  # the general entry could match `secret/` too, by its own letters
        ("file:///etc/{name}", False),
        ("{+any}", True),
        ("mem://hidden/{x}", False),
        ("mem://asked/{x}", True),
        ("file:///srv/docs/a*{x}", True),
        ("http://{host}/", False),
        ("file:///srv/docs/" + "a" * 2000 + "{x}", False),
    ],
)
def test_a_template_is_listed_if_an_entry_could_match_it(template: str, shown: bool) -> None:
    assert visible_template(DOCS, template) is shown


def test_templates_follow_the_default_where_no_entry_takes_everything() -> None:
    assert visible_template(compiled({"default": "allow"}), "x:{y}")
    assert not visible_template(compiled({}), "x:{y}")
    assert not visible_template(compiled({"default": "allow", "resources": {"*": {"action": "deny"}}}), "x:{y}")
    assert visible_template(compiled({"default": "allow", "resources": {"x:*": {"action": "deny"}}}), "x:{y}")
    assert visible_template(compiled({"resources": {"x:1": {}}}), "x:{y}")


@pytest.mark.parametrize("escaped", [r"\*", r"\?", r"\@", "\\\\"])
def test_what_is_no_wildcard_in_a_uri_is_none_for_templates(escaped: str) -> None:
    policy = compiled({"resources": {f"x:a{escaped}": {}}})
    assert visible_template(policy, f"x:a{escaped[1]}{{y}}")
    assert not visible_template(policy, "x:ab{y}")


@pytest.mark.parametrize(
    ("actions", "rule"),
    [
        (["deny", "require_approval", "allow"], None),
        (["hide", "deny", "require_approval"], "/resources/x:c*/action"),
        (["hide", "deny"], "/resources/x:b*/action"),
    ],
)
def test_the_most_open_entry_decides_about_a_template_whatever_the_order(actions: list[str], rule: str | None) -> None:
    entries = {f"x:{letter}*": {"action": action} for letter, action in zip("abc", actions, strict=False)}
    entries["*"] = {"action": "hide"}
    for ordered in (entries, dict(reversed(entries.items()))):
        decision = evaluate(compiled({"resources": ordered}), TemplateUse("x:{y}"))
        assert [reason.rule for reason in decision.reasons[:1]] == ([] if rule is None else [rule])
    assert evaluate(compiled({"resources": {"x:*": {}}}), TemplateUse("x:{y}")).entry == "/resources/x:*"


def test_prompts_are_judged_by_their_names() -> None:
    policy = compiled({"prompts": {"a*": {}, "ab": {"action": "deny"}, "h": {"action": "hide"}}})
    assert {name for name in ("a", "ab", "b", "h") if visible_prompt(policy, name)} == {"a"}
    assert evaluate(policy, PromptUse("h")).effect == "hide"
    assert evaluate(policy, PromptUse("ab")).reasons[0].message == "the policy refuses this prompt"
    assert visible_prompt(compiled({"default": "allow", "prompts": {}}), "x")


@pytest.mark.parametrize(("section", "use"), [("resources", ResourceUse("a:b")), ("prompts", PromptUse("a:b"))])
def test_a_use_awaits_approval_with_what_it_owes(section: str, use: ResourceUse | PromptUse) -> None:
    entry = {"action": "require_approval", "limits": [{"window": 60, "max": 3}]}
    decision = evaluate(compiled({section: {"a:*": entry}}), use)
    assert decision.awaits_approval
    assert decision.reasons[0].message == f"the policy wants a person to approve this {section.removesuffix('s')}"
    assert [charge.rule for charge in decision.charges] == [f"/{section}/a:*/limits/0"]
    said = evaluate(compiled({section: {"*": entry | {"reason": "it costs"}}}), use)
    assert said.reasons[0].message == "it costs"


def test_uses_owe_their_limits_and_not_those_of_every_tool() -> None:
    limits = {"limits": [{"window": "day", "max": 3, "align": "calendar"}]}
    policy = compiled({"prompts": {"*": limits}, "resources": {"*": limits}, "all_tools": limits})
    rule = "/prompts/*/limits/0"
    assert evaluate(policy, PromptUse("x")).charges == (Charge(rule, rule, 86_400, 3, "session", calendar=True),)
    assert [charge.rule for charge in read(policy, "a:b").charges] == ["/resources/*/limits/0"]
