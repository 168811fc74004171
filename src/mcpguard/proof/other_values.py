"""Knows what a single value of a policy can be instead, by one small change: a number, a set, a pattern; and how values stand in what is said.

A set that is made wider takes in what was tried: nobody but a call with that very value could notice.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from mcpguard.policy.canonical import canonical
from mcpguard.policy.operators import Op, ValueProblem, prepare
from mcpguard.policy.paths import ABSENT, BLOCKED, Path
from mcpguard.policy.places import host_of
from mcpguard.policy.values import YES, is_number

Data: TypeAlias = dict[str, Any]
"""An object of a policy, as a file holds it."""
Steps: TypeAlias = tuple[str | int, ...]
"""Where something stands in data: keys, and indices of lists."""
Direction: TypeAlias = Literal["looser", "stricter", "either"]
"""What a change can do: let more calls pass, or fewer, or nobody has worked it out."""

_STRANGER: Final = "stranger"
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Tried:
    """The arguments of the calls that an entry decides about, as far as any are known, and where paths lead."""

    arguments: Sequence[Mapping[str, object]] = ()
    resolve: Callable[[str], str | None] = lambda _: None

    def at(self, path: Path) -> list[object]:
        """Give what stands at a path."""
        found = [value for arguments in self.arguments for _, value in path.find_all(arguments)]
        return [value for value in found if value is not ABSENT and value is not BLOCKED]


def strangers_for(op: Op, members: list[Any], tried: Tried, path: Path) -> list[Any]:
    """Give what a set may be made wider by: all that was tried outside of it, else something that nobody has tried."""
    positive: Any = op.removeprefix("not_")
    try:
        is_in = prepare(positive, members)
    except ValueProblem:
        return []
    outside = [value for value in tried.at(path) if is_in(value, tried.resolve) is not YES]
    found: dict[str, Any] = {}
    for value in outside:
        stranger = _member_for(positive, value, tried)
        if stranger is not None:
            found.setdefault(canonical(stranger), stranger)
    return list(found.values()) or [_unknown(positive, members)]


def _member_for(op: str, value: object, tried: Tried) -> object:
    """Give what a set must hold so that a value is in it; None if nothing does."""
    match op:
        case "in":
            return value if isinstance(value, (str, int, Decimal)) else None
        case "host_in":
            return host_of(value) if isinstance(value, str) else None
        case _:
            home = tried.resolve(".") if isinstance(value, str) else None
            return None if home is None else tried.resolve(posixpath.join(home, str(value)))


def _unknown(op: str, members: Sequence[Any]) -> object:
    """Give something that is surely not in a set."""
    match op:
        case "under":
            return f"/{_STRANGER}"
        case "host_in":
            return f"{_STRANGER}.example"
        case _ if members and all(is_number(member) for member in members):
            return max(members) + 1
        case _:
            return _STRANGER


def wider_patterns(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield in words what is gone from a regular expression, and the one without it, which is found in more texts."""
    if pattern.startswith("^"):
        yield 'without "^"', pattern[1:]
    if re.search(r"(?<!\\)(?:\\\\)*\$\Z", pattern):
        yield 'without "$"', pattern[:-1]
    unescaped = re.sub(r"(?<!\\)((?:\\\\)*)\\\.(?![^\[\]]*\])", r"\1.", pattern)
    if unescaped != pattern:
        yield "with every dot for any character", unescaped


def numbers_beside(number: int | Decimal) -> Iterator[tuple[bool, int | Decimal]]:
    """Yield the next larger and the next smaller number, in its last digit, and whether it is the larger."""
    sign, digits, exponent = Decimal(number).as_tuple()
    if not isinstance(exponent, int) or exponent >= 0:
        yield True, int(number) + 1
        yield False, int(number) - 1
        return
    # Not by adding: that rounds to the digits of a context, and knows no numbers as small as can be written.
    count = int("".join(map(str, digits))) * (-1 if sign else 1)
    yield True, Decimal(f"{count + 1}E{exponent}")
    yield False, Decimal(f"{count - 1}E{exponent}")


def each_left_out(members: list[Any]) -> Iterator[tuple[list[Any], Any]]:
    """Yield the list without one of its members, and that member; nothing if there is only one."""
    if len(members) > 1:
        for index, member in enumerate(members):
            yield [*members[:index], *members[index + 1 :]], member


# Data and words


def replaced(value: Any, steps: Steps, new: object) -> Any:  # noqa: ANN401 - JSON
    """Return the data with something else at `steps`."""
    if not steps:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[steps[0]] = replaced(value[steps[0]], steps[1:], new)  # type: ignore[index]
    return copy


def without(value: Any, steps: Steps) -> Any:  # noqa: ANN401 - JSON
    """Return the data without what stands at `steps`."""
    copy = list(value) if isinstance(value, list) else dict(value)
    if len(steps) == 1:
        del copy[steps[0]]  # type: ignore[arg-type]
    else:
        copy[steps[0]] = without(value[steps[0]], steps[1:])  # type: ignore[index]
    return copy


def text_of(value: object) -> str:
    """Write a value as JSON, cut off where it gets long."""
    text = canonical(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def texts_of(values: Sequence[object]) -> str:
    """Write some values, the first three of them if they are more."""
    return " and ".join(text_of(value) for value in values[:3]) + (" and more" if len(values) > 3 else "")
