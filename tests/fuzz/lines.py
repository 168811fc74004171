"""Makes lines for the wire: messages of every shape, and what becomes of them when they are damaged on purpose.

All of it hangs on the `Random` that is passed in.  Knows what two readers could see in two ways, and no reader.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Change = Callable[[bytes, Random], bytes]

# fmt: off - tables
IDS: Final = (0, 1, 2, 7, -1, "1", "2", "a", "", "\u00e9", 2**53 + 1, 10**30)
NAMES: Final = ("echo", "danger", "gone", "", "caf\u00e9", "a" * 70, "\u202edrow", "tools/call")
CLIENT_METHODS: Final = (
    "tools/call",
    "tools/call",
    "tools/call",
    "tools/list",
    "initialize",
    "server/discover",
    "ping",
    "resources/read",
    "resources/subscribe",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "logging/setLevel",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "x/unknown",
    "Tools/call",
    "tools/call ",
    "\uff54ools/call",
)
SERVER_METHODS: Final = (
    "roots/list",
    "sampling/createMessage",
    "elicitation/create",
    "ping",
    "tools/call",
    "x/unknown",
)
NOTICES: Final = (
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/message",
    "notifications/tools/list_changed",
    "notifications/resources/updated",
    "tools/call",
    "x/unknown",
)
MEMBERS: Final = (
    "name",
    "arguments",
    "uri",
    "_meta",
    "task",
    "cursor",
    "ref",
    "requestId",
    "level",
    "protocolVersion",
    "x",
    "",
    "a b",
    "NAME",
    "Name",
    "Arguments",
    "URI",
    "_META",
    "tas\u212a",
    "argument\u017f",
    "\u00e9",
    "\U0001f600",
    "jsonrpc",
    "ID",
    "meTHod",
)
MAX_DOUBLE: Final = 2**1024 - 2**971
LARGE_NUMBERS: Final = (
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "-1.797693134862315807e308",
    str(MAX_DOUBLE),
    str(MAX_DOUBLE + 1),
    str(-MAX_DOUBLE),
    f"{MAX_DOUBLE}.0",
    f"{MAX_DOUBLE}.1",
    f"{MAX_DOUBLE}e0",
    "179769313486231570814527423731704356798070e267",
    "1e0000000308",
    "0.0001e313",
    "0e99999",
    "9" * 308,
    "9" * 309,
    "1e309",
    "1E+309",
    "-1e0309",
    "1e+308",
    "1.0e+400",
)
GOOD_NUMBERS: Final = (
    "0",
    "-0",
    "1",
    "-1",
    "1.10",
    "0.1",
    "1E+2",
    "1e-7",
    "9007199254740993",
    "123456789012345678901234567890",
    "5e-324",
    "1e-99999",
    "1" * 400,
    "1" * 401,
    "0." + "0" * 398,
    "0." + "0" * 399,
    "1e" + "0" * 397 + "1",
    *LARGE_NUMBERS,
)
NUMBERS: Final = (
    "01",
    "+1",
    "1.",
    ".5",
    "-",
    "--1",
    "1e",
    "0x10",
    "1_0",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "1e400",
    "-1E+400",
    "1,5",
    "1e99999999999999999999",
    "-0e-99999999999999999999",
    "1.0E+00",
    "\u0661",
    *GOOD_NUMBERS,
)
GOOD_STRINGS: Final = (
    '"a"',
    '""',
    '"\\u0061"',
    '"\\u00E9"',
    '"\u00e9"',
    '"\U0001f600"',
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"\\uDE00"',
    '"\\ude00\\ud83d"',
    '"\\\\ud83d"',
    '"\\\\\\ud83d"',
    '"\\\\ud83d\\ud83d"',
    '"\\u0000"',
    '"\\u2028"',
    '"\u2028\u2029"',
    '"\u0085"',
    '"\u00a0\u20a8\u2048"',
    '"\ufeff"',
    '"\ufffd"',
    '"\\\\"',
    '"\\""',
    '"\\/"',
    '"\\b\\f\\n\\r\\t"',
    '"\x7f"',
    '"' + "0" * 500 + '"',
    '"' + "12.5e+3" * 80 + '\\"' + "9" * 450 + '"',
    '"\\u000a{}"',
    '"{\\"jsonrpc\\":\\"2.0\\"}"',
)
STRINGS: Final = (
    '"\\x41"',
    '"\\u12"',
    '"\t"',
    '"\x00"',
    '"\x1f"',
    "'a'",
    '"a',
    '"\ud800"',
    '"\udfff\ud800"',
    *GOOD_STRINGS,
)
WORDS: Final = (
    "null",
    "true",
    "false",
    "True",
    "nul",
    "truee",
    "undefined",
    "None",
    "{}",
    "[]",
    "{,}",
    "[,]",
    "[1,]",
    '{"a":1,}',
)
SPACES: Final = (
    b"\x00",
    b"\x01",
    b"\x0b",
    b"\x0c",
    b"\r",
    b"\t",
    b" ",
    b"\x1c",
    b"\x1d",
    b"\x1e",
    b"\x1f",
    b"\x7f",
    b"\xc2\x85",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
)
"""What is white space to somebody, or nothing."""
PIECES: Final = (
    *SPACES,
    b"\xf4\x90\x80\x80",
    b"\xe2\x80",
    b"\x85",
    b"\xa8",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud8",
    b"\\udc00",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-",
    b"+",
    b".",
    b"e",
    b"E",
    b"0",
    b"9",
    b'"id":2,',
    b'"method":"tools/call",',
    b'"result":{},',
    b'"error":{},',
    b'"params":{},',
    b'"jsonrpc":"2.0",',
    b'"NAME":"danger",',
    b"//",
    b"/**/",
    b"#",
    b";",
    b"NaN",
    b"null",
    b"\\ufeff",
    b"\\u0000",
    b"\\u000d",
)
# fmt: on
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER: Final = re.compile(rb"-?[0-9][-+.0-9eE]*")
_BETWEEN: Final = re.compile(rb"[{}\[\],:]")
_NAMED: Final = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*"|[-+.0-9eE]+|\w+|\{\}|\[\])', re.DOTALL)


# Whole messages


def message(random: Random, side: str) -> bytes:
    """Write a message that could be one of `side`; its text is good, unless one of the odd values came into it."""
    space = random.choice(("", "", "", " ", "\t", "\r"))
    head = [('"jsonrpc"', '"2.0"')]
    id_ = [('"id"', json.dumps(random.choice(IDS), ensure_ascii=random.random() < 0.5))]
    shape = random.random()
    if shape < 0.4:
        method = random.choice(CLIENT_METHODS if side == "client" or random.random() < 0.1 else SERVER_METHODS)
        members = [*head, *id_, ('"method"', quoted(method, random)), ('"params"', body(random, method))]
    elif shape < 0.55:
        method = random.choice(NOTICES)
        members = [*head, ('"method"', quoted(method, random)), ('"params"', body(random, method))]
    elif shape < 0.9:
        members = [*head, *id_, ('"result"', body(random, ""))]
    else:
        members = [*head, *id_, ('"error"', '{"code":-32603,"message":' + value(random, 1) + "}")]
    if random.random() < 0.2:
        random.shuffle(members)
    if random.random() < 0.15:
        name = random.choice((*MEMBERS, *MEMBERS, "params", "result", "error", "method"))
        members.insert(random.randrange(len(members) + 1), (quoted(name, random), value(random, 2)))
    return (written(members, space)).encode("utf-8", "surrogatepass") + b"\n"


def body(random: Random, method: str) -> str:
    """Write an object like the parameters of `method`, or like a result."""
    members: list[tuple[str, str]] = []
    match method:
        case "tools/call" | "prompts/get":
            members = [('"name"', quoted(random.choice(NAMES), random)), ('"arguments"', value(random, 3, '{"a":'))]
        case "notifications/cancelled":
            members = [('"requestId"', json.dumps(random.choice(IDS)))]
        case "resources/read" | "resources/subscribe" | "notifications/resources/updated":
            members = [('"uri"', quoted(random.choice(("file:///a", "danger", "x:y")), random))]
        case "":
            members = [('"content"', f'[{{"type":"text","text":{value(random, 0)}}}]')]
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        members.append((quoted(random.choice(MEMBERS), random), value(random, 3)))
    return written(members, random.choice(("", "", " ")))


def value(random: Random, levels: int, opened: str = "") -> str:
    """Write a value of up to so many levels; odd and broken ones are among them."""
    if opened:
        return opened + value(random, levels - 1) + "}"
    kind = random.random()
    if kind < 0.02:
        return deep(random)
    if kind < 0.03:
        return "[" + '{"a":[1]},' * 140 + value(random, 0) + "]"
    if levels and kind < 0.4:
        inner = [value(random, levels - 1) for _ in range(random.choice((0, 1, 1, 2, 3)))]
        if kind < 0.2:
            return "[" + random.choice((",", ",", ", ", " ,\r")).join(inner) + "]"
        return written([(quoted(random.choice(MEMBERS), random), each) for each in inner])
    if kind < 0.6:
        return str(random.randrange(-1000, 1000)) if kind < 0.5 else random.choice(GOOD_NUMBERS)
    if kind < 0.9:
        return quoted(random.choice(NAMES), random) if kind < 0.8 else random.choice(GOOD_STRINGS)
    return random.choice((*WORDS[:3], *WORDS[:3], *WORDS, *NUMBERS, *STRINGS))


def deep(random: Random, levels: int = 0) -> str:
    """Write so many containers in each other, or about as many as either side may."""
    levels = levels or random.choice((122, 124, 125, 126, 127, 128, 196, 197, 198, 199, 200, 201, 1000))
    inner = random.choice(("", "0", "{}", "[]", '"a"', "1e309"))
    if random.random() < 0.3:
        return '{"a":' * levels + (inner or "1") + "}" * levels
    return "[" * levels + inner + "]" * levels


def quoted(text: str, random: Random) -> str:
    """Write a string, with some of its characters escaped that need not be."""
    if random.random() < 0.9:
        return json.dumps(text, ensure_ascii=random.random() < 0.3)
    return '"' + "".join(escaped(c) if random.random() < 0.3 else json.dumps(c)[1:-1] for c in text) + '"'


def escaped(character: str) -> str:
    """Write a character as JSON can always write it."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def written(members: list[tuple[str, str]], space: str = "") -> str:
    """Write an object."""
    return "{" + space + f",{space}".join(f"{name}{space}:{space}{value}" for name, value in members) + space + "}"


# Close to the limits


def brink(random: Random, side: str) -> bytes:
    """Write a message in which just one thing is about as large as it may be, wherever it stands and whatever stands beside it."""
    limit = 128 if side == "client" else 200
    outer = random.choice(
        ('"params":?', '"params":{"a":?}', '"result":{"a":?}', '"error":{"a":[?]}', '"x":?,"method":"m"')
    )
    above = outer.count("{") + outer.count("[") + 1
    extreme: str
    match random.randrange(4):
        case 0:
            extreme = deep(random, limit - above + random.choice((-1, 0, 0, 1, 1, 2)))
        case 1:
            extreme = random.choice(LARGE_NUMBERS)
        case 2:
            extreme = long_number(random)
        case _:
            extreme = random.choice(STRINGS)
    beside = random.choice(
        (
            '""',
            '""',
            '"\\\\"',
            '"\\\\\\""',
            '"' + "x" * 900 + '"',
            '"' + "0" * 1100 + '"',
            "[" + '{"a":[1]},' * 140 + "0]",
            "[" + "[]," * 270 + "0]",
        )
    )
    order = [f'"b":{beside}', f'"a":{extreme}']
    random.shuffle(order)
    within = (
        "{" + ",".join(order) + "}"
        if outer == '"params":?'
        else f"[{beside},{extreme}]"
        if random.random() < 0.5
        else extreme
    )
    members = ['"jsonrpc":"2.0"', '"id":1', outer.replace("?", within)]
    if outer.startswith('"params"'):
        members.append('"method":"m"')
    random.shuffle(members)
    return ("{" + ",".join(members) + "}\n").encode("utf-8", "surrogatepass")


def long_number(random: Random) -> str:
    """Write a number of about as many characters as one may have, shared out among its parts."""
    length = random.choice((399, 400, 401, 402))
    shape = random.choice(("{0}", "-{0}.{1}", "{0}.{1}e-{2}", "{0}.{1}e+{2}", "0.{1}", "{0}e-{2}"))
    parts = [1, 1, 1]
    room = length - len(shape.format(*("1" * part for part in parts)))
    used = [at for at in range(3) if f"{{{at}}}" in shape]
    cuts = sorted(random.choice((room // 3, room // 2, random.randrange(room + 1))) for _ in used[1:])
    for at, start, end in zip(used, [0, *cuts], [*cuts, room], strict=True):
        parts[at] += end - start
    power = random.choice(("0", "0", "1"))
    return shape.format("1" + "7" * (parts[0] - 1), "3" * parts[1], "0" * (parts[2] - 1) + power)


# Damage


def damaged(random: Random, line: bytes, other: bytes) -> bytes:
    """Change a line in one to three places, or splice it with another one; it stays one line."""
    changes = random.choice((CHANGES, GENTLE))
    for _ in range(random.choice((1, 1, 1, 1, 2, 2, 3))):
        line = splice(line, other, random) if random.random() < 0.03 else random.choice(changes)(line, random)
    return line.replace(b"\n", b"") + b"\n"


def splice(line: bytes, other: bytes, random: Random) -> bytes:
    """Put a piece of another line into this one."""
    start, end = slice_of(other, random)
    at = random.randrange(len(line) + 1)
    return line[:at] + other[start:end] + line[at:]


def flip(line: bytes, random: Random) -> bytes:
    """Flip one bit."""
    if not line:
        return line
    at = random.randrange(len(line))
    return line[:at] + bytes([line[at] ^ 1 << random.randrange(8)]) + line[at + 1 :]


def insert(line: bytes, random: Random) -> bytes:
    """Put something in at any place."""
    at = random.randrange(len(line) + 1)
    return line[:at] + random.choice(PIECES) + line[at:]


def insert_between(line: bytes, random: Random) -> bytes:
    """Put something in beside a token, where white space may stand."""
    places = [found.end() - random.randrange(2) for found in _BETWEEN.finditer(line)]
    at = random.choice(places) if places else 0
    return line[:at] + random.choice(SPACES) + line[at:]


def delete(line: bytes, random: Random) -> bytes:
    """Take a piece away."""
    start, end = slice_of(line, random)
    return line[:start] + line[end:]


def repeat(line: bytes, random: Random) -> bytes:
    """Write a piece twice."""
    start, end = slice_of(line, random)
    return line[:end] + line[start:end] + line[end:]


def respell_number(line: bytes, random: Random) -> bytes:
    """Put another number in the place of one."""
    return in_place(line, _NUMBER, lambda _: random.choice(random.choice((GOOD_NUMBERS, NUMBERS))).encode(), random)


def other_number(line: bytes, random: Random) -> bytes:
    """Put another number that JSON knows in the place of one."""
    return in_place(line, _NUMBER, lambda _: random.choice(GOOD_NUMBERS).encode(), random)


def space(line: bytes, random: Random) -> bytes:
    """Put white space between two tokens."""
    places = [found.end() - random.randrange(2) for found in _BETWEEN.finditer(line)]
    at = random.choice(places) if places else 0
    return line[:at] + random.choice((b" ", b"\t", b"\r", b"\r \r")) + line[at:]


def escape(line: bytes, random: Random) -> bytes:
    """Escape one character of a string."""

    def other(text: bytes) -> bytes:
        inner = text[1:-1].decode("utf-8", "replace")
        if not inner or "\\" in inner:
            return text
        at = random.randrange(len(inner))
        return f'"{inner[:at]}{escaped(inner[at])}{inner[at + 1 :]}"'.encode("utf-8", "replace")

    return in_place(line, _STRING, other, random)


def respell_string(line: bytes, random: Random) -> bytes:
    """Turn the case of one character of a string, or make it another one that folds to it."""

    def other(text: bytes) -> bytes:
        inner = text[1:-1].decode("utf-8", "replace")
        if not inner or "\\" in inner:
            return text
        at = random.randrange(len(inner))
        character = inner[at]
        new = {"s": "\u017f", "k": "\u212a", "K": "\u212a"}.get(character) if random.random() < 0.5 else None
        new = new or character.swapcase()
        return f'"{inner[:at]}{new}{inner[at + 1 :]}"'.encode("utf-8", "replace")

    return in_place(line, _STRING, other, random)


def replace_string(line: bytes, random: Random) -> bytes:
    """Put an odd string in the place of one."""
    return in_place(line, _STRING, lambda _: random.choice(STRINGS).encode("utf-8", "surrogatepass"), random)


def replace_value(line: bytes, random: Random) -> bytes:
    """Put any value in the place of a number or a string."""
    pattern = random.choice((_NUMBER, _STRING))
    return in_place(line, pattern, lambda _: value(random, 2).encode("utf-8", "surrogatepass"), random)


def wrap(line: bytes, random: Random) -> bytes:
    """Put a value deep into containers."""
    levels = random.choice((1, 2, 123, 124, 125, 126, 127, 195, 196, 197, 198, 199, 200))
    pattern = random.choice((_NUMBER, _STRING))
    return in_place(line, pattern, lambda text: b"[" * levels + text + b"]" * levels, random)


def repeat_member(line: bytes, random: Random) -> bytes:
    """Write a member twice, the second time perhaps under a name that only looks other, or only looks the same."""

    def both(text: bytes) -> bytes:
        again = random.choice((respell_string, escape, other_number, space))(text, random)
        return text + b"," + again

    return in_place(line, _NAMED, both, random)


def pad(line: bytes, random: Random) -> bytes:
    """Make a line longer than what is read at a glance."""
    filler = random.choice(
        (
            b'"' + b"0" * 1100 + b'"',
            b"[" + b"1," * 700 + b"1]",
            b'["' + b'","' * 400 + b'"]',
            b"[" + b"{}," * 400 + b"[]]",
        )
    )
    return in_place(line, random.choice((_NUMBER, _STRING)), lambda _: filler, random)


def in_place(line: bytes, pattern: re.Pattern[bytes], change: Callable[[bytes], bytes], random: Random) -> bytes:
    """Change one of the places that a pattern finds."""
    found = list(pattern.finditer(line))
    if not found:
        return line
    chosen = random.choice(found)
    return line[: chosen.start()] + change(chosen.group()) + line[chosen.end() :]


def slice_of(line: bytes, random: Random) -> tuple[int, int]:
    """Choose a piece of a line: often a short one, sometimes between two tokens."""
    if random.random() < 0.5:
        places = [found.start() for found in _BETWEEN.finditer(line)] or [0]
        start, end = sorted((random.choice(places), random.choice(places)))
        return start, end
    start = random.randrange(len(line) + 1)
    return start, start + random.choice((1, 1, 2, 3, 8, 40))


CHANGES: Final[tuple[Change, ...]] = (
    *(
        flip,
        insert,
        insert_between,
        insert_between,
        delete,
        repeat,
        respell_number,
        respell_number,
        respell_string,
        respell_string,
    ),
    *(replace_string, replace_value, replace_value, wrap, wrap, repeat_member, repeat_member, pad, pad),
)
GENTLE: Final[tuple[Change, ...]] = (
    other_number,
    other_number,
    space,
    space,
    escape,
    escape,
    replace_value,
    wrap,
    repeat_member,
    pad,
)
"""Changes that leave most lines JSON."""


def noise(random: Random) -> bytes:
    """Write a line of bytes that mean nothing, or of tokens in any order."""
    if random.random() < 0.5:
        return random.randbytes(random.randrange(60)).replace(b"\n", b"") + b"\n"
    return b"".join(random.choice(PIECES) for _ in range(random.randrange(1, 20))) + b"\n"


def any_line(random: Random, side: str, others: list[bytes]) -> bytes:
    """Write a line: most are a message with some damage, a few are good or mean nothing."""
    kind = random.random()
    if kind < 0.15:
        return brink(random, side)
    line = random.choice(others) if others and kind < 0.3 else message(random, side)
    if kind > 0.95:
        return noise(random)
    return line if kind > 0.85 else damaged(random, line, message(random, side))


def lines_of(value: Any) -> list[bytes]:
    """Find the lines in a document of cases, whatever it is made like: in every string that looks like one or more messages.

    A string may stand for bytes, one character for each, and may have places to fill in, which look like tags.
    """
    found: list[bytes] = []
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if "{" in text:
                whole = re.sub("<[a-z]+>", lambda place: "" if place.group() == "<meta>" else "1", text)
                data = whole.encode("latin-1" if max(whole) < "\u0100" else "utf-8", "surrogatepass")
                found += [line + b"\n" for line in data.split(b"\n") if line]
            case dict() as members:
                waiting += members.values()
            case list() as items:
                waiting += items
    return found
