"""Reads how much each word speaks for a tool that changes something: the weights that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

WEIGHTS_FILE: Final = Path(__file__).with_name("risk_weights.txt")


@cache
def load_weights() -> Mapping[str, float]:
    """Read the weights; `""` is what every tool starts with."""
    weights = {"": 0.0}
    for line in WEIGHTS_FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            weight, _, feature = line.partition(" ")
            weights[feature] = float(weight)
    return weights
