"""Makes the policies that differ from one in a single small thing.

What can be changed in an entry, `changes` knows; here are the names, the default, and what is to be judged anew.  What no case can show
(requests of the server, methods, the log, how a person is asked) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mcpguard.policy.compare import loosened
from mcpguard.policy.decision import unresolvable
from mcpguard.policy.entries import pointer
from mcpguard.policy.match import compile_pattern, overlap
from mcpguard.policy.model import RISK_CATEGORIES, PolicyFile
from mcpguard.policy.paths import ABSENT
from mcpguard.proof.cases import calls_of
from mcpguard.proof.changes import (
    Change,
    changes_of_action,
    changes_of_arguments,
    changes_of_limits,
    changes_of_rules,
    form_of,
)
from mcpguard.proof.other_values import Tried

if TYPE_CHECKING:
    from mcpguard.policy.match import Pattern
    from mcpguard.proof.cases import AnyCase, Case
    from mcpguard.proof.changes import Shared
    from mcpguard.proof.other_values import Data, Direction, Steps

Section: TypeAlias = Literal["tools", "resources", "prompts"]
SECTIONS: Final[tuple[Section, ...]] = ("tools", "resources", "prompts")
_KEYS: Final[Mapping[Section, str]] = {"tools": "tool", "resources": "resource", "prompts": "prompt"}
_pattern: Final = lru_cache(maxsize=4096)(compile_pattern)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A policy that differs from another in one thing.

    `rule` points at it in the other, and `change` says in words what is different.  Only calls that `touches` can be judged in
    another way, and if `names_differ`, the names of the whole policy have to go together again.  `place_of` gives the pointer in
    the other policy of what stands at one in this one.
    """

    rule: str
    change: str
    direction: Direction
    data: Mapping[str, Any]
    touches: Callable[[Case], bool]
    place_of: Callable[[str], str] = lambda rule: rule
    names_differ: bool = False

    def __str__(self) -> str:
        return f"{self.rule}: {self.change}"

    def concerns(self, case: AnyCase) -> bool:
        """Whether a call of a case may be judged in another way."""
        return any(map(self.touches, calls_of(case)))

    def document(self, cases: Iterable[Case] | None = None) -> PolicyFile:
        """Give the policy; with `cases`, only the part of it that can decide about these.

        Raises:
            ValidationError: there is no such policy.
        """
        if cases is None or self.names_differ:
            return PolicyFile.model_validate(self.data)
        known = {section: {each.subject for each in cases if getattr(each, key)} for section, key in _KEYS.items()}
        parts = {
            section: {
                name: entry
                for name, entry in self.data[section].items()
                if name in RISK_CATEGORIES or _means_any(name, known[section]) or _is_raw(entry)
            }
            for section in SECTIONS
            if self.data.get(section) is not None
        }
        return PolicyFile.model_validate({**self.data, **parts})


def mutants_of(
    policy: PolicyFile, cases: Iterable[AnyCase] = (), resolve: Callable[[str], str | None] = unresolvable
) -> Iterator[Mutant]:
    """Yield every policy that differs from this one in one thing, in the order of the file's sections.

    The arguments of the cases are what sets are made wider by.  What surely means the same is left out.
    """
    calls = [call for case in cases for call in calls_of(case)]
    base = {field.alias or name: getattr(policy, name) for name, field in PolicyFile.model_fields.items()}
    base = {key: value for key, value in base.items() if key not in {"$schema", "$comment"} and value is not None}
    if "description" in base:
        del base["description"]
    yield from _default(base)
    yield from _hidden(base)
    yield from _everywhere(base, calls, resolve)
    for section in SECTIONS:
        for name in base.get(section, {}):
            yield from _entry(base, section, name, calls, resolve)


def _default(base: Data) -> Iterator[Mutant]:
    other, direction = ("deny", "stricter") if base["default"] == "allow" else ("allow", "looser")
    said = f'"{other}" instead of "{base["default"]}"'
    yield Mutant("/default", said, direction, base | {"default": other}, lambda _: True)  # type: ignore[arg-type]


def _hidden(base: Data) -> Iterator[Mutant]:
    names = base["hide"]
    for index, name in enumerate(names):
        rule = pointer("hide", index)
        moved = {pointer("hide", at): pointer("hide", at + 1) for at in range(index, len(names) - 1)}
        left = (*names[:index], *names[index + 1 :])
        if name not in left:
            touches = _touches("tools", [name])
            yield Mutant(rule, f'without "{name}"', "looser", base | {"hide": left}, touches, _by(moved))
        wide = _wider(name)
        if wide is not None:
            hidden = (*names[:index], wide, *names[index + 1 :])
            yield Mutant(
                rule, f'"{wide}" instead of "{name}"', "stricter", base | {"hide": hidden}, _touches("tools", [wide])
            )


def _everywhere(base: Data, calls: list[Case], resolve: Callable[[str], str | None]) -> Iterator[Mutant]:
    data = _raw(base["all_tools"])
    tried = Tried([call.arguments for call in calls if call.tool], resolve)
    for change in chain(changes_of_rules(data, tried), changes_of_limits(data)):
        mutant = _changed(base, ("all_tools",), change, _is_of_a_tool)
        if mutant is not None and form_of(change.data) != form_of(data):
            yield mutant


def _goes_without_saying(base: Data, section: Section, name: str) -> bool:
    """Whether an entry allows what the default allows anyway, and nothing else would decide in its place."""
    entry = {key: value for key, value in _raw(base[section][name]).items() if value not in ((), [], None)}
    if name in RISK_CATEGORIES or base.get("default") != "allow" or entry not in ({}, {"action": "allow"}):
        return False
    others = [other for other in base[section] if other != name]
    own = _pattern(name)
    return not any(other in RISK_CATEGORIES or overlap(own, _pattern(other)) for other in others)


def _entry(
    base: Data, section: Section, name: str, calls: list[Case], resolve: Callable[[str], str | None]
) -> Iterator[Mutant]:
    entry = base[section][name]
    data, place = _raw(entry), (section, name)
    touches = _touches(section, [name])
    without = base | {section: {key: value for key, value in base[section].items() if key != name}}
    if not _goes_without_saying(base, section, name):
        yield Mutant(pointer(*place), "without this entry", _direction(base, without, section, name), without, touches)
    wide = _wider(name)
    if wide is not None and wide not in base[section]:
        other = base | {section: without[section] | {wide: entry}}
        here, there = pointer(section, wide), pointer(*place)
        yield Mutant(
            there,
            f'"{wide}" instead of "{name}"',
            _direction(base, other, section, name, wide),
            other,
            _touches(section, [name, wide]),
            lambda rule: there + rule.removeprefix(here) if f"{rule}/".startswith(f"{here}/") else rule,
            names_differ=True,
        )
    tried = Tried([call.arguments for call in calls if call.tool and touches(call)], resolve)
    seen = {form_of(data)}
    for change in chain(
        changes_of_action(data),
        changes_of_rules(data, tried),
        changes_of_arguments(data, tried),
        changes_of_limits(data),
    ):
        form = form_of(change.data)
        mutant = _changed(base, place, change, touches)
        if mutant is not None and form not in seen:
            seen.add(form)
            yield mutant


def _changed(base: Data, place: Steps, change: Change, touches: Callable[[Case], bool]) -> Mutant | None:
    """Give the policy with a changed entry; None if another limit of the same counter stands for it."""
    top = pointer(*place)
    changed = _put(base, place, change.data)
    if change.shared is not None:
        fellows = list(_limits_of(base, change.shared))
        if fellows[0] != (*place, *change.steps):
            return None
        for fellow in fellows[1:]:
            changed = _put_limit(changed, fellow, change.shared)
        reached = [_touches_place(fellow) for fellow in fellows]
        touches = lambda case: any(each(case) for each in reached)  # noqa: E731 - a name for what is handed over
    moved = {f"{top}{after}": f"{top}{before}" for after, before in change.moved.items()}
    return Mutant(pointer(*place, *change.steps), change.said, change.direction, changed, touches, _by(moved))


def _limits_of(base: Data, shared: Shared) -> Iterator[Steps]:
    """Yield where the limits of a counter stand."""
    places: list[Steps] = [("all_tools",)]
    places += [(section, name) for section in SECTIONS for name in base.get(section, {})]
    for place in places:
        for index, limit in enumerate(_part(base, place).limits):
            if limit.counter == shared.counter:
                yield (*place, "limits", index)


def _put_limit(base: Data, steps: Steps, shared: Shared) -> Data:
    """Give the policy in which the limit at `steps` has what its counter shares."""
    place, index = steps[:-2], steps[-1]
    holder = _part(base, place)
    data = holder if isinstance(holder, dict) else _raw(holder)
    limit = {key: value for key, value in data["limits"][index].items() if key != shared.key}
    if shared.value is not ABSENT:
        limit[shared.key] = shared.value
    return _put(
        base, place, data | {"limits": [limit if at == index else each for at, each in enumerate(data["limits"])]}
    )


def _part(base: Data, place: Steps) -> Any:  # noqa: ANN401 - any part of a policy
    """Give `all_tools`, or the entry of a section; as data where it is changed, else as the model holds it."""
    section = base[str(place[0])]
    return section if len(place) == 1 else section[place[1]]


def _put(base: Data, place: Steps, data: Data) -> Data:
    section = str(place[0])
    return base | {section: data if len(place) == 1 else base[section] | {place[1]: data}}


def _raw(part: Any) -> Data:  # noqa: ANN401 - any part of a policy
    """Give a part of a policy as data, as a file could hold it."""
    plain: Data = _lists(part.model_dump(by_alias=True, exclude_unset=True))
    return plain


def _lists(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Turn tuples, which models hold, into lists."""
    match value:
        case dict():
            return {key: _lists(item) for key, item in value.items()}
        case list() | tuple():
            return [_lists(item) for item in value]
        case _:
            return value


def _is_raw(entry: object) -> bool:
    """Whether an entry is data, as only changed ones are."""
    return isinstance(entry, dict)


def _by(moved: Mapping[str, str]) -> Callable[[str], str]:
    return lambda rule: moved.get(rule, rule)


# Names


def _touches(section: Section, names: Sequence[str]) -> Callable[[Case], bool]:
    """Say of a case whether it calls something that one of the names may decide about."""
    key = _KEYS[section]
    if any(name in RISK_CATEGORIES for name in names):
        return _is_of_a_tool
    patterns = [_pattern(name) for name in names]
    exact = {pattern.prefix for pattern in patterns if pattern.is_exact}
    globs = [pattern for pattern in patterns if not pattern.is_exact]

    def touches(case: Case) -> bool:
        subject = getattr(case, key)
        return bool(subject) and (subject in exact or any(pattern.matches(subject) for pattern in globs))

    return touches


def _is_of_a_tool(case: Case) -> bool:
    return bool(case.tool)


def _touches_place(steps: Steps) -> Callable[[Case], bool]:
    if steps[0] == "all_tools":
        return _is_of_a_tool
    return _touches(str(steps[0]), [str(steps[1])])  # type: ignore[arg-type]


def _means_any(name: str, subjects: Set[str]) -> bool:
    pattern = _pattern(name)
    return pattern.prefix in subjects if pattern.is_exact else any(pattern.matches(subject) for subject in subjects)


def _wider(name: str) -> str | None:
    """Give a glob that means more: without the character before its first `*`, or with `*` for its first `?`; None if there is none."""
    if name in RISK_CATEGORIES:
        return None
    pattern = _pattern(name)
    if pattern.is_exact:
        return None
    wild = next(at for at, character in enumerate(name) if character in "*?" and not _is_escaped(name, at))
    if name[wild] == "?":
        return f"{name[:wild]}*{name[wild + 1 :]}"
    if not pattern.prefix:
        return None
    return name[: wild - (2 if _is_escaped(name, wild - 1) else 1)] + name[wild:]


def _is_escaped(name: str, at: int) -> bool:
    before = name[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _direction(base: Data, other: Data, section: Section, *names: str) -> Direction:
    """Say what a change of names can do, as far as the comparison of policies knows: by the entries that share names with them."""
    patterns = [_pattern(name) for name in names if name not in RISK_CATEGORIES]

    def small(data: Data) -> PolicyFile:
        kept = {key: entry for key, entry in data[section].items() if key in names or _shares(key, patterns)}
        empty: Data = {"hide": (), "methods": {}, "tools": {}}
        return PolicyFile.model_validate({**data, **empty, section: kept})

    old, new = small(base), small(other)
    is_looser, is_stricter = bool(loosened(old, new)), bool(loosened(new, old))
    if is_looser is is_stricter:
        return "either"
    return "looser" if is_looser else "stricter"


def _shares(name: str, patterns: list[Pattern]) -> bool:
    """Whether an entry may decide together with those of the patterns; a category, which has none, shares with all."""
    if name in RISK_CATEGORIES or not patterns:
        return True
    own = _pattern(name)
    if own.is_exact:
        return any(pattern.matches(own.prefix) for pattern in patterns)
    return any(own.matches(each.prefix) if each.is_exact else overlap(own, each) for each in patterns)
