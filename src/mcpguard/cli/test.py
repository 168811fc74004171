"""Says whether a policy does what its cases expect of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mcpguard.cli.explain_words import explain_words
from mcpguard.cli.json_lines import json_lines
from mcpguard.cli.mutating import survey_as_json, survey_lines
from mcpguard.cli.policy_files import loaded_all, loaded_policy
from mcpguard.cli.tool_lists import read_tools
from mcpguard.errors import ExitCode
from mcpguard.inventory.risk import classify
from mcpguard.policy.entries import pointer
from mcpguard.proof.cases import SUFFIXES, Case, Step, load_cases
from mcpguard.proof.judge import Surroundings, judge
from mcpguard.stores.positions import positions_in
from mcpguard.stores.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpguard.policy.decision import Category
    from mcpguard.proof.cases import AnyCase, LoadedCases
    from mcpguard.proof.judge import Outcome, Result
    from mcpguard.stores.text import Position

_LONGEST_COMMAND: Final = 100_000


@click.command(options_metavar="[--mutate] [--generate [-o CASES.json]] [--tools LIST.json] [--json]")
@click.argument("file", metavar="FILE", type=click.Path(readable=False, path_type=Path))
@click.argument("cases", metavar="[CASES]...", nargs=-1, type=click.Path(readable=False, path_type=Path))
@click.option(
    "--tools",
    "tool_list",
    metavar="LIST.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The server's tools, for policies with entries for risk categories: a result of `tools/list`, or its list of tools.",
)
@click.option("--mutate", is_flag=True, help="Also change the policy in small ways, and list what no case notices.")
@click.option("--generate", is_flag=True, help="Write cases at the boundaries of every rule, and judge no others.")
@click.option(
    "-o",
    "--output",
    metavar="CASES.json",
    type=click.Path(readable=False, path_type=Path),
    help="With --generate: write the cases to CASES.json.  Default: stdout.",
)
@click.option("--force", is_flag=True, help="With -o: write over a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def test(
    context: click.Context,
    file: Path,
    cases: tuple[Path, ...],
    tool_list: Path | None,
    output: Path | None,
    *,
    mutate: bool,
    generate: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Say whether the policy FILE does what its cases expect.

    Without CASES, these are the files beside the policy: for policy.json policy.test.json, .yaml and .yml. Nothing is started.
    Relative paths in arguments are looked up from the present directory.

    With --mutate, the policy is changed in one small thing at a time: a rule is dropped or turned round, a number is one more or
    less, a set is wider, an anchor is gone, an action is another one. Every change that leaves all cases as they are is listed,
    those first that may let more calls pass. The file stays as it is.

    With --generate, calls just inside and just outside of every rule are written as cases, with what is to be expected of them by the
    text of the rules. Rules without such a call are named on stderr.

    Exit status: 0 if every case holds (and every change is noticed), 1 if not, 3 if the policy or a cases file cannot be used.
    """
    if generate and (cases or as_json or mutate):
        raise click.UsageError("--generate writes cases as JSON, and takes neither CASES nor --json nor --mutate.")
    if output is not None and not generate:
        raise click.UsageError("-o is for --generate.")
    tools = () if tool_list is None else read_tools(tool_list)
    policy = loaded_policy(file)
    from mcpguard.proxy.links import resolver

    categories: dict[str, Category] = {tool.name: classify(tool).category for tool in tools}
    surroundings = Surroundings(resolver(str(Path.cwd())), categories)
    if generate:
        from mcpguard.cli.generating import generate as write_cases

        context.exit(write_cases(policy, tools, surroundings, output, force=force))
    loaded = loaded_all(cases or _beside(file), lambda path: load_cases(path, policy.document))
    judged = [
        _Judged(each, index, case, judge(policy.policy, case, surroundings))
        for each in loaded
        for index, case in enumerate(each.cases)
    ]
    _place(judged if as_json else [each for each in judged if not each.result.holds])
    all_hold = all(each.result.holds for each in judged)
    found, suggest = None, None
    if mutate and all_hold:
        from mcpguard.proof.noticing import Suggestions
        from mcpguard.proof.survivors import survey

        known = [each.case for each in judged]
        found = survey(policy.document, known, surroundings)
        suggest = Suggestions(policy.policy, tools, surroundings, known).for_mutant
    if as_json:
        mutants = {"mutants": found and suggest and survey_as_json(file, found, suggest)} if mutate else {}
        click.echo(json_lines(_as_json(file, judged) | mutants))
    else:
        shown = tool_list if policy.policy.categories else None
        for each in judged:
            if not each.result.holds:
                click.echo(each.line())
                for command in each.commands(file, shown):
                    click.echo(f"    {command}")
        click.echo(_summary(file, judged))
        for line in survey_lines(file, found, suggest) if mutate else ():
            click.echo(line)
    if not all_hold or (found and found.survivors):
        context.exit(ExitCode.FINDINGS)


class _Judged:
    """A case, and what became of it; its `position` is that of what did not hold, once it was looked up."""

    def __init__(self, file: LoadedCases, index: int, case: AnyCase, result: Result) -> None:
        self.file = file
        self.case = case
        self.result = result
        self.at = pointer("cases", index)
        self.position: Position | None = None

    @property
    def is_sequence(self) -> bool:
        return not isinstance(self.case, Case)

    def where(self) -> str:
        """Point at the call that was not judged as expected, or at the case."""
        step = len(self.result.outcomes) - 1
        return f"{self.at}/sequence/{step}" if self.is_sequence and not self.result.holds else self.at

    def case_in_question(self) -> Case:
        """Give the case, or the step whose outcome is the last."""
        return self.case if isinstance(self.case, Case) else self.case.sequence[len(self.result.outcomes) - 1]

    def line(self) -> str:
        """Say what does not hold, in one line."""
        case, outcome = self.case_in_question(), self.result.outcomes[-1]
        place = f"{self.file.path}:{self.position.line}" if self.position else f"{self.file.path}: {self.where()}"
        name = self.case.name or case.name
        said = f"{name}: {case.subject}" if name else case.subject
        if self.is_sequence:
            said = f"{said}: call {self.result.call} of the sequence"
        missing = [rule for rule in case.because if rule not in {reason.rule for reason in outcome.reasons}]
        wanted = f"{case.expect} because of {' and '.join(missing)}" if missing else case.expect
        got = "; ".join(f"{reason.message} ({reason.rule})" for reason in outcome.reasons)
        return printable(f"{place}: {said}: expected {wanted}, got {outcome.effect}{f': {got}' if got else ''}")

    def commands(self, file: Path, tool_list: Path | None) -> Iterator[str]:
        """Give the command that shows more, if one does: it judges one call.  `tool_list` says the categories of tools."""
        case = self.case
        if not isinstance(case, Case):
            return
        # What a case says of its tool outranks a list, which might say something else.
        by_list = tool_list is not None and case.tool and case.category is None
        more = ("--tools", str(tool_list)) if by_list else ()
        command = shlex.join(["mcpguard", "explain", *explain_words(case, str(file), more)])
        if len(command) <= _LONGEST_COMMAND and command.isprintable():
            yield command


def _beside(file: Path) -> tuple[Path, ...]:
    looked_for = [file.with_suffix(suffix) for suffix in SUFFIXES] if file.name else []
    found = tuple(path for path in looked_for if path.exists())
    if not found:
        names = ", ".join(f"`{printable(path.name)}`" for path in looked_for)
        raise click.UsageError(
            f"There are no cases beside {printable(str(file))}: none of {names}. `mcpguard init` writes cases with a policy, "
            "`mcpguard test --generate` writes some for this one; or name a file of cases."
        )
    return found


def _place(judged: list[_Judged]) -> None:
    """Look up where things stand, one reading for each file."""
    by_file: dict[Path, list[_Judged]] = {}
    for each in judged:
        by_file.setdefault(each.file.path, []).append(each)
    for path, those in by_file.items():
        places = positions_in(path, [each.where() for each in those])
        for each in those:
            each.position = places.get(each.where())


def _summary(file: Path, judged: list[_Judged]) -> str:
    failed = sum(not each.result.holds for each in judged)
    held = len(judged) - failed
    said = "no cases" if not judged else f"{held} case holds" if held == 1 else f"{held} cases hold"
    if failed:
        said += f", {failed} does not" if failed == 1 else f", {failed} do not"
    return f"{printable(str(file))}: {said}"


def _as_json(file: Path, judged: list[_Judged]) -> dict[str, object]:
    failed = sum(not each.result.holds for each in judged)
    return {
        "policy": str(file),
        "cases": [_case_as_json(each) for each in judged],
        "held": len(judged) - failed,
        "failed": failed,
    }


def _case_as_json(each: _Judged) -> dict[str, object]:
    told: dict[str, object] = {
        "file": str(each.file.path),
        "at": each.where(),
        "line": each.position.line if each.position else None,
        "name": each.case.name or None,
    }
    if isinstance(each.case, Case):
        return {**told, **_call_as_json(each.case, each.result.outcomes[0]), "holds": each.result.holds}
    steps = [
        {**_call_as_json(step, outcome), "times": step.times}
        for step, outcome in zip(each.case.sequence, each.result.outcomes, strict=False)
    ]
    return {**told, "sequence": steps, "failed_call": each.result.call or None, "holds": each.result.holds}


def _call_as_json(case: Case, outcome: Outcome) -> dict[str, object]:
    kind = "tool" if case.tool else "resource" if case.resource else "prompt"
    return {
        kind: case.subject,
        **({"arguments": case.arguments} if case.tool else {}),
        **({"name": case.name} if isinstance(case, Step) and case.name else {}),
        "expect": case.expect,
        "got": outcome.effect,
        "because": list(case.because),
        "reasons": [
            {"code": reason.code, "rule": reason.rule, "message": reason.message} for reason in outcome.reasons
        ],
    }
