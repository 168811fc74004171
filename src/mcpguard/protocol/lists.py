"""Decides what of a server's lists and capabilities a client gets to see.

A page is read whole and written with the refused items cut out; every byte of what stays is the server's own.
"""

from __future__ import annotations

# Not where it is used: a pump that imports waits for the main thread, which imports for a long time at the start.
from mcpguard.protocol import splice
from mcpguard.protocol.wire import Malformed, refuse_lookalikes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from mcpguard.protocol.splice import Change
    from mcpguard.protocol.wire import Message

LISTS: Final = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
"""Every method that lists: the member of its result that holds the items, and the member that names an item."""

LISTED: Final = ("prompts", "resources", "tools")
"""The capabilities that have lists, whose changes can be announced."""
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
_LISTS_OF: Final = {
    "tool": ("tools/list",),
    "prompt": ("prompts/list",),
    "resource": ("resources/list", "resources/templates/list"),
}
_NONE: Final[frozenset[str]] = frozenset()
MAX_OPEN_LISTINGS: Final = 1000
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


class Catalogue:
    """What the lists of one session have shown: listings that go on at a cursor, and names that stand for two things."""

    __slots__ = ("_ambiguous", "_open")

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Listing] = {}
        self._ambiguous: dict[str, frozenset[str]] = {}

    def continued(self, method: str, cursor: str) -> Listing | None:
        """Give the listing whose last page ended with this cursor."""
        return self._open.get((method, cursor))

    def keep(self, listing: Listing, page: Page) -> None:
        """Remember where a listing goes on, and the names that its page showed to be ambiguous."""
        if page.next_cursor is not None:
            self._open.pop((listing.method, page.next_cursor), None)
            if len(self._open) >= MAX_OPEN_LISTINGS:
                del self._open[next(iter(self._open))]
            self._open[listing.method, page.next_cursor] = listing
        if page.ambiguous:
            self._ambiguous[listing.method] = self.ambiguous_in(listing.method).union(page.ambiguous)

    def ambiguous_in(self, method: str) -> frozenset[str]:
        """Give the names that lists of `method` have used for two different items."""
        return self._ambiguous.get(method, _NONE)

    def is_ambiguous(self, kind: str, name: str) -> bool:
        """Whether a `kind` (tool, prompt or resource) of this name could be either of two."""
        return bool(self._ambiguous) and any(name in self.ambiguous_in(method) for method in _LISTS_OF.get(kind, ()))


class Page:
    """One page as the client gets it: its line, the cursor to the next page, and what was left out of it and why."""

    __slots__ = ("ambiguous", "left_out", "line", "next_cursor")

    def __init__(self, line: bytes, next_cursor: str | None, left_out: int, ambiguous: list[str]) -> None:
        self.line = line
        self.next_cursor = next_cursor
        self.left_out = left_out
        self.ambiguous = ambiguous


def filter_page(
    message: Message,
    listing: Listing,
    shows: Callable[[str, str], bool],
    known_ambiguous: frozenset[str],
    cursor: str | None,
) -> Page:
    """Cut everything out of a page that `shows(method, name)` does not show, and every name that stands for two items.

    A name that comes twice in one listing with the same bytes passes once, on the page that showed it first; with different
    bytes it is ambiguous: it is left out here, and `Page.ambiguous` names it, for which of the two would a call mean? `cursor`
    is the one that the page was asked for with; if there is none, and the page names none either, nothing need be kept.

    Raises:
        Malformed: the page is not a list of named items, or has a member that equals one of the protocol's but for case.
    """
    result = message.result or {}
    member, name_key = LISTS[listing.method]
    refuse_lookalikes(result, frozenset((member, "nextCursor")))
    items = result.get(member)
    next_cursor = result.get("nextCursor")
    if type(items) is not list:
        raise Malformed(f"the result of {listing.method} has no list `{member}`")
    if next_cursor is not None and type(next_cursor) is not str:
        raise Malformed("`nextCursor` must be a string")
    if message.line.find(b"\\u") >= 0:
        _refuse_lone_surrogates(message.line)
    names = [_name(item, name_key) for item in items]
    ambiguous: list[str] = []
    if cursor is not None or next_cursor is not None or len(set(names)) < len(names):
        names = _once(listing, cursor, message.line, names, ambiguous)
    kept = frozenset(
        index
        for index, name in enumerate(names)
        if name is not None and name not in known_ambiguous and name not in ambiguous and shows(listing.method, name)
    )
    line = _without(message.line, result, listing.method, kept)
    return Page(line, next_cursor, len(items) - len(kept), ambiguous)


def _once(
    listing: Listing, cursor: str | None, line: bytes, names: list[str | None], ambiguous: list[str]
) -> list[str | None]:
    """Give the names with None in the place of each that the listing has had before; add those of two items to `ambiguous`."""
    from hashlib import sha256

    text = line.decode()
    places = splice.elements(text, splice.find(text, "result", LISTS[listing.method][0]))
    seen = listing.seen
    here: set[str] = set()
    once: list[str | None] = []
    for name, (start, end) in zip(names, places, strict=True):
        once.append(None)
        if name is None:
            continue
        item = (cursor, sha256(text[start:end].encode()).digest())
        first = seen.setdefault(name, item)
        if first is None:
            continue
        if first[1] != item[1]:
            seen[name] = None
            ambiguous.append(name)
        elif first[0] == cursor and name not in here:
            # A page that is asked for again shows again what it showed.
            here.add(name)
            once[-1] = name
    return once


def _without(line: bytes, result: dict[str, Any], method: str, kept: frozenset[int]) -> bytes:
    """Write a page with the items at `kept` only; what was cut is for this client alone, and not for long."""
    changes: dict[str, Change] = dict.fromkeys(foreign_members(result, method))
    member = LISTS[method][0]
    if len(kept) < len(result[member]):
        changes[member] = lambda text, at: splice.rewrite_array(text, at, kept)
        if "cacheScope" in result:
            changes["cacheScope"] = '"private"'
        ttl = result.get("ttlMs")
        if ttl is not None and not (isinstance(ttl, int | float) and ttl <= MAX_TTL_MS):
            changes["ttlMs"] = str(MAX_TTL_MS)
    if not changes:
        return line
    return splice.rewrite_line(line, {"result": lambda text, at: splice.rewrite_object(text, at, changes)})


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


def without_foreign_members(message: Message, method: str) -> tuple[bytes, list[str]]:
    """Take away `foreign_members`; give the line to forward and their names."""
    foreign = foreign_members(message.result or {}, method)
    if not foreign:
        return message.line, foreign
    changes: dict[str, Change] = dict.fromkeys(foreign)
    return splice.rewrite_line(
        message.line, {"result": lambda text, at: splice.rewrite_object(text, at, changes)}
    ), foreign


def announce_changes(result: dict[str, Any], line: bytes) -> bytes:
    """Set `listChanged` in each of the capabilities that have lists: what a client may see changes with the policy."""
    capabilities = result.get("capabilities")
    if type(capabilities) is not dict:
        return line
    told = {
        name: _announced
        for name in LISTED
        if type(capabilities.get(name)) is dict and capabilities[name].get("listChanged") is not True
    }
    if not told:
        return line

    def in_result(text: str, at: int) -> str:
        return splice.rewrite_object(text, at, {"capabilities": in_capabilities})

    def in_capabilities(text: str, at: int) -> str:
        return splice.rewrite_object(text, at, told)

    return splice.rewrite_line(line, {"result": in_result})


def _announced(text: str, at: int) -> str:
    return splice.rewrite_object(text, at, {"listChanged": "true"})


def only_meta(message: Message) -> bytes:
    """Write a `list_changed` notification anew, with its `_meta` alone."""
    text = message.line.decode()
    changes: dict[str, Change] = {name: None for name in splice.names(text, 0) if name not in ("jsonrpc", "method")}
    if type(message.params.get("_meta")) is dict:
        others = {name: None for name in splice.names(text, splice.find(text, "params")) if name != "_meta"}
        if not others and len(changes) == 1:
            return message.line
        changes["params"] = lambda text, at: splice.rewrite_object(text, at, others)
    return splice.rewrite_line(message.line, changes) if changes else message.line


def keep_subscriptions(message: Message, permits: Callable[[str], bool]) -> tuple[bytes, int]:
    """Take the URIs out of a `subscriptions/listen` that may not be read; give the line and how many were taken.

    Raises:
        Malformed: `notifications` is no object, or `resourceSubscriptions` no list of strings.
    """
    wanted = message.params.get("notifications")
    if wanted is None:
        return message.line, 0
    if type(wanted) is not dict:
        raise Malformed("`notifications` must be an object")
    refuse_lookalikes(wanted, frozenset(("resourceSubscriptions",)))
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return message.line, 0
    if type(uris) is not list or not all(type(uri) is str for uri in uris):
        raise Malformed("`resourceSubscriptions` must be a list of strings")
    kept = frozenset(index for index, uri in enumerate(uris) if permits(uri))
    if len(kept) == len(uris):
        return message.line, 0

    def in_params(text: str, at: int) -> str:
        return splice.rewrite_object(text, at, {"notifications": in_filter})

    def in_filter(text: str, at: int) -> str:
        return splice.rewrite_object(
            text, at, {"resourceSubscriptions": lambda text, at: splice.rewrite_array(text, at, kept)}
        )

    return splice.rewrite_line(message.line, {"params": in_params}), len(uris) - len(kept)
