"""Fits the weights by which words make a tool look like one that only reads: logistic regression, in plain Python.

Deterministic: rows are taken in a fixed order.  Knows nothing of tools, only of features and labels.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BIAS = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One example: its features, whether the answer is yes, its group, and what it weighs."""

    features: tuple[str, ...]
    label: bool
    group: str
    weight: float = 1.0


def weigh_groups(rows: Sequence[Row]) -> list[Row]:
    """Let large groups count for less: the square root of their size, not their size."""
    sizes = Counter(row.group for row in rows)
    mean = sum(size**0.5 for size in sizes.values()) / len(rows)
    return [Row(row.features, row.label, row.group, row.weight / sizes[row.group] ** 0.5 / mean) for row in rows]


def vocabulary(rows: Iterable[Row], fewest_groups: int) -> set[str]:
    """Keep the features that occur in several groups: what only one group says cannot be learned."""
    groups: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for feature in row.features:
            groups[feature].add(row.group)
    return {feature for feature, found in groups.items() if len(found) >= fewest_groups}


def fit(
    rows: Sequence[Row], *, fewest_groups: int = 2, penalty: float = 0.3, passes: int = 30, rate: float = 0.25
) -> dict[str, float]:
    """Return a weight for each feature (AdaGrad; L2 penalty per row)."""
    rows = weigh_groups(rows)
    known = vocabulary(rows, fewest_groups)
    weights: dict[str, float] = dict.fromkeys(sorted(known), 0.0)
    weights[BIAS] = 0.0
    squares = dict.fromkeys(weights, 1e-8)
    seen = Counter(feature for row in rows for feature in row.features if feature in known)
    strength = {feature: penalty * len(rows) / max(1, seen[feature]) / 100 for feature in known}
    strength[BIAS] = 0.0
    ready = [([*(f for f in dict.fromkeys(row.features) if f in known), BIAS], row.label, row.weight) for row in rows]
    for turn in range(passes):
        # A fixed stride visits every row once, in another order each time.
        stride = next(step for step in range(7919 + 2 * turn, 10**6) if math.gcd(step, len(ready)) == 1)
        for at in range(len(ready)):
            features, label, weight = ready[at * stride % len(ready)]
            score = sum([weights[feature] for feature in features])
            guess = 1 / (1 + math.exp(-score)) if score > -500 else 0.0
            error = (guess - label) * weight
            for feature in features:
                gradient = error + strength[feature] * weights[feature]
                squares[feature] += gradient * gradient
                weights[feature] -= rate * gradient / math.sqrt(squares[feature])
    return weights
