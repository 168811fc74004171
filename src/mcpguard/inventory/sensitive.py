"""Finds the arguments of a tool that a rule should look at: paths, addresses, queries, commands, roles, destinations, amounts.

Says what they are and what shows it, by their names, types and descriptions; which rule fits is decided in `guards`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from mcpguard.inventory.alternatives import properties_of
from mcpguard.inventory.inputs import Argument, find_argument
from mcpguard.inventory.signs import signs_of
from mcpguard.inventory.words import words_of
from mcpguard.policy.paths import MANY, Step

if TYPE_CHECKING:
    from mcpguard.inventory.risk import Risk
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.decision import Category

Kind: TypeAlias = Literal[
    "action",
    "path",
    "url",
    "SQL",
    "Cypher",
    "GraphQL",
    "shell",
    "code",
    "store command",
    "AWS command",
    "S3 URI",
    "bucket",
    "role",
    "ARN",
    "recipient",
    "amount",
    "credentials",
    "switch",
    "word",
    "identifier",
]

_DEEPEST: Final = 3
_MOST_PLACES: Final = 300
_MOST_TEXT: Final = 600

_PATHS: Final = frozenset("path paths filepath filepaths dir dirs directory directories folder folders".split())
_FILES: Final = frozenset("file files filename filenames".split())
_ENDS: Final = frozenset("source sources destination src dst dest from to target".split())
_OF_FILES: Final = frozenset("file files directory directories folder folders dir".split())
_OTHER_PATHS: Final = frozenset(
    "json xpath css url api group project full namespace class module key object sort".split()
)
_REMOTE: Final = frozenset(
    "owner repo repository projectid bucket bucketname sessionid sandboxid vaultid driveid siteid filekey s3bucketname pullnumber".split()
)
_URLS: Final = frozenset("url urls href webhook".split())
_FILTERS: Final = frozenset("contains filter filters match matches category categories".split())
_URIS: Final = frozenset("uri uris".split())
_BUCKETS: Final = frozenset("bucket buckets name names".split())
_RECIPIENTS: Final = frozenset("to cc bcc recipient recipients email emails".split())
_SENDING: Final = frozenset("send mail email forward invite share sms message notify".split())
_AMOUNTS: Final = frozenset("amount amounts total price budget cents".split())
_SWITCHES: Final = frozenset(
    "delete remove purge overwrite force wipe destroy drop truncate prune permanent permanently cascade irreversible".split()
)
_HARMLESS_SWITCHES: Final = frozenset(
    "include show is has list enable confirm confirmed refresh reload dry deny prevent block disallow".split()
)
_WORDS: Final = frozenset("revision target branch ref tag commit remote contains contained".split())
_TABLES: Final = frozenset("table tablename".split())
_HARMLESS_TO_READ: Final[frozenset[Kind]] = frozenset(("bucket", "role", "ARN", "recipient", "amount"))
_NUMBERS: Final = frozenset(("number", "integer"))

# Texts: `re` compiles each when it is first needed.
_SAYS_LOCAL: Final = r"(?i)\b(?:absolute|local|on disk|file ?system|this machine|working dir|allowed dir)"
_SAYS_OTHER: Final = (
    r"(?i)within the (?:repositor|archive|bundle|repo\b)|in the repositor|repository path|relative path to the file|"
    r"e\.g\.,? [\w-]+/[\w-]+\)|namespace|\bjson ?path|\bxpath|\burl path|\bapi path|regex|pattern|\bglob|for the (?:group|user|role)"
)
_SAYS_FILE: Final = r"(?i)\bpaths?\b|\bdirectory\b|\bon disk\b"
_SAYS_WEB: Final = r"(?i)\bhttps?\b|\bweb|\burl\b|\bpage\b"
_SAYS_S3: Final = r"(?i)\bs3 uri|s3://"
_SAYS_BUCKET: Final = r"""["'`]bucket["'`]"""
_SAYS_ACCOUNT: Final = r"(?i)\baws\b|credential"
_SAYS_STORE: Final = r"(?i)\b(?:valkey|redis)\b"


class Sensitive(NamedTuple):
    """An argument that deserves a rule: where it stands, what it is, what shows that, and what its schema says of it.

    `values` says of an `action` what each of its values does, with all values that are known.
    """

    kind: Kind
    steps: tuple[Step, ...]
    why: str
    argument: Argument
    values: Mapping[str, Category] = {}

    @property
    def name(self) -> str:
        """Its own name: the last step that is one."""
        return next(step for step in reversed(self.steps) if step is not MANY)


class _Place(NamedTuple):
    steps: tuple[Step, ...]
    argument: Argument
    described: str
    siblings: frozenset[str]

    @property
    def name(self) -> str:
        return next(step for step in reversed(self.steps) if step is not MANY)

    @property
    def called(self) -> str:
        return f'the argument is called "{self.name}"'

    @property
    def words(self) -> tuple[str, ...]:
        return words_of(self.name)


def sensitive_arguments(tool: Tool, risk: Risk) -> tuple[Sensitive, ...]:
    """Find what a rule should look at, those that choose an action first; `risk` is what `classify` made of the tool."""
    found = [*_actions(tool, risk)]
    taken = {each.steps for each in found}
    for each in (*_languages(tool, risk), *_by_name(tool, risk)):
        if each.steps not in taken:
            taken.add(each.steps)
            found.append(each)
    return tuple(found)


def is_too_large(tool: Tool) -> bool:
    """Whether a tool has more arguments than are looked at."""
    return sum(1 for _ in _places(tool)) >= _MOST_PLACES


def _actions(tool: Tool, risk: Risk) -> Iterator[Sensitive]:
    for choice in risk.arguments:
        steps = _steps_to(tool.input_schema, choice.argument)
        argument = find_argument(tool.input_schema, steps)
        if not argument.exists or argument.is_open or argument.types - {"null", "string", "array"}:
            continue
        if {"string", "array"} <= argument.types:
            continue
        values = dict(choice.values)
        if "array" in argument.types:
            steps = (*steps, MANY)
        worst = next(value for value, category in values.items() if category == choice.worst)
        why = f'the argument "{choice.argument}" says what is done: "{worst}" is {choice.worst}'
        yield Sensitive("action", steps, why, argument, values)


def _languages(tool: Tool, risk: Risk) -> Iterator[Sensitive]:
    """Find an argument that takes a text in a language."""
    signs = signs_of(tool)
    free = signs.free_text
    if free is None:
        return
    steps = _steps_to(tool.input_schema, free.argument)
    argument = find_argument(tool.input_schema, steps)
    if not argument.exists or argument.is_open or "string" not in argument.types:
        return
    why = f'the argument "{free.argument}" takes {free.language}'
    text = f"{tool.name} {tool.description[:_MOST_TEXT]}"
    match free.language:
        case "SQL" | "Cypher" | "GraphQL":
            yield Sensitive(free.language, steps, why, argument)
        case "commands" | "shell commands" if re.search(_SAYS_STORE, text):
            yield Sensitive("store command", steps, why, argument)
        case "commands" | "shell commands" if "AWS CLI" in text:
            yield Sensitive("AWS command", steps, why, argument)
        case "commands" | "shell commands" if risk.category != "read":
            yield Sensitive("shell", steps, why, argument)
        case "code" if risk.category == "execute":
            yield Sensitive("code", steps, why, argument)
        case _:
            return


def _by_name(tool: Tool, risk: Risk) -> Iterator[Sensitive]:
    changes = risk.category != "read"
    named = frozenset(words_of(tool.name))
    for place in _places(tool):
        if "boolean" in place.argument.types:
            if changes and place.argument.types <= {"boolean", "null"}:
                yield from _switch(place)
            continue
        kind, why = _kind(place, named, changes=changes)
        if kind is not None:
            yield Sensitive(kind, place.steps, why, place.argument)
        elif changes:
            yield from _described_bucket(tool, place)


def _kind(place: _Place, named: frozenset[str], *, changes: bool) -> tuple[Kind | None, str]:
    """Say what an argument is, and what shows it."""
    words, types = place.words, place.argument.types
    if not words:
        return None, ""
    if types & _NUMBERS and changes and words[-1] in _AMOUNTS:
        return "amount", place.called
    if "string" not in types or place.argument.values is not None:
        return None, ""
    for kinds in (_kind_of_cloud, _kind_of_place, _kind_of_text):
        kind, why = kinds(place, named)
        if kind is not None and (changes or kind not in _HARMLESS_TO_READ):
            return kind, why
    return None, ""


def _kind_of_cloud(place: _Place, _: frozenset[str]) -> tuple[Kind | None, str]:
    words, said, last = place.words, place.described, place.words[-1]
    if "s3" in place.name.lower() and last in _URIS | _URLS | {"location", "path"}:
        return "S3 URI", place.called
    if last in _URIS | {"location"} and re.search(_SAYS_S3, said) and not re.search(_SAYS_FILE, said):
        return "S3 URI", f"{place.called}, and its description speaks of S3"
    if "bucket" in words and last in _BUCKETS:
        return "bucket", place.called
    if last in {"arn", "arns"}:
        return "role" if "role" in words else "ARN", place.called
    if last == "profile" and ("aws" in words or re.search(_SAYS_ACCOUNT, said)):
        return "credentials", f"{place.called}, and it chooses whose credentials are used"
    return None, ""


def _kind_of_place(place: _Place, named: frozenset[str]) -> tuple[Kind | None, str]:
    words, last = place.words, place.words[-1]
    if _is_format_uri(place):
        return "url", f'the schema of "{place.name}" says that it is a URI'
    if last in _URLS or (last in _URIS | {"endpoint"} and re.search(_SAYS_WEB, place.described)):
        return ("url" if _FILTERS.isdisjoint({*words, *named}) else None), place.called
    return ("path" if _is_path(place, named) else None), place.called


def _kind_of_text(place: _Place, named: frozenset[str]) -> tuple[Kind | None, str]:
    words, last = place.words, place.words[-1]
    if last in _RECIPIENTS and not named.isdisjoint(_SENDING):
        return "recipient", f"{place.called}, and the tool sends"
    if last in _AMOUNTS - {"total", "price"}:
        return "amount", place.called
    if "git" in named and not _WORDS.isdisjoint(words):
        return "word", f"{place.called}, and git takes what begins with a dash for an option"
    if "".join(words[-2:]) in _TABLES or last in _TABLES:
        return "identifier", place.called
    return None, ""


def _is_path(place: _Place, named: frozenset[str]) -> bool:
    """Whether an argument is the path of a file on the server's machine, as far as its name and description tell."""
    words, said = place.words, place.described
    last = words[-1]
    default = place.argument.default
    if last in _FILES:
        likely = bool(re.search(_SAYS_FILE, said))
    else:
        likely = last in _PATHS or (len(words) == 1 and last in _ENDS and not named.isdisjoint(_OF_FILES))
    if not likely or (isinstance(default, str) and (default == "/" or default[:1] not in {"/", ".", ""})):
        return False
    if re.search(_SAYS_LOCAL, said):
        return True
    remote = not _REMOTE.isdisjoint(place.siblings) or not _OTHER_PATHS.isdisjoint(words[:-1])
    return not remote and not re.search(_SAYS_OTHER, said)


def _is_format_uri(place: _Place) -> bool:
    return any(part.get("format") in {"uri", "url"} for each in place.argument.alternatives for part in each)


def _switch(place: _Place) -> Iterator[Sensitive]:
    words = frozenset(place.words)
    found = sorted(words & _SWITCHES)
    if found and words.isdisjoint(_HARMLESS_SWITCHES) and place.argument.default is not True:
        name = place.steps[-1]
        yield Sensitive("switch", place.steps, f'the switch "{name}" says "{found[0]}"', place.argument)


def _described_bucket(tool: Tool, place: _Place) -> Iterator[Sensitive]:
    """Find buckets of S3 in objects whose schema is open and whose description names the key."""
    types = place.argument.types - {"null"}
    if types not in ({"array"}, {"object"}) or not re.search(_SAYS_BUCKET, place.described):
        return
    steps: tuple[Step, ...] = (*place.steps, *((MANY,) if types == {"array"} else ()), "bucket")
    argument = find_argument(tool.input_schema, steps)
    if argument.exists:
        yield Sensitive("bucket", steps, f'the description of "{place.steps[-1]}" asks for a "bucket"', argument)


def _places(tool: Tool) -> Iterator[_Place]:
    """Yield every argument that the schema describes, and those inside of objects and lists."""
    budget = iter(range(_MOST_PLACES))
    yield from _below(tool, (), budget, frozenset())


def _below(tool: Tool, steps: tuple[Step, ...], budget: Iterator[int], around: frozenset[str]) -> Iterator[_Place]:
    """Yield the arguments below a place; `around` are the names of what stands beside it and above."""
    keys = _keys(find_argument(tool.input_schema, steps))
    siblings = around | {"".join(words_of(key)) for key in keys}
    for key in keys:
        if next(budget, None) is None:
            return
        here = (*steps, key)
        argument = find_argument(tool.input_schema, here)
        if not argument.exists:
            continue
        described = _described(argument)
        types = argument.types - {"null"}
        if types == {"array"}:
            items = find_argument(tool.input_schema, (*here, MANY))
            if not items.is_open and items.exists and items.types <= {"string", "null"} | _NUMBERS:
                yield _Place((*here, MANY), items, described or _described(items), siblings)
                continue
        yield _Place(here, argument, described, siblings)
        if sum(step is not MANY for step in here) < _DEEPEST and not argument.is_open:
            inner = (*here, MANY) if types == {"array"} else here
            if types in ({"array"}, {"object"}):
                yield from _below(tool, inner, budget, siblings)


def _keys(argument: Argument) -> list[str]:
    return sorted({key for each in argument.alternatives for part in each for key in properties_of(part) if key})


def _described(argument: Argument) -> str:
    texts = (part.get("description") for each in argument.alternatives for part in each)
    return next((text[:_MOST_TEXT] for text in texts if isinstance(text, str)), "")


def _steps_to(schema: Mapping[str, object], name: str) -> tuple[Step, ...]:
    """Give the steps to an argument by its name, or by those of what wraps it and its own, with a dot."""
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        return (name,)
    outer, dot, inner = name.partition(".")
    return (outer, inner) if dot else (name,)


def is_required(schema: Mapping[str, object], steps: Sequence[Step]) -> bool:
    """Whether every valid call gives the argument, or at least the list whose elements it is."""
    whole = [*steps]
    while whole and whole[-1] is MANY:
        whole.pop()
    before = next((index for index, step in enumerate(whole) if step is MANY), len(whole))
    return find_argument(schema, whole[:before]).is_required
