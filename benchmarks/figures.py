"""Turns what was measured into figures, and figures into a table or a JSON document.

A ratio is taken within one round, where both sides have met the same machine; of the rounds' ratios, and of the
rounds' values, the median counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

BASES = ("direct", "relay")
P99_NEEDS = 100
"""Of fewer calls, the 99th percentile would just be the slowest."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What one line of the table is about: values are measured in base units and shown divided by `scale`."""

    label: str
    unit: str
    scale: float


@dataclass(slots=True)
class Samples:
    """The values of all rounds, in the order of the rounds, by metric and contender."""

    values: dict[Metric, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, metric: Metric, contender: str, value: float | None) -> None:
        """Keep a value of this round, if there is one."""
        if value is not None:
            self.values.setdefault(metric, {}).setdefault(contender, []).append(value)


@dataclass(frozen=True, slots=True)
class Figure:
    """What is said about one contender in one line: a median, and ratios to those that it is compared with."""

    median: float
    ratios: dict[str, float]


def p50(times: Sequence[float]) -> float:
    """Give the median."""
    return statistics.median(times)


def p99(times: Sequence[float]) -> float | None:
    """Give the time that 99 in 100 calls did not exceed; None if they are too few to say."""
    if len(times) < P99_NEEDS:
        return None
    return sorted(times)[math.ceil(len(times) * 0.99) - 1]


def bases_of(name: str, present: Collection[str]) -> list[str]:
    """Say with whom a contender is compared: with every base that is there and comes before it."""
    before = BASES[: BASES.index(name)] if name in BASES else BASES
    return [base for base in before if base in present]


def figures_of(measured: dict[str, list[float]]) -> dict[str, Figure]:
    """Give the figures of every contender about one metric.

    What the direct way has none of (memory of its own) is not compared with anything.
    """
    return {
        name: Figure(
            statistics.median(values),
            {
                base: statistics.median(value / other for value, other in zip(values, measured[base], strict=True))
                for base in bases_of(name, measured)
                if BASES[0] in measured
            },
        )
        for name, values in measured.items()
    }


def table(samples: Samples, contenders: Sequence[str]) -> str:
    """Give one line for each metric: for each contender its median, then its ratio to direct and to the relay."""
    rows = _rows(samples, contenders)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_aligned(row, widths) for row in rows)


def markdown(samples: Samples, contenders: Sequence[str]) -> str:
    """Give the same as a table of Markdown, that can be read as it is, too."""
    rows = _rows(samples, contenders)
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    line = ["-" * width if place < 2 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(_justified(row, widths))} |" for row in (rows[0], line, *rows[1:]))


def _rows(samples: Samples, contenders: Sequence[str]) -> list[list[str]]:
    head = ["", ""]
    for name in contenders:
        head += [name, *(f"/{base}" for base in bases_of(name, contenders))]
    rows = [head]
    for metric, measured in samples.values.items():
        figures = figures_of(measured)
        row = [metric.label, metric.unit]
        for name in contenders:
            figure = figures.get(name)
            row.append(_amount(figure.median / metric.scale) if figure else "-")
            ratios = figure.ratios if figure else {}
            row += [f"{ratios[base]:.2f}" if base in ratios else "-" for base in bases_of(name, contenders)]
        rows.append(row)
    return rows


def document(samples: Samples) -> list[dict[str, object]]:
    """Give the same figures, and the values of all rounds, for a program to read."""
    return [
        {
            "metric": metric.label,
            "unit": metric.unit,
            "contender": name,
            "median": figure.median / metric.scale,
            **{f"to_{base}": ratio for base, ratio in figure.ratios.items()},
            "rounds": [value / metric.scale for value in measured[name]],
        }
        for metric, measured in samples.values.items()
        for name, figure in figures_of(measured).items()
    ]


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_justified(row, widths)).rstrip()


def _justified(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
