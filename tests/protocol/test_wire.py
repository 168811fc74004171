"""Checks which bytes are one message."""

from __future__ import annotations

import json
import math
import tracemalloc
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpguard.protocol.wire import (
    CLIENT,
    INVALID_REQUEST,
    PARSE_ERROR,
    UPSTREAM,
    Malformed,
    Message,
    clean,
    decode,
    encode,
    printable,
)

if TYPE_CHECKING:
    from mcpguard.protocol.wire import Side

SIDES: tuple[Side, Side] = (CLIENT, UPSTREAM)
MAX_DOUBLE = int(1.7976931348623157e308)
LINE_ENDS_INSIDE = ("\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029")

slow = settings(max_examples=300, deadline=None)


def request(value: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":' + value.encode("utf-8", "surrogatepass") + b"}}\n"


def answer(value: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":{"x":' + value.encode("utf-8", "surrogatepass") + b"}}\n"


def line_with(value: str, side: Side) -> bytes:
    return request(value) if side == CLIENT else answer(value)


def refusal(line: bytes, side: Side) -> Malformed:
    with pytest.raises(Malformed) as raised:
        decode(line, side)
    return raised.value


def body(message: Message) -> dict[str, Any]:
    return message.params if message.result is None else message.result


# Strict JSON

NESTED_TOO_DEEPLY = {CLIENT: 129, UPSTREAM: 201}


def nested(levels: int, side: Side) -> bytes:
    """Give a message of this many levels; its envelope and its body are two of them."""
    return line_with("[" * (levels - 2) + "0" + "]" * (levels - 2), side)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param('"\x00"', id="raw NUL in a string"),
        pytest.param('"\x1f"', id="raw control character in a string"),
        pytest.param('"\ud800"', id="surrogate as UTF-8"),
        pytest.param('"\\x41"', id="unknown escape"),
        pytest.param('"\\u12"', id="short escape"),
        pytest.param('{"a":1,"a":2}', id="duplicate member"),
        pytest.param('{"a":1,"\\u0061":2}', id="duplicate through an escape"),
        pytest.param('[[{"b":[{"a":null,"a":null}]}]]', id="duplicate far inside"),
        pytest.param("NaN", id="NaN"),
        pytest.param("-Infinity", id="Infinity"),
        pytest.param("1e309", id="1e309"),
        pytest.param("-1e+309", id="-1e+309"),
        pytest.param("1e99999999999999999999", id="an exponent of 20 digits"),
        pytest.param("9" * 309, id="an integer of 309 nines"),
        pytest.param(str(MAX_DOUBLE + 1), id="an integer one above the largest double"),
        pytest.param("[" * 90 + "1e309" + "]" * 90, id="too large, far inside"),
        pytest.param("[" + "[1]," * 300 + "1e309]", id="too large beside many lists"),
        pytest.param("[" + "[1]," * 300 + "9" * 309 + "]", id="too large an integer beside many lists"),
        pytest.param("1" * 401, id="an integer of 401 digits"),
        pytest.param("0." + "0" * 399, id="a small number of 401 characters"),
        pytest.param('["' + "0" * 2000 + '",0.' + "0" * 399 + "]", id="401 characters after a string of zeros"),
        pytest.param('["\\\\",0.' + "0" * 399 + ',"\\""]', id="401 characters between escaped quotes"),
        pytest.param("-0." + "1" * 200 + "e-" + "0" * 196 + "1", id="401 characters with sign, point and exponent"),
        pytest.param("01", id="leading zero"),
        pytest.param("+1", id="plus sign"),
        pytest.param("1.", id="point without digits"),
        pytest.param(".5", id="digits without zero"),
        pytest.param("-", id="minus alone"),
        pytest.param("'a'", id="single quotes"),
        pytest.param("[1,]", id="trailing comma"),
        pytest.param("1/*c*/", id="comment"),
        pytest.param("\x0b1", id="vertical tab as white space"),
        pytest.param("\u00a01", id="no-break space as white space"),
        pytest.param("\ufeff1", id="BOM as white space"),
        pytest.param("True", id="Python literal"),
        pytest.param("[" * 100_000, id="100,000 open lists"),
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(value: str, side: Side) -> None:
    assert refusal(line_with(value, side), side).code == PARSE_ERROR


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\xef\xbb\xbf" + request("1"), id="BOM"),
        pytest.param(b"\x00" + request("1"), id="NUL before"),
        pytest.param(request("1")[:-1] + b"\x00\n", id="NUL after"),
        pytest.param(request('"?"').replace(b"?", b"\xff"), id="no UTF-8"),
        pytest.param(request('"?"').replace(b"?", b"\xc0\x80"), id="overlong UTF-8"),
        pytest.param(request('"?"').replace(b"?", b"\xf5\x80\x80\x80"), id="beyond Unicode"),
        pytest.param(request("1")[:-1] + b" x\n", id="trailing garbage"),
        pytest.param(request("1")[:-1] * 2 + b"\n", id="two objects on one line"),
        pytest.param(request("1")[:-1] + b"," + request("1"), id="two objects and a comma"),
        pytest.param(request("1")[:-1] + b"],[\n", id="a bracket closed and opened"),
        pytest.param(request("1").decode().encode("utf-16"), id="UTF-16"),
        pytest.param(request("1")[:-3] + b"\n", id="cut off"),
        pytest.param(b"hello\n", id="plain text"),
    ],
)
def test_a_line_that_is_not_one_json_value_is_refused(line: bytes, side: Side) -> None:
    refused = refusal(line, side)
    assert (refused.code, refused.id, refused.shape) == (PARSE_ERROR, None, None)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("line", [b"[]\n", b"[" + request("1")[:-1] + b"]\n", b"1\n", b'"a"\n', b"null\n"])
def test_a_batch_and_what_is_no_object_are_refused(line: bytes, side: Side) -> None:
    refused = refusal(line, side)
    assert (refused.code, refused.id) == (INVALID_REQUEST, None)


@pytest.mark.parametrize("side", SIDES)
def test_nesting_is_allowed_up_to_the_limit_of_the_side_and_one_more_is_refused(side: Side) -> None:
    too_deep = NESTED_TOO_DEEPLY[side]
    assert decode(nested(too_deep - 1, side), side).id == 1
    assert refusal(nested(too_deep, side), side).code == PARSE_ERROR


def test_nesting_beside_the_parameters_counts_too() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"m","x":' + b"[" * 127 + b"]" * 127 + b"}\n"
    assert decode(line, CLIENT).method == "m"
    assert refusal(line.replace(b"[]", b"[[]]"), CLIENT).id == 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "value",
    [
        "1.10",
        "-0",
        "-0.0",
        "1E+2",
        "9007199254740993",
        "123456789012345678901234567890",
        str(MAX_DOUBLE),
        "1" * 309,
        "1e308",
        "0." + "0" * 398,
        "5e-324",
        '"' + "0" * 2000 + '"',
        '"' + "12.5e+3" * 100 + '\\"' + "9" * 500 + '"',
        '["\\\\","' + "0" * 500 + '"]',
        "[" + "[1]," * 300 + "1e300]",
        '"\\u0000 \\ud83d\\ude00 \u00e9 \U0001f600"',
    ],
)
def test_numbers_and_text_are_forwarded_as_they_came(value: str, side: Side) -> None:
    line = line_with(value, side)
    assert decode(line, side).line == line


def test_numbers_of_a_client_keep_their_exact_value() -> None:
    params = decode(request("[1.10, 9007199254740993, 1e308, 123456789012345678901234567890]"), CLIENT).params
    assert params["x"] == [Decimal("1.10"), 9007199254740993, Decimal("1e308"), 123456789012345678901234567890]
    assert [type(value) for value in params["x"]] == [Decimal, int, Decimal, int]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('"\\ud800"', id="high"),
        pytest.param('"\\uDFFF"', id="low"),
        pytest.param('"\\ud83d\\ude00\\ud83d"', id="after a pair"),
        pytest.param('"\\ude00\\ud83d"', id="wrong order"),
        pytest.param('"\\\\\\udc00"', id="after a backslash"),
        pytest.param('{"\\ud800":1}', id="in a name"),
        pytest.param('"cut \\ud83d"', id="at a cut"),
    ],
)
def test_lone_surrogates_pass_from_a_server_byte_for_byte_and_from_a_client_are_refused(value: str) -> None:
    assert refusal(request(value), CLIENT).code == PARSE_ERROR
    line = answer(value)
    message = decode(line, UPSTREAM)
    assert message.line == line
    assert "\ufffd" in str(message.result)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(answer('["\\ud800",NaN]'), id="with NaN"),
        pytest.param(answer('{"\\ud800":1,"\\udfff":2}'), id="twice as a name"),
        pytest.param(b'{"jsonrpc":"2.0","id":"\\ud800","result":{}}\n', id="in the id"),
        pytest.param(b'["\\ud800"]\n', id="in a batch"),
    ],
)
def test_a_lone_surrogate_excuses_nothing_else(line: bytes) -> None:
    assert refusal(line, UPSTREAM).id is None


def test_a_string_of_digits_of_some_megabytes_is_no_long_number_and_takes_little_memory() -> None:
    line = answer('"' + "0" * 4_000_000 + '"')
    tracemalloc.start()
    try:
        assert decode(line, UPSTREAM).line == line
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(line)


@pytest.mark.parametrize(
    ("number", "passes"),
    [
        pytest.param("1.5", True, id="a plain one"),
        pytest.param("1e300", True, id="a large one"),
        pytest.param("1e309", False, id="one beyond the largest double"),
        pytest.param("9" * 309, False, id="a whole one beyond it"),
    ],
)
def test_among_hundreds_of_objects_every_number_counts(number: str, passes: bool) -> None:
    line = answer("[" + '{"a":[1]},' * 300 + f'{{"b":{number}}}]')
    if passes:
        assert decode(line, UPSTREAM).line == line
    else:
        assert refusal(line, UPSTREAM).code == PARSE_ERROR


# The envelope


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        pytest.param('{"id":1,"method":"m"}', 1, id="no jsonrpc"),
        pytest.param('{"jsonrpc":2.0,"id":1,"method":"m"}', 1, id="jsonrpc is a number"),
        pytest.param('{"jsonrpc":"2.0","id":true,"method":"m"}', None, id="id is true"),
        pytest.param('{"jsonrpc":"2.0","id":1.0,"method":"m"}', None, id="id is 1.0"),
        pytest.param('{"jsonrpc":"2.0","id":1e0,"method":"m"}', None, id="id is 1e0"),
        pytest.param('{"jsonrpc":"2.0","id":null,"method":"m"}', None, id="id is null"),
        pytest.param('{"jsonrpc":"2.0","id":[],"method":"m"}', None, id="id is a list"),
        pytest.param('{"jsonrpc":"2.0","id":{},"method":"m"}', None, id="id is an object"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":7}', 1, id="method is a number"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":null}', 1, id="method is null"),
        pytest.param('{"jsonrpc":"2.0","id":"a","method":"m","params":[]}', "a", id="params is a list"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"m","params":"p"}', 1, id="params is a string"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"m","result":{}}', 1, id="method and result"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"m","error":{}}', 1, id="method and error"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"m","result":null}', 1, id="method and a null result"),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', 1, id="result and error"),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":{},"params":{}}', 1, id="result and params"),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":[]}', 1, id="result is a list"),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":null}', 1, id="result is null"),
        pytest.param('{"jsonrpc":"2.0","id":1,"error":"no"}', 1, id="error is a string"),
        pytest.param('{"jsonrpc":"2.0","result":{}}', None, id="an answer without id"),
        pytest.param('{"jsonrpc":"2.0","id":null,"error":{}}', None, id="an error under null"),
        pytest.param('{"jsonrpc":"2.0","id":1}', 1, id="neither call nor answer"),
        pytest.param('{"jsonrpc":"2.0"}', None, id="nothing but jsonrpc"),
        pytest.param("{}", None, id="an empty object"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"m","x":1e400}', 1, id="too large a number beside the envelope"),
    ],
)
@pytest.mark.parametrize("side", SIDES)
def test_a_message_has_exactly_one_shape(line: str, id_: object, side: Side) -> None:
    assert refusal(line.encode() + b"\n", side).id == id_


@pytest.mark.parametrize("side", SIDES)
def test_an_id_beyond_the_largest_double_is_refused(side: Side) -> None:
    line = b'{"jsonrpc":"2.0","id":' + b"9" * 309 + b',"method":"m"}\n'
    refused = refusal(line, side)
    assert (refused.code, refused.id) == (PARSE_ERROR, None)


@pytest.mark.parametrize(
    ("line", "shapes"),
    [
        pytest.param('{"id":1,"method":"m"}', ("call", "call"), id="a call"),
        pytest.param('{"jsonrpc":"2.0","id":1,"METHOD":"m","result":{"method":1}}', ("call", "answer"), id="METHOD"),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":[{"method":"m"}]}', ("answer", "answer"), id="method inside"),
        pytest.param('{"jsonrpc":"2.0","id":1,"Error":{}}', ("answer", "answer"), id="Error"),
        pytest.param('{"jsonrpc":"2.0","id":1}', ("call", "answer"), id="whatever its side sends"),
        pytest.param('{"id":1,"level":"info"}', ("", ""), id="a log line"),
    ],
)
def test_a_refused_message_still_shows_what_it_was_meant_as(line: str, shapes: tuple[str, str]) -> None:
    assert tuple(refusal(line.encode() + b"\n", side).shape for side in SIDES) == shapes


LONG_S, KELVIN = "\u017f", "\u212a"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "name", ["ID", "Id", "Method", "METHOD", "Params", f"param{LONG_S}", "Result", f"re{LONG_S}ult", "Error", "JSONRPC"]
)
def test_a_lookalike_in_the_envelope_is_refused(name: str, side: Side) -> None:
    for line in ('{"jsonrpc":"2.0","id":1,"method":"m","?":1}\n', '{"?":1,"jsonrpc":"2.0","id":1,"result":{}}\n'):
        assert "in another case" in refusal(line.replace("?", name).encode(), side).reason
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
        assert "in another case" in refusal(line.replace("?", escaped).encode(), side).reason


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "name",
    [
        *(
            "NAME",
            "Name",
            "Arguments",
            f"argument{LONG_S}",
            "URI",
            "_META",
            f"ta{LONG_S}k",
            f"tas{KELVIN}",
            "taskID",
            "Task",
        ),
        *("InputResponses", "RequestState", "CURSOR", "Ref", "Argument", "Context", "requestID", "ProgressToken"),
        *("Notifications", "Level", "ProtocolVersion", "Capabilities", "ClientInfo", f"notification{LONG_S}"),
    ],
)
def test_a_lookalike_in_the_parameters_is_refused(name: str, side: Side) -> None:
    line = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"name":"safe","{name}":"danger"}}}}\n'.encode()
    assert refusal(line, side).id == 1


@pytest.mark.parametrize("side", SIDES)
def test_other_members_pass_wherever_they_stand(side: Side) -> None:
    line = b'{"x":1,"jsonrpc":"2.0","id":1,"method":"m","params":{"Query":1,"arguments":{"NAME":1,"name":2}}}\n'
    assert decode(line, side).line == line


def test_the_four_shapes_are_told_apart() -> None:
    call = decode(b'{"jsonrpc":"2.0","id":"1","method":"m","params":null}\n', CLIENT)
    assert (call.id, call.method, call.params, call.result) == ("1", "m", {}, None)
    notification = decode(b'{"jsonrpc":"2.0","method":"m"}\n', CLIENT)
    assert (notification.id, notification.method, notification.params) == (None, "m", {})
    result = decode(b'{"jsonrpc":"2.0","id":-7,"result":{"a":1}}\n', CLIENT)
    assert (result.id, result.method, result.result) == (-7, None, {"a": 1})
    error = decode(b'{"jsonrpc":"2.0","id":0,"error":{"code":1}}\n', CLIENT)
    assert (error.id, error.method, error.params, error.result) == (0, None, {"code": 1}, None)


# Hidden line ends


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"jsonrpc":"2.0",\r"id":1,\r"method":"ping"}\r\n', id="CR between tokens"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n', id="CRLF"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"ping"}\r\r\r\n', id="many CR before LF"),
        pytest.param('\r{"jsonrpc":"2.0","id":1,"method":"ping"}\n', id="CR before"),
        pytest.param('{"jsonrpc":"2.0","id":1,"method":"\u2028\u2029\x85"}\n', id="in a string"),
        pytest.param(
            '{"jsonrpc":"2.0","id":1,"method":"m","params":{"\u2028":"\u00e9 \u0085\U0001f600"}}\n', id="in a name"
        ),
        pytest.param('{"jsonrpc":"2.0",\r"id":"\u2029","method":"m"}\r\n', id="both kinds"),
    ],
)
def test_no_reader_can_take_a_forwarded_line_for_two(line: str, side: Side) -> None:
    forwarded = decode(line.encode(), side).line
    assert_one_line(forwarded)
    assert json.loads(forwarded) == json.loads(line)


def assert_one_line(line: bytes) -> None:
    text = line.decode()
    assert len(text.splitlines()) == 1
    assert text.endswith("\n")
    assert not any(end in text for end in LINE_ENDS_INSIDE)


def test_a_call_hidden_behind_a_cr_stays_inside_its_line() -> None:
    hidden = b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"danger"}}'
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":\r' + hidden + b"\r}}\n"
    assert_one_line(decode(line, CLIENT).line)


@given(st.text(st.sampled_from([*LINE_ENDS_INSIDE, "a", "\u00e9", "\u0085", "\u20a8", "\U0001f600"])))
@settings(max_examples=100, deadline=None)
def test_cleaning_leaves_the_text_what_it_was(text: str) -> None:
    line = json.dumps({"a": text}, ensure_ascii=False).encode() + b"\n"
    cleaned = clean(line)
    assert_one_line(cleaned)
    assert json.loads(cleaned) == {"a": text}


# What the guard writes


def test_what_the_guard_writes_is_one_compact_ascii_line() -> None:
    assert encode({"jsonrpc": "2.0", "id": "\u2028", "b": [1, "\u00e9"]}) == (
        b'{"jsonrpc":"2.0","id":"\\u2028","b":[1,"\\u00e9"]}\n'
    )


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("plain", "`plain`"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("a" * 101, "`" + "a" * 100 + "…`"),
        ("\ud800", r"'\ud800'"),
        ("a\u200bb", r"'a\u200bb'"),
    ],
)
def test_other_peoples_words_are_shown_safely(text: str, shown_as: str) -> None:
    assert printable(text) == shown_as


# A second reader, on the standard library


class BrokenError(Exception):
    pass


def read_strictly(line: bytes, side: Side) -> Any:
    """Read JSON as the standard library does, and refuse by rules of our own what it lets pass."""

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # A server's lone surrogates all read alike.
        names = [name.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for name, _ in pairs]
        if len(set(names)) < len(names):
            raise BrokenError
        return dict(pairs)

    def number(text: str) -> Any:
        if len(text) > 400:
            raise BrokenError
        integer = text.lstrip("-").isdigit()
        if side == UPSTREAM and not integer:
            if not math.isfinite(float(text)):
                raise BrokenError
            return float(text)
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise BrokenError from error
        if value.copy_abs() > MAX_DOUBLE:
            raise BrokenError
        return int(text) if integer else value

    def constant(text: str) -> Any:
        raise BrokenError(text)

    try:
        value = json.loads(
            line.decode(),
            object_pairs_hook=object_of,
            parse_int=number,
            parse_float=number,
            parse_constant=constant,
        )
    except (ValueError, RecursionError) as error:
        raise BrokenError from error
    if depth(value) > (128 if side == CLIENT else 200) or (side == CLIENT and has_surrogates(value)):
        raise BrokenError
    return value


def depth(value: Any) -> int:
    """Count levels."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        deepest += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


def has_surrogates(value: Any) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in json.dumps(value, ensure_ascii=False, default=str))


def is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for names, members in ((ENVELOPE_NAMES, value), (PARAMS_NAMES, value.get("params") if "method" in value else None)):
        for member in members if isinstance(members, dict) else ():
            if member not in names and member.casefold() in {name.casefold() for name in names}:
                return False
    id_ = value.get("id")
    if ("id" in value and type(id_) not in (str, int)) or value.get("jsonrpc") != "2.0":
        return False
    if "method" in value:
        params = value.get("params", {})
        return (
            isinstance(value["method"], str)
            and not {"result", "error"} & value.keys()
            and (params is None or isinstance(params, dict))
        )
    bodies = [name for name in ("result", "error") if name in value]
    return "id" in value and "params" not in value and len(bodies) == 1 and isinstance(value[bodies[0]], dict)


ENVELOPE_NAMES = {"jsonrpc", "id", "method", "params", "result", "error"}
PARAMS_NAMES = {
    *("name", "arguments", "uri", "_meta", "task", "inputResponses", "requestState", "cursor", "ref", "argument"),
    *("context", "requestId", "progressToken", "notifications", "taskId", "level", "protocolVersion", "capabilities"),
    "clientInfo",
}

numbers = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["1.10", "1e308", "1e309", "-1E+400", "9" * 309, "1" * 309, "1" * 401, "0." + "0" * 399, "NaN"]),
    st.sampled_from(["01", "-", "1.", "-Infinity", "0e999", "1e-400", "2e99999999999999999999"]),
)
strings = st.one_of(
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=8).map(json.dumps),
    st.sampled_from(
        ['"\\ud800"', '"\\ud83d\\ude00"', '"\u2028"', '"\\\\"', '"\\u0061"', '"a"', '"\x01"', '"' + "0" * 500 + '"']
    ),
)
names_ = st.one_of(strings, st.sampled_from(['"name"', '"NAME"', '"uri"', '"_meta"', '"a"', '"\\u0061"']))
spaces = st.sampled_from(["", "", "", " ", "\r", "\t"])


def array(items: list[str], space: str) -> str:
    return f"[{space}" + f",{space}".join(items) + "]"


def members(items: list[tuple[str, str]], space: str) -> str:
    return f"{{{space}" + f",{space}".join(f"{name}{space}:{value}" for name, value in items) + "}"


values = st.recursive(
    st.one_of(numbers, strings, st.sampled_from(["null", "true", "false"])),
    lambda inner: st.one_of(
        st.builds(array, st.lists(inner, max_size=3), spaces),
        st.builds(members, st.lists(st.tuples(names_, inner), max_size=3), spaces),
        st.builds(
            lambda value, levels: "[" * levels + value + "]" * levels, inner, st.sampled_from([1, 124, 126, 196, 198])
        ),
    ),
    max_leaves=6,
)
objects = st.builds(members, st.lists(st.tuples(names_, values), max_size=3), spaces)
envelope_members = st.lists(
    st.one_of(
        st.just(('"jsonrpc"', '"2.0"')),
        st.tuples(st.just('"id"'), st.sampled_from(["1", '"a"', "1.0", "null", "true", "-5", '"\\u0061"', "1e0"])),
        st.tuples(st.just('"method"'), st.sampled_from(['"tools/call"', '"m"', "1"])),
        st.tuples(st.sampled_from(['"params"', '"result"', '"error"']), objects),
        st.tuples(st.sampled_from(['"ID"', '"x"', '"Result"', '"param\u017f"', '"\\u0069d"']), values),
    ),
    max_size=6,
)
usual = st.tuples(st.sampled_from(["call", "result", "error", "notification"]), objects).map(
    lambda drawn: {
        "call": [('"jsonrpc"', '"2.0"'), ('"id"', "1"), ('"method"', '"m"'), ('"params"', drawn[1])],
        "notification": [('"jsonrpc"', '"2.0"'), ('"method"', '"m"'), ('"params"', drawn[1])],
        "result": [('"jsonrpc"', '"2.0"'), ('"id"', '"a"'), ('"result"', drawn[1])],
        "error": [('"jsonrpc"', '"2.0"'), ('"id"', "2"), ('"error"', drawn[1])],
    }[drawn[0]]
)
lines = st.builds(members, st.one_of(usual, envelope_members), spaces).map(
    lambda text: text.encode("utf-8", "surrogatepass") + b"\n"
)


@given(lines, st.sampled_from(SIDES))
@example(request("1e309"), CLIENT)
@example(b'{"jsonrpc":"2.0","id":1e0,"method":"m"}\n', CLIENT)
@settings(max_examples=600, deadline=None)
def test_a_second_strict_reader_agrees(line: bytes, side: Side) -> None:
    try:
        value = read_strictly(line, side)
        expected = is_message(value)
    except BrokenError:
        expected = False
    try:
        message = decode(line, side)
    except Malformed:
        assert not expected
        return
    assert expected
    assert (message.id, message.method) == (value.get("id"), value.get("method"))
    assert_one_line(message.line)
    assert read_strictly(message.line, side) == value
    if not any(end.encode() in line for end in LINE_ENDS_INSIDE):
        assert message.line == line


@given(st.data(), st.sampled_from(SIDES))
@slow
def test_whatever_the_bytes_nothing_but_malformed_is_raised(data: st.DataObject, side: Side) -> None:
    line = data.draw(st.one_of(lines, st.binary(max_size=80).map(lambda some: some + b"\n")))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(line)))
        line = line[:at] + data.draw(st.binary(max_size=3)) + line[at + data.draw(st.integers(0, 3)) :]
    try:
        message = decode(line, side)
    except Malformed:
        return
    assert isinstance(body(message), dict)


digits = st.one_of(
    st.text("0123456789", min_size=1, max_size=3), st.integers(120, 410).map(lambda length: "7" * length)
)
long_numbers = st.builds(
    lambda sign, whole, part, power: sign + whole + part + power,
    st.sampled_from(["", "-"]),
    st.one_of(st.just("0"), digits.map(lambda text: "1" + text)),
    st.one_of(st.just(""), digits.map(lambda text: "." + text)),
    st.one_of(st.just(""), st.builds(lambda sign, text: "e" + sign + text, st.sampled_from(["", "+", "-"]), digits)),
)


@given(long_numbers, st.integers(0, 1200), st.sampled_from(SIDES))
@settings(max_examples=500, deadline=None)
def test_a_number_is_judged_alike_wherever_it_stands(number: str, before: int, side: Side) -> None:
    line = line_with('["' + "x" * before + '",' + number + "]", side)
    try:
        read_strictly(line, side)
    except BrokenError:
        assert refusal(line, side).code == PARSE_ERROR
    else:
        assert decode(line, side).line == line


@pytest.mark.parametrize("wide", ["", '{"x":1},' * 5000, "[]," * 5000], ids=["alone", "among objects", "among lists"])
@pytest.mark.parametrize(("levels", "passes"), [(200, True), (201, False)])
@pytest.mark.parametrize("innermost", ["", "0"], ids=["empty", "filled"])
def test_what_a_server_nests_is_counted_to_the_last_level(wide: str, levels: int, passes: bool, innermost: str) -> None:
    deep = '{"":' * (levels - 4) + f"[{innermost}]" + "}" * (levels - 4)
    line = f'{{"jsonrpc":"2.0","id":1,"result":{{"a":[{wide}{deep}],"text":"[[[[ {{{{"}}}}\n'.encode()
    if passes:
        assert decode(line, UPSTREAM).id == 1
    else:
        assert refusal(line, UPSTREAM).code == PARSE_ERROR
