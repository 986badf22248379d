# SPDX-License-Identifier: MIT
"""Combinations of parameters for tests, where each of them would take too long."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any


def every_pair(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Combinations of one value from each axis, few, in which every two values of two axes meet."""
    places = list(itertools.product(*(range(len(axis)) for axis in axes)))
    pairs = {place: set(itertools.combinations(enumerate(place), 2)) for place in places}
    missing: set[Any] = set().union(*pairs.values())
    chosen = []
    while missing:
        best = max(places, key=lambda place: len(pairs[place] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return [tuple(axis[i] for axis, i in zip(axes, place, strict=True)) for place in sorted(chosen)]


def first_with_all(first: Sequence[Any], *axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The first value of the first axis with every combination of the others; its other values in pairs.

    The first axis is how a function runs: as it is, or traced or compiled anew for each combination.
    """
    return [*itertools.product(first[:1], *axes), *every_pair(first[1:], *axes)]
