"""Says which small changes of a policy none of its cases notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcpguard.cli.json_lines import json_line
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcpguard.proof.noticing import Suggest
    from mcpguard.proof.other_values import Direction
    from mcpguard.proof.survivors import Survey

_DIRECTIONS: Final[dict[Direction, str]] = {
    "looser": "looser",
    "either": "looser or stricter",
    "stricter": "stricter",
}


def survey_lines(file: Path, found: Survey | None, suggest: Suggest | None) -> Iterator[str]:
    """Say for people what was found, with a case for each change that would notice it; None: the cases do not hold as it is."""
    if found is None or suggest is None:
        yield f"{printable(str(file))}: nothing was changed: first, every case has to hold"
        return
    places = positions_in(file, [mutant.rule for mutant in found.survivors])
    before: dict[str, object] | None = None
    for mutant in found.survivors:
        where = f"{file}:{places[mutant.rule].line}" if mutant.rule in places else str(file)
        yield printable(f"{where}: {_DIRECTIONS[mutant.direction]}, and no case notices: {mutant}")
        case = suggest(mutant)
        if case is None:
            yield "    no call was found that tells them apart"
        elif case == before:
            yield "    the same case would notice it"
        else:
            before = case
            yield f"    a case that would notice it: {json_line(case)}"
    survived = len(found.survivors)
    said = f"{found.noticed} of {found.total} changes are noticed"
    if survived:
        said += ", 1 is not" if survived == 1 else f", {survived} are not"
    if found.skipped:
        said += f"; {found.skipped} more would make no policy"
    yield f"{printable(str(file))}: {said}"


def survey_as_json(file: Path, found: Survey, suggest: Suggest) -> dict[str, object]:
    """Say for programs what was found."""
    places = positions_in(file, [mutant.rule for mutant in found.survivors])
    return {
        "total": found.total,
        "noticed": found.noticed,
        "skipped": found.skipped,
        "survivors": [
            {
                "rule": mutant.rule,
                "line": places[mutant.rule].line if mutant.rule in places else None,
                "change": mutant.change,
                "direction": mutant.direction,
                "case": suggest(mutant),
            }
            for mutant in found.survivors
        ],
    }
