"""Is an MCP server that reads as leniently as it is told to, says what a case tells it to, and writes down what really ran.

Run as a script, with the names of two files in its environment.  `MCP_CORPUS_SCRIPT` is JSON, `reads` and `says` of a case; it is
looked at before each piece of input, so one process can serve many cases.  `MCP_CORPUS_RECORD` gets a line of JSON for
everything that ran, and the same name with `.raw` behind it every byte that was received.

Needs the standard library only.  Knows no policy and refuses nothing: what reaches it, it does.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAITS = {
    "universal": "CR and CRLF end a line too, as in Python's text streams",
    "splitlines": "a line ends wherever Python's str.splitlines says: at VT, FF, FS, GS, RS, NEL, U+2028 and U+2029 too",
    "stream": "one JSON value follows another, on one line or over many, as in Go's json.Decoder",
    "last-line": "what stands behind the last LF when the input ends is a line",
    "replace": "invalid UTF-8 becomes U+FFFD",
    "sniff": "UTF-16 and UTF-32 are detected, and encoded surrogates pass, as in Python's json.loads(bytes)",
    "bom": "a byte order mark before a message is skipped",
    "c-string": "a line and a text end at the first NUL",
    "strips": "white space of any kind around a message is skipped, as Python's str.strip does",
    "loose": "a relaxed dialect: comments, other quotes, a comma too many, garbage around a message, control characters",
    "first": "of two members with one name the first counts; otherwise the last",
    "folded": "members are found whatever their case, as in Go's encoding/json (U+017F is s, U+212A is k); the last counts",
    "coerces": "a value of the wrong type is made to fit: a list of one, a text of JSON, parameters by their position",
    "batches": "an array of messages is done one by one",
    "notifications": "a governed method without an id is done, and not answered",
    "trims": "a method is trimmed, NFKC-normalised and case-folded before it is looked up",
    "names": "the same for the name of a tool",
    "extensions": "whatever the method, the tool that its parameters name is run",
}
"""What a case may say under `reads`: ways in which servers read more than strict JSON-RPC."""

TOOLS = ("safe", "slow", "danger")
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
READ_BYTES = 1 << 16
WRITE_BYTES = 1 << 20


# What is written


def expand(piece: Any, tokens: dict[str, str]) -> Iterator[bytes]:
    """Give the bytes of a piece: a text of single bytes, `{"json": …}`, `{"repeat": [text, times]}`, or a list of pieces.

    A token is replaced by what `tokens` has for it; `<n>` counts the repetitions from 0.
    """
    if isinstance(piece, str):
        yield _insert(piece, tokens).encode("latin-1")
    elif isinstance(piece, list):
        for part in piece:
            yield from expand(part, tokens)
    elif "json" in piece:
        text = json.dumps(piece["json"], separators=(",", ":"))
        yield _insert(text, {f'"{token}"': value for token, value in tokens.items()} | tokens).encode("latin-1") + b"\n"
    else:
        text, times = piece["repeat"]
        unit = _insert(text, tokens).encode("latin-1")
        if b"<n>" in unit:
            yield from (unit.replace(b"<n>", b"%d" % n) for n in range(times))
            return
        at_once = max(1, WRITE_BYTES // len(unit))
        for done in range(0, times, at_once):
            yield unit * min(at_once, times - done)


def _insert(text: str, tokens: dict[str, str]) -> str:
    for token, value in tokens.items():
        text = text.replace(token, value)
    return text


# What is read: JSON, and what passes for it


class Unreadable(Exception):  # noqa: N818 - it says what the text is
    """Not JSON, even for this reader.  `unfinished`: more input could make it so."""

    def __init__(self, *, unfinished: bool) -> None:
        super().__init__()
        self.unfinished = unfinished


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Value:
    """A JSON value and where it stands: a list of values, a list of named values, a text, a number, or a word."""

    __slots__ = ("end", "start", "text", "what")

    def __init__(self, text: str, start: int, what: Any) -> None:
        self.text = text
        self.start = start
        self.end = start
        self.what = what

    @property
    def source(self) -> str:
        """The value as it was written."""
        return self.text[self.start : self.end]


class Members(list[tuple[str, Value]]):
    """What stands in an object, in its order, also what comes twice."""


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity")
_WORD = re.compile(r"true|false|null")
_SPACE = re.compile(r"[ \t\r\n]*")
_LOOSE_WORD = re.compile(r"[-+.\w$]+")
_LOOSE_SPACE = re.compile(
    r"(?:[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f\u3000\ufeff\ufffd]|//[^\n]*|#[^\n]*|/\*.*?\*/)*",
    re.DOTALL,
)
_LOOSE_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_MEANT = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None, "undefined": None}


class Parser:
    """Reads one JSON value after another out of a text, however deep they are nested."""

    def __init__(self, text: str, *, loose: bool) -> None:
        self.text = text
        self.loose = loose
        self.at = 0

    def ends(self) -> bool:
        """Skip white space, and say whether nothing is left."""
        space = (_LOOSE_SPACE if self.loose else _SPACE).match(self.text, self.at)
        assert space is not None
        self.at = space.end()
        return self.at == len(self.text)

    def value(self) -> Value:
        """Read the value that comes next."""
        open_: list[tuple[Value, str]] = []
        name = ""
        while True:
            if self.ends():
                raise Unreadable(unfinished=True)
            char = self.text[self.at]
            if char in "{[":
                done = Value(self.text, self.at, Members() if char == "{" else [])
                self.at += 1
                if not self._comes("}" if char == "{" else "]"):
                    open_.append((done, name))
                    name = self._name() if char == "{" else ""
                    continue
                self._close(done)
            else:
                done = self._scalar(char)
            while open_:
                outer, outer_name = open_[-1]
                closing = "}" if isinstance(outer.what, Members) else "]"
                outer.what.append((name, done) if isinstance(outer.what, Members) else done)
                if self._comes(","):
                    self.at += 1
                    if not (self.loose and self._comes(closing)):
                        name = self._name() if closing == "}" else ""
                        break
                if not self._comes(closing):
                    raise Unreadable(unfinished=self.ends())
                self._close(outer)
                done, name = outer, outer_name
                open_.pop()
            else:
                return done

    def _comes(self, char: str) -> bool:
        return not self.ends() and self.text[self.at] == char

    def _close(self, value: Value) -> None:
        self.at += 1
        value.end = self.at

    def _name(self) -> str:
        if self.ends():
            raise Unreadable(unfinished=True)
        name = self._scalar(self.text[self.at]).what
        if not isinstance(name, str) or not self._comes(":"):
            raise Unreadable(unfinished=self.ends())
        self.at += 1
        return name

    def _scalar(self, char: str) -> Value:
        value = Value(self.text, self.at, None)
        if char == '"' or (self.loose and char in "'`"):
            value.what = self._string(char)
        else:
            word = (
                _LOOSE_WORD.match(self.text, self.at)
                if self.loose
                else _NUMBER.match(self.text, self.at) or _WORD.match(self.text, self.at)
            )
            if word is None:
                raise Unreadable(unfinished=False)
            self.at = word.end()
            value.what = _MEANT.get(word.group(), Number(word.group()))
        value.end = self.at
        return value

    def _string(self, quote: str) -> str:
        if not self.loose:
            try:
                text, self.at = json.decoder.scanstring(self.text, self.at + 1, True)  # type: ignore[attr-defined]
            except json.JSONDecodeError as error:
                raise Unreadable(unfinished=error.msg.startswith("Unterminated")) from error
            assert isinstance(text, str)
            return text
        end = self.at + 1
        while self.text[end : end + 1] != quote:
            if end >= len(self.text):
                raise Unreadable(unfinished=True)
            end += 2 if self.text[end] == "\\" else 1
        body = self.text[self.at + 1 : end]
        self.at = end + 1
        return _LOOSE_ESCAPE.sub(_meant_by_escape, body)


def _meant_by_escape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code:
        return chr(int(code, 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}.get(escape[4], escape[4])


def plain(name: str) -> str:
    """A name trimmed, normalised and case-folded."""
    return (
        unicodedata.normalize("NFKC", name)
        .strip(" \t\r\n\v\f\0\x1c\x1d\x1e\x1f\x85\xa0\u200b\u2028\u2029\ufeff")
        .casefold()
    )


def folded(name: str) -> str:
    """A name as Go's simple case folding sees it."""
    return "".join({"\u017f": "s", "\u212a": "k"}.get(char, char.lower()) for char in name)


# The server


class Server:
    """One run: reads, does what it understands, and says what the script has for it."""

    def __init__(self, script: str, record: str) -> None:
        self.script = script
        self.record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.raw = os.open(record + ".raw", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.read = b""
        self.traits: frozenset[str] = frozenset()
        self.says: dict[str, list[list[Any]]] = {}
        self.held: list[bytes] = []
        self.rest = b""
        self.parts: list[bytes] = []

    def run(self) -> None:
        """Serve until the input ends."""
        self.load()
        self.say("start", {})
        while chunk := os.read(0, READ_BYTES):
            self.load()
            write_all(self.raw, chunk)
            self.parts.append(chunk)
            # A long line is put together once, not with every piece of it.
            if b"\n" in chunk or b"\r" in chunk or "stream" in self.traits:
                self.rest = b"".join((self.rest, *self.parts))
                self.parts.clear()
                self.take_all()
        if "last-line" in self.traits:
            self.rest = b"".join((self.rest, *self.parts, b"\n"))
            self.take_all()

    def load(self) -> None:
        """Look at the script again; a new one starts anew."""
        with open(self.script, "rb") as file:  # noqa: PTH123 - `pathlib` takes longer to import than all else here
            read = file.read()
        if read != self.read:
            self.read = read
            script = json.loads(read)
            self.traits = frozenset(script["reads"])
            self.says = {}
            for entry in script["says"]:
                self.says.setdefault(entry["on"], []).append(entry["write"])

    # From bytes to messages

    def take_all(self) -> None:
        """Take every message that has come whole."""
        if "stream" in self.traits:
            self.take_stream()
            return
        if b"\n" not in self.rest and not ("universal" in self.traits and b"\r" in self.rest):
            return
        lines = re.split(rb"\r\n|\r|\n" if "universal" in self.traits else rb"\n", self.rest)
        self.rest = lines.pop()
        for line in lines:
            try:
                text = self.decode(line)
            except UnicodeDecodeError:
                continue
            for part in text.splitlines() if "splitlines" in self.traits else [text]:
                self.take_text(part)

    def take_stream(self) -> None:
        text = self.rest.decode("utf-8", "replace")
        parser = Parser(text, loose="loose" in self.traits)
        done = 0
        while not parser.ends():
            try:
                value = parser.value()
            except Unreadable as error:
                if error.unfinished:
                    break
                # As little as possible is lost: it goes on behind what it could not read.
                parser.at = max(parser.at, done) + 1
            else:
                self.take(value)
            done = parser.at
        self.rest = text[done:].encode()

    def decode(self, line: bytes) -> str:
        if "sniff" in self.traits:
            # What is left of the LF of a line in UTF-16 or UTF-32.
            while line[:1] == b"\0" and line.lstrip(b"\0")[1:2] not in (b"\0", b""):
                line = line[1:]
            encoding = json.detect_encoding(line)
            if encoding.endswith("be"):
                line += b"\n"
            return line.decode(encoding, "surrogatepass" if "replace" not in self.traits else "replace")
        return line.decode("utf-8", "replace" if "replace" in self.traits else "strict")

    def take_text(self, text: str) -> None:
        if "bom" in self.traits:
            text = text.removeprefix("\ufeff")
        if "c-string" in self.traits:
            text = text.partition("\0")[0]
        if "strips" in self.traits:
            text = text.strip()
        loose = "loose" in self.traits
        if loose and "{" in text and not text.lstrip().startswith("["):
            text = text[text.index("{") :]
        parser = Parser(text, loose=loose)
        try:
            value = parser.value()
        except Unreadable:
            return
        if loose or parser.ends():
            self.take(value)

    # From messages to deeds

    def get(self, members: Any, name: str) -> Value | None:
        """Find a member, as this server finds one."""
        if not isinstance(members, Members):
            return None
        fold = folded if "folded" in self.traits else str
        found = [value for each, value in members if fold(each) == name]
        if not found:
            return None
        return found[0 if "first" in self.traits else -1]

    def text_of(self, value: Value | None) -> str | None:
        if value is None:
            return None
        what = value.what
        if "coerces" in self.traits:
            while isinstance(what, list) and len(what) == 1 and isinstance(what[0], Value):
                what = what[0].what
        if type(what) is not str:
            return None
        return what.partition("\0")[0] if "c-string" in self.traits else what

    def take(self, value: Value) -> None:
        """Do what a message asks for."""
        if type(value.what) is list and "batches" in self.traits:
            for each in value.what:
                self.take(each)
            return
        message = value.what
        method = self.text_of(self.get(message, "method"))
        if method is None:
            if self.get(message, "result") or self.get(message, "error"):
                self.say("answer", {})
            return
        if "trims" in self.traits:
            method = plain(method)
        id_ = self.get(message, "id")
        params = self.get(message, "params")
        given = self.given(params)
        answer, on = self.do(method, given, params, answerable=id_ is not None)
        if answer is None:
            self.say(on, {})
            return
        source = id_.source if id_ is not None else "null"
        body = json.dumps(answer, separators=(",", ":"), ensure_ascii=True)
        line = f'{{"jsonrpc":"2.0","id":{source},{body[1:]}\n' if id_ is not None else ""
        text = self.text_of(self.get(given.get("arguments"), "text"))
        if on == "tools/call:safe" and text in ("fence", "release"):
            self.held, held = [], self.held
            for each in held:
                write_all(1, each)
        if on == "tools/call:safe" and text == "fence":
            write_all(1, line.encode("utf-8", "surrogatepass"))
        elif not self.say(on, {"<id>": source, "<answer>": line}) and line:
            if on == "tools/call:slow":
                self.held.append(line.encode("utf-8", "surrogatepass"))
            else:
                write_all(1, line.encode("utf-8", "surrogatepass"))

    def given(self, params: Value | None) -> dict[str, Any]:
        """Give what the parameters name: `name`, `uri`, `arguments`, `ref`, and whether they are of the era with `_meta`."""
        if params is None:
            return {}
        what = params.what
        if type(what) is list and "coerces" in self.traits:
            what = Members(zip(("name", "arguments"), what, strict=False))
        found = {name: self.get(what, name) for name in ("name", "uri", "arguments", "ref", "_meta", "argument")}
        arguments = found["arguments"]
        if "coerces" in self.traits and arguments is not None and type(arguments.what) is str:
            try:
                arguments = Parser(arguments.what, loose=False).value()
            except Unreadable:
                arguments = None
        return {
            "name": self.text_of(found["name"]),
            "uri": self.text_of(found["uri"]),
            "arguments": arguments.what if arguments is not None else None,
            "arguments source": arguments.source if arguments is not None else "",
            "ref": found["ref"].what if found["ref"] is not None else None,
            "modern": found["_meta"] is not None and self.get(found["_meta"].what, VERSION_KEY) is not None,
        }

    def do(
        self, method: str, given: dict[str, Any], params: Value | None, *, answerable: bool
    ) -> tuple[dict[str, Any] | None, str]:
        """Do a method; give the answer to it, None if there is nothing to answer, and the trigger that it is in a script."""
        done = answerable or "notifications" in self.traits
        complete = {"resultType": "complete"} if given.get("modern") else {}
        name = given.get("name")
        if name is not None and "names" in self.traits:
            name = plain(name)
        if done and name in TOOLS and (method == "tools/call" or "extensions" in self.traits):
            self.write_down(name, given["arguments source"])
            return {"result": {**complete, "content": [{"type": "text", "text": name}]}}, f"tools/call:{name}"
        if method == "tools/call":
            return {"error": {"code": -32602, "message": f"Unknown tool: {name}"}}, method
        subject = self.subject(method, given, params)
        if subject is not None and done:
            self.write_down(f"{method} {subject}", "")
        result = self.result(method, modern=bool(complete))
        if result is None and not answerable:
            return None, method
        if result is None:
            return {"error": {"code": -32601, "message": f"Method not found: {method}"}}, method
        return {"result": {**complete, **result}}, method

    def subject(self, method: str, given: dict[str, Any], params: Value | None) -> str | None:
        """Say what a governed method other than `tools/call` is about."""
        if method in ("resources/read", "resources/subscribe", "resources/unsubscribe"):
            return str(given.get("uri"))
        if method == "prompts/get":
            return str(given.get("name"))
        if method == "completion/complete":
            ref = given.get("ref")
            return f"{self.text_of(self.get(ref, 'name'))} {self.text_of(self.get(ref, 'uri'))}"
        if method == "subscriptions/listen":
            wanted = self.get(params.what, "notifications") if params is not None else None
            uris = self.get(wanted.what, "resourceSubscriptions") if wanted is not None else None
            what = uris.what if uris is not None and type(uris.what) is list else []
            return " ".join(str(each.what) for each in what)
        return None

    def result(self, method: str, *, modern: bool) -> dict[str, Any] | None:
        """Give the result that a method has unless a script says otherwise; None for a method that is unknown here."""
        kept = {"ttlMs": 300_000, "cacheScope": "public"} if modern else {}
        capabilities: dict[str, Any] = {name: {} for name in _CAPABILITIES}
        results: dict[str, dict[str, Any]] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": capabilities,
                "serverInfo": {"name": "corpus", "version": "1"},
            },
            "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, **kept},
            "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS], **kept},
            "resources/list": {"resources": [{"uri": uri, "name": uri[8:]} for uri in _URIS], **kept},
            "resources/templates/list": {"resourceTemplates": [], **kept},
            "prompts/list": {"prompts": [{"name": name} for name in ("open", "secret")], **kept},
            "resources/read": {"contents": [{"uri": "file:///open/a", "text": "a"}], **kept},
            "prompts/get": {"messages": []},
            "completion/complete": {"completion": {"values": []}},
            "tasks/list": {"tasks": []},
            "tasks/get": {"taskId": "1", "status": "working", "createdAt": "2025-11-25T00:00:00Z", "ttl": None},
        }
        if method in results:
            return results[method]
        return {} if method in _EMPTY_RESULTS else None

    # Saying and writing down

    def say(self, on: str, tokens: dict[str, str]) -> bool:
        """Write what the script has for a trigger; False if it has nothing."""
        entries = self.says.get(on) or self.says.get(on.partition(":")[0])
        if not entries:
            return False
        tokens = {token: value.encode("utf-8", "surrogatepass").decode("latin-1") for token, value in tokens.items()}
        for piece in entries[0]:
            if isinstance(piece, dict) and "exit" in piece:
                os._exit(piece["exit"])
            pending = b""
            for part in expand(piece, tokens):
                pending += part
                if len(pending) >= WRITE_BYTES:
                    write_all(1, pending)
                    pending = b""
            write_all(1, pending)
        if len(entries) > 1:
            del entries[0]
        return True

    def write_down(self, ran: str, arguments: str) -> None:
        line = json.dumps({"ran": ran, "arguments": arguments}) + "\n"
        write_all(self.record, line.encode())


_CAPABILITIES = ("tools", "resources", "prompts", "completions", "logging", "tasks")
_URIS = ("file:///open/a", "file:///secret/b")
_EMPTY_RESULTS = (
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
    "tasks/result",
    "tasks/cancel",
    "tasks/update",
)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; whoever has stopped reading is no reason to end."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BrokenPipeError:
            return


def main() -> None:
    """Serve with the files that the environment names."""
    Server(os.environ["MCP_CORPUS_SCRIPT"], os.environ["MCP_CORPUS_RECORD"]).run()


if __name__ == "__main__":
    main()
