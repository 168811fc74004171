"""Decides what of a server's lists and capabilities a client gets to see.

A page is read whole and written with the refused items cut out; every byte of what stays is the server's own.
"""

from __future__ import annotations

# Not where it is used: a pump that imports waits for the main thread, which imports for a long time at the start.
from mcpguard.protocol import cleaning, splice
from mcpguard.protocol.cleaning import is_clean
from mcpguard.protocol.wire import Malformed, refuse_lookalikes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from mcpguard.protocol.cleaning import Members
    from mcpguard.protocol.splice import Change
    from mcpguard.protocol.wire import Message

LISTS: Final = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
"""Every method that lists: the member of its result that holds the items, and the member that names an item."""

_LIST_MEMBERS: Final = frozenset(member.casefold() for member, _ in LISTS.values())
_COMMON_RESULT: Final = frozenset(
    (
        "content",
        "isError",
        "structuredContent",
        "_meta",
        "resultType",
        "contents",
        "messages",
        "description",
        "completion",
        "protocolVersion",
        "capabilities",
        "serverInfo",
        "instructions",
        "supportedVersions",
        "nextCursor",
        "ttlMs",
        "cacheScope",
    )
)
_COMMON_ITEM: Final = frozenset(
    (
        "name",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "_meta",
        "icons",
        "execution",
        "uri",
        "uriTemplate",
        "mimeType",
        "size",
        "arguments",
    )
)
MAX_NAMES: Final = 100_000
MAX_TTL_MS: Final = 60_000


class Listing:
    """One walk through a list, from its first page to its last: the items it has named so far.

    `seen` maps a name to the cursor of the page that showed it first (None: the first page) and a digest of its item, or to
    None where two different items bore the name.
    """

    __slots__ = ("method", "seen")

    def __init__(self, method: str) -> None:
        self.method = method
        self.seen: dict[str, tuple[str | None, bytes] | None] = {}


class Sheet:
    """What one page of a list is, whoever asks for it: the names of its items and the cursor to the next page.

    `names` has None for an item without a name, and for each in `unclean`: their names hold characters that nobody sees.
    `cleaned` has what is to be changed in items whose texts hold some, and how many.
    """

    __slots__ = ("cleaned", "method", "names", "next_cursor", "unclean")

    def __init__(self, method: str, names: list[str | None], next_cursor: str | None) -> None:
        self.method = method
        self.names = names
        self.next_cursor = next_cursor
        self.unclean: list[str] = []
        self.cleaned: dict[int, Members] = {}


def read_sheet(message: Message, method: str) -> Sheet:
    """Read a page.

    Raises:
        Malformed: it is not a list of named items, or has a member that equals one of the protocol's but for case.
    """
    result = message.result or {}
    member, name_key = LISTS[method]
    refuse_lookalikes(result, frozenset((member, "nextCursor")))
    items = result.get(member)
    next_cursor = result.get("nextCursor")
    if type(items) is not list:
        raise Malformed(f"the result of {method} has no list `{member}`")
    if next_cursor is not None and type(next_cursor) is not str:
        raise Malformed("`nextCursor` must be a string")
    if b"\\" in message.line and message.line.find(b"\\u") >= 0:
        _refuse_lone_surrogates(message.line)
    sheet = Sheet(method, [_name(item, name_key) for item in items], next_cursor)
    if cleaning.may_need_cleaning(message.line):
        _clean(sheet, items)
    return sheet


def _clean(sheet: Sheet, items: list[Any]) -> None:
    for index, name in enumerate(sheet.names):
        if name is None:
            continue
        item = items[index]
        # A resource has a name beside its URI, and some clients show that.
        if is_clean(name) and is_clean(str(item.get("name"))):
            cleaned = cleaning.clean_item(item)
            if cleaned[1]:
                sheet.cleaned[index] = cleaned
        else:
            sheet.unclean.append(name)
            sheet.names[index] = None


def show_once(listing: Listing, cursor: str | None, line: bytes, sheet: Sheet) -> tuple[list[str | None], list[str]]:
    """Give the names of a page with None in the place of each that its listing has shown before, and those that two items bear.

    A name that comes twice in one listing with the same bytes passes once, on the page that showed it first; with different
    bytes it is ambiguous, for which of the two would a call mean? `cursor` is the one that the page was asked for with; if there
    is none, and the page names none either, nothing need be kept. A listing that does not end is cut off after `MAX_NAMES` names.
    """
    names = sheet.names
    if cursor is None and sheet.next_cursor is None and len(set(names)) == len(names):
        return names, []
    from hashlib import sha256

    text = line.decode()
    places = splice.elements(text, splice.find(text, "result", LISTS[sheet.method][0]))
    seen = listing.seen
    here: set[str] = set()
    once: list[str | None] = []
    ambiguous: list[str] = []
    for name, (start, end) in zip(names, places, strict=True):
        once.append(None)
        if name is None or (len(seen) >= MAX_NAMES and name not in seen):
            continue
        item = (cursor, sha256(text[start:end].encode()).digest())
        first = seen.setdefault(name, item)
        if first is None:
            continue
        if first[0] == cursor and name not in here:
            # A page that is asked for again shows what is there now.
            seen[name] = item
            here.add(name)
            once[-1] = name
        elif first[1] != item[1]:
            seen[name] = None
            ambiguous.append(name)
    return once, ambiguous


def write_page(message: Message, sheet: Sheet, kept: list[int]) -> tuple[bytes, list[tuple[str, int]]]:
    """Write a page with the items at `kept` only, in clean words; give it, and how many characters of which items went.

    What was cut out is cut for this client alone, and not for long.
    """
    result = message.result or {}
    member = LISTS[sheet.method][0]
    items = result[member]
    changes: dict[str, Change] = dict.fromkeys(foreign_members(result, sheet.method))
    inside: dict[int, Change] = {}
    cleaned = []
    if len(kept) < len(items):
        inside = dict.fromkeys(set(range(len(items))).difference(kept))
        if "cacheScope" in result:
            changes["cacheScope"] = '"private"'
        ttl = result.get("ttlMs")
        if ttl is not None and not (isinstance(ttl, int | float) and ttl <= MAX_TTL_MS):
            changes["ttlMs"] = str(MAX_TTL_MS)
    if sheet.cleaned:
        for index in kept:
            if index in sheet.cleaned:
                inside[index], count = sheet.cleaned[index]
                cleaned.append((str(sheet.names[index]), count))
    if inside:
        changes[member] = inside
    return splice.rewrite_line(message.line, {"result": changes}) if changes else message.line, cleaned


def _name(item: object, name_key: str) -> str | None:
    if type(item) is not dict:
        return None
    if not _COMMON_ITEM.issuperset(item):
        refuse_lookalikes(item, frozenset((name_key, "name")))
    name = item.get(name_key)
    return name if type(name) is str else None


def _refuse_lone_surrogates(line: bytes) -> None:
    from mcpguard.protocol.wire import without_lone_surrogates

    if without_lone_surrogates(line) != line:
        raise Malformed("a lone surrogate in a list")


def foreign_members(result: dict[str, Any], method: str) -> list[str]:
    """Name the members of a result that would be a list to a client, and that its method does not define.

    The results of `tools/call` are the tools' own and may hold anything.
    """
    if _COMMON_RESULT.issuperset(result) or method == "tools/call":
        return []
    own = LISTS[method][0] if method in LISTS else None
    return [name for name in result if name.casefold() in _LIST_MEMBERS and name != own]
