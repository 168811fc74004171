"""Reads the part of YAML 1.2 that says what JSON says, and where everything stands.

Plain scalars mean what the core schema of YAML 1.2 says, so `yes` and `on` are strings.  Anchors, aliases, merge keys,
tags, dates, keys that are no strings and duplicate keys are errors: each makes a policy mean other than it looks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from mcpguard.stores.text import MAX_DEPTH, Place, Position, Reading, exact_number, quoted, step

if TYPE_CHECKING:
    from ruamel.yaml.error import StreamMark

_CONSTANTS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOTHING: Final = "nothing"
_TAB: Final = r"found character '\t' that cannot start any token"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,4000}")
_OCTAL: Final = re.compile(r"0o[0-7]{1,4000}")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,4000}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_EXPLICIT: Final = re.compile(r"\?[ \t]*\Z")
_LOOK_BACK: Final = 1000
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?")


def read_yaml(text: str, noun: str = "policy") -> Reading:
    """Read `text`; what is wrong is in the `remarks`, and syntax ends the reading at the first error.

    `noun` is how remarks call what is written there.
    """
    reader = _Reader(text, noun)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except _TooDeepError:
        reader.reading.complete = False
    except MarkedYAMLError as error:
        position = _position(error.problem_mark) if error.problem_mark else Position(1, 1)
        reader.break_off(position, error.problem or "this is no YAML", text)
    except ReaderError as error:
        before = text[: error.position]
        reader.break_off(Position(before.count("\n") + 1, len(before) - before.rfind("\n")), error.reason, text)
    except (YAMLError, ValueError, IndexError, AttributeError, AssertionError, TypeError) as error:
        # The parser below has rough edges; whatever it says, the text is not one that anybody should rely on.
        reader.break_off(Position(1, 1), f"this is no YAML ({error})", text)
    return reader.reading


class _TooDeepError(Exception):
    """The nesting has been reported, and the rest is not worth reading."""


class _Open:
    """A list or object that has not ended."""

    __slots__ = ("data", "first_lines", "key", "pointer")

    def __init__(self, data: dict[str, object] | list[object], pointer: str) -> None:
        self.data = data
        self.pointer = pointer
        self.key: tuple[str, Position] | None = None
        self.first_lines: dict[str, int] = {}


class _Reader:
    def __init__(self, text: str, noun: str) -> None:
        self._noun = noun
        self.reading = Reading()
        self._text = text
        self._documents = 0
        self._open: list[_Open] = []

    def take(self, event: object) -> None:
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.reading.report(
                        _position(event.start_mark), f"a {self._noun} is one document; take out the others"
                    )
                if event.version not in {None, (1, 2)}:
                    self.reading.report(
                        _position(event.start_mark), f"a {self._noun} is YAML 1.2; take out the directive"
                    )
            case MappingEndEvent() | SequenceEndEvent():
                self._open.pop()
            case NodeEvent():
                self._node(event)
            case _:
                pass

    def break_off(self, position: Position, problem: str, text: str) -> None:
        lines = text.split("\n")
        first = lines[position.line - 1].strip()[:1] if position.line <= len(lines) else ""
        if problem == _TAB:
            self.reading.report(position, "wrong YAML: a tab; YAML is indented with spaces")
            self.reading.complete = False
            return
        hint = f"; text that begins with `{first}` needs quotes" if first and first in "*&!@`%?|>" else ""
        self.reading.report(position, f"wrong YAML: {problem.lower()}{hint}")
        self.reading.complete = False

    def _node(self, event: NodeEvent) -> None:
        position = _position(event.start_mark)
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.data, dict) and parent.key is None:
            parent.key = (self._key(event, position, parent), position)
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                self._push(_Open([], parent.pointer), position)
            return
        key_at, pointer = None, ""
        if parent is not None:
            key_at, pointer = self._step(parent)
        self._refuse_extras(event, position, pointer)
        value, what = self._value(event, position, pointer)
        # What is not there stands where its key does: the parser would point at whatever comes next.
        plain = event.value if isinstance(event, ScalarEvent) and _is_plain(event) else None
        self.reading.places[pointer] = Place(key_at or position if what == _NOTHING else position, key_at, what, plain)
        self._put(parent, value)
        if isinstance(value, (dict, list)):
            self._push(_Open(value, pointer), position)

    def _key(self, event: NodeEvent, position: Position, parent: _Open) -> str:
        if not isinstance(event, ScalarEvent):
            self.reading.report(position, "a key must be a string", parent.pointer)
            return ""
        key = self.reading.whole(event.value, position, parent.pointer)
        pointer = step(parent.pointer, key)
        self._refuse_extras(event, position, pointer)
        if _EXPLICIT.search(self._text, max(0, event.start_mark.index - _LOOK_BACK), event.start_mark.index):
            # Between braces the parser takes the `?` of a pattern for this mark, and the name for one without it.
            self.reading.report(position, f'put quotes around a name that begins with `?`: `"?{key}"`', pointer)
        elif _is_plain(event) and key == "<<":
            self.reading.report(position, f"merge keys have no place in a {self._noun}; write the keys out", pointer)
        elif _is_plain(event) and not isinstance(_resolved(key), str):
            self.reading.report(position, f"a key must be a string; put quotes around {quoted(key)}", pointer)
        if key in parent.first_lines:
            line = parent.first_lines[key]
            message = f"duplicate key {quoted(key)}; the first is at line {line}; keep one of them"
            self.reading.report(position, message, pointer)
        parent.first_lines.setdefault(key, position.line)
        return key

    def _step(self, parent: _Open) -> tuple[Position | None, str]:
        if isinstance(parent.data, list):
            return None, step(parent.pointer, len(parent.data))
        key, key_at = parent.key or ("", None)
        return key_at, step(parent.pointer, key)

    def _put(self, parent: _Open | None, value: object) -> None:
        if parent is None:
            self.reading.data = value
        elif isinstance(parent.data, list):
            parent.data.append(value)
        elif parent.key is not None:
            parent.data[parent.key[0]] = value
            parent.key = None

    def _push(self, opened: _Open, position: Position) -> None:
        self._open.append(opened)
        if len(self._open) > MAX_DEPTH:
            self.reading.report(position, f"this is nested too deeply for a {self._noun}", opened.pointer)
            raise _TooDeepError

    def _refuse_extras(self, event: NodeEvent, position: Position, pointer: str) -> None:
        if isinstance(event, AliasEvent):
            message = (
                f"aliases have no place in a {self._noun}; write the value out, or put quotes around `*{event.anchor}`"
            )
            self.reading.report(position, message, pointer)
        elif event.anchor is not None:
            self.reading.report(position, f"anchors have no place in a {self._noun}; write the value out", pointer)
        if getattr(event, "tag", None) is not None:
            self.reading.report(position, f"tags have no place in a {self._noun}; leave it out", pointer)

    def _value(self, event: NodeEvent, position: Position, pointer: str) -> tuple[object, str]:
        match event:
            case MappingStartEvent():
                return {}, "an object"
            case SequenceStartEvent():
                return [], "a list"
            case ScalarEvent():
                text = self.reading.whole(event.value, position, pointer)
                value = _resolved(text) if _is_plain(event) else text
                if _is_plain(event) and (_DATE.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
                    message = (
                        f"dates, `.inf` and `.nan` have no place in a {self._noun}; put quotes around {quoted(text)}"
                    )
                    self.reading.report(position, message, pointer)
                return value, _spoken(value, text)
            case _:
                return None, "an alias"


def _spoken(value: object, text: str) -> str:
    match value:
        case None:
            return _NOTHING
        case bool():
            return quoted(text)
        case str():
            return f"the string {quoted(text)}"
        case _:
            return f"the number {quoted(text)}"


def _is_plain(event: ScalarEvent) -> bool:
    return event.style is None and bool(event.implicit[0])


def _resolved(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    return exact_number(text) if _FLOAT.fullmatch(text) else text


def _position(mark: StreamMark) -> Position:
    return Position(mark.line + 1, mark.column + 1)
