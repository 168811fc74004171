"""Defines the cases file: calls, what is expected of each, and the rules that must be among the reasons.

The only definition of the format.  Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mcpguard.errors import Finding, PolicyError
from mcpguard.policy.compile import limits_of, pointer, rules_of
from mcpguard.policy.decision import Category, PromptUse, ResourceUse, ToolCall
from mcpguard.policy.model import Duration, Part, in_our_words, refusal
from mcpguard.policy.notation import read_json
from mcpguard.stores.files import FileKind, load_file
from mcpguard.stores.wording import Steps, Vocabulary, closest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcpguard.policy.evaluate import Call
    from mcpguard.policy.model import PolicyFile

Expectation: TypeAlias = Literal["allow", "deny", "approve", "hide"]
"""What becomes of a call; `approve` is that a person is asked."""

SUFFIXES: Final = (".test.json", ".test.yaml", ".test.yml")
"""What the name of a cases file ends in that stands beside its policy."""

_MOST_TIMES: Final = 100_000
_NEAR: Final = 3
_TAGS: Final = ("one", "many")


def _a_pointer(value: str) -> str:
    if not value.startswith("/"):
        raise refusal("a rule is a JSON Pointer into the policy, like `/tools/x/require/0`", shows_value=True)
    return value


class Case(Part):
    """One call, and what is expected of it."""

    NOUN: ClassVar[str] = "a case"

    name: str = Field(default="", description="What the case is about, for people.")
    tool: str = Field(default="", description="The name of the tool that is called.")
    resource: str = Field(default="", description="The URI of the resource that is read.")
    prompt: str = Field(default="", description="The name of the prompt that is asked for.")
    arguments: Annotated[dict[str, Any], AfterValidator(in_our_words(read_json))] = Field(
        default_factory=dict, description="The arguments of a tool call; absent: {}."
    )
    category: Category | None = Field(
        default=None, description="What a list showed of the tool, for policies with entries such as `@read`."
    )
    expect: Expectation = Field(description="What becomes of the call; `approve`: a person is asked.")
    because: tuple[Annotated[str, AfterValidator(_a_pointer)], ...] = Field(
        default=(), strict=False, description="JSON Pointers to rules that must be among the reasons."
    )

    @field_validator("category", mode="before")
    @classmethod
    def _is_something(cls, value: object) -> object:
        if value is None:
            raise refusal("`category` is left out where none is known")
        return value

    @field_validator("arguments", "category", mode="after")
    @classmethod
    def _of_a_tool(cls, value: object, info: ValidationInfo) -> object:
        for other in ("resource", "prompt"):
            if info.data.get(other):
                raise refusal(f"a {other} has no `{info.field_name}`; only a tool has")
        return value

    @field_validator("because", mode="after")
    @classmethod
    def _has_reasons(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and info.data.get("expect") == "allow":
            raise refusal("nothing stands against a call that is allowed; take `because` out")
        return value

    @model_validator(mode="after")
    def _of_one_thing(self) -> Case:
        if sum(map(bool, (self.tool, self.resource, self.prompt))) != 1:
            raise refusal(f"{self.NOUN} names exactly one of `tool`, `resource` and `prompt`")
        return self

    @property
    def subject(self) -> str:
        """The name or URI of what is called."""
        return self.tool or self.resource or self.prompt

    def call(self, resolve: Callable[[str], str | None], categories: Mapping[str, Category]) -> Call:
        """Give the call; `resolve` says where paths lead, and `categories` are those of tools of which the case says none."""
        if self.resource:
            return ResourceUse(self.resource)
        if self.prompt:
            return PromptUse(self.prompt)
        return ToolCall(self.tool, self.arguments, resolve, self.category or categories.get(self.tool))


class Step(Case):
    """So many equal calls of a sequence, and what is expected of each."""

    NOUN: ClassVar[str] = "a step"

    times: int = Field(default=1, description="How many equal calls.")
    after: Duration = Field(default=0, description="How much time passes before the first of them, in nanoseconds.")

    @field_validator("times", mode="after")
    @classmethod
    def _some(cls, value: int) -> int:
        if not 1 <= value <= _MOST_TIMES:
            raise refusal(f"`times` must be from 1 to {_MOST_TIMES}", shows_value=True)
        return value


class Sequence(Part):
    """Calls one after the other, which are charged on the same counters."""

    NOUN: ClassVar[str] = "a sequence"

    name: str = Field(default="", description="What the sequence is about, for people.")
    sequence: tuple[Step, ...] = Field(strict=False, description="The calls in their order.")

    @field_validator("sequence", mode="after")
    @classmethod
    def _some(cls, value: tuple[Step, ...]) -> tuple[Step, ...]:
        if not value:
            raise refusal("a sequence has at least one step")
        return value


def _tag(value: object) -> str:
    is_sequence = isinstance(value, Sequence) or (isinstance(value, dict) and "sequence" in value)
    return _TAGS[is_sequence]


AnyCase: TypeAlias = Case | Sequence


def calls_of(case: AnyCase) -> tuple[Case, ...]:
    """Give the calls of a case: one, or the steps of a sequence."""
    return (case,) if isinstance(case, Case) else case.sequence


class CasesFile(Part):
    """The cases of a policy."""

    NOUN: ClassVar[str] = "a cases file"

    cases: tuple[
        Annotated[Annotated[Case, Tag("one")] | Annotated[Sequence, Tag("many")], Discriminator(_tag)], ...
    ] = Field(strict=False, description="The cases, each for itself.")


@dataclass(frozen=True, slots=True)
class LoadedCases:
    """The cases of one file."""

    path: Path
    cases: tuple[AnyCase, ...]


def load_cases(path: Path, policy: PolicyFile) -> LoadedCases:
    """Load the cases at `path` for a policy.

    Raises:
        PolicyError: with every error of the file, in the order of their positions; also for a case that can never hold because
            the policy has no such rule.
    """
    known = tuple(reasons_of(policy))

    def made(data: object) -> tuple[AnyCase, ...]:
        cases = CasesFile.model_validate(data).cases
        findings = tuple(_unknown_rules(cases, known))
        if findings:
            raise PolicyError(findings)
        return cases

    kind = FileKind("cases file", "cases file", '{"cases": []}', made, lambda: _WORDS)
    return LoadedCases(path, load_file(path, kind))


def reasons_of(policy: PolicyFile) -> Iterator[str]:
    """Yield the pointer of everything in a policy that can be a reason."""
    if policy.default == "deny":
        yield "/default"
    for index in range(len(policy.hide)):
        yield pointer("hide", index)
    for section in ("tools", "resources", "prompts"):
        entries = getattr(policy, section)
        if section == "resources" and entries is not None:
            yield "/resources"  # a URI that servers read in different ways
        for name, entry in (entries or {}).items():
            if entry.action != "allow":
                yield pointer(section, name, "action")
    for rule, _ in rules_of(policy):
        yield rule
    for rule, _ in limits_of(policy):
        yield rule


def _unknown_rules(cases: tuple[AnyCase, ...], known: tuple[str, ...]) -> Iterator[Finding]:
    there = frozenset(known)
    for number, case in enumerate(cases):
        for step, each in enumerate(calls_of(case)):
            steps = () if isinstance(case, Case) else ("sequence", step)
            for index, rule in enumerate(each.because):
                if rule not in there:
                    yield Finding(_unknown(rule, known), pointer("cases", number, *steps, "because", index))


def _unknown(rule: str, known: tuple[str, ...]) -> str:
    said = f"the policy has nothing at `{rule}` that could be a reason"
    section, *steps = rule[1:].split("/")
    above = f"/{section}"
    near: list[str] = []
    for step in steps:
        above += f"/{step}"
        nearer = [each for each in known if each.startswith(f"{above}/")]
        near = nearer or near
    if near:
        more = f" and {len(near) - _NEAR} more" if len(near) > _NEAR else ""
        return f"{said}; near it: {', '.join(f'`{each}`' for each in near[:_NEAR])}{more}"
    guess = closest(rule, known)
    return f"{said}; did you mean `{guess}`?" if guess else said


def _owner(steps: Steps) -> type[Part]:
    match steps:
        case ("cases", int(), "one"):
            return Case
        case ("cases", int(), "many"):
            return Sequence
        case ("cases", int(), "many", "sequence", int()):
            return Step
        case _:
            return CasesFile


def _without_tag(steps: Steps) -> Steps:
    return (*steps[:2], *steps[3:]) if steps[:1] == ("cases",) and steps[2:3] in {("one",), ("many",)} else steps


_WORDS: Final = Vocabulary((CasesFile, Case, Step, Sequence), _owner, _without_tag)
