"""Reads a condition of a policy as its owner would: what it answers about a plain value.

The second opinion on what the guard judges, and written from the description of the language (docs/policy.md) alone: it shares no code with the
operators. Where a value is not plain, or the description leaves a doubt, it does not say.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcpguard.proof.patterns import found_in

if TYPE_CHECKING:
    from mcpguard.policy.model import Condition

Answer: TypeAlias = Literal["yes", "no", "unsure"]
Said: TypeAlias = Answer | None
"""None: it is not for this reading to say."""
Kind: TypeAlias = Literal["require", "deny_if", "approve_if"]
Step: TypeAlias = str | None
"""A step into the arguments; None is the step `*`."""


class Missing(Enum):
    """What a path finds where there is no value."""

    ABSENT = "absent"
    BLOCKED = "blocked"
    """A value in which no step can be taken."""


ABSENT: Final = Missing.ABSENT
BLOCKED: Final = Missing.BLOCKED

_OPPOSITE: Final[Mapping[Said, Said]] = {"yes": "no", "no": "yes", "unsure": "unsure", None: None}
_NEGATIVE: Final[Mapping[str, str]] = {"neq": "eq", "not_in": "in", "not_under": "under", "not_host_in": "host_in"}
_TRUTHS: Final = frozenset(("true", "false", "1", "0", "yes", "no", "on", "off", "y", "n", "t", "f"))
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9._/+@,:=-]+(?: [A-Za-z0-9._/+@,:=-]+)*")
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,60}[A-Za-z0-9])?"
_PLAIN_URL: Final = re.compile(rf"https?://({_LABEL}(?:\.{_LABEL})*)(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._/-]*)?")
_USER_IN_URL: Final = re.compile(r"https?://[a-z]+@[a-z.]+/")
_ADDRESS: Final = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?=[0-9])|\b)){4}")
_MAX_INDEX_DIGITS: Final = 6


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[Step, ...]:
    """Read a path: `args.a.*.b`, or a JSON Pointer."""
    if path.startswith("/"):
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))
    return tuple(None if step == "*" else step for step in path.split(".")[1:])


def find_all(value: object, steps: Sequence[Step]) -> Iterator[object]:
    """Yield what a path finds, `ABSENT` or `BLOCKED` where that is no value; nothing to range over is an absent value."""
    if not steps:
        yield value
        return
    step, *rest = steps
    if value is None:
        yield ABSENT
    elif step is None and isinstance(value, (dict, list)):
        items = list(value.values()) if isinstance(value, dict) else value
        if not items:
            yield ABSENT
        for item in items:
            yield from find_all(item, rest)
    elif step is not None and isinstance(value, dict):
        if step in value:
            yield from find_all(value[step], rest)
        else:
            yield ABSENT
    elif step is not None and isinstance(value, list) and is_index(step):
        if int(step) < len(value):
            yield from find_all(value[int(step)], rest)
        else:
            yield ABSENT
    else:
        yield BLOCKED


def is_index(step: str) -> bool:
    """Whether a step can be the index of a list."""
    return bool(re.fullmatch(r"0|[1-9][0-9]*", step)) and len(step) <= _MAX_INDEX_DIGITS


def rule_says(conditions: Sequence[Condition], kind: Kind, arguments: Mapping[str, object]) -> Said:
    """Say what a rule answers: no if one of its conditions does, else unsure if one is, else yes."""
    return _weakest([condition_says(condition, kind, arguments) for condition in conditions])


def condition_says(condition: Condition, kind: Kind, arguments: Mapping[str, object]) -> Said:
    """Say what a condition answers: under `require` the weakest answer of all that its path finds counts, else the strongest."""
    found = find_all(arguments, steps_of(condition.path))
    answers = [says(condition.op, condition.value, each) for each in found]
    return _weakest(answers) if kind == "require" else _strongest(answers)


def _weakest(answers: Sequence[Said]) -> Said:
    for answer in ("no", None, "unsure"):
        if answer in answers:
            return answer
    return "yes"


def _strongest(answers: Sequence[Said]) -> Said:
    for answer in ("yes", None, "unsure"):
        if answer in answers:
            return answer
    return "no"


def says(op: str, value: object, found: object) -> Said:
    """Say what an operator answers about one value that a path has found, or about its absence."""
    if found is BLOCKED:
        return "unsure"
    if op == "exists":
        is_there = found is not ABSENT and found is not None
        return "yes" if is_there is (value is not False) else "no"
    if found is ABSENT:
        return "unsure" if op in _NEGATIVE else "no"
    if op in _NEGATIVE:
        return _OPPOSITE[says(_NEGATIVE[op], value, found)]
    match op:
        case "eq":
            return equals(found, value)
        case "in":
            assert isinstance(value, list)
            return _strongest([equals(found, each) for each in value])
        case "lt" | "lte" | "gt" | "gte":
            return _ordered(op, found, value)
        case "regex":
            return _sure(found_in(str(value), found)) if isinstance(found, str) else "unsure"
        case "contains":
            return _contains(found, value)
        case "under":
            return _under(found, texts_in(value)) if isinstance(found, str) else "unsure"
        case "host_in":
            return _host_in(found, texts_in(value)) if isinstance(found, str) else "unsure"
        case _:
            return None


def _sure(holds: bool | None) -> Said:  # noqa: FBT001 - it turns one into an answer
    return None if holds is None else "yes" if holds else "no"


def is_number(value: object) -> bool:
    """Whether a value is a JSON number; `true` is none."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def equals(found: object, value: object) -> Said:
    """Say whether two values are equal, or would be after what servers do to them."""
    kinds = {_kind(found), _kind(value)}
    if len(kinds) == 1:
        return _equal_alike(found, value)
    if kinds & {"list", "object", "null"}:
        return "unsure"
    if kinds == {"number", "boolean"}:
        number = value if isinstance(found, bool) else found
        return "unsure" if number in (0, 1) else "no"
    text = found if isinstance(found, str) else value
    assert isinstance(text, str)
    if not text.isascii() or text.lstrip()[:1] in {"[", "{", '"'}:
        return None
    if "number" in kinds:
        return "unsure" if any(each.isdigit() for each in text) else "no"
    return "unsure" if text.strip().lower() in _TRUTHS else "no"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | Decimal():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case _:
            return "object"


def _equal_alike(found: object, value: object) -> Said:
    match found, value:
        case str(), str():
            return _equal_texts(found, value)
        case list(), list():
            if len(found) != len(value):
                return "no"
            return _weakest([equals(mine, theirs) for mine, theirs in zip(found, value, strict=True)])
        case dict(), dict():
            if found.keys() == value.keys():
                return _weakest([equals(item, value[key]) for key, item in found.items()])
            return "no" if not found or not value else None
        case (int() | Decimal(), int() | Decimal()) if found != value:
            try:
                return "unsure" if float(found) == float(value) else "no"
            except OverflowError:
                return None
        case _:
            return "yes" if found == value else "no"


def _equal_texts(found: str, value: str) -> Said:
    if found == value:
        return "yes"
    if not (found + value).isascii() or found.lstrip()[:1] in {"[", "{", '"'}:
        return None
    return "unsure" if found.strip().lower() == value.strip().lower() else "no"


def _ordered(op: str, found: object, value: object) -> Said:
    if not is_number(found):
        return "unsure"
    assert isinstance(found, (int, Decimal))
    assert isinstance(value, (int, Decimal))
    return _sure({"lt": found < value, "lte": found <= value, "gt": found > value, "gte": found >= value}[op])


def _contains(found: object, value: object) -> Said:
    if isinstance(found, list):
        return _strongest([equals(each, value) for each in found])
    if isinstance(found, str) and isinstance(value, str):
        return _sure(value in found)
    return "unsure"


def texts_in(value: object) -> list[str]:
    """List the texts of a condition that takes one or several: directories, or hosts."""
    return [value] if isinstance(value, str) else list(map(str, value)) if isinstance(value, (list, tuple)) else []


def _under(found: str, directories: Sequence[str]) -> Said:
    """Compare by letters: whoever asks chooses paths without symbolic links."""
    if "\\" in found or "%" in found or "$" in found or "\0" in found or found.startswith(("~", "file:")):
        return "unsure"
    if not all(_PLAIN_PATH.fullmatch(each) for each in (found, *directories)):
        return None
    return _strongest([_within(found, directory) for directory in directories])


def _within(path: str, directory: str) -> Said:
    if path.startswith("/") != directory.startswith("/"):
        return None  # depends on where the guard is started
    here, there = _places(path), _places(directory)
    if here is None or there is None or here == there:
        return None
    return "yes" if here[: len(there)] == there else "no"


def _places(path: str) -> list[str] | None:
    """Split a path into names; None if it leaves the working directory, and so may be anywhere."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if not names and not path.startswith("/"):
                return None
            names = names[:-1]
        elif name not in ("", "."):
            names.append(name)
    return names


def sibling_of(directory: str) -> str:
    """Give a directory beside one, whose name begins alike."""
    return f"{posixpath.normpath(directory)}-other"


def _host_in(found: str, hosts: Sequence[str]) -> Said:
    if _USER_IN_URL.fullmatch(found):
        return "unsure"
    host = _host_of(found)
    if host is None:
        return None
    return _strongest([_is_host(host, one.lower()) for one in hosts])


def _is_host(host: str, wanted: str) -> Said:
    if wanted.startswith("*."):
        return _sure(host.endswith(wanted[1:]) and len(host) > len(wanted) - 1)
    return _sure(host == wanted)


def _host_of(url: str) -> str | None:
    """Give the host of a plain URL; None for everything else, also for what could be an address in disguise."""
    written = _PLAIN_URL.fullmatch(url)
    if written is None:
        return None
    host = written[1].lower()
    last = host.rpartition(".")[2]
    if last[0].isdigit() and not _ADDRESS.fullmatch(host):
        return None
    return host
