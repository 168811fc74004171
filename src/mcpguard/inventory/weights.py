"""Reads how much each word speaks for a tool that changes something: the weights that come with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Final

# Not with `pathlib`, which takes as long to import as all the rest.
WEIGHTS_FILE: Final = os.path.join(os.path.dirname(__file__), "risk_weights.txt")


@cache
def load_weights() -> Mapping[str, float]:
    """Read the weights; `""` is what every tool starts with."""
    weights = {"": 0.0}
    with open(WEIGHTS_FILE, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line and not line.startswith("#"):
                weight, _, feature = line.partition(" ")
                weights[feature] = float(weight)
    return weights
