"""Decides whether a call may pass.

Total, pure and independent of the order of keys.  Knows nothing of JSON-RPC.  Reads no clock: what a limit costs is an
obligation in the answer, and somebody else's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from mcpguard.policy.compile import Policy, Section, compile_policy
from mcpguard.policy.decision import Decision, PromptUse, Reason, ResourceUse, TemplateUse, ToolCall
from mcpguard.policy.entries import Entry, Rules, Ruling, joined
from mcpguard.policy.match import join_literals
from mcpguard.policy.uris import made_by, share_a_name, strange_in

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category
    from mcpguard.policy.model import Effect

__all__ = [
    "Call",
    "Policy",
    "Rules",
    "Ruling",
    "closed_sections",
    "compile_policy",
    "decide",
    "deciding",
    "denied_unseen",
    "evaluate",
    "method_effect",
    "server_request_effect",
    "visible",
    "visible_prompt",
    "visible_resource",
    "visible_template",
]

Call: TypeAlias = ToolCall | ResourceUse | TemplateUse | PromptUse

# Names come from clients that nobody vouches for: neither their number nor their length may fill the memory.
_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_LENGTH: Final = 256
_UNSEEN: Final = Decision(
    "deny",
    "/default",
    (
        Reason(
            "default_deny",
            "/default",
            "the policy decides by risk category, and no list of the server has shown this tool (default: deny)",
        ),
    ),
)
_TOO_LONG: Final = Decision("deny", "/resources", (Reason("denied", "/resources", "this template is too long"),))


def evaluate(policy: Policy, call: Call) -> Decision:
    """Judge one call."""
    match call:
        case ToolCall():
            ruling = decide(policy, call.name, call.category)
            return ruling if isinstance(ruling, Decision) else ruling.judge(call)
        case ResourceUse():
            return _about_uri(policy.resources, call.uri)
        case TemplateUse():
            return _about_template(policy.resources, call.template)
        case PromptUse():
            return policy.prompts.entries.find(call.name) or policy.prompts.otherwise
        case _:
            assert_never(call)


def decide(policy: Policy, name: str, category: Category | None = None) -> Ruling:
    """Return the decision about every call of the tool `name`, or the rules that decide about each by its arguments.

    `category` is that of the tool as a list showed it.  Without one, a policy with entries for categories decides as if the
    tool were of all of them.
    """
    key = (name, category) if policy.categories else name
    ruling = policy.memo.get(key)
    return _remembered(policy, name, category, key) if ruling is None else ruling


def deciding(policy: Policy, name: str, category: Category | None = None) -> tuple[Entry, ...]:
    """Return the entries that decide together about a tool that is not hidden; none leaves it to the default.

    An exact name decides alone.  Else the most specific glob and the entry of the category do, else the glob `*`.
    """
    exact = policy.tools.exact.get(name)
    if exact is not None:
        return (exact,)
    found = policy.tools.glob(name)
    glob = () if found is None else (found[1],)
    if not policy.categories:
        return glob
    is_everything = found is not None and found[0].is_everything
    if category is None:
        everything = next((entry for pattern, entry in policy.tools.globs if pattern.is_everything), None)
        return (*glob, *policy.categories.values(), *(() if is_everything or everything is None else (everything,)))
    entry = policy.categories.get(category)
    if entry is None:
        return glob
    return (entry,) if is_everything else (*glob, entry)


def denied_unseen(policy: Policy, name: str, category: Category | None, entries: tuple[Entry, ...]) -> bool:
    """Whether the default denies a tool because nobody knows its category; `entries` are those that would decide."""
    unknown = bool(policy.categories) and category is None and name not in policy.tools.exact
    return unknown and policy.default == "deny" and not any(entry.refuses for entry in entries)


def visible(policy: Policy, tool_name: str, category: Category | None = None) -> bool:
    """Say whether a list may show the tool: it could be called some day, or the policy lists denied tools too."""
    ruling = decide(policy, tool_name, category)
    if isinstance(ruling, Rules):
        return ruling.callable or policy.list_mode == "all"
    match ruling.effect:
        case "allow":
            return True
        case "deny":
            return policy.list_mode == "all" or ruling.awaits_approval
        case "hide":
            return False
        case _:
            assert_never(ruling.effect)


def visible_resource(policy: Policy, uri: str) -> bool:
    """Say whether a list may show the resource."""
    return _is_open(evaluate(policy, ResourceUse(uri)))


def visible_template(policy: Policy, template: str) -> bool:
    """Say whether a list may show the resource template (RFC 6570): some resource that it makes could be read."""
    return _is_open(evaluate(policy, TemplateUse(template)))


def visible_prompt(policy: Policy, name: str) -> bool:
    """Say whether a list may show the prompt."""
    return _is_open(evaluate(policy, PromptUse(name)))


def method_effect(policy: Policy, method: str) -> Effect:
    """Say whether a method may pass that the protocol does not know; one that it knows is not governed here."""
    return policy.methods.find(method) or policy.default


def server_request_effect(policy: Policy, method: str) -> Effect:
    """Say whether the server may ask this of the client."""
    return policy.server_requests.get(method, policy.default)


def closed_sections(policy: Policy) -> tuple[str, ...]:
    """Name what the policy closes without a word, because its default is deny: `tools resources prompts sampling`."""
    return policy.closed_sections


def _about_uri(section: Section, uri: str) -> Decision:
    entry = section.entries.exact.get(uri)
    if entry is not None:
        return entry
    strange = strange_in(uri) if section.is_open else ""
    if strange:
        message = f"this URI has {strange}, which servers read in different ways, and the policy does not name it"
        return Decision("deny", "/resources", (Reason("denied", "/resources", message),))
    return section.entries.find(uri) or section.otherwise


def _about_template(section: Section, template: str) -> Decision:
    """Find the most open of the entries that decide about what a template makes: those are judged again by their URIs."""
    made = made_by(template)
    if made is None:
        return _TOO_LONG
    exact = ((join_literals([uri]), decision) for uri, decision in section.entries.exact.items())
    found = [decision for pattern, decision in (*exact, *section.entries.globs) if share_a_name(made, pattern)]
    if not any(pattern.is_everything for pattern, _ in section.entries.globs):
        found.append(section.otherwise)
    return min(found, key=_strictness, default=section.otherwise)


def _strictness(decision: Decision) -> int:
    if decision.awaits_approval:
        return 1
    return {"allow": 0, "deny": 2, "hide": 3}[decision.effect]


def _is_open(decision: Decision) -> bool:
    return decision.effect == "allow" or decision.awaits_approval


def _remembered(policy: Policy, name: str, category: Category | None, key: str | tuple[str, str | None]) -> Ruling:
    ruling = _decided(policy, name, category)
    if len(name) <= _MAX_REMEMBERED_LENGTH:
        if len(policy.memo) >= _MAX_REMEMBERED:
            policy.memo.clear()
        policy.memo[key] = ruling
    return ruling


def _decided(policy: Policy, name: str, category: Category | None) -> Ruling:
    for pattern, decision in policy.hidden:
        if pattern.matches(name):
            return decision
    entries = deciding(policy, name, category)
    if not entries:
        return policy.otherwise
    return _UNSEEN if denied_unseen(policy, name, category, entries) else joined(entries)
