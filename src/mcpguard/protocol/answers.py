"""Decides what a client gets of a server's answer, read as the method it answers, and of a server's notification."""

from __future__ import annotations

from mcpguard.protocol import announcements, cleaning, lists, methods, replies, splice
from mcpguard.protocol.commands import Note
from mcpguard.protocol.wire import ENVELOPE, INTERNAL_ERROR, UPSTREAM, Malformed, printable, refuse_lookalikes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from mcpguard.protocol.catalogue import Catalogue
    from mcpguard.protocol.commands import InFlight
    from mcpguard.protocol.rules import Rules
    from mcpguard.protocol.splice import Change
    from mcpguard.protocol.wire import Message

URL_ELICITATION_REQUIRED: Final = -32042
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
INTRODUCTIONS: Final = frozenset(("initialize", "server/discover"))
_CLEANED: Final = {
    "initialize": cleaning.clean_introduction,
    "server/discover": cleaning.clean_introduction,
    "prompts/get": cleaning.clean_description,
}
"""What people read in results that are no lists."""
_WITH_ROUNDS: Final = frozenset(("prompts/get", "resources/read"))
"""What else but a tool call may be answered by a request for input (2026-07-28, patterns/mrtr)."""
_MAX_NAMED: Final = 20
_PLAIN_RESULT: Final = frozenset(
    ("content", "isError", "structuredContent", "_meta", "resultType", "contents", "messages")
)


class Reading:
    """An answer as the client gets it: its line, how its request ended, and what was changed on the way."""

    __slots__ = ("line", "notes", "status")

    def __init__(self, line: bytes, status: str = "ok", notes: tuple[Note, ...] = ()) -> None:
        self.line = line
        self.status = status
        self.notes = notes


def read(entry: InFlight, message: Message, rules: Rules | None, catalogue: Catalogue, capabilities: object) -> Reading:
    """Read an answer as the method of `entry` defines it.

    `capabilities` are what the client has declared, for its requests that carry none of their own (up to 2025-11-25).

    Raises:
        Malformed: the answer cannot be read, so the client must get an error in its place.
    """
    result, method = message.result, entry.method
    if result is None:
        refused = _refused_url(message.params, entry.capabilities if entry.modern else capabilities, rules)
        return _without_input(entry, refused) if refused else Reading(message.line, "error")
    if not _PLAIN_RESULT.issuperset(result):
        declared = entry.capabilities if entry.modern else capabilities
        judge = refused_in_task if method == "tasks/get" else refused_input
        refused = judge(result, declared, rules)
        if refused:
            return _without_input(entry, refused)
    asks = entry.modern and _asks_for_input(result)
    if method == "tools/call":
        return Reading(message.line, "input_required" if asks else _tool_status(result))
    if method in lists.LISTS:
        if rules is None:
            raise Malformed("a list came before the policy was loaded")
        return _page(entry, message, rules, catalogue)
    foreign = lists.foreign_members(result, method)
    changes: dict[str, Change] = dict.fromkeys(foreign)
    notes = _removed(foreign, entry)
    clean = _CLEANED.get(method)
    if clean is not None:
        cleaned, count = clean(result)
        if count:
            changes.update(cleaned)
            notes.append(_cleaned(count, list(cleaned), entry))
    if method in INTRODUCTIONS:
        changes.update(announcements.announced(result))
    line = splice.rewrite_line(message.line, {"result": changes}) if changes else message.line
    return Reading(line, "input_required" if asks and method in _WITH_ROUNDS else "ok", tuple(notes))


def server_info(result: dict[str, Any]) -> dict[str, Any] | None:
    """Give the `serverInfo` of an `initialize` result, or the one that a 2026-07-28 result carries in `_meta`."""
    info = result.get("serverInfo")
    if type(info) is not dict:
        meta = result.get("_meta")
        info = meta.get(SERVER_INFO_KEY) if type(meta) is dict else None
    return info if type(info) is dict else None


def _page(entry: InFlight, message: Message, rules: Rules, catalogue: Catalogue) -> Reading:
    method = entry.method
    listing, cursor = entry.extra or (lists.Listing(method), None)
    page = catalogue.read(message, listing, cursor, rules)
    shows = rules.shows
    if method == "tools/list" and rules.needs_categories:
        rules.see_tools((message.result or {}).get("tools"), [name for name, _ in page.changed])
    kept = [index for index, name in enumerate(page.names) if name is not None and shows(method, name)]
    line, cleaned = lists.write_page(message, page.sheet, kept)
    notes = _removed(lists.foreign_members(message.result or {}, method), entry)
    if page.sheet.unclean:
        names = _joined(map(printable, page.sheet.unclean))
        notes.append(
            _note("unclean_name", f"names with characters that nobody sees, left out and refused: {names}", entry)
        )
    if page.ambiguous:
        names = _joined(map(printable, page.ambiguous))
        notes.append(_note("ambiguous", f"two different items under one name, left out and refused: {names}", entry))
    if page.changed:
        names = _joined(f"{printable(name)} ({members})" for name, members in page.changed)
        what = "as the policy permits" if rules.permits_drift() else "left out and refused"
        notes.append(_note("drift", f"definitions that changed during the session, {what}: {names}", entry))
    if cleaned:
        places = [f"{printable(name)} ({count})" for name, count in cleaned]
        notes.append(_cleaned(sum(count for _, count in cleaned), places, entry))
    return Reading(line, "ok", tuple(notes))


def _cleaned(count: int, places: list[str], entry: InFlight) -> Note:
    return _note("cleaned", f"characters that nobody sees, removed from texts: {count}, of {_joined(places)}", entry)


def _joined(names: Iterable[str]) -> str:
    shown = list(names)
    more = len(shown) - _MAX_NAMED
    return ", ".join(shown[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _removed(names: list[str], entry: InFlight) -> list[Note]:
    if not names:
        return []
    return [_note("removed_member", f"removed from the result: {', '.join(map(printable, names))}", entry)]


def sealed(line: bytes, result: dict[str, Any], rules: Rules, entry: InFlight) -> bytes:
    """Write an answer that asks for another round with its state inside a state of ours.

    Raises:
        Malformed: its own state is no text.
    """
    state = result.get("requestState")
    if state is not None and type(state) is not str:
        raise Malformed("`requestState` must be a string")
    return splice.rewrite_line(line, {"result": {"requestState": f'"{rules.seal(entry, state)}"'}})


def _asks_for_input(result: dict[str, Any]) -> bool:
    return result.get("resultType") == "input_required" or "inputRequests" in result or "requestState" in result


def _tool_status(result: dict[str, Any]) -> str:
    if result.get("isError") is True:
        return "tool_error"
    return "task" if result.get("resultType") == "task" or type(result.get("task")) is dict else "ok"


def refused_input(body: dict[str, Any], capabilities: object, rules: Rules | None) -> str:
    """Say which of the requests inside `inputRequests` the client shall not see, and why; empty if it may see all.

    Raises:
        Malformed: `inputRequests` is no map of requests.
    """
    for name in body:
        if name != "inputRequests" and name.casefold() == "inputrequests":
            raise Malformed(f"the member {printable(name)} is one of the protocol's in another case")
    requests = body.get("inputRequests")
    if requests is None:
        return ""
    if type(requests) is not dict:
        raise Malformed("`inputRequests` must be an object")
    for request in requests.values():
        method = request.get("method") if type(request) is dict else None
        params = request.get("params", {}) if type(request) is dict else None
        if type(method) is not str or type(params) is not dict:
            raise Malformed("`inputRequests` must hold requests")
        refuse_lookalikes(request, ENVELOPE)
        if method not in methods.CLIENT_FEATURES:
            return f"{printable(method)}: no server asks this of a client"
        if not methods.declares(capabilities, method, params):
            return f"{method}: the client has not declared this capability"
        if rules is None or not rules.permits_server_request(method):
            return f"{method}: the policy refuses it"
    return ""


def refused_in_task(body: dict[str, Any], capabilities: object, rules: Rules | None) -> str:
    """Say the same of the state of a task: it asks itself, or the result that it ended with does (SEP-2663).

    Raises:
        Malformed: `inputRequests` is no map of requests.
    """
    refused = refused_input(body, capabilities, rules)
    ended = body.get("result")
    return refused_input(ended, capabilities, rules) if not refused and type(ended) is dict else refused


def _refused_url(error: dict[str, Any], capabilities: object, rules: Rules | None) -> str:
    """Say why an error that asks the client to have URLs opened is not passed on (2025-11-25, URLElicitationRequiredError); else empty."""
    if error.get("code") != URL_ELICITATION_REQUIRED:
        return ""
    if not methods.declares(capabilities, "elicitation/create", {"mode": "url"}):
        return "elicitation/create of a URL: the client has not declared this capability"
    if rules is None or not rules.permits_server_request("elicitation/create"):
        return "elicitation/create: the policy refuses it"
    return ""


def _without_input(entry: InFlight, refused: str) -> Reading:
    text = (
        f"mcpguard: {printable(entry.subject or entry.method)} stopped: the server asked for more input, and that was refused "
        f"({refused}). Do not retry unchanged."
    )
    decision = {"code": "denied", "rule": "/server_requests"}
    if entry.method == "tools/call":
        line = replies.tool_error(entry.id, text, decision, modern=entry.modern)
    else:
        line = replies.error(entry.id, INTERNAL_ERROR, text, {replies.DECISION_KEY: decision})
    return Reading(line, "error", (_note("input_refused", refused, entry),))


def read_notification(message: Message, rules: Rules, capabilities: object) -> bytes:
    """Give what the client gets of a server's notification (`notifications/cancelled` excepted).

    Raises:
        Malformed: it gets nothing, for this reason.
    """
    method = message.method or ""
    if method in methods.LIST_CHANGED:
        return announcements.only_meta(message)
    if method == "notifications/resources/updated":
        uri = message.params.get("uri")
        if type(uri) is not str or not rules.permits_resource(uri):
            raise Malformed("a change of a resource that the policy does not allow was not passed on")
        return message.line
    if method == "notifications/tasks":
        refused = refused_in_task(message.params, capabilities, rules)
        if refused:
            raise Malformed(f"a task's request for input was refused: {refused}")
        return message.line
    if method in methods.KNOWN or methods.resembles_known(method) or not rules.permits_method(method):
        raise Malformed("a notification that the policy does not allow was dropped")
    return message.line


def _note(kind: str, detail: str, entry: InFlight) -> Note:
    return Note(kind, UPSTREAM, detail, entry.method, entry.id)
