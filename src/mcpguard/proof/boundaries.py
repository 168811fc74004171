"""Writes the calls at the boundaries of a policy: just inside and just outside of every rule, with what is expected of each.

What is expected comes from a second reading of the rules (`opinion`), never from `evaluate`; so a case that the guard judges otherwise
shows that one of the two is wrong. Where no call is found, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcpguard.inventory.cases import example_arguments
from mcpguard.inventory.risk import classify
from mcpguard.policy.entries import pointer
from mcpguard.policy.model import Limit
from mcpguard.proof.borders import examples_for, places_in, values_for, values_for_keyword
from mcpguard.proof.dues import AnyLimit, key_of
from mcpguard.proof.names import CATEGORIES, best_match, names_beside, names_for, read_glob
from mcpguard.proof.opinion import (
    Meeting,
    Opinion,
    Section,
    meeting_of,
    use_limits,
    use_opinion,
)
from mcpguard.proof.placing import put, put_elements, removed
from mcpguard.proof.reading import ABSENT, Missing, condition_says, find_all, says, steps_of
from mcpguard.proof.search import Arguments, Search, Target
from mcpguard.proof.spending import Helper, Number, Spender, Step, sequence_for

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.model import Condition, PolicyFile
    from mcpguard.proof.opinion import ReadRule

Case: TypeAlias = "dict[str, Any]"
Choice: TypeAlias = Callable[[str], bool]

_MOST_SUBJECTS: Final = 4
_MOST_NAMES_BESIDE: Final = 3
_MOST_EACH_SIDE: Final = 6
_MOST_JOINED: Final = 6
_MOST_KEYS: Final = 12
_LISTS: Final = frozenset(("in", "not_in"))
_STRANGERS: Final = ("example_tool", "other_tool", "not_named", "a", "zzz", "x1")
_ANOTHER: Final = ", but another name"
_SIDES: Final = {"allow": "passes", "deny": "is refused", "approve": "is asked about", "hide": "is hidden"}


@dataclass(frozen=True, slots=True)
class Boundary:
    """A case at the boundary of the rule at `rule`, as a cases file has it."""

    rule: str
    case: Case


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule without a call at one of its sides, and why."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The calls at the boundaries of a policy, and what has none."""

    found: tuple[Boundary, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def cases(self) -> list[Case]:
        """The cases, as a cases file holds them."""
        return [boundary.case for boundary in self.found]


def boundaries_of(
    document: PolicyFile, tools: Sequence[Tool] | None = None, *, about: Choice = lambda _: True
) -> Boundaries:
    """Find the calls at the boundaries of every rule of a policy for which `about` its pointer says yes.

    With the server's `tools`, calls are of these where there are some, and begin with arguments that their schemas accept.
    """
    return _Writer(document, tools or (), about).written()


@dataclass(slots=True)
class _Subject:
    """A tool to call: its name, its category as a list showed it, and what its calls meet."""

    name: str
    category: str | None
    meeting: Meeting
    tool: Tool | None
    start: Arguments
    search: Search
    _bases: list[Arguments | None] = field(default_factory=list)

    @property
    def base(self) -> Arguments | None:
        """Arguments that every rule lets pass, if possible without asking a person."""
        if not self._bases:
            self._bases.append(self.around(self.start, Target()))
        return self._bases[0]

    def around(self, start: Arguments, target: Target) -> Arguments | None:
        """Find arguments like these that meet everything but the target."""
        found = self.search.find(start, target)
        if found is not None or not self.search.may_ask:
            return found
        return self.search.find(start, target, asks=True)


class _Writer:
    def __init__(self, document: PolicyFile, tools: Sequence[Tool], about: Choice) -> None:
        self._document = document
        self._about = about
        self._by_category = any(text.startswith("@") for text in document.tools)
        self._tools = {tool.name: tool for tool in tools}
        self._subjects: dict[tuple[str, str | None], _Subject | None] = {}
        self._found: list[Boundary] = []
        self._left_out: list[LeftOut] = []
        self._seen: set[str] = set()
        self._by_entry = self._deciding()

    def written(self) -> Boundaries:
        for index, text in enumerate(self._document.hide):
            self._hidden(pointer("hide", index), text)
        for text in self._document.tools:
            self._entry(text)
        self._everywhere()
        self._default()
        self._uses("resources")
        self._uses("prompts")
        return Boundaries(tuple(self._found), tuple(dict.fromkeys(self._left_out)))

    # Tools to call

    def _deciding(self) -> dict[str, list[_Subject]]:
        """Find for every entry, and for the default (``), tools about which it decides: listed ones first."""
        found: dict[str, list[_Subject]] = {text: [] for text in (*self._document.tools, "")}
        for name in self._tools:
            listed = self._subject(name, self._category_of(name))
            for text in [] if listed is None else self._entries_of(listed):
                if listed is not None and len(found[text]) < _MOST_SUBJECTS:
                    found[text].append(listed)
        for text, subjects in found.items():
            for name, category in self._made_up(text):
                if len(subjects) >= (1 if subjects and subjects[0].tool else 2):
                    break
                made_up = self._subject(name, category)
                if made_up is not None and text in self._entries_of(made_up) and made_up not in subjects:
                    subjects.append(made_up)
        return found

    def _entries_of(self, subject: _Subject) -> list[str]:
        places = subject.meeting.entries
        if any(place.startswith("/hide/") for place in places):
            return []
        return [text for text in self._document.tools if pointer("tools", text) in places] or [""]

    def _made_up(self, text: str) -> Iterator[tuple[str, str | None]]:
        if text[:1] == "@":
            for name in (*_STRANGERS, *(name for glob in self._document.tools for name in names_for(glob))):
                yield name, text[1:]
            return
        names = list(names_for(text)) if text else [*_STRANGERS]
        if not self._by_category or (text and read_glob(text).is_exact):
            yield from ((name, None) for name in names)
            return
        free = [each for each in CATEGORIES if f"@{each}" not in self._document.tools]
        for name in names:
            for category in (*free, *CATEGORIES):
                yield name, category
        yield from ((name, None) for name in names)

    def _category_of(self, name: str) -> str | None:
        return classify(self._tools[name]).category if self._by_category and name in self._tools else None

    def _subject(self, name: str, category: str | None) -> _Subject | None:
        key = (name, category)
        if key not in self._subjects:
            meeting = meeting_of(self._document, name, category)
            tool = self._tools.get(name)
            schema = None if tool is None else tool.input_schema
            start = {} if schema is None else example_arguments(schema) or {}
            self._subjects[key] = (
                None if meeting is None else _Subject(name, category, meeting, tool, start, Search(meeting, schema))
            )
        return self._subjects[key]

    # Names

    def _hidden(self, place: str, text: str) -> None:
        if not self._about(place):
            return
        names = [name for name in self._tools if read_glob(text).means(name)]
        for name in (*names, *names_for(text)):
            subject = self._subject(name, self._category_of(name))
            if subject is not None and subject.meeting.constant == Opinion("hide", (place,)):
                self._write(place, subject, {})
                break
        else:
            self._leave_out(place, "no name was found that it hides and nothing else does")
        self._beside(place, text)

    def _entry(self, text: str) -> None:
        place = pointer("tools", text)
        subjects = self._by_entry[text]
        if not subjects:
            if self._about(place):
                self._leave_out(place, "no name was found about which it decides")
            return
        if self._about(place):
            for subject in subjects[:1]:
                self._action(place, subject)
            if text[:1] != "@":
                self._beside(place, text)
        passing = [each for each in subjects if each.meeting.constant is None and each.base is not None]
        if not passing:
            self._unreachable(place, subjects[0])
            return
        subject = passing[0]
        for rule in subject.meeting.rules:
            if rule.pointer.startswith(f"{place}/") and self._about(rule.pointer):
                self._rule([subject], rule)
        for shape_place, schema in subject.meeting.shapes:
            if shape_place == f"{place}/arguments" and self._about(shape_place):
                self._shape(subject, shape_place, schema)
        for limit_place, limit in subject.meeting.limits:
            if limit_place.startswith(f"{place}/") and self._about(limit_place):
                self._limit([each for each in subjects if each.meeting.constant is None], limit_place, limit)

    def _unreachable(self, place: str, subject: _Subject) -> None:
        """Say what of an entry has no calls because there is none that passes; what never passes still has what it refuses."""
        for rule in subject.meeting.rules:
            if rule.pointer.startswith(f"{place}/") and self._about(rule.pointer):
                self._rule([subject], rule)
        others = [each for each, _ in (*subject.meeting.shapes, *subject.meeting.limits)]
        for each in others:
            if each.startswith(f"{place}/") and self._about(each):
                self._leave_out(each, "no call was found that every rule lets pass")

    def _action(self, place: str, subject: _Subject) -> None:
        if subject.meeting.constant is not None:
            self._write(place, subject, subject.start)
        elif subject.base is not None:
            self._write(place, subject, subject.base)
        else:
            self._leave_out(place, "no call was found that every rule lets pass")

    def _beside(self, place: str, text: str) -> None:
        """Write calls of tools whose names a pattern only just does not mean."""
        wanted = 1 if read_glob(text).is_exact else _MOST_NAMES_BESIDE
        for name in names_beside(text):
            subject = self._subject(name, self._category_of(name))
            if subject is None or place in subject.meeting.entries:
                continue
            arguments = subject.start if subject.meeting.constant is not None else subject.base
            if arguments is not None and self._write(f"{place}{_ANOTHER}", subject, arguments):
                wanted -= 1
                if not wanted:
                    return

    def _everywhere(self) -> None:
        subjects = [
            each
            for several in self._by_entry.values()
            for each in several
            if each.meeting.constant is None and each.base is not None
        ]
        subjects = sorted(subjects, key=lambda each: (each.tool is None, len(each.meeting.rules)))
        everywhere = self._document.all_tools
        for kind, count in (("require", len(everywhere.require)), ("deny_if", len(everywhere.deny_if))):
            for place in (pointer("all_tools", kind, index) for index in range(count)):
                if not self._about(place):
                    continue
                rule = self._common_rule(subjects, place)
                if rule is None:
                    self._leave_out(place, "no call was found that every other rule lets pass")
                else:
                    self._rule(subjects[:_MOST_SUBJECTS], rule)
        # Limits of a tool's own would stop its calls before.
        subjects.sort(key=lambda each: len(each.meeting.limits))
        for index, limit in enumerate(everywhere.limits):
            place = pointer("all_tools", "limits", index)
            if self._about(place):
                self._limit(subjects[:_MOST_SUBJECTS], place, limit)

    def _common_rule(self, subjects: Iterable[_Subject], place: str) -> ReadRule | None:
        return next((rule for each in subjects for rule in each.meeting.rules if rule.pointer == place), None)

    def _default(self) -> None:
        if not self._about("/default"):
            return
        for subject in self._by_entry[""][:1]:
            self._action("/default", subject)

    # Rules

    def _rule(self, subjects: Sequence[_Subject], rule: ReadRule) -> None:
        """Write calls that a rule refuses (or asks about) and calls that it lets pass, for each of its conditions."""
        sides: set[bool] = set()
        for subject in subjects:
            for fires, arguments in self._calls(subject, rule):
                self._write(rule.pointer, subject, arguments)
                sides.add(fires)
            if len(sides) == 2:
                return
        if rule.kind == "require" and not rule.rule.conditions:
            return
        if True not in sides:
            verb = "asks about" if rule.kind == "approve_if" else "refuses"
            self._leave_out(rule.pointer, f"no call was found that it {verb}{self._because(rule)}")
        if False not in sides and rule.rule.conditions:
            self._leave_out(rule.pointer, f"no call was found that it lets pass{self._because(rule)}")

    def _because(self, rule: ReadRule) -> str:
        """Say of which condition no values are known; empty if other rules are in the way."""
        for condition in rule.rule.conditions:
            values = [each for each in _border(condition) if each is not ABSENT]
            answers = {says(condition.op, condition.value, each) for each in values}
            if not {"yes", "no"} <= answers and condition.op != "exists":
                return f": no values are known for which `{condition.op}` on {condition.path} surely says yes and no"
        return ": other rules stop those that were tried"

    def _calls(self, subject: _Subject, rule: ReadRule) -> Iterator[tuple[bool, Arguments]]:
        start = subject.base or subject.start
        if not rule.rule.conditions:
            found = subject.around(start, Target(rule.pointer))
            if found is not None and self._fires(subject, rule.pointer, found) is not None:
                yield True, found
            return
        for index, condition in enumerate(rule.rule.conditions):
            steps = steps_of(condition.path)
            target = Target(rule.pointer, index, steps)
            most = len(_border(condition)) if condition.op in _LISTS else _MOST_EACH_SIDE
            written = {True: 0, False: 0}
            for placed in self._placed(subject, condition, start):
                said = condition_says(condition, rule.kind, placed)
                if said is None or written[said != ("yes" if rule.kind == "require" else "no")] >= most:
                    continue
                found = subject.around(placed, target) or placed
                fires = self._fires(subject, rule.pointer, found)
                if fires is not None and written[fires] < most:
                    written[fires] += 1
                    yield fires, found

    def _placed(self, subject: _Subject, condition: Condition, start: Arguments) -> Iterator[Arguments]:
        """Yield arguments with values at the border of a condition; with `*`, with one of them, two, or none."""
        steps = steps_of(condition.path)
        values = subject.search.border(condition)
        others = subject.search.others_at(steps)
        if None in steps:
            elements = [each for each in values if each is not ABSENT]
            inside = [each for each in elements if says(condition.op, condition.value, each) == "yes"]
            outside = [each for each in elements if says(condition.op, condition.value, each) == "no"]
            if inside and outside:
                yield put_elements(start, steps, [inside[0], outside[0]])
                yield put_elements(start, steps, [inside[0], inside[-1]])
        for value in (*values, *_joined(condition, values, others), *others):
            yield removed(start, steps) if value is ABSENT else put(start, steps, value)

    def _fires(self, subject: _Subject, place: str, arguments: Arguments) -> bool | None:
        """Say whether the rule at `place` is why a call does not simply pass; None if something else is, too, or nobody knows."""
        opinion = subject.meeting.judge(arguments)
        if opinion is None:
            return None
        if place in opinion.because:
            return True
        return None if opinion.effect in ("deny", "hide") else False

    # Schemas

    def _shape(self, subject: _Subject, place: str, schema: Mapping[str, Any]) -> None:
        base = subject.base
        assert base is not None
        sides: set[bool] = set()
        for steps, arguments in self._shaped(subject, base, schema):
            found = subject.around(arguments, Target(place, steps=steps)) or arguments
            fires = self._fires(subject, place, found)
            if fires is not None:
                self._write(place, subject, found)
                sides.add(fires)
        if True not in sides:
            self._leave_out(place, "no call was found that it refuses")
        if False not in sides:
            self._write(place, subject, base)

    def _shaped(
        self, subject: _Subject, base: Arguments, schema: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[str | None, ...], Arguments]]:
        """Yield arguments at the border of each keyword, and the place that it is about."""
        for steps, inner in places_in(schema, schema):
            good = self._with(subject, base, steps, inner, schema)
            if good is None:
                continue
            yield steps, good
            for name in inner.get("required", ()):
                yield (*steps, name), removed(good, (*steps, name))
            if inner.get("additionalProperties") is False:
                yield (*steps, "example_other"), put(good, (*steps, "example_other"), 1)
            if steps:
                for keyword, said in inner.items():
                    for value in values_for_keyword(keyword, said):
                        yield steps, put(good, steps, _as_long(next(find_all(good, steps)), value))

    def _with(
        self,
        subject: _Subject,
        base: Arguments,
        steps: tuple[str | None, ...],
        inner: Mapping[str, Any],
        schema: Mapping[str, Any],
    ) -> Arguments | None:
        """Find arguments that pass with something at `steps`."""
        if not steps or not _missing(base, steps):
            return base
        for example in examples_for(inner, schema):
            found = subject.around(put(base, steps, example), Target(steps=steps))
            if found is not None:
                return found
        return None

    # Limits

    def _limit(self, subjects: Sequence[_Subject], place: str, limit: AnyLimit) -> None:
        why = "no call was found that every rule lets pass"
        for subject in subjects:
            if subject.base is None or place not in dict(subject.meeting.limits):
                continue
            spender = self._spender(subject, subjects, limit, subject.base)
            planned = sequence_for(spender, place)
            if isinstance(planned, str):
                why = planned
                continue
            callers = {each.name: each for each in (*self._sharing(limit), *subjects, subject)}
            steps = [self._step(place, each, callers[each.name]) for each in planned]
            if None not in steps:
                self._add(place, {"name": f"{place}: used up", "sequence": steps})
                if isinstance(limit, Limit) and (limit.cost is not None or limit.per not in (None, "tool")):
                    self._not_payable(subject, place, limit, subject.base)
                return
        self._leave_out(place, why)

    def _sharing(self, limit: AnyLimit) -> list[_Subject]:
        """List tools that are charged on the counter of a limit, if it has a name."""
        counter = limit.counter if isinstance(limit, Limit) else None
        found: dict[str, _Subject] = {}
        for several in self._by_entry.values() if counter is not None else ():
            for each in several:
                shares = any(isinstance(one, Limit) and one.counter == counter for _, one in each.meeting.limits)
                if shares and each.meeting.constant is None and each.base is not None:
                    found.setdefault(each.name, each)
        return list(found.values())

    def _helpers(self, subject: _Subject, limit: AnyLimit) -> list[Helper]:
        """List other calls that are charged on a limit: of other tools, or such as other limits count apart."""
        limits = subject.meeting.limits
        found = [Helper(each.name, each.base or {}, each.meeting.limits) for each in self._sharing(limit)]
        found = [each for each in found if each.name != subject.name]
        for _, other in limits:
            if other is limit or not isinstance(other, Limit) or other.per in (None, "tool") or subject.base is None:
                continue
            steps = steps_of(str(other.per))
            (value,) = find_all(subject.base, steps)
            for number in range(_MOST_KEYS if isinstance(value, str) else 0):
                arguments = subject.around(put(subject.base, steps, f"{value}{number}"), Target(steps=steps))
                if arguments is not None:
                    found.append(Helper(subject.name, arguments, limits))
        return found

    def _not_payable(self, subject: _Subject, place: str, limit: Limit, base: Arguments) -> None:
        """Write calls that do not give what a limit needs."""
        for path in (limit.cost, limit.per):
            if path in (None, "tool"):
                continue
            steps = steps_of(str(path))
            bad: list[Arguments] = [removed(base, steps), *([put(base, steps, -1)] if path == limit.cost else [])]
            for arguments in bad:
                found = subject.around(arguments, Target(place, steps=steps)) or arguments
                if self._fires(subject, place, found):
                    self._write(place, subject, found)

    def _spender(self, subject: _Subject, subjects: Sequence[_Subject], limit: AnyLimit, base: Arguments) -> Spender:
        def passing(path: str, value: object) -> Arguments | None:
            steps = steps_of(path)
            return subject.around(put(base, steps, value), Target(steps=steps))

        def costing(amount: Number) -> Arguments | None:
            assert isinstance(limit, Limit)
            return passing(limit.cost or "", amount)

        def keyed() -> tuple[str, Arguments] | None:
            if not isinstance(limit, Limit) or limit.per is None:
                return None
            if limit.per == "tool":
                same = [each for each in subjects if each.meeting.limits == subject.meeting.limits]
                others = [each for each in same if each.name != subject.name and each.base is not None]
                return (others[0].name, others[0].base or {}) if others else None
            mine = key_of(limit, base)
            for value in ("example-other", "other", *subject.search.hints_at(steps_of(limit.per)).values, 2):
                found = passing(limit.per, value)
                if found is not None and key_of(limit, found) != mine:
                    return subject.name, found
            return None

        limits = subject.meeting.limits
        return Spender(subject.name, base, limits, costing, keyed, lambda: self._helpers(subject, limit))

    def _step(self, place: str, step: Step, subject: _Subject) -> Case | None:
        opinion = subject.meeting.judge(step.arguments)
        if opinion is None or (step.passes and opinion.effect in ("deny", "hide")):
            return None
        case = self._call(step.name, subject.category, step.arguments)
        if step.after_s:
            case["after"] = f"{step.after_s}s"
        if step.times > 1:
            case["times"] = step.times
        return case | self._expected(opinion if step.passes else Opinion("deny", (place,)))

    # Resources and prompts

    def _uses(self, section: Section) -> None:
        for text, use in (getattr(self._document, section) or {}).items():
            place = pointer(section, text)
            if self._about(place):
                self._use(section, place, text)
            for index in range(len(use.limits)):
                if self._about(f"{place}/limits/{index}"):
                    self._use_limit(section, text, f"{place}/limits/{index}")
        if self._about("/default"):
            for name in (f"file:///{name}" if section == "resources" else name for name in _STRANGERS):
                opinion = use_opinion(self._document, section, name)
                if opinion is not None and (opinion.effect == "allow" or opinion.because == ("/default",)):
                    self._write_use("/default", section, name, opinion)
                    break

    def _name_of_use(self, section: Section, text: str) -> tuple[str, Opinion] | None:
        action = pointer(section, text, "action")
        is_open = getattr(self._document, section)[text].action == "allow"
        for name in names_for(text):
            opinion = use_opinion(self._document, section, name)
            limits = [place for place, _ in use_limits(self._document, section, name)]
            decides = opinion is not None and (
                action in opinion.because
                or (is_open and opinion.effect == "allow" and self._decides(section, text, name))
            )
            if decides and opinion is not None and all(each.startswith(pointer(section, text)) for each in limits):
                return name, opinion
        return None

    def _decides(self, section: Section, text: str, name: str) -> bool:
        return best_match(getattr(self._document, section), name) == (text,)

    def _use(self, section: Section, place: str, text: str) -> None:
        found = self._name_of_use(section, text)
        if found is None:
            self._leave_out(place, "no name was found about which it decides")
        else:
            self._write_use(place, section, *found)
        wanted = 1 if read_glob(text).is_exact else _MOST_NAMES_BESIDE
        for name in names_beside(text):
            opinion = use_opinion(self._document, section, name)
            if wanted and opinion is not None:
                self._write_use(f"{place}{_ANOTHER}", section, name, opinion)
                wanted -= 1

    def _use_limit(self, section: Section, text: str, place: str) -> None:
        found = self._name_of_use(section, text)
        if found is None or f"{pointer(section, text)}/action" in found[1].because:
            self._leave_out(place, "no name was found that is charged on it")
            return
        name, opinion = found
        limits = use_limits(self._document, section, name)
        planned = sequence_for(Spender(name, {}, limits, lambda _: None, lambda: None), place)
        if isinstance(planned, str):
            self._leave_out(place, planned)
            return
        steps = []
        for step in planned:
            case: Case = {section.removesuffix("s"): name}
            if step.after_s:
                case["after"] = f"{step.after_s}s"
            if step.times > 1:
                case["times"] = step.times
            steps.append(case | self._expected(opinion if step.passes else Opinion("deny", (place,))))
        self._add(place, {"name": f"{place}: used up", "sequence": steps})

    def _write_use(self, place: str, section: Section, name: str, opinion: Opinion) -> None:
        title = {"name": f"{place}: {_SIDES[opinion.effect]}"}
        self._add(place, title | {section.removesuffix("s"): name} | self._expected(opinion))

    # Cases

    def _write(self, place: str, subject: _Subject, arguments: Arguments) -> bool:
        opinion = subject.meeting.judge(arguments)
        if opinion is None:
            return False
        title = {"name": f"{place}: {_SIDES[opinion.effect]}"}
        self._add(place, title | self._call(subject.name, subject.category, arguments) | self._expected(opinion))
        return True

    def _call(self, name: str, category: str | None, arguments: Arguments) -> Case:
        case: Case = {"tool": name}
        if arguments:
            case["arguments"] = arguments
        if category is not None:
            case["category"] = category
        return case

    def _expected(self, opinion: Opinion) -> Case:
        because = {"because": list(opinion.because)} if opinion.because and opinion.effect != "allow" else {}
        return {"expect": opinion.effect, **because}

    def _add(self, place: str, case: Case) -> None:
        name = repr({key: value for key, value in case.items() if key != "name"})
        if name not in self._seen:
            self._seen.add(name)
            self._found.append(Boundary(place.removesuffix(_ANOTHER), case))

    def _leave_out(self, place: str, why: str) -> None:
        self._left_out.append(LeftOut(place, why))


def _missing(arguments: Arguments, steps: tuple[str | None, ...]) -> list[object]:
    return [each for each in find_all(arguments, steps) if isinstance(each, Missing)]


def _as_long(present: object, value: object) -> object:
    """Give a list that is as long as a value with elements of the one that is there, for those meet the other rules."""
    if isinstance(present, list) and present and isinstance(value, list):
        return [*present, *[present[-1]] * len(value)][: len(value)]
    return value


def _joined(condition: Condition, values: Sequence[object], others: Iterable[object]) -> Iterator[str]:
    """Join texts in which a condition finds something with such as other rules look for."""
    if condition.op in ("regex", "contains"):
        found = [
            each for each in values if isinstance(each, str) and says(condition.op, condition.value, each) == "yes"
        ]
        known = [each for each in values if isinstance(each, str)]
        texts = [each for each in others if isinstance(each, str) and each and each not in known]
        yield from (f"{other} {each}" for each in found[:2] for other in texts[:_MOST_JOINED])


def _border(condition: Condition) -> list[object]:
    return values_for(condition.op, condition.value)
