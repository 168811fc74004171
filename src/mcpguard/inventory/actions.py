"""Finds the arguments of a tool that choose what it does: an action out of a list, or a text in a language that can do anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mcpguard.inventory.words import RANK, read_name, words_of

if TYPE_CHECKING:
    from mcpguard.policy.decision import Category

_CHOOSING: Final = frozenset(
    "action actions operation operations op command cmd method verb subcommand mutation".split()
)
_WRAPPING: Final = frozenset("params input request args arguments options payload body".split())
_ACTING: Final = frozenset("action actions operation operations op".split())
_PLACES: Final = frozenset("path dir directory file folder filename filepath".split())
_WRITTEN: Final = frozenset("output out save destination dest download local target".split())
_INSISTING: Final = frozenset(
    "force confirm confirmed confirmation overwrite dry_run body payload data content contents".split()
)
_DOING: Final = frozenset(
    "create delete remove update overwrite save write initiate trigger apply fix force send publish execute run install commit".split()
)
_METHODS: Final[dict[str, Category]] = {
    "get": "read", "head": "read", "options": "read", "trace": "read", "post": "write", "put": "write", "patch": "write",
    "delete": "destructive", "connect": "execute",
}  # fmt: skip
_SQL: Final[dict[str, Category]] = {
    "select": "read", "show": "read", "describe": "read", "explain": "read", "insert": "write", "update": "write", "merge": "write",
    "create": "write", "alter": "write", "grant": "write", "call": "execute", "drop": "destructive", "delete": "destructive",
    "truncate": "destructive",
}  # fmt: skip
_LANGUAGES: Final = {
    "sql": "SQL", "sqlquery": "SQL", "statement": "SQL", "statements": "SQL", "cypher": "Cypher", "graphql": "GraphQL", "mutation": "GraphQL",
    "shell": "shell commands", "bash": "shell commands", "command": "commands", "commands": "commands", "cmd": "commands", "cli": "commands",
    "script": "code", "code": "code", "javascript": "code", "python": "code", "js": "code", "lua": "code",
}  # fmt: skip
_CODE: Final = "code"
_ASKING: Final = frozenset("query queries statement expression".split())
_MOST_TEXT: Final = 3000
_FIRST_WORDS: Final = 40
_DEEPEST: Final = 3

# Texts: `re` compiles each when it is first needed, and few servers need them.
_SAYS_SQL: Final = r"(?i)\bsql\b"
_QUOTED: Final = r"""["'`]([A-Za-z][\w.-]{1,60})["'`]"""
_AFTER_COLON: Final = r"(?i)(?:one of|perform|values(?: are)?|either|actions?|operations?)\s*[:=(]\s*([^.\n]{3,1500})"
_EXAMPLES: Final = r"(?i)\b(?:e\.g\.|for example|such as|example)"
_BARE: Final = r"^(?:or |and )?([A-Za-z][\w-]{1,60})$"
_SEPARATORS: Final = r"\s*[,|/]\s*|\s+or\s+"


class Choice(NamedTuple):
    """An argument with listed values that choose what is done, and what each does."""

    argument: str
    values: Mapping[str, Category]

    @property
    def worst(self) -> Category:
        """What the worst value does."""
        return max(self.values.values(), key=RANK.__getitem__)


class FreeText(NamedTuple):
    """An argument that takes a text in a language, of any content."""

    argument: str
    language: str


def choices_in(schema: Mapping[str, object], description: str = "") -> tuple[Choice, ...]:
    """Find the arguments that choose an action, in the order of their names; `description` is the tool's own."""
    found = []
    for name, each in _arguments(schema):
        words = words_of(name)
        if words and words[-1] in _CHOOSING and "filter" not in words:
            values = _values_of(each, schema) or [*_told_of(name, description)]
            kinds = _kinds(values, is_method=words[-1] in {"method", "verb"})
            if kinds:
                found.append(Choice(name, kinds))
    return tuple(found)


def free_text_in(schema: Mapping[str, object]) -> FreeText | None:
    """Find an argument that takes SQL, commands or code; code only if there is nothing plainer."""
    best: FreeText | None = None
    for name, each in _arguments(schema):
        language = _language(words_of(name), each)
        better = best is None or (best.language == _CODE and language != _CODE)
        if language and better and _is_text(each) and not _values_of(each, schema):
            best = FreeText(name, language)
    return best


def unlisted_in(schema: Mapping[str, object]) -> str:
    """Name an argument that chooses an action of which no list is given; empty if there is none."""
    for name, each in _arguments(schema):
        if name.rpartition(".")[2].lower() in _ACTING and _is_text(each) and not _values_of(each, schema):
            return name
    return ""


def insisting_in(schema: Mapping[str, object]) -> str:
    """Name an argument that a tool hardly has if it only reads (`force`, `dry_run`, `body`); empty if there is none."""
    for name, each in _arguments(schema):
        words = words_of(name)
        if "_".join(words) in _INSISTING or (words and words[0] in _DOING and each.get("type") == "boolean"):
            return name
    return ""


def output_in(schema: Mapping[str, object]) -> str:
    """Name an argument that says where on this machine something is written; empty if there is none."""
    for name, each in _arguments(schema):
        words = words_of(name)
        if len(words) > 1 and words[-1] in _PLACES and not _WRITTEN.isdisjoint(words) and _is_text(each):
            return name
    return ""


def place_in(schema: Mapping[str, object]) -> str:
    """Name an argument that is a file or a directory, or says where something goes; empty if there is none."""
    for name, each in _arguments(schema):
        words = words_of(name)
        if words and (words[-1] in _PLACES or not _WRITTEN.isdisjoint(words)) and _is_text(each):
            return name
    return ""


def _language(words: Sequence[str], schema: Mapping[str, object]) -> str:
    last = words[-1] if words else ""
    if last in _LANGUAGES:
        return _LANGUAGES[last]
    if "sql" in words[:1]:
        return "SQL"
    said = schema.get("description")
    return "SQL" if last in _ASKING and isinstance(said, str) and re.search(_SAYS_SQL, said[:_MOST_TEXT]) else ""


def _arguments(schema: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the arguments by name, and those within an argument that wraps them all."""
    for name, each in _properties(schema):
        argument = _resolved(each, schema)
        yield name, argument
        if name.lower() in _WRAPPING:
            for below, inner in _properties(argument):
                yield f"{name}.{below}", _resolved(inner, schema)


def _properties(schema: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name in sorted(map(str, properties)):
            each = properties.get(name)
            if isinstance(each, Mapping):
                yield name, each


def _resolved(schema: Mapping[str, object], root: Mapping[str, object]) -> Mapping[str, object]:
    """Follow a reference to what the schema defines at its top; anything else stays as it is."""
    place = schema.get("$ref")
    if isinstance(place, str) and place.startswith("#/"):
        found: object = root
        for step in place[2:].split("/")[:_DEEPEST]:
            found = found.get(step) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _values_of(schema: Mapping[str, object], root: Mapping[str, object]) -> list[str]:
    """List the values that a schema names, in its enumerations or else in its description."""
    listed = [*_enumerated(schema, root)]
    text = schema.get("description")
    if not listed and isinstance(text, str) and "filter" not in text[:_FIRST_WORDS].lower():
        listed = [*_told(text)]
    return listed


def _enumerated(schema: Mapping[str, object], root: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    const, values = schema.get("const"), schema.get("enum")
    if isinstance(const, str):
        yield const
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, str))
    if depth == _DEEPEST:
        return
    parts = [schema.get("items")]
    for key in ("anyOf", "oneOf", "allOf"):
        more = schema.get(key)
        parts += more if isinstance(more, list) else ()
    for part in parts:
        if isinstance(part, Mapping):
            yield from _enumerated(_resolved(part, root), root, depth + 1)


def _told_of(argument: str, description: str) -> Iterator[str]:
    """List the values that a tool's description gives to an argument, on a line of its own: `action: "create" or "drop"`."""
    for line in description[:_MOST_TEXT].splitlines():
        name, colon, values = line.partition(":")
        if colon and name.partition("(")[0].strip(" \t*-`\"'") == argument:
            yield from _told(f"one of: {values}")
            return


def _told(text: str) -> Iterator[str]:
    """List the values that a text names; examples are no list."""
    text = text[:_MOST_TEXT]
    if re.search(_EXAMPLES, text):
        return
    yield from re.findall(_QUOTED, text)
    match = re.search(_AFTER_COLON, text)
    if match:
        parts = [re.match(_BARE, part.strip().strip("'\"`()")) for part in re.split(_SEPARATORS, match[1])]
        named = [part[1] for part in parts if part]
        if len(named) > 1:
            yield from named


def _kinds(values: Sequence[str], *, is_method: bool) -> dict[str, Category]:
    """Say what each value does; nothing if hardly any is a verb and none is bad, so that it is no choice of actions."""
    is_method = is_method and all(value.lower() in _METHODS for value in values)
    kinds: dict[str, Category] = {}
    known: set[str] = set()
    for value in values:
        kind = _kind(value, is_method=is_method)
        kinds[value] = kind or "write"
        if kind is not None:
            known.add(value)
    is_bad = any(RANK[kinds[value]] > RANK["write"] for value in known)
    return kinds if is_bad or len(known) * 2 >= len(kinds) else {}


def _kind(value: str, *, is_method: bool) -> Category | None:
    if is_method:
        return _METHODS[value.lower()]
    if value.isupper() and value.lower() in _SQL:
        return _SQL[value.lower()]
    reading = read_name(value)
    return reading.category if reading.is_sure or reading.is_at_an_end else None


def _is_text(schema: Mapping[str, object]) -> bool:
    kind = schema.get("type")
    if kind == "string" or (isinstance(kind, list) and "string" in kind):
        return True
    if kind is None:
        parts = schema.get("anyOf") or schema.get("oneOf")
        return not isinstance(parts, list) or any(
            isinstance(part, Mapping) and part.get("type") == "string" for part in parts
        )
    return False
