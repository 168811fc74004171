"""Measures how well tools are told apart on servers of which neither the weights, nor the threshold, nor the words are known.

The lists of words in `mcpguard.inventory.words` were written by people who saw every server.  Here all words are struck out
of them that occur in the name of no tool of the servers one learns from.  What cannot be struck out: the rules themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from risk_examples import Answer, Example, answer, best_threshold, folds_of, read_or_not

from mcpguard.inventory.signs import signs_of
from mcpguard.inventory.words import AT_THE_BEGINNING, OBJECTS, PERHAPS, VERBS, words_of

FOLDS = 10
INNER_FOLDS = 5
ALL = "all words"
STRUCK = "words struck out"
NAMES = (ALL, STRUCK)


def nested(examples: Sequence[Example], repeats: int) -> Iterator[str]:
    """Measure with all words and with words struck out; yield the lines of a table: the mean of the repeats, and the worst."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
    thresholds: dict[str, list[float]] = {name: [] for name in NAMES}
    for repeat in range(repeats):
        answers: dict[str, list[Answer]] = {name: [] for name in NAMES}
        for held_out, others, weights in folds_of(examples, FOLDS, f"{repeat}:"):
            inner: dict[str, list[Answer]] = {name: [] for name in NAMES}
            for within, rest, learned in folds_of(others, INNER_FOLDS, f"{repeat}::"):
                inner[ALL] += [answer(each, learned) for each in within]
                inner[STRUCK] += blind(within, rest, learned)
            chosen = {name: best_threshold(each) for name, each in inner.items()}
            answers[ALL] += [answer(each, weights, chosen[ALL]) for each in held_out]
            answers[STRUCK] += blind(held_out, others, weights, chosen[STRUCK])
            for name in NAMES:
                thresholds[name].append(chosen[name])
        for name in NAMES:
            accuracy, wrong, changing = read_or_not(answers[name])
            figures[name].append((accuracy, wrong / max(1, changing)))
    yield f"the threshold chosen without the servers that are measured, {repeats} times over"
    yield f"{'':54}{ALL:>18}{STRUCK:>18}"
    rows = [
        ("read or not: accuracy, mean of servers", [[each[0] for each in figures[name]] for name in NAMES], min),
        ("not read, called read, without `financial`", [[each[1] for each in figures[name]] for name in NAMES], max),
    ]
    for title, columns, worst in rows:
        yield f"{title + ': mean':54}" + "".join(f"{sum(each) / len(each):18.4f}" for each in columns)
        yield f"{title + ': worst':54}" + "".join(f"{worst(each):18.4f}" for each in columns)
    spans = [f"{min(thresholds[name])} to {max(thresholds[name])}" for name in NAMES]
    yield f"{'threshold':54}" + "".join(f"{span:>18}" for span in spans)


def blind(
    examples: Iterable[Example], others: Sequence[Example], weights: dict[str, float], *threshold: float
) -> list[Answer]:
    """Judge examples by the words that other servers use in names."""
    known = {word for each in others for word in words_of(each.tool.name)}
    pairs = {pair for each in others for pair in _pairs(words_of(each.tool.name))}
    with only(known, pairs):
        return [
            answer(replace(each, signs=signs_of(replace(each.tool, annotations={}))), weights, *threshold)
            for each in examples
        ]


@contextmanager
def only(known: set[str], pairs: set[tuple[str, str]]) -> Iterator[None]:
    """Strike out all other words and pairs of words, for as long as this lasts."""
    verbs, perhaps, objects = dict(VERBS), dict(PERHAPS), dict(OBJECTS)
    for words in (VERBS, PERHAPS):
        for word in [word for word in words if word not in known and word not in AT_THE_BEGINNING]:
            del words[word]
    for pair in [pair for pair in OBJECTS if pair not in pairs]:
        del OBJECTS[pair]
    try:
        yield
    finally:
        VERBS.update(verbs)
        PERHAPS.update(perhaps)
        OBJECTS.update(objects)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((first, second) for first in words for second in words)
