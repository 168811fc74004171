"""Says what a tool can do at worst: read, write, execute, destroy or move money, how grave that is, and what shows it.

Judges by what the server says of the tool, which is evidence and never proof: where that leaves it open, the tool does not only
read.  The server's own hints may make a tool worse, and never better.  Pure, offline, and the same every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from mcpguard.inventory.signs import Signs, base_of, in_words, signs_of
from mcpguard.inventory.weights import load_weights
from mcpguard.inventory.words import (
    DOUBTFUL,
    GENERAL,
    HANDING_OVER,
    LOOKING_AT_TEXT,
    NOUNS_AT_THE_END,
    PERHAPS,
    QUERIES,
    RANK,
    VERBS,
    NameReading,
    read_name,
)
from mcpguard.policy.decision import Category

if TYPE_CHECKING:
    from mcpguard.inventory.actions import Choice
    from mcpguard.inventory.tools import Tool

__all__ = [
    "Category",
    "Opinion",
    "Risk",
    "SEVERITIES",
    "Severity",
    "TOO_LIKELY",
    "classify",
    "heed_hints",
    "judge",
    "likelihood",
    "opinion_of",
]

Severity: TypeAlias = Literal["low", "medium", "high", "critical"]
Opinion: TypeAlias = Literal["reads", "seems to read", "open", "seems to change", "changes"]

SEVERITIES: Final[dict[Category, Severity]] = {
    "read": "low",
    "write": "medium",
    "execute": "high",
    "destructive": "critical",
    "financial": "critical",
}

TOO_LIKELY: Final = 0.07
"""How likely it has to be that a tool changes something before it counts as one that does.

A wrong `read` is counted as twenty other errors; `make risk` shows what other thresholds would cost.
"""

# What the rules say, as a step on the scale of the weights.  Round figures, set by hand: only `TOO_LIKELY` is tuned.
_LEANINGS: Final[dict[Opinion, float]] = {
    "reads": -6.0,
    "seems to read": -3.0,
    "open": 0.0,
    "seems to change": 1.0,
    "changes": 30.0,
}
_SETTING_OFF: Final = frozenset(["trigger", "start", "restart", "launch", "dispatch"])
"""Verbs of what runs on after the answer; what a description says of `run` may be no more than a look."""
_QUERY_LANGUAGES: Final = frozenset(["SQL", "Cypher", "GraphQL"])
_COIN: Final = 0.5
_WORTH_TELLING: Final = 0.15
_TOLD: Final = 3
"""How many of the weightiest words are named."""
WEIGHTIEST: Final = "what weighs most"
"""How a line of evidence begins that names them."""


class Risk(NamedTuple):
    """What a tool can do at worst.

    `confidence` is between 0 and 1, `evidence` quotes in plain English what decided, `arguments` are those that choose what is
    done, with what each value does.
    """

    category: Category
    severity: Severity
    confidence: float
    evidence: tuple[str, ...]
    arguments: tuple[Choice, ...] = ()


class _Claim(NamedTuple):
    """That a tool does something of a category, why, and how sure that is."""

    category: Category
    why: str
    confidence: float


def classify(tool: Tool) -> Risk:
    """Say what a tool can do at worst."""
    signs = signs_of(tool)
    weights = load_weights()
    return judge(tool, signs, sum([weights.get(feature, 0.0) for feature in signs.features], weights[""]), weights)


def judge(tool: Tool, signs: Signs, score: float, weights: Mapping[str, float], too_likely: float = TOO_LIKELY) -> Risk:
    """Judge a tool by its signs and by the sum of their weights, which is above 0 if it rather changes something."""
    opinion = opinion_of(signs)
    likely = likelihood(score, opinion)
    if likely > too_likely:
        claims = sorted(_claims(signs, opinion), key=lambda claim: -RANK[claim.category])
        evidence = [claim.why for claim in claims]
        if opinion != "changes" or not claims:
            evidence += _weightiest(signs, weights, 1)
        if claims:
            worst = claims[0]
            agreed = any(other.category == worst.category for other in claims[1:])
            risk = _risk(worst.category, worst.confidence + 0.05 * agreed, evidence, signs)
        else:
            why = (
                "nothing shows that it only reads"
                if score < 0
                else "its words are those of tools that change something"
            )
            risk = _risk("write", max(_COIN, likely), [why, *evidence], signs)
    else:
        evidence = [*_reading(signs), *_weightiest(signs, weights, -1)]
        sure = {"reads": 0.9, "seems to read": 0.7}.get(opinion, _COIN)
        risk = _risk("read", (sure + 1 - likely) / 2, evidence, signs)
    return heed_hints(_with_title(risk, tool), tool.annotations)


def likelihood(score: float, opinion: Opinion) -> float:
    """Say how likely it is that a tool changes something, by its weights and by what the rules make of it."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score + _LEANINGS[opinion]))))


def opinion_of(signs: Signs) -> Opinion:
    """Say what the rules make of the signs, before any weights."""
    name = signs.name
    if any(choice.worst != "read" for choice in signs.choices):
        return "changes"
    if name.category == "execute" and not QUERIES.isdisjoint(name.words) and signs.only_reads:
        return "reads" if signs.only_reading_language else "seems to read"
    if _takes_anything(signs):
        return "changes"
    if signs.output:
        return "changes"
    if signs.choices and not (name.is_sure and name.category != "read"):
        return "reads"
    return _by_words(signs)


def _by_words(signs: Signs) -> Opinion:
    """Say what the words of the name and the description amount to."""
    name, said = signs.name, signs.said
    told_to_read = said == "read" and signs.begins_with_it and not signs.also_said and not signs.irrevocable
    if name.category is None or not (name.is_sure or name.is_at_an_end):
        if told_to_read:
            return "open" if _goes_on(signs) else "reads"
        if (
            said == "query"
            or (said is None and name.category == "read")
            or (signs.only_reads and said != "destructive" and not signs.ordered)
        ):
            return "seems to read"
        return "open" if said in {None, "read"} else "seems to change"
    if name.category != "read":
        if told_to_read and signs.names_its_object and not _goes_on(signs):
            return "seems to read"
        return "changes" if name.is_sure else "seems to change"
    if name.others and not (told_to_read and PERHAPS.keys() | NOUNS_AT_THE_END >= set(name.others)):
        if any(other not in VERBS and other not in PERHAPS for other in name.others):
            return "changes"
        is_last = VERBS.get(name.words[-1], "read") != "read"
        return "seems to change" if is_last or said not in {None, "read", "query"} else "open"
    if signs.filed and _is_doubtful(signs):
        return "changes"
    if _is_doubtful(signs) and not (told_to_read and base_of(signs.said_as) not in DOUBTFUL):
        return "open" if said in {None, "read", "query"} else "seems to change"
    if name.is_sure or told_to_read:
        return _against_its_name(signs)
    return "seems to read" if said in {None, "read", "query"} or signs.only_reads else "seems to change"


def _is_doubtful(signs: Signs) -> bool:
    """Whether the verb of a name may do more than read, and neither its object nor the server says that it does not."""
    name = signs.name
    if name.category != "read" or name.verb not in DOUBTFUL or name.noun or signs.only_reads:
        return False
    return not (signs.handed_back and name.verb in HANDING_OVER)


def _goes_on(signs: Signs) -> bool:
    """Whether something beside the verbs speaks against a tool that only reads."""
    return bool(signs.joined or signs.unlisted or signs.insisting)


def _against_its_name(signs: Signs) -> Opinion:
    """Say what to make of a name that reads if the description or an argument may say otherwise."""
    if signs.said in {None, "read", "query"} or signs.reads_only:
        if signs.irrevocable or _goes_on(signs):
            return "open"
        return "seems to read" if signs.also_said and not signs.reads_only else "reads"
    verb = base_of(signs.said_as)
    if signs.begins_with_it and (signs.said != "execute" or verb in _SETTING_OFF):
        if verb in VERBS:
            return "changes"
        if verb != signs.said_as and signs.name.words[0] != signs.name.verb:  # `web_search_feedback`: "Records …"
            return "open"
    return "seems to read"


def _takes_anything(signs: Signs) -> bool:
    """Whether an argument takes SQL, a command or code of any kind, and nothing says that it only reads."""
    free, name = signs.free_text, signs.name
    if free is None or signs.reads_only or (name.is_sure and name.category not in {None, "read", "execute"}):
        return False
    if free.language in _QUERY_LANGUAGES and name.verb in LOOKING_AT_TEXT and signs.said in {None, "read"}:
        return False
    return free.language != "code" or "execute" in {name.category, signs.said} or name.verb == "evaluate"


def _claims(signs: Signs, opinion: Opinion) -> Iterator[_Claim]:
    """Yield everything that speaks for another category than read."""
    yield from _claims_of_arguments(signs)
    yield from _claims_of_name(signs.name)
    if _is_doubtful(signs):
        yield _Claim("write", f'the name says "{signs.name.verb}", which may do more than read', 0.5)
        if signs.filed:
            yield _Claim("write", f'the description says "{signs.filed}"', 0.6)
    yield from _claims_of_description(signs, opinion)


def _claims_of_arguments(signs: Signs) -> Iterator[_Claim]:
    for choice in signs.choices:
        if choice.worst != "read":
            value = next(value for value, category in choice.values.items() if category == choice.worst)
            yield _Claim(choice.worst, f'the argument "{choice.argument}" can be "{value}"', 0.9)
    if signs.free_text is not None and _takes_anything(signs):
        free = signs.free_text
        yield _Claim("execute", f'the argument "{free.argument}" takes {free.language} of any kind', 0.85)
    if signs.output:
        yield _Claim("write", f'the argument "{signs.output}" says where to write a file', 0.6)
    name = signs.name
    if name.is_sure and name.category not in {None, "read"}:
        return
    if signs.unlisted:
        yield _Claim(
            "write", f'the argument "{signs.unlisted}" chooses what is done, and nothing lists its values', 0.5
        )
    if signs.insisting:
        yield _Claim("write", f'the argument "{signs.insisting}" is rarely one of a tool that only reads', 0.5)


def _claims_of_name(name: NameReading) -> Iterator[_Claim]:
    if name.category is not None and name.category != "read" and (name.is_sure or name.is_at_an_end):
        phrase = f'"{name.verb}"' + (f' of "{name.noun}"' if name.noun else "")
        yield _Claim(name.category, f"the name says {phrase}", 0.92 if name.is_sure else 0.75)
    for verb in name.others:
        other = VERBS.get(verb) or PERHAPS.get(verb, "write")
        if other != "read" and name.category in {None, "read"}:
            yield _Claim(other, f'the name says "{verb}", too', 0.6)


def _claims_of_description(signs: Signs, opinion: Opinion) -> Iterator[_Claim]:
    name, said, phrase = signs.name, signs.said, f'the description says "{signs.said_as}"'
    match said:
        case None | "read":
            pass
        case "query":
            if opinion != "seems to read":
                yield _Claim("execute", phrase, 0.6)
        case _ if said == name.category:
            yield _Claim(said, phrase, 0.9)
        case _ if opinion != "changes" or _adds_to(said, signs):
            yield _Claim(said, phrase, 0.75)
    if signs.ordered and said in {None, "read", "query"}:
        yield _Claim("write", f'the description says "{signs.ordered}"', 0.5)
    if signs.joined:
        verb = base_of(signs.joined)
        yield _Claim(VERBS.get(verb) or PERHAPS[verb], f'the description says "{signs.joined}", too', 0.6)
    if not name.is_sure or name.verb in GENERAL or name.category == "execute":
        for verb in signs.also_said:
            yield _Claim(VERBS[verb], f'the description says "{verb}", too', 0.6)
    if "manage" in {name.verb, signs.said_as.removesuffix("s")} and not signs.choices:
        yield _Claim("destructive", 'to "manage" is also to remove, and nothing says otherwise', 0.5)
    if signs.manages and not signs.choices:
        yield _Claim("destructive", f'the description says "{signs.manages}", which is also to remove', 0.5)
    if signs.irrevocable and not (name.is_sure and name.category == "read" and said == "read"):
        yield _Claim("destructive", f'the description says "{signs.irrevocable}"', 0.8)


def _adds_to(said: str, signs: Signs) -> bool:
    """Whether a description may make a tool worse than its name: not where the name is plain, and only words differ."""
    name = signs.name
    if name.is_sure and name.category not in {None, "read"}:
        return said in {"destructive", "financial"} and signs.said_as not in {"remove", "removes"}
    return True


def _reading(signs: Signs) -> Iterator[str]:
    """Say what speaks for a tool that only reads."""
    name = signs.name
    if name.category == "read":
        yield f'the name says "{name.verb}"' + (f' of "{name.noun}"' if name.noun else "")
    elif name.category == "execute" and not QUERIES.isdisjoint(name.words):
        yield f'the name says "{name.verb}" of a query'
    if signs.said in {"read", "query"}:
        yield f'the description says "{signs.said_as}"'
    if signs.reads_only:
        yield f'the description says "{signs.reads_only}"'
    if signs.only_reading_language and not QUERIES.isdisjoint(name.words):
        yield f'queries here are of a kind that only reads: "{signs.only_reading_language}"'
    for choice in signs.choices:
        yield f'every value of the argument "{choice.argument}" reads'


def _weightiest(signs: Signs, weights: Mapping[str, float], sign: int) -> Iterator[str]:
    """Name the words with the largest weights for what was decided."""
    shown: dict[str, float] = {}
    for feature in signs.features:
        weight = weights.get(feature, 0.0) * sign
        words = in_words(feature) if weight > _WORTH_TELLING else ""
        if words:
            shown[words] = max(weight, shown.get(words, 0.0))
    if shown:
        first = sorted(shown, key=lambda words: (-shown[words], words))[:_TOLD]
        yield f"{WEIGHTIEST}: {', '.join(first)}"


def _with_title(risk: Risk, tool: Tool) -> Risk:
    titles = (tool.title, tool.annotations.get("title"))
    for title in titles:
        reading = read_name(title) if isinstance(title, str) else None
        if (
            reading is not None
            and reading.is_sure
            and reading.category is not None
            and reading.verb == reading.words[0]
            and RANK[reading.category] > RANK[risk.category] == 0
        ):
            risk = _worse(risk, reading.category, f'the title says "{reading.verb}"')
    return risk


def heed_hints(risk: Risk, hints: Mapping[str, object]) -> Risk:
    """Let the server's hints make a tool worse, and say where they contradict."""
    read_only, destructive = hints.get("readOnlyHint"), hints.get("destructiveHint")
    said = risk.category
    if read_only is False:
        if said == "read":
            risk = _worse(
                risk, "write", "the hint readOnlyHint says that it does not only read, against its name and description"
            )
    elif read_only is True and said != "read":
        risk = _with_finding(risk, "the hint readOnlyHint says that it only reads: it contradicts, and is not believed")
    if destructive is True and SEVERITIES[risk.category] != "critical":
        against = ", against its name and description" if said == "read" else ""
        risk = _worse(risk, "destructive", f"the hint destructiveHint says that it destroys{against}")
    elif destructive is False and said == "destructive":
        risk = _with_finding(
            risk, "the hint destructiveHint says that it does not destroy: it contradicts, and is not believed"
        )
    return risk


def _worse(risk: Risk, category: Category, why: str) -> Risk:
    return risk._replace(
        category=category, severity=SEVERITIES[category], confidence=0.7, evidence=(why, *risk.evidence)
    )


def _with_finding(risk: Risk, why: str) -> Risk:
    return risk._replace(confidence=round(risk.confidence * 0.9, 2), evidence=(*risk.evidence, why))


def _risk(category: Category, confidence: float, evidence: list[str], signs: Signs) -> Risk:
    told = tuple(dict.fromkeys(evidence)) or ("nothing in its name, description or arguments says what it does",)
    return Risk(category, SEVERITIES[category], round(min(0.99, confidence), 2), told, signs.choices)
