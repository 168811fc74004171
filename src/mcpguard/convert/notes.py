"""Keeps what of a policy of Intercept has no exact twin in our language, for whoever has to know.

Knows neither language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from mcpguard.convert.source import Condition

Kind: TypeAlias = Literal["counting", "counters", "comparison", "refused", "text", "name", "sections", "ignored"]
"""What a note is about; docs/convert.md explains each."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that has no exact twin.  `pointer` says where it stands in the original."""

    pointer: str
    kind: Kind
    message: str


class NoTwinError(Exception):
    """A condition cannot be expressed; every call that it governs has to be refused."""

    def __init__(self, condition: Condition, message: str) -> None:
        super().__init__(message)
        self.condition = condition
        self.message = message


class Never(Exception):  # noqa: N818 - it is no error: a rule holds for no call at all, in both languages
    """A condition on a counter can never hold."""


class Notes:
    """The notes on one policy, in the order in which they are made."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def add(self, pointer: str, kind: Kind, message: str) -> None:
        """Make a note."""
        self._notes.append(Note(pointer, kind, message))

    def stricter(self, condition: Condition, comment: str) -> None:
        """Note that a condition is kept, and refuses more."""
        self.add(condition.pointer, "comparison", f"`{condition.op}` is kept, and is stricter: {comment}")

    def mark(self) -> int:
        """Give what `forget_since` wants."""
        return len(self._notes)

    def forget_since(self, mark: int) -> None:
        """Forget the notes made since then: what they are about was dropped."""
        del self._notes[mark:]

    def all(self) -> tuple[Note, ...]:
        """Give every note."""
        return tuple(self._notes)
