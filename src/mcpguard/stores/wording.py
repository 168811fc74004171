"""Says in the user's words what a model found wrong with a file: a policy, or another whose vocabulary it is given.

Knows the policy's keys and the shapes of pydantic's errors; where a part stands comes with the reading of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.policy.model import (
    IN_OUR_WORDS,
    AllTools,
    Approval,
    ApprovalRule,
    Audit,
    Condition,
    Limit,
    Part,
    PlainLimit,
    PolicyFile,
    RateLimit,
    Rule,
    ServerRequests,
    Tool,
    Use,
)
from mcpguard.stores.text import Position, Reading, Remark, quoted, step

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Steps: TypeAlias = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the objects of one kind of file are: `objects` are their models, that of the whole file first.

    `owner_of` gives the model of the object at a place as pydantic names it, and `place_of` the place in the text.
    """

    objects: tuple[type[Part], ...]
    owner_of: Callable[[Steps], type[Part]]
    place_of: Callable[[Steps], Steps] = lambda steps: steps


_OBJECTS: Final[tuple[type[Part], ...]] = (
    PolicyFile,
    Tool,
    Limit,
    RateLimit,
    Rule,
    ApprovalRule,
    Condition,
    AllTools,
    Use,
    ServerRequests,
    Approval,
    Audit,
)
_SECTIONS: Final[Mapping[str, type[Part]]] = {
    "all_tools": AllTools,
    "server_requests": ServerRequests,
    "approval": Approval,
    "audit": Audit,
}
_KINDS: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
_HINTS: Final = {"version": '; add "version": "1"'}


def remarks_on(error: ValidationError, reading: Reading, words: Vocabulary) -> Iterator[Remark]:
    """Translate every error that pydantic found in what was read."""
    for detail in error.errors(include_url=False):
        yield _remark(detail, reading, words)


def position_of(rule: str, reading: Reading, *, key: bool) -> Position:
    """Return where `rule` stands: its key if asked and if it has one, else its value, else what surrounds it."""
    place = reading.places.get(rule)
    while place is None and rule:
        rule = rule.rpartition("/")[0]
        place = reading.places.get(rule)
    if place is None:
        return Position(1, 1)
    return place.key if key and place.key else place.value


def closest(word: str, options: Iterable[str]) -> str:
    """Give the option that a word may have been meant to be; empty if none is near."""
    by_lower: Mapping[str, str] = {option.lower(): option for option in options}
    found: Sequence[str] = get_close_matches(word[:100].lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""


def _remark(detail: ErrorDetails, reading: Reading, words: Vocabulary) -> Remark:
    about_key = detail["loc"][-1:] == ("[key]",)
    loc = detail["loc"][:-1] if about_key else detail["loc"]
    path = words.place_of(loc)
    rule = ""
    for part in path:
        rule = step(rule, part)
    place = reading.places.get(rule)
    what = place.what if place else "this"
    match detail["type"]:
        case "extra_forbidden":
            about_key = True
            message = _unknown_key(loc, words)
        case "missing":
            message = (
                f"{quoted(str(path[-1]))} is missing in {words.owner_of(loc[:-1]).NOUN}{_HINTS.get(str(path[-1]), '')}"
            )
        case "literal_error":
            message = _unknown_word(path, detail, what, words)
        case "greater_than_equal":
            message = f"{_subject(path, words)} must be {detail['ctx']['ge']} or more, not {what}"
        case kind if kind in _KINDS:
            hint = _entry_for(detail["input"]) if _is_tool(path) else ""
            message = f"{_subject(path, words)} must be {_KINDS[kind]}, not {what}{hint}"
        case kind if kind == IN_OUR_WORDS:
            message = detail["msg"] + (f", not {what}" if detail.get("ctx", {}).get("shows_value") else "")
        case _:
            message = f"{_subject(path, words)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return Remark(position_of(rule, reading, key=about_key), rule, message)


def _entry_for(given: object) -> str:
    """Say how a tool's entry is written that was given as nothing, or as no more than its action."""
    if given is None or given == "allow":
        return "; write {} to allow it"
    return f'; write {{"action": "{given}"}}' if given in ("deny", "hide", "require_approval") else ""


def _unknown_key(loc: Steps, words: Vocabulary) -> str:
    key, owner = str(loc[-1]), words.owner_of(loc[:-1])
    known = _keys(owner)
    guess = closest(key, known)
    if guess:
        return f"unknown key {quoted(key)} in {owner.NOUN}; did you mean `{guess}`?"
    homes = [home.NOUN for home in words.objects if home is not PlainLimit and key in _keys(home)]
    if homes:
        return f"unknown key {quoted(key)} in {owner.NOUN}; it belongs in {_either(homes)}"
    return f"unknown key {quoted(key)} in {owner.NOUN}; it can have {_either([f'`{name}`' for name in known], 'and')}"


def _unknown_word(path: Steps, detail: ErrorDetails, what: str, words: Vocabulary) -> str:
    known: list[str] = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
    allowed = _either([f"`{word}`" for word in known]) if len(known) > 1 else f'the string `"{known[0]}"`'
    given = detail["input"]
    if not isinstance(given, str):
        return f"{_subject(path, words)} must be {allowed}, not {what}"
    guess = closest(given, known)
    next_step = f"did you mean `{guess}`?" if guess else f"use {allowed}"
    if path[:1] in {("methods",), ("server_requests",)}:
        return f"unknown effect {quoted(given)} of {_subject(path, words)}; {next_step}"
    if isinstance(path[-1], int):
        return f"unknown entry {quoted(given)} of {quoted(str(path[-2]))}; {next_step}"
    return f"unknown {path[-1]} {quoted(given)}; {next_step}"


def _owner(path: Steps) -> type[Part]:
    match path:
        case ("tools", _):
            return Tool
        case (str(section),) if section in _SECTIONS:
            return _SECTIONS[section]
        case ("resources" | "prompts", _):
            return Use
        case ("resources" | "prompts", _, "limits", int()):
            return PlainLimit
        case (*_, "conditions", int()):
            return Condition
        case (*_, "require" | "deny_if", int()):
            return Rule
        case (*_, "approve_if", int()):
            return ApprovalRule
        case (*_, "limits", int()):
            return Limit
        case (*_, "rate_limit"):
            return RateLimit
        case _:
            return PolicyFile


OF_POLICIES: Final = Vocabulary(_OBJECTS, _owner)


def _subject(path: Steps, words: Vocabulary) -> str:
    match path:
        case ():
            return words.objects[0].NOUN
        case (*_, str(section), int()):
            return f"an entry of `{section}`"
        case _:
            return quoted(str(path[-1]))


def _is_tool(path: Steps) -> bool:
    return len(path) == 2 and path[0] in {"tools", "resources", "prompts"}


def _keys(owner: type[Part]) -> list[str]:
    return [field.alias or name for name, field in owner.model_fields.items() if field.alias != "$comment"]


def _either(words: list[str], last: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
