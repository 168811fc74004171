"""Reads labelled tools, learns weights from some of them, and judges others by those."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from risk_fit import Row, fit

from mcpguard.inventory.risk import TOO_LIKELY, Risk, judge, likelihood, opinion_of
from mcpguard.inventory.signs import Signs, signs_of
from mcpguard.inventory.tools import Tool

SMALLEST_WEIGHT = 0.05
FEWEST_SERVERS = 3
THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
COST_OF_A_WRONG_READ = 20
"""What a wrong `read` costs, where any other wrong answer costs 1."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled tool."""

    server: str
    label: str
    tool: Tool
    signs: Signs


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about an example, and how likely it was found to change something."""

    example: Example
    risk: Risk
    likely: float


def read_examples(path: Path) -> Iterator[Example]:
    """Read the labelled tools of a file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            label = row["category"] or (row["derived"] if row["derived"] != "write?" else None)
            if label:
                hints = row["annotations"] or {}
                tool = Tool(row["name"], row["description"] or "", row["inputSchema"] or {}, annotations=hints)
                yield Example(row["server"], label, tool, signs_of(tool))


def fit_examples(examples: Iterable[Example]) -> dict[str, float]:
    """Learn weights from examples."""
    rows = [Row(each.signs.features, each.label != "read", each.server) for each in examples]
    weights = {name: round(weight, 2) for name, weight in fit(rows, fewest_groups=FEWEST_SERVERS).items()}
    return {name: weight for name, weight in weights.items() if not name or abs(weight) >= SMALLEST_WEIGHT}


def answer(example: Example, weights: Mapping[str, float], too_likely: float = TOO_LIKELY) -> Answer:
    """Judge an example as `classify` does, by other weights and without hints."""
    tool = replace(example.tool, annotations={})
    score = sum((weights.get(feature, 0.0) for feature in example.signs.features), weights[""])
    likely = likelihood(score, opinion_of(example.signs))
    return Answer(example, judge(tool, example.signs, score, weights, too_likely), likely)


def folds_of(
    examples: Sequence[Example], count: int, salt: str = ""
) -> Iterator[tuple[list[Example], list[Example], dict[str, float]]]:
    """Yield the examples of some servers, those of all others, and the weights that the others give, until all had their turn."""
    for fold in range(count):
        held_out = [each for each in examples if _fold(each.server, count, salt) == fold]
        others = [each for each in examples if _fold(each.server, count, salt) != fold]
        if held_out and others:
            yield held_out, others, fit_examples(others)


def _fold(server: str, count: int, salt: str) -> int:
    return int(hashlib.sha256((salt + server).encode()).hexdigest(), 16) % count


def read_or_not(answers: Sequence[Answer], threshold: float | None = None) -> tuple[float, int, int]:
    """Return the accuracy as a mean of servers, and how many of how many tools are wrongly called `read`.

    With a threshold, it is the one that decides.  Those labelled `financial` do not count: most of the labels are wrong.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    wrong = changing = 0
    for each in answers:
        reads = each.risk.category == "read" if threshold is None else each.likely <= threshold
        right[each.example.server].append(reads == (each.example.label == "read"))
        if each.example.label not in {"read", "financial"}:
            changing += 1
            wrong += reads
    return sum(sum(each) / len(each) for each in right.values()) / len(right), wrong, changing


def cost(answers: Sequence[Answer], threshold: float) -> float:
    """Say what the errors of a threshold cost; each server counts by the square root of its size, as for the weights."""
    sizes = Counter(each.example.server for each in answers)
    return sum(
        (COST_OF_A_WRONG_READ if each.likely <= threshold else 1) / math.sqrt(sizes[each.example.server])
        for each in answers
        if each.example.label != "financial" and (each.likely <= threshold) != (each.example.label == "read")
    )


def best_threshold(answers: Sequence[Answer]) -> float:
    """Choose the threshold that costs least; of several, the most cautious."""
    return min(THRESHOLDS, key=lambda threshold: cost(answers, threshold))
