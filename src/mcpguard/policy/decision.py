"""Holds what goes into a judgement and what comes out of it.

Values only: nothing here judges, knows JSON-RPC, or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

Effect: TypeAlias = Literal["allow", "deny", "hide"]
Scope: TypeAlias = Literal["session", "grant"]
Category: TypeAlias = Literal["read", "write", "execute", "destructive", "financial"]
"""What a call of a tool can do at worst."""
Code: TypeAlias = Literal[
    "denied",
    "default_deny",
    "require",
    "deny_if",
    "arguments",
    "rate_limited",
    "approval_required",
    "approval_denied",
    "approval_expired",
    "drift",
    "busy",
    "malformed",
    "internal",
]


def unresolvable(path: str) -> str | None:  # noqa: ARG001 - it stands in for one that looks
    """Know of no path where it leads."""
    return None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One `tools/call`.  Numbers in `arguments` are `int` or `decimal.Decimal`, never `float`.

    `resolve` gives the absolute path, without symbolic links, that a path leads to from the server's working directory, or
    None if nobody can say.  It is the only window that a judgement has on the file system.  `category` is that of the tool as
    a list showed it, or None if none has.
    """

    name: str
    arguments: Mapping[str, object]
    resolve: Callable[[str], str | None] = field(default=unresolvable, compare=False, repr=False)
    category: Category | None = None


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """A read of, a subscription to or a completion for the resource `uri`."""

    uri: str


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A completion for the URI template (RFC 6570) `template`."""

    template: str


@dataclass(frozen=True, slots=True)
class PromptUse:
    """A `prompts/get` of, or a completion for, the prompt `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a call is refused: `rule` is a JSON Pointer (RFC 6901) into the policy file.

    `message` is the sentence for the agent without name and prefix, for instance
    `exports go through the data office`.
    """

    code: Code
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Charge:
    """An obligation: `amount` units on `counter` unless that makes more than `max` in the last `window_s` seconds.

    With `calendar` the window is the present minute, hour, day or week (from Monday) in UTC.  A counter with a `key` is one
    of many under its name.  Charges of one counter agree on window, calendar, scope, and whether there is a key; `rule`
    points at the limit that asks for it.
    """

    counter: str
    rule: str
    window_s: int
    max: int
    scope: Scope
    calendar: bool = False
    key: str | None = None
    amount: int | Decimal = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """The pure answer about one call.

    `entry` is a JSON Pointer to what decided (`/tools/x`, `/default`, `/hide/0`). An `allow` has no reasons, and its
    `charges` must all be made before the call passes; a refusal has every reason that holds, the first of
    which is told to the agent, and no charges, unless it `awaits_approval`.
    """

    effect: Effect
    entry: str
    reasons: tuple[Reason, ...] = ()
    charges: tuple[Charge, ...] = ()

    @property
    def awaits_approval(self) -> bool:
        """Whether a person's approval is all that the call lacks: with it, the call passes for these `charges`.

        A refusal all the same, so that whoever asks nobody refuses.
        """
        return self.effect == "deny" and bool(self.reasons) and self.reasons[0].code == "approval_required"


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """How a person is asked about a call, and for how long an answer counts; times in nanoseconds.

    `timeout_ns` is how long a call is held for an answer, `ttl_ns` how long an approval waits for the call after that, and
    an answer of a client within `min_answer_ns` is none of a person.
    """

    timeout_ns: int = 45_000_000_000
    ttl_ns: int = 600_000_000_000
    remember: Literal["call", "tool"] = "call"
    via: frozenset[Literal["client", "terminal"]] = frozenset(("client", "terminal"))
    min_answer_ns: int = 150_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is finally done with one call, once every obligation was discharged or one could not be.

    Forwarded if `admitted`. Else the client is told `text`, with `code`, `rule` and, for `rate_limited`,
    `retry_after_ms` and `remaining` as the machine-readable part; `hidden` asks for the answer that the protocol gives for a
    thing that does not exist.
    """

    admitted: bool
    code: Code = "denied"
    text: str = ""
    rule: str = ""
    hidden: bool = False
    retry_after_ms: int | None = None
    remaining: int | None = None
