"""Turns what rules of Intercept count into limits, which never let more pass.

Knows nothing of arguments but the path of one that is added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, trunc
from typing import TYPE_CHECKING, Final, cast

from mcpguard.convert.conditions import COMMENT, Json, path_of
from mcpguard.convert.notes import Never, NoTwinError
from mcpguard.convert.source import GLOBAL, STATE, Condition, Rule, Source, State, counter_of, scope_of
from mcpguard.stores.text import quoted

if TYPE_CHECKING:
    from mcpguard.convert.notes import Notes
    from mcpguard.policy.values import Number

_MOST: Final = 2**53 - 1
"""The largest maximum that is written: up to here, doubles and exact numbers add up alike."""
_MOST_INT64: Final = 2**63
_COUNTING: Final = (
    "is a limit in windows of the calendar, as there, but counts anew with every run, while Intercept keeps its counts on "
    "disk for all runs; calls that fail count, too"
)
_COUNTING_HERE: Final = "counts anew with every run; calls that fail count, too"


@dataclass(frozen=True, slots=True)
class _Owner:
    """The rule that counts on a counter.  `is_limited` says whether it has a limit on it; else Intercept's count stays zero."""

    scope: str
    state: State
    is_limited: bool


class Counters:
    """The counters of one policy: which rules count on each, and which only look."""

    def __init__(self, source: Source, notes: Notes) -> None:
        self._notes = notes
        self._owners: dict[str, _Owner] = {}
        for tool, rules in source.tools.items():
            for rule in rules:
                if rule.state is not None:
                    counter = counter_of(tool, rule.state)
                    limited = _own_limit(rule, counter) is not None
                    self._owners[counter] = _Owner(scope_of(tool), rule.state, limited)
        self._read: set[str] = set()
        """The counters that rules look at without counting on them."""
        for tool, rules in source.tools.items():
            for rule in rules:
                own = None if rule.state is None else counter_of(tool, rule.state)
                found = (_counter_in(condition) for condition in rule.conditions)
                self._read |= {each for each in found if each is not None and each != own}

    def limits(self, tool: str, rule: Rule) -> list[Json]:
        """Give the limits for the conditions of a rule on counters, one for each counter.

        Raises:
            NoTwinError: nothing of ours counts like that.
            Never: the rule holds for no call at all.
        """
        limits: dict[str, Json] = {}
        limited = None
        if rule.state is not None:
            own = counter_of(tool, rule.state)
            limited = _own_limit(rule, own)
            if _counts_backwards(rule.state):
                raise NoTwinError(rule.conditions[0], "nothing here counts backwards")
            if limited is not None:
                limits[own] = self._limit(own, _most(limited, rule.state), rule)
            elif rule.state.increment_from or own in self._read:
                limits[own] = self._limit(own, _MOST, rule)
            if limited is None:
                what = "calls are counted here" if own in limits else "its `state` is left out"
                message = f"without `lt` or `lte` on its own counter a rule of Intercept counts nothing; {what}"
                self._notes.add(rule.pointer, "counters", message)
        for condition in rule.conditions:
            counter = _counter_in(condition)
            if counter is None or condition is limited:
                continue
            checked = self._checked(tool, condition, counter, rule)
            if checked is None:
                continue
            known = limits.get(counter)
            if known is None:
                limits[counter] = checked
            else:
                known["max"] = min(cast("int", known["max"]), cast("int", checked["max"]))
        for limit in limits.values():
            self._notes.add(rule.pointer, "counting", f"{quoted(str(limit['counter']))} {_COUNTING}")
        if limits and rule.on_deny:
            self._notes.add(
                rule.pointer, "text", "a limit has no `on_deny` here: the agent is told when the next call fits"
            )
        return list(limits.values())

    def _checked(self, tool: str, condition: Condition, counter: str, rule: Rule) -> Json | None:
        """Give a limit for a condition that only looks at a counter; None if the condition always holds."""
        if condition.op == "exists":
            if condition.value is True:
                return None
            raise Never
        owner = self._owners.get(counter)
        if condition.op not in {"lt", "lte"} or owner is None or _counts_backwards(owner.state):
            raise NoTwinError(condition, f"nothing here looks at a counter with `{condition.op}`")
        value = _compared(condition)
        most = floor(value) if condition.op == "lte" else ceil(value) - 1
        if most < 0:
            raise _impossible(condition, owner.state)
        is_own = owner.scope in {scope_of(tool), GLOBAL}
        if owner.state.increment_from:
            exact = False
            limit = self._limit(counter, most if is_own else most + 1, rule, charges=is_own)
        else:
            exact = is_own and owner.is_limited
            limit = self._limit(counter, most // owner.state.increment + 1, rule, charges=False)
        if not exact:
            what = (
                "the call itself is added before it is compared" if is_own else "the call itself is counted on it, too"
            )
            self._notes.add(condition.pointer, "counters", f"Intercept only looks at {quoted(counter)}; here {what}")
            limit[COMMENT] = f"{limit[COMMENT]}; {what}"
        return limit

    def _limit(self, counter: str, most: int, rule: Rule, *, charges: bool = True) -> Json:
        """Write a limit.  `charges` says whether it adds the argument that its counter adds up, if it does."""
        state = self._owners[counter].state
        if most > _MOST:
            self._notes.add(
                rule.pointer, "counters", f"doubles are added up exactly up to {_MOST}; that is the maximum here"
            )
            most = _MOST
        limit: Json = {
            COMMENT: f"{rule.name}{f': {rule.on_deny}' if rule.on_deny else ''} ({_COUNTING_HERE})",
            "counter": counter.replace("/", "./", 1) if counter.startswith("/") else counter,
            "window": state.window,
            "max": most,
            "align": "calendar",
            "scope": "grant",
        }
        if state.increment_from and charges:
            limit["cost"] = path_of(Condition(state.increment_from, "", None, rule.pointer))
            self._notes.add(
                rule.pointer,
                "counters",
                f"{quoted(state.increment_from)} is added up exactly; Intercept drops fractions, and a negative one is "
                "refused here",
            )
            limit[COMMENT] = f"{limit[COMMENT]}; adds up exactly, and refuses what is negative"
        return limit


def _counter_in(condition: Condition) -> str | None:
    return condition.path.removeprefix(STATE) if condition.path.startswith(STATE) else None


def _own_limit(rule: Rule, counter: str) -> Condition | None:
    """Find the condition that limits what the rule itself counts."""
    return next((each for each in rule.conditions if _counter_in(each) == counter and each.op in {"lt", "lte"}), None)


def _counts_backwards(state: State) -> bool:
    return state.increment < 0 and not state.increment_from


def _impossible(condition: Condition, state: State) -> Exception:
    """Return what to raise for a condition that no count of calls can meet, and a sum only once it has become negative."""
    if state.increment_from:
        return NoTwinError(condition, "only negative amounts could get below this limit")
    return Never()


def _compared(condition: Condition) -> float:
    """Return what a counter is compared with, as Intercept has it: a double."""
    value = float(cast("Number", condition.value))
    if value >= _MOST_INT64:
        raise NoTwinError(condition, "no counter is compared with so large a number")
    return value


def _most(condition: Condition, state: State) -> int:
    """Say how many calls, or how much of an argument, a limit lets pass."""
    value = _compared(condition)
    most = trunc(value) - (condition.op == "lt")
    if value < 0 or most < 0:
        raise _impossible(condition, state)
    return most if state.increment_from else most // state.increment
