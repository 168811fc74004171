"""Collects the signs of what a tool does: of its name, its description and its arguments, each with words for people.

Weighs nothing: `risk` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from mcpguard.inventory.actions import (
    Choice,
    FreeText,
    choices_in,
    free_text_in,
    insisting_in,
    output_in,
    place_in,
    unlisted_in,
)
from mcpguard.inventory.words import PERHAPS, QUERIES, VERBS, NameReading, kind_of, read_name, words_of

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.decision import Category

Said: TypeAlias = "Category | Literal['query']"
"""What a description says first; `query`: that it runs a query, which may be of any kind."""

MOST_OF_A_DESCRIPTION: Final = 300
_MOST_ARGUMENTS: Final = 24
_MOST_TOKENS: Final = 40
_SHORT: Final = 2
_MOST_READ: Final = 60
_EARLY: Final = 8
_MOST_LOOKED_AT: Final = 2000
_MOST_OF_AN_ANSWER: Final = 600
_TIME_RANGE: Final = frozenset(["query", "start", "end", "step"])

_WORDS: Final = re.compile(r"[A-Za-z']+|[.;:,!?(/\n]")
_LEADING: Final = frozenset(
    "this the a an tool function endpoint api use used using it will can to allows lets you for please always first deprecated enables and permanently irreversibly immediately completely securely safely quickly".split()
)
_QUERYING: Final = frozenset("query run execute exec".split())
_DATABASES: Final = tuple(
    "sql athena snowflake influxdb clickhouse postgres postgresql mysql mssql bigquery redshift mariadb duckdb oracle database".split()
)
_RUNNING: Final = frozenset("execute run perform".split())
_BEFORE_A_VERB: Final = frozenset("to and or then can will also tool".split())
_SMALL: Final = frozenset(
    "the and for with that this from are you can all its will has have was one into any each when which given more their".split()
)
_DENIALS: Final = frozenset("not never without no don't doesn't cannot instead before after".split())
_IRREVOCABLE: Final = (
    "cannot be undone", "can't be undone", "irreversib", "permanently", "destructive", "data loss", "unrecoverable",
    "will be deleted", "will be removed", "will be lost", "will be overwritten", "will be erased",
)  # fmt: skip
_MANAGING: Final = frozenset(["management", "lifecycle", "crud"])
_DENIED: Final = ("not", "non", "no", "without", "any")
_READS_ONLY: Final = (
    "read-only", "read only", "readonly", "does not modify", "doesn't modify", "without modifying", "changes nothing",
    "no side effects", "select quer", "must start with select", "select statement", "only select",
)  # fmt: skip
_LANGUAGES_THAT_ONLY_READ: Final = (
    "promql", "logql", "traceql", "kql", "prometheus", "jql", "soql", "sosl", "nrql", "metricsql",
)  # fmt: skip
_HANDED_BACK: Final = ("base64", "embedded resource", "as a string", "json string", "as plain text", "as text")
_DETERMINERS: Final = frozenset("a an the your this all any every each".split())
_NAMING_PARTS: Final = frozenset("include includes including exclude excludes excluding".split())
_MAKING_ANSWERS: Final = frozenset("perform performs conduct resolve generate capture build compose".split())
"""What these make may be no more than the answer."""
_FILED: Final = r"\b(?:to|into|in|as) (?:an? |the |your )?(?:\w+ ){0,2}(?:file|disk|directory|folder)\b"
_REMINDERS: Final = frozenset(["sure", "remember"])
"""What follows is for the caller to do: `Be sure to add a reason`."""
_RETURNING: Final = frozenset(["return", "returns"])
"""What a tool does only where a description begins with it."""


class Signs(NamedTuple):
    """What there is to judge a tool by.  `features` are keys of the weights, each with its words for people."""

    name: NameReading
    said: Said | None
    also_said: tuple[str, ...]
    joined: str
    said_as: str
    begins_with_it: bool
    irrevocable: str
    manages: str
    reads_only: str
    only_reading_language: str
    choices: tuple[Choice, ...]
    free_text: FreeText | None
    output: str
    unlisted: str
    insisting: str
    handed_back: bool
    names_its_object: bool
    ordered: str
    filed: str
    features: tuple[str, ...]

    @property
    def only_reads(self) -> bool:
        """Whether the server says that what it takes can only read."""
        return bool(self.only_reading_language or self.reads_only)


def signs_of(tool: Tool) -> Signs:
    """Collect the signs of a tool."""
    name = read_name(tool.name)
    schema = tool.input_schema
    text = tool.description.strip().partition("\n\n")[0][:MOST_OF_A_DESCRIPTION].lower().replace("\u2019", "'")
    tokens = _WORDS.findall(text)
    said, said_as, first, verbs = _said(tokens)
    irrevocable = next((phrase for phrase in _IRREVOCABLE if phrase in text), "")
    if irrevocable and any(f"{denied} {irrevocable}" in text for denied in _DENIED):
        irrevocable = ""
    reads_only = "" if "by default" in text else next((phrase for phrase in _READS_ONLY if phrase in text), "")
    language = _language_that_only_reads(tool)
    free_text = free_text_in(schema) or (None if language else _sql_of(name, text, schema))
    choices = choices_in(schema, tool.description)
    features = [
        *_of_name(name),
        *(_of_description(tokens, said, first, verbs) if text else ("undescribed",)),
        *_of_arguments(schema),
        *(f"choice:{choice.worst}" for choice in choices),
    ]
    if name.category is not None and said is not None:
        features.append(f"name+says:{name.category}+{said}")
    if irrevocable:
        features.append("irrevocable")
    if reads_only:
        features.append("reads-only")
    if free_text is not None:
        features.append(f"free:{free_text.language}")
    return Signs(
        name=name,
        said=said,
        also_said=tuple(dict.fromkeys(verb for verb in verbs if VERBS.get(verb, "read") != "read")),
        joined=_joined(tokens, said_as),
        said_as=said_as,
        begins_with_it=said is not None and base_of(said_as.partition(" ")[0]) == first,
        irrevocable=irrevocable,
        manages=_manages(name, tokens),
        reads_only=reads_only,
        only_reading_language=language,
        choices=choices,
        free_text=free_text,
        output=output_in(schema),
        unlisted="" if choices else unlisted_in(schema),
        insisting=insisting_in(schema),
        handed_back=_is_handed_back(tool, schema),
        names_its_object=_names_its_object(name, tokens),
        ordered=_ordered(tokens),
        filed=filed[0] if (filed := re.search(_FILED, text)) else "",
        features=tuple(features),
    )


def _language_that_only_reads(tool: Tool) -> str:
    text = f"{tool.name} {tool.description[:_MOST_LOOKED_AT]}".lower()
    language = next((each for each in _LANGUAGES_THAT_ONLY_READ if each in text), "")
    properties = tool.input_schema.get("properties")
    if not language and isinstance(properties, Mapping) and properties.keys() >= _TIME_RANGE:
        return "a range of time in steps"
    return language


def _of_description(tokens: list[str], said: Said | None, first: str, verbs: list[str]) -> Iterator[str]:
    yield f"first:{first}"
    yield f"says:{said}"
    for category in sorted({VERBS[verb] for verb in verbs if verb in VERBS}):
        yield f"also:{category}"
    for token in dict.fromkeys(tokens[:_MOST_TOKENS]):
        if len(token) > _SHORT and token not in _SMALL:
            yield f"about:{token}"


def _sql_of(name: NameReading, description: str, schema: Mapping[str, object]) -> FreeText | None:
    """Know an argument `query` that takes SQL by the name of the database; where there is no schema, trust that there is one."""
    if QUERIES.isdisjoint(name.words) or name.category not in {"read", "execute"} or name.verb not in _QUERYING:
        return None
    said = next((word for word in _DATABASES if word in name.words or f"{word} quer" in description), "")
    properties = schema.get("properties")
    if not said or (isinstance(properties, Mapping) and "query" not in properties):
        return None
    return FreeText("query", "SQL")


def _of_name(name: NameReading) -> Iterator[str]:
    sure = "" if name.is_sure else "?"
    yield f"name:{name.category}{sure}"
    words = name.words
    if not words:
        return
    if name.verb:
        yield f"verb:{name.verb}"
        yield f"verb-place:{name.category}{'first' if words[0] == name.verb else 'last' if words[-1] == name.verb else 'within'}"
    if name.noun:
        yield f"object:{name.noun}"
    if name.others:
        yield f"name-also:{name.category}"
    yield f"begins:{words[0]}"
    yield f"ends:{words[-1]}"
    for word in dict.fromkeys(words):
        yield f"word:{word}"


def _said(tokens: list[str]) -> tuple[Said | None, str, str, list[str]]:
    """Return what the first verb of a description does, how it is written, the first word, and every other verb in it."""
    said: Said | None = None
    said_as = first = ""
    verbs: list[str] = []
    denied = False
    previous = "."
    for index, token in enumerate(tokens[:_MOST_READ]):
        if not token[0].isalpha():
            denied = False
        elif token in _DENIALS or token in _REMINDERS:
            denied = True
        else:
            lead = not first and token not in _LEADING
            if lead or previous in _BEFORE_A_VERB or previous in ".,;:!(/\n":
                verb = (
                    ""
                    if token in _LEADING or token in _NAMING_PARTS or (token in _RETURNING and not lead)
                    else base_of(token)
                )
                if verb and not denied and tokens[index + 1 : index + 2] != ["here"]:
                    if said is None and (lead or index < _EARLY):
                        following = tokens[index + 1 : index + 7]
                        if verb in _RUNNING and not QUERIES.isdisjoint(following):
                            said, said_as = "query", f"{token} … {next(each for each in following if each in QUERIES)}"
                        else:
                            said, said_as = "read" if verb == "return" else kind_of(verb, following[:3])[0], token
                    else:
                        verbs.append(verb)
            if lead:
                first = base_of(token) or token
        previous = token
    return said, said_as, first, verbs


def _joined(tokens: list[str], said_as: str) -> str:
    """Return a verb that does more than read and is joined to the first one of a description: `Download and import`."""
    if said_as in tokens:
        at = tokens.index(said_as) + 1
        if tokens[at : at + 1] and tokens[at] in {"and", "or", ","}:
            verb = base_of(tokens[at + 1]) if tokens[at + 1 :] else ""
            if verb and (VERBS.get(verb) or PERHAPS[verb]) != "read":
                return tokens[at + 1]
    return ""


def _manages(name: NameReading, tokens: list[str]) -> str:
    """Return the word by which a tool named by a noun does everything to it: `Slicer management`, `Table lifecycle`."""
    if name.category is not None:
        return ""
    return next((token for token in tokens[:_EARLY] if token in _MANAGING), "")


def _is_handed_back(tool: Tool, schema: Mapping[str, object]) -> bool:
    """Whether what a tool downloads or exports is in its answer, by its description, and no argument says where to write it."""
    text = tool.description[:_MOST_OF_AN_ANSWER].lower()
    return any(phrase in text for phrase in _HANDED_BACK) and not place_in(schema)


def _ordered(tokens: list[str]) -> str:
    """Return the word by which a description tells to do something, if it is no verb that we know: `Ring the bell`."""
    word, *following = tokens[:2] or [""]
    if following and following[0] in _DETERMINERS and word not in _LEADING and word[:1].isalpha():
        verb = base_of(word)
        return (
            word
            if (verb or word) not in _MAKING_ANSWERS and VERBS.get(verb) is None and PERHAPS.get(verb) != "read"
            else ""
        )
    return ""


def _names_its_object(name: NameReading, tokens: list[str]) -> bool:
    """Whether a name of one word is what the description says that it reads: `hover`, `Get hover information`."""
    return len(name.words) == 1 and name.words[0] in tokens[1 : _EARLY // 2]


def base_of(word: str) -> str:
    """Give the verb of which a word is a form (`creates`, `creating`); empty if it is none that we know."""
    if word in VERBS or word in PERHAPS:
        return word
    for ending, repair in _ENDINGS:
        if word.endswith(ending):
            stem = word[: -len(ending)]
            for verb in (stem + repair, stem):
                if verb in VERBS or verb in PERHAPS:
                    return verb
    return ""


_ENDINGS: Final = (("ies", "y"), ("es", "e"), ("s", ""), ("ing", "e"))


def _of_arguments(schema: Mapping[str, object]) -> Iterator[str]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    if not properties:
        yield "arguments:none"
    required = schema.get("required")
    if isinstance(required, list):
        yield f"required:{min(len(required), 4)}"
    yield f"arguments:{min(len(properties), 8)}"
    words: dict[str, None] = {}
    for name in sorted(map(str, properties))[:_MOST_ARGUMENTS]:
        yield f"argument:{'_'.join(words_of(name))}"
        words |= dict.fromkeys(words_of(name)[-1:])
    for word in words:
        yield f"argument-ends:{word}"


_IN_WORDS: Final = {
    "verb": '"{}" of the name',
    "begins": '"{}" of the name',
    "ends": '"{}" of the name',
    "word": '"{}" of the name',
    "object": '"{}" of the name',
    "first": '"{}" of the description',
    "about": '"{}" of the description',
    "argument": 'the argument "{}"',
    "argument-ends": 'an argument "…{}"',
}


def in_words(feature: str) -> str:
    """Say a feature to people; empty if it is none of a word."""
    kind, _, word = feature.partition(":")
    return _IN_WORDS[kind].format(word) if kind in _IN_WORDS and word and word != "None" else ""
