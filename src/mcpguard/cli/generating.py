"""Writes the cases at the boundaries of a policy, says where there are none, and whether the guard judges them as expected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import jiter

from mcpguard.cli.console import counted, tell
from mcpguard.cli.json_lines import json_lines
from mcpguard.cli.saving import check_places, save_all
from mcpguard.errors import ExitCode
from mcpguard.proof.boundaries import boundaries_of
from mcpguard.proof.cases import Case, CasesFile
from mcpguard.proof.judge import judge
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpguard.inventory.tools import Tool
    from mcpguard.proof.judge import Surroundings
    from mcpguard.proof.writing import LeftOut
    from mcpguard.stores.files import LoadedPolicy


def generate(
    loaded: LoadedPolicy, tools: Sequence[Tool], surroundings: Surroundings, output: Path | None, *, force: bool
) -> ExitCode:
    """Print the boundary cases of a policy, or write them to `output`; return the exit status.

    What is expected of a case comes from the text of the rules; then the guard judges it. If the two disagree, that is said.
    """
    if output is not None:
        if output.suffix != ".json":
            raise click.UsageError(
                f"-o: {printable(str(output))}: cases are written as JSON: let the name end in `.json`."
            )
        check_places([output], force=force, option="-o")
    found = boundaries_of(loaded.document, tools)
    text = json_lines({"cases": found.cases}) + "\n"
    wrong = _wrong(loaded, text, surroundings)
    if output is None:
        click.echo(text, nl=False)
    else:
        save_all({output: text}, force=force)
        tell(f"wrote {printable(str(output))}: {counted(len(found.cases), 'case')} at the boundaries of the rules")
    _tell_left_out(loaded.path, found.left_out)
    for line in wrong:
        tell(f"not judged as the rules read: {line}")
    return ExitCode.FINDINGS if wrong else ExitCode.OK


def _wrong(loaded: LoadedPolicy, text: str, surroundings: Surroundings) -> list[str]:
    """List the cases that the guard does not judge as the rules read: one of the two readings is wrong."""
    read = jiter.from_json(text.encode(), float_mode="decimal")
    wrong = []
    for case in CasesFile.model_validate(read).cases:
        result = judge(loaded.policy, case, surroundings)
        if not result.holds:
            step = case if isinstance(case, Case) else case.sequence[len(result.outcomes) - 1]
            wrong.append(f"{case.name}: {step.subject}: expected {step.expect}, got {result.outcomes[-1].effect}")
    return [printable(line) for line in wrong]


def _tell_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    places = positions_in(path, [each.rule for each in left_out]) if left_out else {}
    for each in left_out:
        place = places.get(each.rule)
        where = f"{path}:{place.line}:{place.column}" if place else str(path)
        click.echo(printable(f"{where}: {each.rule}: {each.why}"), err=True)
