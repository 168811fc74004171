"""Knows a long list again that the server has sent before, so that it need not be read twice.

Only the id of an answer may differ: where it stands was found when the list was read, so what is around it is the same JSON.
"""

from __future__ import annotations

from mcpguard.protocol.wire import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from mcpguard.protocol.lists import Sheet

MIN_BYTES: Final = 4096
"""A shorter line is read sooner than it is looked for."""
MAX_BYTES: Final = 4 << 20
MAX_LINES: Final = 16
_MAX_DIGITS: Final = 15
_BEFORE_ID: Final = (b'{"jsonrpc":"2.0","id":', b'{"jsonrpc": "2.0", "id": ')
_BEFORE_LAST_ID: Final = (b',"jsonrpc":"2.0","id":', b', "jsonrpc": "2.0", "id": ')


class Repeat:
    """One line that was read: what stands before and after its id, its result, and what that is as a list.

    `checked` is for whoever compares definitions: the state in which it has last found nothing new in this line.
    """

    __slots__ = ("checked", "head", "result", "sheet", "tail")

    def __init__(self, head: bytes, tail: bytes, result: dict[str, Any], sheet: Sheet) -> None:
        self.head = head
        self.tail = tail
        self.result = result
        self.sheet = sheet
        self.checked = -1


class Repeats:
    """The long lists of one session that came last."""

    __slots__ = ("_bytes", "_kept")

    def __init__(self) -> None:
        self._kept: list[Repeat] = []
        self._bytes = 0

    def recall(self, line: bytes) -> Message | None:
        """Give what `wire.decode` would make of a line, if it is known; its result is the very object that was kept."""
        for known in self._kept:
            start = len(known.head)
            length = len(line) - start - len(known.tail)
            if 0 < length <= _MAX_DIGITS and line.startswith(known.head) and line.endswith(known.tail):
                digits = line[start : start + length]
                if digits.isdigit() and (length == 1 or digits[0] != ord("0")):
                    return Message(int(digits), None, {}, known.result, line)
        return None

    def find(self, result: dict[str, Any], method: str) -> Repeat | None:
        """Give what is known about this very result, as an answer to `method`."""
        for known in self._kept:
            if known.result is result and known.sheet.method == method:
                return known
        return None

    def keep(self, message: Message, sheet: Sheet) -> Repeat | None:
        """Remember a list that was read, if it is long and its id stands where servers write it; the oldest ones make room."""
        line, result = message.line, message.result
        if result is None or not MIN_BYTES <= len(line) <= MAX_BYTES or type(message.id) is not int:
            return None
        parts = _around_id(line, str(message.id).encode())
        if parts is None:
            return None
        known = Repeat(*parts, result, sheet)
        self._kept.append(known)
        self._bytes += len(line)
        while self._bytes > MAX_BYTES or len(self._kept) > MAX_LINES:
            oldest = self._kept.pop(0)
            self._bytes -= len(oldest.head) + len(oldest.tail)
        return known


def _around_id(line: bytes, digits: bytes) -> tuple[bytes, bytes] | None:
    """Give what stands before and after the id, if it is the second member of the line or the last one.

    INVARIANT: the line is valid JSON, so at its start and before its last brace these bytes are members of the message itself.
    """
    for before in _BEFORE_ID:
        if line.startswith(before + digits + b","):
            return before, line[len(before) + len(digits) :]
    for before in _BEFORE_LAST_ID:
        if line.endswith(before + digits + b"}\n"):
            return line[: -len(digits) - 2], b"}\n"
    return None
