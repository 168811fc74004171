"""Defines the policy file: which keys there are, and what may stand in each.

The only definition of the format; what the keys mean together is decided where a policy is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from mcpguard.policy.canonical import canonical
from mcpguard.policy.limits import CALENDAR_WINDOWS
from mcpguard.policy.match import PatternError, compile_pattern
from mcpguard.policy.methods import KNOWN_METHODS
from mcpguard.policy.notation import (
    DURATION_TEXT,
    MAX_DIGITS,
    WINDOW_TEXT,
    NotationError,
    duration_ns,
    read_counter,
    read_json,
    read_path,
    read_rate,
    read_single_path,
    read_window,
)
from mcpguard.policy.operators import UNSET, Op, ValueProblem, prepare

if TYPE_CHECKING:
    from pydantic.config import JsonDict

    from mcpguard.policy.decision import Category

IN_OUR_WORDS = "policy"
"""The type of those pydantic errors whose message needs no translation."""

CANONICAL: Final = "canonical"
"""The context in which JSON values of a policy are written canonically, as text: two different values never look alike."""

RISK_CATEGORIES: Final[Mapping[str, Category]] = {
    "@read": "read",
    "@write": "write",
    "@execute": "execute",
    "@destructive": "destructive",
    "@financial": "financial",
}
"""The names of entries that decide about tools by what they can do at worst."""

Effect: TypeAlias = Literal["allow", "deny"]
Action: TypeAlias = Literal["allow", "deny", "hide", "require_approval"]

_Raw = TypeVar("_Raw")
_Value = TypeVar("_Value")
_COMMENT = "$comment"
_REMARK = "A remark for people; it means nothing."
_COMMENT_SCHEMA: JsonDict = {"type": "string", "description": _REMARK}


class _Given:
    """Makes `X | None = None` mean that a key may be absent, and not that it may be null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:  # noqa: ANN401 - as pydantic asks
        return handler(source)["schema"]  # type: ignore[no-any-return]


def refusal(message: str, *, shows_value: bool = False) -> PydanticCustomError:
    """Return what a validator raises whose message needs no translation.

    `shows_value` asks for the end ", not ...", which only a reader of the text can write as the user wrote it.
    """
    return PydanticCustomError(IN_OUR_WORDS, "{message}", {"message": message, "shows_value": shows_value})


def in_our_words(read: Callable[[_Raw], _Value]) -> Callable[[_Raw], _Value]:
    """Let a reader of the notation refuse as pydantic wants it."""

    def reading(value: _Raw) -> _Value:
        try:
            return read(value)
        except NotationError as error:
            raise refusal(str(error), shows_value=error.shows_value) from None

    return reading


def _per(value: str) -> str:
    return value if value == "tool" else read_single_path(value)


def _without_comment(value: object) -> object:
    if not isinstance(value, dict) or _COMMENT not in value:
        return value
    if not isinstance(value[_COMMENT], str):
        raise refusal("`$comment` must be a string")
    return {key: item for key, item in value.items() if key != _COMMENT}


def _duration(value: object, info: ValidationInfo) -> int:
    nanoseconds = duration_ns(value)
    if nanoseconds is None:
        raise refusal(f"`{info.field_name}` must be text like `150ms`, `45s`, `10m` or `2h`", shows_value=True)
    return nanoseconds


def _somebody(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise refusal("`via` must name who may answer: `client`, `terminal` or both")
    return value


def _pattern(value: str) -> str:
    if value in RISK_CATEGORIES:
        raise refusal(f"risk categories such as `{value}` are entries of `tools`, and nothing else")
    try:
        compile_pattern(value)
    except PatternError as error:
        raise refusal(str(error)) from None
    return value


def _tool(value: str) -> str:
    return value if value in RISK_CATEGORIES else _pattern(value)


def _method(value: str) -> str:
    pattern = compile_pattern(_pattern(value))
    governed = KNOWN_METHODS.get(pattern.prefix) if pattern.is_exact else None
    if governed:
        name = f"`{pattern.prefix}`"
        raise refusal(f"`methods` is for methods that the protocol does not know, and it knows {name}: {governed}")
    return value


def _canonical(value: object, info: SerializationInfo) -> object:
    return canonical(value) if info.context == CANONICAL else value


_AS_TEXT: Final = PlainSerializer(_canonical, when_used="json")
Name: TypeAlias = Annotated[str, AfterValidator(_pattern)]
ToolName: TypeAlias = Annotated[str, AfterValidator(_tool)]
Window: TypeAlias = Annotated[
    int,
    PlainValidator(in_our_words(read_window)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^({WINDOW_TEXT})$"}]}),
]


Duration: TypeAlias = Annotated[
    int, PlainValidator(_duration), WithJsonSchema({"type": "string", "pattern": f"^{DURATION_TEXT}$"})
]
"""In nanoseconds."""


class Part(BaseModel):
    """What every object of a policy has in common.

    `NOUN` is how messages call such an object.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    NOUN: ClassVar[str]

    comment: Annotated[str | None, _Given()] = Field(default=None, alias="$comment", exclude=True, description=_REMARK)


class Condition(Part):
    """A test on one argument: yes, no or unsure."""

    NOUN: ClassVar[str] = "a condition"

    path: Annotated[str, AfterValidator(in_our_words(read_path))] = Field(
        description="Where the argument stands: args.a.b, args.items.*.id, or a JSON Pointer from the arguments."
    )
    op: Op = Field(description="How the argument is compared with the value.")
    value: Annotated[Any, _AS_TEXT] = Field(
        default_factory=lambda: UNSET, validate_default=True, description="What it is compared with."
    )

    @field_validator("value", mode="plain")
    @classmethod
    def _fits(cls, value: object, info: ValidationInfo) -> object:
        op = info.data.get("op")
        if op is None:
            return value
        if not isinstance(value, str):
            value = in_our_words(read_json)(value)
        try:
            prepare(op, value)
        except ValueProblem as problem:
            raise refusal(str(problem), shows_value=value is not UNSET) from None
        return value


class Rule(Part):
    """Conditions that are judged together: the rule is what all of them say."""

    NOUN: ClassVar[str] = "a rule"

    conditions: tuple[Condition, ...] = Field(strict=False, description="Conditions that all have to hold; none: yes.")
    on_deny: Annotated[str | None, _Given()] = Field(
        default=None, description="Why; shown to the agent when the rule refuses a call."
    )


class ApprovalRule(Part):
    """Conditions under which a person is asked."""

    NOUN: ClassVar[str] = "an approval rule"

    conditions: tuple[Condition, ...] = Field(strict=False, description="Conditions that all have to hold; none: yes.")
    reason: Annotated[str | None, _Given()] = Field(default=None, description="Why a person is asked.")


class PlainLimit(Part):
    """So many uses in any stretch of a window."""

    NOUN: ClassVar[str] = "a limit of a resource or prompt"

    counter: Annotated[str | None, _Given(), AfterValidator(in_our_words(read_counter))] = Field(
        default=None,
        description="The counter to charge; limits that name one share it. Absent: a counter of the limit's own.",
        json_schema_extra={"pattern": "^[^/]"},
    )
    window: Window = Field(description="How long a call counts: the window slides.")
    max: int = Field(ge=0, description="How much any stretch of the window may hold; 0 is never.")
    scope: Literal["session", "grant"] = Field(
        default="session", description="Who shares the counter: this run, or every run under the same grant."
    )
    align: Annotated[Literal["calendar"] | None, _Given()] = Field(
        default=None, description="Windows that begin with the minute, hour, day or week in UTC; absent: they slide."
    )

    @field_validator("align", mode="after")
    @classmethod
    def _aligns(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("window", 60) not in CALENDAR_WINDOWS:
            raise refusal("only the windows `minute`, `hour`, `day` and `week` can follow the calendar")
        return value


class Limit(PlainLimit):
    """So many calls, or so much of what they ask for, in any stretch of a window."""

    NOUN: ClassVar[str] = "a limit"

    cost: Annotated[str | None, _Given(), AfterValidator(in_our_words(read_single_path))] = Field(
        default=None, description="The path of a number that is added up instead of calls."
    )
    per: Annotated[str | None, _Given(), AfterValidator(in_our_words(_per))] = Field(
        default=None, description='A path: one counter for each value found there; or "tool": one for each tool.'
    )


class RateLimit(Part):
    """One limit with a counter of its own, in short."""

    NOUN: ClassVar[str] = "a rate limit"

    max: int = Field(ge=0, description="How many calls any stretch of the window may hold; 0 is never.")
    window: Window = Field(description="How long a call counts: the window slides.")


class Tool(Part):
    """What holds for the tools that one name or pattern decides."""

    NOUN: ClassVar[str] = "a tool"
    action: Action = Field(
        default="allow", description="What happens to a call: allow, deny, hide or require_approval."
    )
    reason: Annotated[str | None, _Given()] = Field(
        default=None, description="Why; shown to the agent when a call is refused, and in the log."
    )
    require: tuple[Rule, ...] = Field(default=(), strict=False, description="Rules that all have to hold.")
    deny_if: tuple[Rule, ...] = Field(default=(), strict=False, description="Rules of which none may hold.")
    approve_if: tuple[ApprovalRule, ...] = Field(
        default=(), strict=False, description="Rules under which a person has to approve the call."
    )
    arguments: Annotated[
        Annotated[dict[str, Any], AfterValidator(in_our_words(read_json)), _AS_TEXT] | None, _Given()
    ] = Field(
        default=None, description="A JSON Schema (2020-12) for the arguments; a keyword implies the type it judges."
    )
    limits: tuple[Limit, ...] = Field(default=(), strict=False, description="Limits that all have to hold.")
    rate_limit: Annotated[
        Annotated[
            RateLimit,
            BeforeValidator(
                in_our_words(read_rate),
                json_schema_input_type=RateLimit
                | Annotated[str, Field(pattern=f"^[0-9]{{1,{MAX_DIGITS}}}/({WINDOW_TEXT}|0*[1-9][0-9]{{0,8}})$")],
            ),
        ]
        | None,
        _Given(),
    ] = Field(default=None, description='One limit in short: {"max": 10, "window": 60} or "10/minute".')


class AllTools(Part):
    """What holds for every call that is not already refused, in addition."""

    NOUN: ClassVar[str] = "`all_tools`"

    require: tuple[Rule, ...] = Field(default=(), strict=False, description="Rules that have to hold for every call.")
    deny_if: tuple[Rule, ...] = Field(
        default=(), strict=False, description="Rules of which none may hold for any call."
    )
    limits: tuple[Limit, ...] = Field(default=(), strict=False, description="Limits that every call is charged on.")


class Use(Part):
    """What holds for the resources or prompts that one name or pattern decides."""

    NOUN: ClassVar[str] = "a resource or prompt"

    action: Action = Field(default="allow", description="What happens to it: allow, deny, hide or require_approval.")
    reason: Annotated[str | None, _Given()] = Field(
        default=None, description="Why; shown to the agent when it is refused, and in the log."
    )
    limits: tuple[PlainLimit, ...] = Field(default=(), strict=False, description="Limits that all have to hold.")


Uses: TypeAlias = Annotated[dict[Name, Use], BeforeValidator(_without_comment)]


class Audit(Part):
    """What the decision log holds of a call."""

    NOUN: ClassVar[str] = "`audit`"

    arguments: Literal["digest", "keys", "masked", "full"] = Field(
        default="digest",
        description="Of the arguments: a keyed digest, also their keys, also types and lengths, or all of them.",
    )


class ServerRequests(Part):
    """What the server may ask of the client."""

    NOUN: ClassVar[str] = "`server_requests`"

    sampling: Annotated[Effect | None, _Given()] = Field(
        default=None,
        alias="sampling/createMessage",
        description="May the server use the client's model? Absent: as `default`.",
    )
    elicitation: Annotated[Effect | None, _Given()] = Field(
        default=None, alias="elicitation/create", description="May the server ask the user? Absent: allow."
    )
    roots: Annotated[Effect | None, _Given()] = Field(
        default=None, alias="roots/list", description="May the server ask for the client's roots? Absent: allow."
    )


class Approval(Part):
    """How a person is asked about a call."""

    NOUN: ClassVar[str] = "`approval`"

    timeout: Duration = Field(
        default=45_000_000_000,
        description="How long a call waits for a person's answer: text like `45s` or `2m`.",
        json_schema_extra={"default": "45s"},
    )
    ttl: Duration = Field(
        default=600_000_000_000,
        description="How long an approval holds that no call has used up.",
        json_schema_extra={"default": "10m"},
    )
    remember: Literal["call", "tool"] = Field(
        default="call",
        description="What one answer may be about: this call alone, or later calls that the same rules ask about, too.",
    )
    via: Annotated[tuple[Literal["client", "terminal"], ...], AfterValidator(_somebody)] = Field(
        default=("client", "terminal"),
        strict=False,
        description="Who may answer: a dialog of the client, a command in another terminal.",
        json_schema_extra={"minItems": 1},
    )
    min_answer: Duration = Field(
        default=150_000_000,
        description="An answer of the client that comes sooner is none of a person.",
        json_schema_extra={"default": "150ms"},
    )


class PolicyFile(Part):
    """A policy that mcpguard enforces in front of an MCP server."""

    NOUN: ClassVar[str] = "a policy"

    schema_uri: Annotated[str | None, _Given()] = Field(
        default=None, alias="$schema", exclude=True, description="The JSON Schema for editors; it means nothing here."
    )
    version: Literal["1"] = Field(description='The version of the policy language, the string "1".')
    description: Annotated[str | None, _Given()] = Field(
        default=None, description="What the policy is for, for people."
    )
    default: Effect = Field(default="deny", description="What happens to everything that the policy does not name.")
    hide: tuple[Name, ...] = Field(
        default=(), strict=False, description="Names and patterns of tools that are never listed and never callable."
    )
    all_tools: AllTools = Field(default_factory=AllTools, description="What holds for every call, in addition.")
    tools: Annotated[dict[ToolName, Tool], BeforeValidator(_without_comment)] = Field(
        default_factory=dict,
        description="The tools by name, pattern (`*`, `?`; `\\` escapes) or risk category (`@read`); {} allows.",
        json_schema_extra={"properties": {_COMMENT: _COMMENT_SCHEMA}},
    )
    resources: Annotated[Uses | None, _Given()] = Field(
        default=None,
        description="The resources by URI or pattern; absent: as `default`.",
        json_schema_extra={"properties": {_COMMENT: _COMMENT_SCHEMA}},
    )
    prompts: Annotated[Uses | None, _Given()] = Field(
        default=None,
        description="The prompts by name or pattern; absent: as `default`.",
        json_schema_extra={"properties": {_COMMENT: _COMMENT_SCHEMA}},
    )
    server_requests: ServerRequests = Field(
        default_factory=ServerRequests, description="Which requests of the server may pass to the client."
    )
    methods: Annotated[dict[Annotated[str, AfterValidator(_method)], Effect], BeforeValidator(_without_comment)] = (
        Field(
            default_factory=dict,
            description="Methods that the protocol does not know, by name or pattern.",
            json_schema_extra={"properties": {_COMMENT: _COMMENT_SCHEMA}},
        )
    )
    approval: Approval = Field(default_factory=Approval, description="How a person is asked.")
    audit: Audit = Field(default_factory=Audit, description="What the decision log holds.")
    listing: Literal["callable", "all"] = Field(
        default="callable", alias="list", description="Which tools a list shows: the callable ones, or denied ones too."
    )
    drift: Literal["refuse", "allow"] = Field(
        default="refuse", description="What happens to a tool whose definition changes during a session."
    )
