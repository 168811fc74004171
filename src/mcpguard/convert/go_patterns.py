r"""Writes a regular expression of Go for the engine that judges here, or says why it cannot.

Go's dialect is that of RE2: ASCII `\d`, `\w`, `\s` and `\b`, POSIX classes, flags such as `(?i)`, `\Q…\E`, a `{` that may stand for
itself.  Everything in it that means something else here is written out; what has no counterpart is refused.  A pattern
that means the same in both is returned as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from mcpguard.policy.patterns import RegexError, compile_regex

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Characters as ranges of code points, both ends included."""

_MAX_DEPTH: Final = 100
_MAX_REPEAT: Final = 1000
_LAST: Final = 0x10FFFF
_FEW: Final = 512
_META: Final = frozenset("\\.+*?()|[]{}^$/-")
_PLAIN_IN_CLASS: Final = frozenset(" !\"#%'()*+,./:;<=>?@_`{|}$")
_NOT_VERBATIM_IN_CLASS: Final = frozenset("[&~")
_FLAGS: Final = frozenset("imsU")
_CONTROLS: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_SAME_CONTROLS: Final = frozenset("tnr")


def _of(text: str) -> Ranges:
    return tuple((ord(text[at]), ord(text[at + 1])) for at in range(0, len(text), 2))


_DIGITS: Final = _of("09")
_WORDS: Final = _of("09AZ__az")
_SPACES: Final = _of("\t\n\f\r  ")
_PERL: Final = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_POSIX: Final = {
    "alnum": _of("09AZaz"),
    "alpha": _of("AZaz"),
    "ascii": _of("\x00\x7f"),
    "blank": _of("\t\t  "),
    "cntrl": _of("\x00\x1f\x7f\x7f"),
    "digit": _DIGITS,
    "graph": _of("!~"),
    "lower": _of("az"),
    "print": _of(" ~"),
    "punct": _of("!/:@[`{~"),
    "space": _of("\t\r  "),
    "upper": _of("AZ"),
    "word": _WORDS,
    "xdigit": _of("09AFaf"),
}
_KELVIN: Final = 0x212A
_LONG_S: Final = 0x17F


class PatternProblem(ValueError):  # noqa: N818 - it names what is wrong with a pattern
    """A pattern has no counterpart here; the message says what it is about it."""


def translate(pattern: str) -> str:
    """Return a pattern of our engine that is found in exactly the texts in which Go finds `pattern`.

    Raises:
        PatternProblem: there is none, or nobody can be sure.
    """
    reader = _Reader(pattern)
    written = reader.alternatives(_Flags(), 0)
    if reader.rest:
        raise PatternProblem("it has a `)` too many")
    result = written if reader.changed else pattern
    try:
        compile_regex(result)
    except RegexError:
        raise PatternProblem("the engine here does not take it") from None
    return result


@dataclass(frozen=True, slots=True)
class _Flags:
    folds: bool = False
    lines: bool = False
    dot_is_all: bool = False


class _Reader:
    """Reads a pattern and writes it for the other engine, in one pass.  `changed` says whether that made a difference."""

    def __init__(self, pattern: str) -> None:
        self.changed = False
        self._pattern = pattern
        self._at = 0

    @property
    def rest(self) -> str:
        """What has not been read."""
        return self._pattern[self._at :]

    def alternatives(self, flags: _Flags, depth: int) -> str:
        """Read up to the end of the group; flags that are set in one alternative hold for those behind it."""
        if depth > _MAX_DEPTH:
            raise PatternProblem("it is nested too deeply")
        written: list[str] = []
        atom, repeated = "", False
        while self._at < len(self._pattern) and self._pattern[self._at] != ")":
            if self._take("|"):
                written.append("|")
                atom = ""
                continue
            repeat = self._repetition()
            if repeat is not None:
                if not atom or repeated:
                    raise PatternProblem("it repeats what cannot be repeated")
                written[-1] = f"(?:{atom}){repeat}" if atom in {"^", "$"} else f"{atom}{repeat}"
                repeated = True
                continue
            found = self._flags_alone(flags)
            if found is not None:
                flags, atom = found, ""
                continue
            quoted = self._quoted(flags)
            if quoted is not None:
                written += quoted
                atom, repeated = (quoted[-1] if quoted else atom), False if quoted else repeated
                continue
            atom, repeated = self._atom(flags, depth), False
            written.append(atom)
        return "".join(written)

    def _take(self, text: str) -> bool:
        if self._pattern.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise PatternProblem("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _until(self, end: str) -> str:
        stop = self._pattern.find(end, self._at)
        if stop < 0:
            raise PatternProblem(f"it has no `{end}` where one belongs")
        text = self._pattern[self._at : stop]
        self._at = stop + len(end)
        return text

    def _repetition(self) -> str | None:
        for mark in "*+?":
            if self._take(mark):
                return mark + "?" * self._take("?")
        if not self._pattern.startswith("{", self._at):
            return None
        body, closed, _ = self._pattern[self._at + 1 :].partition("}")
        least, comma, most = body.partition(",")
        if not closed or not _is_count(least) or (most and not _is_count(most)):
            return None
        if int(least) > _MAX_REPEAT or (most and not int(least) <= int(most) <= _MAX_REPEAT):
            raise PatternProblem("it repeats something too often")
        self._at += len(body) + 2
        return f"{{{least}{comma}{most}}}" + "?" * self._take("?")

    def _flags_alone(self, flags: _Flags) -> _Flags | None:
        """Read `(?i)`, which is no group; None if something else comes."""
        if not self._pattern.startswith("(?", self._at):
            return None
        letters, closed, _ = self._pattern[self._at + 2 :].partition(")")
        if not closed or not letters or not set(letters) <= _FLAGS | {"-"}:
            return None
        self._at += len(letters) + 3
        return self._set(flags, letters)

    def _set(self, flags: _Flags, letters: str) -> _Flags:
        self.changed = True
        on, minus, off = letters.partition("-")
        if (minus and not off) or not set(on + off) <= _FLAGS:
            raise PatternProblem(f"it has a group `(?{letters}`")
        for letter in on + off:
            match letter:
                case "i":
                    flags = replace(flags, folds=letter in on)
                case "m":
                    flags = replace(flags, lines=letter in on)
                case "s":
                    flags = replace(flags, dot_is_all=letter in on)
                case _:
                    pass  # `U` changes how much is found, not whether something is
        return flags

    def _quoted(self, flags: _Flags) -> list[str] | None:
        if not self._take("\\Q"):
            return None
        self.changed = True
        text, _, _ = self.rest.partition("\\E")
        self._at = min(len(self._pattern), self._at + len(text) + 2)
        return [self._literal(character, flags) for character in text]

    def _atom(self, flags: _Flags, depth: int) -> str:
        character = self._next()
        match character:
            case "(":
                return self._group(flags, depth)
            case "[":
                return self._class(flags)
            case "\\":
                return self._escape(flags)
            case ".":
                return "(?s:.)" if flags.dot_is_all else "."
            case "^" | "$":
                return f"(?m:{character})" if flags.lines else character
            case "{":
                self.changed = True
        return self._literal(character, flags)

    def _group(self, flags: _Flags, depth: int) -> str:
        if self._take("?"):
            if self._take("P<") or self._take("<"):
                self.changed = True
                name = self._until(">")
                if not name.replace("_", "a").isalnum():
                    raise PatternProblem(f"it has a group `(?{name}`")
            elif not self._take(":"):
                letters = self.rest.partition(":")[0]
                if not set(letters) <= _FLAGS | {"-"}:
                    raise PatternProblem(f"it has a group that begins with `(?{letters[:1]}`")
                flags = self._set(flags, self._until(":"))
        inner = self.alternatives(flags, depth + 1)
        if not self._take(")"):
            raise PatternProblem("it has no `)` where one belongs")
        return f"(?:{inner})"

    def _escape(self, flags: _Flags) -> str:
        character = self._next()
        if character.lower() in _PERL:
            ranges = _PERL[character.lower()]
            if character in "dDwW" and not flags.folds:
                return f"\\{character}"
            self.changed = True
            return _written(_folded(ranges) if flags.folds else ranges, negated=character.isupper())
        match character:
            case "b" | "B":
                self.changed = True
                return f"(?-u:\\{character})"
            case "A" | "z":
                self.changed = True
                return "^" if character == "A" else "$"
            case _:
                self._at -= 1
                return self._literal(chr(self._escaped()), flags)

    def _escaped(self) -> int:
        """Read what stands behind a backslash and means one character."""
        character = self._next()
        if character in _CONTROLS:
            self.changed |= character not in _SAME_CONTROLS
            return _CONTROLS[character]
        if character == "x":
            return self._hexadecimal()
        if character.isalnum() or not character.isascii():
            raise PatternProblem(f"it has `\\{character}`")
        self.changed |= character not in _META
        return ord(character)

    def _hexadecimal(self) -> int:
        if self._take("{"):
            self.changed = True
            digits = self._until("}")
        else:
            digits = self._next() + self._next()
        if not digits or len(digits) > 8 or not set(digits) <= set("0123456789abcdefABCDEF"):
            raise PatternProblem("it has a `\\x` without a number")
        code = int(digits, 16)
        if code > _LAST or 0xD800 <= code <= 0xDFFF:
            raise PatternProblem("it has a `\\x` that is no character")
        return code

    def _literal(self, character: str, flags: _Flags) -> str:
        if not flags.folds:
            return _spelled(character)
        ranges = _folded(((ord(character), ord(character)),))
        return _spelled(character) if len(ranges) == 1 else _written(ranges, negated=False)

    def _class(self, flags: _Flags) -> str:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self._take("]"):
            first = False
            found = self._group_of_class(flags)
            if found is not None:
                ranges += found
                continue
            low = high = self._in_class(first=not ranges)
            if self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at):
                self._at += 1
                high = self._in_class(first=False)
                self.changed |= "-" in {chr(low), chr(high)}
                if high < low:
                    raise PatternProblem("it has a range that goes backwards")
            ranges += _folded(((low, high),)) if flags.folds else ((low, high),)
        return _written(tuple(ranges), negated=negated)

    def _group_of_class(self, flags: _Flags) -> Ranges | None:
        """Read a set of characters within brackets; None if something else comes."""
        if self._pattern.startswith("[:", self._at) and ":]" in self.rest[2:]:
            self._at += 2
            self.changed = True
            name = self._until(":]")
            ranges = _POSIX.get(name.removeprefix("^"))
            if ranges is None:
                raise PatternProblem(f"it has `[:{name}:]`")
            return _chosen(ranges, flags, negated=name.startswith("^"))
        mark = self._pattern[self._at + 1 : self._at + 2]
        if not self._pattern.startswith("\\", self._at) or mark.lower() not in _PERL or not mark:
            return None
        self._at += 2
        self.changed |= mark not in "dw" or flags.folds
        return _chosen(_PERL[mark.lower()], flags, negated=mark.isupper())

    def _in_class(self, *, first: bool) -> int:
        character = self._next()
        if character == "\\":
            return self._escaped()
        at_end = self._pattern.startswith("]", self._at)
        if character in _NOT_VERBATIM_IN_CLASS or character == "]" or (character == "-" and not first and not at_end):
            self.changed = True
        return ord(character)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and len(text) <= 9


def _chosen(ranges: Ranges, flags: _Flags, *, negated: bool) -> Ranges:
    ranges = _folded(ranges) if flags.folds else ranges
    return _complement(ranges) if negated else ranges


def _folded(ranges: Ranges) -> Ranges:
    """Add the other case of every letter, as Unicode's simple folding has it."""
    found = set(ranges)
    for low, high in ranges:
        others = range(max(low, 0x80), high + 1)
        if len(others) > _FEW or any(_has_case(chr(code)) for code in others):
            raise PatternProblem("it ignores the case of letters that are not ASCII")
        for first, last, shift in ((0x41, 0x5A, 32), (0x61, 0x7A, -32)):
            if max(low, first) <= min(high, last):
                found.add((max(low, first) + shift, min(high, last) + shift))
        for letters, other in (((0x4B, 0x6B), _KELVIN), ((0x53, 0x73), _LONG_S)):
            if any(low <= letter <= high for letter in letters):
                found.add((other, other))
    return tuple(sorted(found))


def _has_case(character: str) -> bool:
    return not character.lower() == character.upper() == character.casefold() == character


def _complement(ranges: Ranges) -> Ranges:
    found = []
    start = 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


def _written(ranges: Ranges, *, negated: bool) -> str:
    if not _complement(ranges) and negated:
        raise PatternProblem("it has a class without characters")
    parts = []
    for low, high in ranges:
        parts.append(_spelled_in_class(low))
        if high > low:
            parts.append("-" + _spelled_in_class(high))
    return f"[{'^' * negated}{''.join(parts)}]"


def _spelled(character: str) -> str:
    if character in _META and character not in "/-":
        return f"\\{character}"
    return character if character.isprintable() else _coded(ord(character))


def _spelled_in_class(code: int) -> str:
    character = chr(code)
    is_plain = (character.isalnum() and character.isascii()) or character in _PLAIN_IN_CLASS
    return character if is_plain else _coded(code)


def _coded(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{{{code:x}}}"
