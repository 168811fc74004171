"""Checks the second strict reader by examples, for what it is compared with is not to be what vouches for it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from fuzz.fuzzing import smallest
from fuzz.strict_json import Refused, are_same, examine, number, read

if TYPE_CHECKING:
    from fuzz.strict_json import Side

CLIENT: Side = "client"
SERVER: Side = "upstream"


def call(value: str, name: str = "x") -> bytes:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"{name}":{value}}}}}\n'
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "value",
    [
        *("01", "+1", "1.", ".5", "-", "1e", "0x1", "1_0", "NaN", "Infinity", "tru", "truee", "None", "", "1 2", "'a'"),
        *('"', '"\\"', '"\\x41"', '"\\u12"', '"\t"', '"\x00"', '"\x1f"', '"\ud800"', "[", "[1", "[1,]", "[,1]", "{,}"),
        *('{"a"}', '{"a":}', '{"a":1,}', "{a:1}", '{"a":1 "b":2}', "[1}", "1]", "\u00a01", "\ufeff1", "\x0b1", "1//"),
        *("\u0661", '{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '[{"b":[{"c":1,"c":2}]}]', "1e309", "-1e309", "9" * 309),
        *(str(2**1024 - 2**971 + 1), "1" * 401, "0." + "0" * 399),
    ],
)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_what_no_strict_reader_takes_is_refused(value: str, side: Side) -> None:
    with pytest.raises(Refused):
        read(call(value), side)


@pytest.mark.parametrize(
    "value",
    [
        *("0", "-0", "1.10", "1E+2", "1e-999", "0e999", str(2**1024 - 2**971), "1" * 309, "0." + "0" * 398),
        *('""', '"\\u0000"', '"\\ud83d\\ude00"', '"\U0001f600\u2028"', '"\x7f"', "null", "[]", "{}", " [ 1 , { } ] "),
        *('[{"a":1},{"a":1}]', "true", '"' + "9" * 999 + '"', "\t1\r", '{"":{"":1}}'),
    ],
)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_what_every_strict_reader_takes_is_read(value: str, side: Side) -> None:
    assert read(call(value), side).body.keys() == {"x"}


@pytest.mark.parametrize("value", ['"\\ud83d"', '"\\ude00\\ud83d"', '{"\\ud83d":1}', "1.7976931348623158e308"])
def test_what_only_a_server_may_say_is_refused_from_a_client(value: str) -> None:
    assert read(call(value), SERVER)
    with pytest.raises(Refused):
        read(call(value), CLIENT)


def test_what_lone_surrogates_read_as_must_still_be_told_apart() -> None:
    for value in ('{"\\ud800":1,"\\udfff":2}', '{"\\ud800":1,"\ufffd":2}'):
        with pytest.raises(Refused, match="duplicate"):
            read(call(value), SERVER)


def test_each_side_has_its_depth() -> None:
    # The message and its parameters are two levels.
    assert read(call("[" * 126 + "]" * 126), CLIENT)
    assert read(call("[" * 198 + "1" + "]" * 198), SERVER)
    for side, levels in ((CLIENT, 127), (SERVER, 199), (SERVER, 100_000)):
        with pytest.raises(Refused, match="depth"):
            read(call("[" * levels + "1" + "]" * levels), side)


@pytest.mark.parametrize(
    "line",
    [
        *('{"jsonrpc":"2.0","id":true,"method":"m"}', '{"jsonrpc":"2.0","id":1.0,"method":"m"}', "[]", "1", "null"),
        *('{"jsonrpc":"2.0","id":null,"method":"m"}', '{"jsonrpc":2.0,"id":1,"method":"m"}', '{"id":1,"method":"m"}'),
        *(
            '{"jsonrpc":"2.0","id":1}',
            '{"jsonrpc":"2.0","id":1,"method":"m","result":{}}',
            '{"jsonrpc":"2.0","result":{}}',
        ),
        *('{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', '{"jsonrpc":"2.0","id":1,"result":[]}'),
        *('{"jsonrpc":"2.0","id":1,"method":"m","params":[]}', '{"jsonrpc":"2.0","id":1,"result":{},"params":{}}'),
        *('{"jsonrpc":"2.0","id":1,"method":"m","ID":1}', '{"jsonrpc":"2.0","id":1,"method":"m","re\u017fult":{}}'),
        *('{"jsonrpc":"2.0","id":1,"method":"m","params":{"NAME":1}}', '{"jsonrpc":"2.0","id":1,"method":1}'),
    ],
)
def test_what_is_no_message_is_refused(line: str) -> None:
    for side in (CLIENT, SERVER):
        with pytest.raises(Refused):
            read(line.encode() + b"\n", side)


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x80"):
        with pytest.raises(Refused):
            read(call('"?"').replace(b"?", bad), CLIENT)


def test_the_four_kinds_are_told_apart() -> None:
    kinds = {
        b'{"jsonrpc":"2.0","id":"1","method":"m","params":null}\n': ("request", "1", "m", {}),
        b'{"jsonrpc":"2.0","method":"m"}\n': ("notification", None, "m", {}),
        b'{"jsonrpc":"2.0","id":-7,"result":{}}\n': ("result", -7, None, {}),
        b'{"id":0,"error":{"code":null},"jsonrpc":"2.0"}\n': ("error", 0, None, {"code": None}),
    }
    for line, expected in kinds.items():
        reading = read(line, CLIENT)
        assert (reading.kind, reading.id, reading.method, reading.body) == expected


@pytest.mark.parametrize(
    ("text", "value", "same"),
    [
        *(
            ("1.10", Decimal("1.1"), True),
            ("1.10", Decimal("1.1000001"), False),
            ("1.0", 1, False),
            ("1", Decimal(1), False),
        ),
        *(("-0", 0, True), ("-0.0", Decimal(0), True), ("1e2", Decimal(100), True), ("1e2", Decimal("1E+2"), True)),
        *(
            ("0.1", 0.1, True),
            ("0.1", Decimal("0.1"), True),
            ("1", 1.0, False),
            ("9007199254740993", 9007199254740992, False),
        ),
        *(("1", True, False), ("-1.5", Decimal("1.5"), False), ("10e-1", Decimal(1), True)),
    ],
)
def test_numbers_are_compared_by_their_exact_value_and_kind(text: str, value: object, same: bool) -> None:
    assert number(text).is_value(value) is same


def test_values_are_compared_whole() -> None:
    value = examine(b'{"a":[1,{"b":"\\ud83d"}],"c":null}').value
    assert are_same(value, {"a": [1, {"b": "\ufffd"}], "c": None})
    others: tuple[object, ...] = (
        {"a": [1, {"b": "\ufffd"}]},
        {"a": [1, {"b": ""}], "c": None},
        {"a": [1], "c": None},
        [],
        None,
    )
    for other in others:
        assert not are_same(value, other)


def test_the_smallest_example_has_nothing_in_it_that_it_fails_without() -> None:
    assert smallest(b"xxaxxxxxbxxx", lambda some: b"a" in some and b"b" in some) == b"ab"
    assert smallest([*range(50)], lambda some: sum(some) > 48) == [49]
