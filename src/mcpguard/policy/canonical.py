"""Writes a JSON value in the one way that equal values share: sorted keys, exact numbers.

As text that is JSON itself (`canonical`), or as bytes for a digest (`packed`), which takes less time where strings are long.  Two
spellings of one number (`5`, `5.0`, `5e0`) are written alike, two different numbers never.
"""

from __future__ import annotations

# The scanner of `json.dumps`; the package around it imports `re`, and a policy is read without it.
from _json import encode_basestring_ascii as _quoted
from decimal import Decimal


def canonical(value: object) -> str:
    """Write a value made of dict, list, str, int, bool, None, `Decimal` and finite `float`.

    Raises:
        TypeError: it holds anything else.
    """
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, dict):
        members = []
        for key in sorted(value):
            item = value[key]
            # Most are strings, and this is on the way of every call.
            members.append(f"{_quoted(key)}:{_quoted(item) if type(item) is str else canonical(item)}")
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (Decimal, float)):
        return _number(Decimal(value))
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def packed(value: object) -> bytes:
    """Write a value of the same kind as bytes, for a digest: strings as they are (UTF-8), each with its length before it.

    Raises:
        TypeError: as `canonical`.
    """
    # Lone surrogates have no UTF-8; what stands for them stands for nothing else.
    return _packed(value).encode("utf-8", "surrogatepass")


def _packed(value: object) -> str:
    if isinstance(value, str):
        return f"s{len(value)}:{value}"
    if isinstance(value, dict):
        members = [
            # Most are strings, and this is on the way of every call.
            f"{len(key)}:{key}s{len(item)}:{item}" if type(item) is str else f"{len(key)}:{key}{_packed(item)}"
            for key, item in sorted(value.items())
        ]
        return f"d{len(members)}:{''.join(members)}"
    if isinstance(value, (list, tuple)):
        return f"l{len(value)}:{''.join(map(_packed, value))}"
    return f"{canonical(value)};"


def _number(number: Decimal) -> str:
    """Write a number by its exact value: a whole one by its digits, any other as digits and a power of ten."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return "0"
    if exponent < 0:
        shorter = text.rstrip("0")
        shift = min(len(text) - len(shorter), -exponent)
        text, exponent = text[: len(text) - shift], exponent + shift
    if 0 <= exponent <= 400:
        text, exponent = text + "0" * exponent, 0
    return ("-" if sign else "") + text + (f"e{exponent}" if exponent else "")
