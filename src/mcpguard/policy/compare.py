"""Says in what a changed policy is not provably as strict as the one before it.

Compares what is written, not what it means: a change that cannot be followed by structure alone counts as loosening.  So what
finds nothing here may be put in force under a running server, whoever changed the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mcpguard.policy.entries import pointer
from mcpguard.policy.match import Pattern, compile_pattern, overlap
from mcpguard.policy.model import RISK_CATEGORIES, PlainLimit, PolicyFile, RateLimit, Rule, Tool, Use

if TYPE_CHECKING:
    from mcpguard.policy.model import Approval, ApprovalRule, Effect, ServerRequests

_STRICTNESS: Final = {"allow": 0, "require_approval": 1, "deny": 2, "hide": 3}
_LOOSER_ACTION: Final = "the action is less strict"


def loosened(old: PolicyFile, new: PolicyFile) -> tuple[str, ...]:
    """Give what makes `new` possibly less strict than `old`, each as `pointer: what`; nothing if it only tightens.

    Words for people (`description`, `reason`, `on_deny`, comments) do not count.
    """
    return (
        *_general(old, new),
        *_rules("/all_tools/require", old.all_tools.require, new.all_tools.require),
        *_rules("/all_tools/deny_if", old.all_tools.deny_if, new.all_tools.deny_if),
        *_limits("/all_tools/limits", old.all_tools.limits, new.all_tools.limits),
        *_tools(old, new),
        *_uses("resources", old, new),
        *_uses("prompts", old, new),
        *_methods(old, new),
        *_server_requests(old, new),
        *_approval(old.approval, new.approval),
    )


def _general(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    if old.default == "deny" and new.default == "allow":
        yield "/default: what is not named was denied and is allowed"
    gone = [name for name in old.hide if name not in new.hide]
    if gone:
        yield f"/hide: `{gone[0]}` is not hidden any more"
    if old.listing != new.listing and new.listing == "all":
        yield "/list: tools that cannot be called are shown"
    if old.drift == "refuse" and new.drift == "allow":
        yield "/drift: a tool that changes was refused and is allowed"
    if old.audit != new.audit:
        yield "/audit: the log is kept in another way"


# Which entry decides may change with the others: what counts is what decided about a name before, and what decides now.


def _tools(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    before, after = _otherwise_tool(old), _otherwise_tool(new)
    for was, now in _successions(_named(old), _named(new)):
        held, holds = old.tools.get(was or "", before), new.tools.get(now or "", after)
        place = pointer("tools", now) if now is not None else pointer("tools", was or "")
        yield from _at_least_as_strict(place, held, holds, same_place=was == now)
    yield from _categories(old, new)


def _categories(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    """Give what entries for categories loosen, and what loosens because they decide less.

    Such an entry decides together with a glob, alone where no glob but `*` matches, and never beside an exact name.
    """
    was_there, is_there = _by_category(old), _by_category(new)
    before, after = _named(old), _named(new)
    gone = {text: tool for text, tool in was_there.items() if text not in is_there}
    left = [name for name in before if name not in after and not _is_everything(name)]
    for text, holds in is_there.items():
        # It may decide alone now where something else did.
        held = was_there.get(text) or _open_to_all(before) or _otherwise_tool(old)
        yield from _at_least_as_strict(pointer("tools", text), held, holds, same_place=text in was_there)
        for name in left:
            yield from _at_least_as_strict(pointer("tools", name), before[name], holds, same_place=False)
    for text, held in was_there.items():
        for name, holds in after.items():
            is_exact = compile_pattern(name).is_exact
            # It decides without the category now.
            if (is_exact and name not in before) or (text in gone and not is_exact):
                yield from _at_least_as_strict(pointer("tools", name), held, holds, same_place=False)
        if text in gone and _open_to_all(after) is None:
            yield from _at_least_as_strict(pointer("tools", text), held, _otherwise_tool(new), same_place=False)
    if was_there and old.default == "deny":
        # As long as no list has shown a tool, only its own name opens it.
        for name in after:
            if name not in before and compile_pattern(name).is_exact:
                yield from _at_least_as_strict(
                    pointer("tools", name), _otherwise_tool(old), after[name], same_place=False
                )
    if gone and not is_there and any(tool.action in ("allow", "require_approval") for tool in after.values()):
        yield f"{pointer('tools', next(iter(gone)))}: what decided about tools that no list has shown is gone"


def _open_to_all(tools: Mapping[str, Tool]) -> Tool | None:
    return next((tool for name, tool in tools.items() if _is_everything(name)), None)


def _is_everything(name: str) -> bool:
    return compile_pattern(name).is_everything


def _named(policy: PolicyFile) -> dict[str, Tool]:
    return {text: tool for text, tool in policy.tools.items() if text not in RISK_CATEGORIES}


def _by_category(policy: PolicyFile) -> dict[str, Tool]:
    return {text: tool for text, tool in policy.tools.items() if text in RISK_CATEGORIES}


def _otherwise_tool(policy: PolicyFile) -> Tool:
    return Tool(action="allow" if policy.default == "allow" else "deny")


def _at_least_as_strict(place: str, old: Tool, new: Tool, *, same_place: bool) -> Iterator[str]:
    if _STRICTNESS[new.action] < _STRICTNESS[old.action]:
        yield f"{place}: {_LOOSER_ACTION}"
        return
    if new.action in ("deny", "hide"):
        return
    yield from _rules(f"{place}/require", old.require, new.require)
    yield from _rules(f"{place}/deny_if", old.deny_if, new.deny_if)
    # Also where a person is asked about every call now: a rule of old refuses the other spellings of the arguments that it names.
    yield from _rules(f"{place}/approve_if", old.approve_if, new.approve_if)
    if old.arguments is not None and old.arguments != new.arguments:
        yield f"{place}/arguments: the schema is another one"
    yield from _limits(f"{place}/limits", old.limits, new.limits, same_place=same_place)
    yield from _rate_limit(f"{place}/rate_limit", old.rate_limit, new.rate_limit, same_place=same_place)


def _uses(section: str, old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    was_there: Mapping[str, Use] | None = getattr(old, section)
    is_there: Mapping[str, Use] | None = getattr(new, section)
    if was_there is not None and is_there is None and new.default == "allow":
        yield f"/{section}: the section is gone"
    entries, later = was_there or {}, is_there or {}
    before = Use(action="allow" if old.default == "allow" else "deny")
    after = Use(action="allow" if new.default == "allow" else "deny")
    for was, now in _successions(entries, later):
        held, holds = entries.get(was or "", before), later.get(now or "", after)
        place = pointer(section, now if now is not None else was or "")
        if _STRICTNESS[holds.action] < _STRICTNESS[held.action]:
            yield f"{place}: {_LOOSER_ACTION}"
        elif holds.action not in ("deny", "hide"):
            yield from _limits(f"{place}/limits", held.limits, holds.limits, same_place=was == now)


def _methods(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    for was, now in _successions(old.methods, new.methods):
        held = old.methods[was] if was is not None else old.default
        holds = new.methods[now] if now is not None else new.default
        if held == "deny" and holds == "allow":
            yield f"{pointer('methods', now if now is not None else was or '')}: it was denied and is allowed"


def _successions(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[tuple[str | None, str | None]]:
    """Give every pair of entries of which the first may have decided about a name before that the second decides about now.

    None stands for the default. An entry that is there before and after decides about no more and no fewer names than the
    more specific ones leave it, so most pairs cannot be.
    """
    before = {text: compile_pattern(text) for text in old}
    after = {text: compile_pattern(text) for text in new}
    for was, held in before.items():
        if was in after:
            yield was, was
        elif not _covered(held, after):
            yield was, None
        for now, holds in after.items():
            if was == now or not overlap(held, holds):
                continue
            if (now in before and not _outranks(held, holds)) or (was in after and not _outranks(holds, held)):
                continue
            yield was, now
    for now, holds in after.items():
        if now not in before and not _covered(holds, before):
            yield None, now


def _covered(pattern: Pattern, others: Mapping[str, Pattern]) -> bool:
    """Whether one of the others surely matches every name that a pattern means."""
    return any(_contains(other, pattern) for other in others.values())


def _contains(wide: Pattern, narrow: Pattern) -> bool:
    if narrow.is_exact:
        return wide.matches(narrow.prefix)
    only_a_prefix = len(wide.tokens) == len(wide.prefix) + 1 and wide.tokens[-1] == "*"
    return only_a_prefix and narrow.prefix.startswith(wide.prefix)


def _outranks(a: Pattern, b: Pattern) -> bool:
    """Whether `a` decides where both match."""
    return _rank(a) > _rank(b)


def _rank(pattern: Pattern) -> tuple[bool, bool, int, int]:
    return pattern.is_exact, not pattern.is_everything, pattern.literals, len(pattern.prefix)


# What an entry is made of


def _rules(
    place: str, old: Sequence[Rule] | Sequence[ApprovalRule], new: Sequence[Rule] | Sequence[ApprovalRule]
) -> Iterator[str]:
    missing = _meanings(old) - _meanings(new)
    if missing:
        yield f"{place}: a rule is gone or is another one"


def _meanings(rules: Sequence[Rule] | Sequence[ApprovalRule]) -> Counter[str]:
    return Counter(
        str(sorted(condition.model_dump_json(by_alias=True) for condition in rule.conditions)) for rule in rules
    )


def _limits(
    place: str, old: Sequence[PlainLimit], new: Sequence[PlainLimit], *, same_place: bool = True
) -> Iterator[str]:
    """A limit without a counter of its own name is known by its place: elsewhere it would begin to count anew."""
    for index, limit in enumerate(old):
        if limit.counter is not None:
            followers: Sequence[PlainLimit] = [other for other in new if other.counter == limit.counter]
        else:
            followers = new[index : index + 1] if same_place else []
        if not any(_same_but_max(limit, other) and other.max <= limit.max for other in followers):
            yield f"{place}/{index}: the limit is gone, larger or another one"


def _same_but_max(old: PlainLimit, new: PlainLimit) -> bool:
    return old.model_copy(update={"max": 0, "comment": None}) == new.model_copy(update={"max": 0, "comment": None})


def _rate_limit(place: str, old: RateLimit | None, new: RateLimit | None, *, same_place: bool) -> Iterator[str]:
    if old is None:
        return
    if new is None or not same_place or new.window != old.window or new.max > old.max:
        yield f"{place}: the limit is gone, larger or another one"


def _server_requests(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    before, after = _asked(old.server_requests, old.default), _asked(new.server_requests, new.default)
    for method, effect in before.items():
        if effect == "deny" and after[method] == "allow":
            yield f"{pointer('server_requests', method)}: it was denied and is allowed"


def _asked(section: ServerRequests, default: Effect) -> dict[str, Effect]:
    return {
        "sampling/createMessage": section.sampling or default,
        "elicitation/create": section.elicitation or "allow",
        "roots/list": section.roots or "allow",
    }


def _approval(old: Approval, new: Approval) -> Iterator[str]:
    """How long a call waits for an answer makes no answer worth more: `timeout` may become what it likes."""
    if new.ttl > old.ttl:
        yield "/approval/ttl: an approval holds for longer"
    if old.remember == "call" and new.remember == "tool":
        yield "/approval/remember: one answer may be about later calls, too"
    more = [way for way in new.via if way not in old.via]
    if more:
        yield f"/approval/via: the {more[0]} may answer as well"
    if new.min_answer < old.min_answer:
        yield "/approval/min_answer: an answer counts that comes sooner"
