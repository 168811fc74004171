"""Checks what of the arguments is written down."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mcpguard.policy.canonical import canonical
from mcpguard.policy.rendering import Mode, render_arguments

ARGUMENTS: dict[str, object] = {
    "name": "Ann\u00e9",
    "n": Decimal("1.50"),
    "ok": True,
    "none": None,
    "items": [{"id": 1}, {"id": 2}, "x"],
}


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("digest", None),
        ("keys", '{"items":[null,{"id":null}],"n":null,"name":null,"none":null,"ok":null}'),
        (
            "masked",
            (
                '{"items":[{"id":"number"},{"id":"number"},"string(1)"],"n":"number","name":"string(4)",'
                '"none":"null","ok":"boolean"}'
            ),
        ),
        (
            "full",
            '{"items":[{"id":1},{"id":2},"x"],"n":15e-1,"name":"Ann\\u00e9","none":null,"ok":true}',
        ),
    ],
)
def test_arguments_are_written_as_the_policy_asks(mode: Mode, text: str | None) -> None:
    assert render_arguments(ARGUMENTS, mode) == text


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        canonical({"a": object()})


def test_numbers_are_written_by_their_exact_value() -> None:
    assert canonical([0, Decimal("-0.0"), Decimal("5e0"), Decimal("1e500"), 0.5]) == "[0,0,5,1e500,5e-1]"
