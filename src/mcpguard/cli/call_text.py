"""Writes a call that waits for a person as lines of a terminal.

Whatever a call holds was written by an agent that wants it to pass: nothing of it is left out, obeyed by the terminal, or able to look like
words of ours.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final

from mcpguard.policy.display import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpguard.stores.desks import Item

_LABEL_COLUMNS: Final = 11
_SHOWN: Final = 60
_KINDS: Final = {"tool": "call of", "resource": "read of", "prompt": "get of"}
_PIECE: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:]|[^][{},:"\s]+')
_OPENING: Final = frozenset("[{")
_CLOSING: Final = frozenset("]}")


def block(item: Item, columns: int) -> list[str]:
    """Describe one call in lines of at most so many columns; a line that begins with `+` goes on with the one before."""
    lines = list(_folded(f"{item['id']}  ", f"{_KINDS.get(item['kind'], 'use of')} {shown(item['subject'])}", columns))
    fields = {
        "server": shown(shlex.join(item["server"])),
        "client": shown(item["client"] or "not known"),
        "grant": shown(item["grant"] or ""),
        "policy": shown(item["policy"]),
        "time": _time(item),
    }
    for label, text in fields.items():
        if text:
            lines += _folded(f"  {label:<{_LABEL_COLUMNS}}", text, columns)
    label = "asked by"
    for rule in item["rules"]:
        lines += _folded(f"  {label:<{_LABEL_COLUMNS}}", shown(rule["rule"]), columns)
        lines += _folded(" " * (_LABEL_COLUMNS + 2), shown(rule["message"]), columns)
        label = ""
    lines.append("  arguments")
    for line in written_out(item["arguments"]):
        lines += _folded("    | ", line, columns, again="    + ")
    lines.append(f"  {'answer':<{_LABEL_COLUMNS}}mcpguard approve {item['id']}   or   mcpguard deny {item['id']}")
    return lines


def written_out(text: str) -> list[str]:
    """Write JSON text over several lines, number by number as it is, and so that nothing in its strings hides.

    It is still the same JSON.
    """
    import jiter

    try:
        jiter.from_json(text.encode(), allow_inf_nan=False, float_mode="lossless-float")
    except ValueError:
        return [f"this is no JSON, and shown as it is: {shown(text)}"]
    lines: list[str] = []
    line, depth = "", 0
    pieces = _PIECE.findall(text)
    for before, piece, after in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        breaks = (piece in _OPENING and after not in _CLOSING) or piece == ","
        if piece in _OPENING and breaks:
            depth += 1
        elif piece in _CLOSING and before not in _OPENING:
            depth -= 1
            lines.append(line)
            line = "  " * depth
        if piece.startswith('"'):
            line += f'"{escaped(json.loads(piece), quoted=True, is_name=after == ":")}"'
        else:
            line += ": " if piece == ":" else piece
        if breaks:
            lines.append(line)
            line = "  " * depth
    return [*lines, line]


def shown(text: str) -> str:
    """Write out, as JSON does, whatever of a text a terminal would obey or nobody would see."""
    return escaped(text, quoted=False, is_name=False)


def named(item: Item) -> str:
    """Name a call in a sentence."""
    return f"this {_KINDS.get(item['kind'], 'use of')} {subject(item)} ({item['id']})"


def subject(item: Item) -> str:
    """Name what a call is about, shortened where it is long."""
    text = shown(item["subject"])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def duration(seconds: float) -> str:
    """Write a time in a unit that one can read it in."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _folded(first: str, text: str, columns: int, *, again: str = "") -> Iterator[str]:
    """Cut a line where the terminal would, so that what goes on below cannot be taken for a line of its own."""
    again = again or " " * (len(first) - 2) + "+ "
    start, prefix, width = 0, first, len(first)
    for position, character in enumerate(text):
        # Some characters take two columns, in some terminals more of them than in others.
        wide = 1 if character.isascii() else 2
        if width + wide > columns and position > start:
            yield prefix + text[start:position]
            start, prefix, width = position, again, len(again)
        width += wide
    yield prefix + text[start:]


def _time(item: Item) -> str:
    waited, left = duration(item["waited_s"]), duration(item["expires_in_s"])
    match item["state"]:
        case "held":
            return f"asked {waited} ago; the call waits for {left} more"
        case "later":
            return f"asked {waited} ago; the agent was told to call again; {left} left to approve it"
        case "client":
            return f"asked {waited} ago; the client asks, too; {left} left"
        case other:
            return f"asked {waited} ago; {shown(other)}; {left} left"
