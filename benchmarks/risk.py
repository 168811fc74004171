"""Measures how well tools are told apart by their risk, and remakes the weights that help with it.

    python benchmarks/risk.py DATA                print the figures: servers are held out whole, and each counts the same
    python benchmarks/risk.py DATA --repeats 5    and how well that holds on servers of which nothing is known (minutes)
    python benchmarks/risk.py DATA --write        fit the weights to all of DATA and write them into the package

DATA has one JSON object on each line: `server`, `name`, `description`, `inputSchema`, `annotations`, and a label: `category`, else
`derived` unless that is `write?`.  What has no label is not used.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from risk_examples import (
    COST_OF_A_WRONG_READ,
    FEWEST_SERVERS,
    THRESHOLDS,
    Answer,
    Example,
    answer,
    cost,
    fit_examples,
    folds_of,
    read_examples,
    read_or_not,
)
from risk_nested import FOLDS, nested

from mcpguard.inventory.risk import TOO_LIKELY, Category, classify, heed_hints
from mcpguard.inventory.weights import WEIGHTS_FILE

CATEGORIES: tuple[Category, ...] = ("read", "write", "execute", "destructive", "financial")
HEAD = """\
# How much each sign of a tool speaks for one that changes something (above 0) or one that only reads (below 0).
# One sign on each line, its weight before it; the line without a sign is what every tool starts with.
# A sign is what `signs.py` makes of a name, a description and a schema: `word:get` is a word of the name, `first:list` the first word
# of the description, `about:` any other, `argument:` one of the schema.
#
# Made by `python benchmarks/risk.py DATA --write`: logistic regression on the labels of {rows} tools of {servers} servers, hints
# left out, servers weighed by the square root of their size; signs that fewer than {fewest} servers have are left out.
"""


def main() -> int:
    """Print the figures, or write the weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument(
        "--write", action="store_true", help="fit the weights to all of DATA and write them into the package"
    )
    parser.add_argument(
        "--without", metavar="SERVERS", default="", help="comma-separated servers to learn nothing from"
    )
    parser.add_argument(
        "--to", type=Path, metavar="FILE", default=Path(WEIGHTS_FILE), help="where `--write` writes them"
    )
    parser.add_argument(
        "--only",
        metavar="SERVERS",
        default="",
        help="comma-separated servers to measure, by weights learned from the others",
    )
    parser.add_argument(
        "--repeats", type=int, default=0, metavar="N", help="also measure with a threshold and words of other servers"
    )
    parser.add_argument("--errors", action="store_true", help="list what is judged otherwise than it is labelled")
    given = parser.parse_args()
    examples = list(read_examples(given.data))
    if given.write:
        without = set(given.without.split(","))
        write_weights([each for each in examples if each.server not in without], given.to)
        return 0
    if given.only:
        chosen = set(given.only.split(","))
        learned = fit_examples([each for each in examples if each.server not in chosen])
        answers = [answer(each, learned) for each in examples if each.server in chosen]
    else:
        without = set(given.without.split(","))
        examples = [each for each in examples if each.server not in without]
        answers = [answer(each, weights) for held_out, _, weights in folds_of(examples, FOLDS) for each in held_out]
    print_figures(answers)
    print_curve(answers)
    if given.repeats:
        print()
        for line in nested(examples, given.repeats):
            print(line)
    if given.errors:
        print_errors(answers)
    return 0


def write_weights(examples: Sequence[Example], path: Path) -> None:
    """Write the weights that all examples give."""
    weights = fit_examples(examples)
    head = HEAD.format(rows=len(examples), servers=len({each.server for each in examples}), fewest=FEWEST_SERVERS)
    lines = [f"{weight:+.2f} {name}\n" for name, weight in sorted(weights.items())]
    path.write_text(head + "".join(lines), encoding="utf-8")
    print(f"{path}: {len(weights)} weights")


def print_curve(answers: Sequence[Answer]) -> None:
    """Print what other thresholds give."""
    print("\nother thresholds, without hints and labels `financial`")
    print(f"{'threshold':>10}{'accuracy':>10}{'called read':>13}{'of':>6}{'share':>9}{'cost':>9}")
    for threshold in THRESHOLDS:
        accuracy, wrong, changing = read_or_not(answers, threshold)
        share, costs = wrong / max(1, changing), cost(answers, threshold)
        print(f"{threshold:10}{accuracy:10.4f}{wrong:13}{changing:6}{share:9.4f}{costs:9.2f}")
    print(f"a wrong `read` costs {COST_OF_A_WRONG_READ} times any other; in force: {TOO_LIKELY}")


def print_figures(answers: Sequence[Answer]) -> None:
    """Print the table of figures, without and with the servers' own hints."""
    hinted = [_with_hints(each) for each in answers]
    servers = {each.example.server for each in answers}
    print(
        f"{len(answers)} labelled tools of {len(servers)} servers, each judged by weights learned from other servers\n"
    )
    print(f"{'':54}{'no hints':>9}{'hints':>9}")
    rows = [
        ("read or not: accuracy, mean of servers", _mean_accuracy),
        ("read or not: accuracy, all tools together", _accuracy),
        ("not read, called read: mean of servers", _mean_missed),
        ("not read, called read: all tools together", _missed),
        ("  the same without labels `financial` on reading", _missed_but_financial),
        ("destructive: precision, without update*", lambda each: _destructive(each)[0]),
        ("destructive: recall, without update*", lambda each: _destructive(each)[1]),
    ]
    for name, figure in rows:
        print(f"{name:54}{figure(answers):9.4f}{figure(hinted):9.4f}")
    print(
        f"  without servers whose labels call most of what creates destructive: {', '.join(_too_strict(answers)) or 'none'}"
    )
    strict = _too_strict(answers)
    for name, at in (("precision", 0), ("recall", 1)):
        figures = [
            _destructive([each for each in given if each.example.server not in strict])[at]
            for given in (answers, hinted)
        ]
        print(f"{'  ' + name:54}{figures[0]:9.4f}{figures[1]:9.4f}")
    print("\nlabelled (down), called (across), without hints")
    counts = Counter((each.example.label, each.risk.category) for each in answers)
    print(f"{'':14}" + "".join(f"{called:>13}" for called in CATEGORIES))
    for label in CATEGORIES:
        print(f"{label:14}" + "".join(f"{counts[label, called]:13}" for called in CATEGORIES))
    tools = [replace(each.example.tool, annotations={}) for each in answers][:1000]
    start = perf_counter()
    for tool in tools:
        classify(tool)
    print(f"\n{len(tools)} tools took {(perf_counter() - start) * 1000:.0f} ms")


def print_errors(answers: Sequence[Answer]) -> None:
    """List what is judged otherwise than labelled: wrong `read` first."""
    wrong = [each for each in answers if (each.example.label == "read") != (each.risk.category == "read")]
    for each in sorted(
        wrong, key=lambda each: (each.example.label == "read", each.example.server, each.example.tool.name)
    ):
        print(
            f"{each.example.label} called {each.risk.category}: {each.example.server} {each.example.tool.name}: {each.risk.evidence[0]}"
        )


def _with_hints(given: Answer) -> Answer:
    return replace(given, risk=heed_hints(given.risk, given.example.tool.annotations))


def _accuracy(answers: Sequence[Answer]) -> float:
    return sum((each.example.label == "read") == (each.risk.category == "read") for each in answers) / len(answers)


def _missed(answers: Sequence[Answer]) -> float:
    changing = [each for each in answers if each.example.label != "read"]
    return sum(each.risk.category == "read" for each in changing) / max(1, len(changing))


def _missed_but_financial(answers: Sequence[Answer]) -> float:
    return _missed([each for each in answers if each.example.label != "financial"])


def _mean_accuracy(answers: Sequence[Answer]) -> float:
    groups = _by_server(answers)
    return sum(map(_accuracy, groups)) / len(groups)


def _mean_missed(answers: Sequence[Answer]) -> float:
    groups = _by_server([each for each in answers if each.example.label != "read"])
    return sum(map(_missed, groups)) / len(groups)


def _destructive(answers: Sequence[Answer]) -> tuple[float, float]:
    kept = [each for each in answers if "update" not in each.example.signs.name.words]
    called = [each for each in kept if each.risk.category == "destructive"]
    labelled = [each for each in kept if each.example.label == "destructive"]
    right = sum(each.example.label == "destructive" for each in called)
    return right / max(1, len(called)), right / max(1, len(labelled))


def _too_strict(answers: Sequence[Answer]) -> list[str]:
    """Name the servers that call at least half of their tools that create something destructive."""
    creating = [
        each.example for each in answers if "create" in each.example.signs.name.words and each.example.label != "read"
    ]
    return sorted(
        server
        for server in {example.server for example in creating}
        if 2 * sum(example.label == "destructive" for example in creating if example.server == server)
        >= sum(example.server == server for example in creating)
    )


def _by_server(answers: Sequence[Answer]) -> list[list[Answer]]:
    groups: dict[str, list[Answer]] = defaultdict(list)
    for each in answers:
        groups[each.example.server].append(each)
    return list(groups.values())


if __name__ == "__main__":
    sys.exit(main())
