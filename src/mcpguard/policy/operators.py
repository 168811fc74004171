"""Defines the operators of conditions: which values each takes, how it judges an argument, and how to say so.

Three answers: yes, no, and unsure for what cannot be judged.  Knows no paths and no rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import ge, gt, le, lt
from typing import Any, Final, Literal, TypeAlias

from mcpguard.policy.patterns import RegexError, compile_regex
from mcpguard.policy.places import Resolve, host_of, is_host, lies_under, normal_host, path_problem
from mcpguard.policy.values import NO, UNSURE, YES, Answer, equal, equal_to_any, is_number, opposite, shown

Op: TypeAlias = Literal[
    "eq",
    "neq",
    "in",
    "not_in",
    "lt",
    "lte",
    "gt",
    "gte",
    "regex",
    "contains",
    "exists",
    "under",
    "not_under",
    "host_in",
    "not_host_in",
]
Judge: TypeAlias = Callable[[object, Resolve], Answer]
"""Answers about an argument that is there."""


class Unset(Enum):
    """The value of a condition that has none."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class ValueProblem(ValueError):  # noqa: N818 - it names what is wrong with a value
    """An operator cannot work with a value; the message says what it takes."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    `prepare` reads a value and returns what judges by it.  `absent` is the answer about an argument that is not there.
    `wants` says what the operator looks for, with the value in place of `{}`, and `doubt` what it needs to be sure.
    """

    prepare: Callable[[object], Judge]
    absent: Answer
    wants: str
    doubt: str


def prepare(op: Op, value: object) -> Judge:
    """Return what judges by `op` and `value`.

    Raises:
        ValueProblem: the operator cannot work with the value.
    """
    if value is UNSET and op != "exists":
        raise ValueProblem(f"`{op}` needs a `value`")
    return OPERATORS[op].prepare(value)


def answer_absent(op: Op, value: object) -> Answer:
    """Answer about an argument that is not there."""
    if op == "exists":
        return YES if value is False else NO
    return OPERATORS[op].absent


def wants(op: Op, value: object) -> str:
    """Say what a condition looks for: `one of "usd", "eur"`."""
    if op == "exists":
        return "its absence" if value is False else "a value"
    return OPERATORS[op].wants.format(_listed(value))


def doubt(op: Op, value: object) -> str:
    """Say what a condition would need to be sure."""
    return OPERATORS[op].doubt.format(_listed(value))


def _equal(value: object) -> Judge:
    return lambda argument, _: equal(argument, value)


def _not_equal(value: object) -> Judge:
    return lambda argument, _: opposite(equal(argument, value))


def _in(value: object) -> Judge:
    values = _list(value)
    return lambda argument, _: equal_to_any(argument, values)


def _not_in(value: object) -> Judge:
    values = _list(value)
    return lambda argument, _: opposite(equal_to_any(argument, values))


def _ordered(op: str, holds: Callable[[Any, Any], bool]) -> Callable[[object], Judge]:
    def prepare_number(value: object) -> Judge:
        if not is_number(value):
            raise ValueProblem(f"`{op}` compares numbers: `value` must be a number")
        return lambda argument, _: _sure(holds(argument, value)) if is_number(argument) else UNSURE

    return prepare_number


def _regex(value: object) -> Judge:
    if not isinstance(value, str):
        raise ValueProblem("`regex` needs a pattern: `value` must be a string")
    try:
        found_in = compile_regex(value)
    except RegexError as error:
        raise ValueProblem(f"`regex`: {error}") from None

    def judge(argument: object, _: Resolve) -> Answer:
        if not isinstance(argument, str):
            return UNSURE
        try:
            return _sure(found_in(argument))
        except UnicodeEncodeError:  # half of a surrogate pair, which no text from the wire holds
            return UNSURE

    return judge


def _contains(value: object) -> Judge:
    def judge(argument: object, _: Resolve) -> Answer:
        match argument:
            case str() if isinstance(value, str):
                return _sure(value in argument)
            case list():
                return max((equal(item, value) for item in argument), default=NO)
            case _:
                return UNSURE

    return judge


def _exists(value: object) -> Judge:
    if value is not UNSET and not isinstance(value, bool):
        raise ValueProblem("`exists` takes `true` or `false`, or no `value`, which means `true`")
    # JSON's null is how many clients say that they give no value.
    return lambda argument, _: _sure((argument is not None) is (value is not False))


def _under(value: object) -> Judge:
    directories = _texts("under", value)
    for directory in directories:
        problem = path_problem(directory) or ("" if directory else "a directory has a name")
        if problem:
            raise ValueProblem(f"`{directory}` is no directory that everybody reads alike: {problem}")
    return lambda argument, resolve: lies_under(argument, directories, resolve) if isinstance(argument, str) else UNSURE


def _not_under(value: object) -> Judge:
    judge = _under(value)
    return lambda argument, resolve: opposite(judge(argument, resolve))


def _host_in(value: object) -> Judge:
    wanted: list[str] = []
    for text in _texts("host_in", value):
        name = text.removeprefix("*.")
        host = normal_host(name)
        if host is None or (host != name.lower()) or (text != name and name[0] in "[0123456789"):
            raise ValueProblem(f"`{text}` is no host: write a name like `example.com`, `*.example.com`, or an address")
        wanted.append("*." * (text != name) + host)

    def judge(argument: object, _: Resolve) -> Answer:
        host = host_of(argument) if isinstance(argument, str) else None
        if host is None:
            return UNSURE
        return _sure(any(is_host(host, one) for one in wanted))

    return judge


def _not_host_in(value: object) -> Judge:
    judge = _host_in(value)
    return lambda argument, resolve: opposite(judge(argument, resolve))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueProblem("`in` and `not_in` need a list: `value` must be a list")
    return value


def _texts(op: str, value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueProblem(f"`{op}` and `not_{op}` need a string or a list of strings as `value`")
    return tuple(texts)


def _sure(holds: bool) -> Answer:  # noqa: FBT001 - it turns one into an answer
    return YES if holds else NO


def _listed(value: object) -> str:
    if not isinstance(value, list):
        return shown(value)
    most = 5
    texts = [shown(item) for item in value[:most]]
    if len(value) > most:
        texts.append(f"{len(value) - most} more")
    return ", ".join(texts) or "nothing"


_EXACTLY: Final = "the rule compares exactly with {}"
_NUMBERS: Final = "the rule compares numbers, with {}"
_TEXT: Final = "the rule looks for the pattern {} in text"
_INSIDE: Final = "the rule looks for {} in text and in lists"
_GIVEN: Final = "the rule cannot tell whether it is given"
_PLACE: Final = "the rule cannot tell whether that is under {}"
_HOST: Final = "the rule cannot tell whether the host of that is {}"

OPERATORS: Final[Mapping[Op, Operator]] = {
    "eq": Operator(_equal, NO, "{}", _EXACTLY),
    "neq": Operator(_not_equal, UNSURE, "anything but {}", _EXACTLY),
    "in": Operator(_in, NO, "one of {}", _EXACTLY),
    "not_in": Operator(_not_in, UNSURE, "none of {}", _EXACTLY),
    "lt": Operator(_ordered("lt", lt), NO, "less than {}", _NUMBERS),
    "lte": Operator(_ordered("lte", le), NO, "at most {}", _NUMBERS),
    "gt": Operator(_ordered("gt", gt), NO, "more than {}", _NUMBERS),
    "gte": Operator(_ordered("gte", ge), NO, "at least {}", _NUMBERS),
    "regex": Operator(_regex, NO, "the pattern {}", _TEXT),
    "contains": Operator(_contains, NO, "something that contains {}", _INSIDE),
    "exists": Operator(_exists, NO, "", _GIVEN),
    "under": Operator(_under, NO, "a path under {}", _PLACE),
    "not_under": Operator(_not_under, UNSURE, "no path under {}", _PLACE),
    "host_in": Operator(_host_in, NO, "a URL of the host {}", _HOST),
    "not_host_in": Operator(_not_host_in, UNSURE, "no URL of the host {}", _HOST),
}
