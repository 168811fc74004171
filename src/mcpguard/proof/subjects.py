"""Finds tools to call for every entry of a policy: such as it decides about, of the server's list or with made-up names.

Knows what the calls of a tool meet, and arguments that every rule lets pass; knows nothing of what is to be tried with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mcpguard.inventory.cases import example_arguments
from mcpguard.inventory.risk import classify
from mcpguard.policy.entries import pointer
from mcpguard.policy.model import Limit
from mcpguard.proof.names import CATEGORIES, names_for, read_glob
from mcpguard.proof.opinion import meeting_of
from mcpguard.proof.search import NOTHING, Search
from mcpguard.proof.writing import tool_call

if TYPE_CHECKING:
    from mcpguard.inventory.tools import Tool
    from mcpguard.policy.model import PolicyFile
    from mcpguard.proof.dues import AnyLimit
    from mcpguard.proof.opinion import Meeting
    from mcpguard.proof.search import Arguments, Target
    from mcpguard.proof.writing import Written

MOST_SUBJECTS: Final = 4
"""Of so many tools of a list calls are tried for one entry, or for a rule of all tools."""
STRANGERS: Final = ("example_tool", "other_tool", "not_named", "a", "zzz", "x1")
"""Names that a policy will hardly name."""
_MOST_MADE_UP: Final = 2


class Subject:
    """A tool to call: its name, its category as a list showed it, and what its calls meet.

    `tool` is that of the server's list, None for a made-up name; `start` are arguments that the server's schema accepts.
    """

    def __init__(self, name: str, category: str | None, meeting: Meeting, tool: Tool | None) -> None:
        schema = None if tool is None else tool.input_schema
        self.name = name
        self.category = category
        self.meeting = meeting
        self.tool = tool
        self.start: Arguments = {} if schema is None else example_arguments(schema) or {}
        self.search = Search(meeting, schema)

    @cached_property
    def base(self) -> Arguments | None:
        """Arguments that every rule lets pass, if possible without asking a person; None if none were found."""
        return self.around(self.start, NOTHING)

    @property
    def can_pass(self) -> bool:
        """Whether calls of it were found that every rule lets pass."""
        return self.meeting.constant is None and self.base is not None

    def around(self, start: Arguments, target: Target) -> Arguments | None:
        """Find arguments like these that meet everything but the target."""
        found = self.search.find(start, target)
        if found is not None or not self.search.may_ask:
            return found
        return self.search.find(start, target, asks=True)

    def fires(self, place: str, arguments: Arguments) -> bool | None:
        """Say whether the rule at `place` is why a call does not simply pass; None if something else is, too, or nobody knows."""
        opinion = self.meeting.judge(arguments)
        if opinion is None:
            return None
        if place in opinion.because:
            return True
        return None if opinion.effect in ("deny", "hide") else False

    def call(self, arguments: Arguments) -> Written:
        """Write a call of it."""
        return tool_call(self.name, self.category, arguments)


class Subjects:
    """The tools to call for a policy; `tools` are those that the server lists, as far as that is known."""

    def __init__(self, document: PolicyFile, tools: Sequence[Tool]) -> None:
        self._document = document
        self._tools = {tool.name: tool for tool in tools}
        self._by_category = any(text.startswith("@") for text in document.tools)
        self._texts = {pointer("tools", text): text for text in document.tools}
        self._known: dict[tuple[str, str | None], Subject | None] = {}
        self._by_entry: dict[str, list[Subject]] = {}

    def of(self, name: str) -> Subject | None:
        """Give the tool of a name; None if the description of the language leaves open what decides about it."""
        category = classify(self._tools[name]).category if self._by_category and name in self._tools else None
        return self._of(name, category)

    def hidden_by(self, text: str) -> Iterator[Subject]:
        """Yield tools that a pattern of `hide` means: listed ones first."""
        names = [name for name in self._tools if read_glob(text).means(name)]
        yield from (subject for name in (*names, *names_for(text)) if (subject := self.of(name)) is not None)

    def by_entry(self, text: str) -> list[Subject]:
        """List tools about which an entry decides, or with `` the default: listed ones first."""
        if text not in self._by_entry:
            subjects = self._listed.get(text, [])
            for name, category in self._made_up(text):
                if len(subjects) >= (1 if subjects and subjects[0].tool else _MOST_MADE_UP):
                    break
                made_up = self._of(name, category)
                if made_up is not None and text in self._entries_of(made_up) and made_up not in subjects:
                    subjects.append(made_up)
            self._by_entry[text] = subjects
        return self._by_entry[text]

    def passing(self) -> Iterator[Subject]:
        """Yield, entry by entry, the tools of which calls pass."""
        yield from (each for each in self._all() if each.can_pass)

    def sharing(self, limit: AnyLimit) -> list[Subject]:
        """List tools whose calls pass and are charged on the counter of a limit, if it has a name."""
        counter = limit.counter if isinstance(limit, Limit) else None
        found: dict[str, Subject] = {}
        for each in self._all() if counter is not None else ():
            shares = any(isinstance(one, Limit) and one.counter == counter for _, one in each.meeting.limits)
            if shares and each.can_pass:
                found.setdefault(each.name, each)
        return list(found.values())

    def _all(self) -> Iterator[Subject]:
        yield from (each for text in (*self._document.tools, "") for each in self.by_entry(text))

    @cached_property
    def _listed(self) -> dict[str, list[Subject]]:
        """Tools of the server's list by the entries that decide about them."""
        found: dict[str, list[Subject]] = {}
        for name in self._tools:
            listed = self.of(name)
            for text in [] if listed is None else self._entries_of(listed):
                several = found.setdefault(text, [])
                if listed is not None and len(several) < MOST_SUBJECTS:
                    several.append(listed)
        return found

    def _entries_of(self, subject: Subject) -> list[str]:
        """List the entries that decide about a tool: none if it is hidden, `` if it is the default."""
        places = subject.meeting.entries
        if any(place.startswith("/hide/") for place in places):
            return []
        return [self._texts[place] for place in places if place in self._texts] or [""]

    def _made_up(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Yield names, each with a category, about which an entry may decide."""
        if text[:1] == "@":
            for name in (*STRANGERS, *(name for glob in self._document.tools for name in names_for(glob))):
                yield name, text[1:]
            return
        names = list(names_for(text)) if text else [*STRANGERS]
        if not self._by_category or (text and read_glob(text).is_exact):
            yield from ((name, None) for name in names)
            return
        free = [each for each in CATEGORIES if f"@{each}" not in self._document.tools]
        for name in names:
            for category in (*free, *CATEGORIES):
                yield name, category
        yield from ((name, None) for name in names)

    def _of(self, name: str, category: str | None) -> Subject | None:
        key = (name, category)
        if key not in self._known:
            meeting = meeting_of(self._document, name, category)
            self._known[key] = None if meeting is None else Subject(name, category, meeting, self._tools.get(name))
        return self._known[key]
