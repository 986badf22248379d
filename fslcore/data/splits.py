# SPDX-License-Identifier: MIT
"""Seeded division of numbers, such as those of classes or groups, into disjoint parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError

_MOST_TRIED = 10_000  # how many there might have to be, for an error message


def partition(
    total: int, parts: Mapping[str, int | float], seed: int, unit: str = "labels"
) -> dict[str, npt.NDArray[np.int64]]:
    """Divides the numbers 0..total-1 into disjoint parts.

    Args:
        total: How many there are.
        parts: Name and size of each part; an int is a count, a float a fraction of `total`. Their running sum
            is rounded, so that fractions with the sum 1 leave nothing over.
        seed: Seed of the shuffle, 0 or larger.
        unit: What the numbers stand for, for error messages.

    Returns:
        For each part its numbers, ascending, int64.

    Raises:
        ArgumentError: There are no parts, a part would be empty, or the parts need more than `total`.
    """
    if not parts:
        raise ArgumentError(
            "parts",
            f"must name at least one part and its size, such as train={total}",
            parts,
            described="none",
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError("seed", "must be an integer of 0 or larger", seed)
    sizes = _sizes(total, parts, unit)
    # NumPy guarantees that the raw stream of a bit generator stays the same between versions; it does not
    # guarantee that of Generator.permutation. Equal 64-bit keys are practically impossible, and harmless.
    order = np.argsort(np.random.Philox(int(seed)).random_raw(total), kind="stable")
    ends = np.cumsum(list(sizes.values()))
    return {
        part: np.sort(order[end - size : end]) for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def _sizes(total: int, parts: Mapping[str, int | float], unit: str) -> dict[str, int]:
    for part, size in parts.items():
        if isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, float, np.integer, np.floating)):
            raise ArgumentError(part, "must be a count (int) or a fraction (float)", size)
        if _is_fraction(size) and not 0 < size <= 1:
            raise ArgumentError(part, "must be a fraction above 0 and at most 1", size)
    sizes = _rounded(total, parts)
    for part, size in parts.items():
        if sizes[part] < 1:
            described = f"{part}={size!r}" + (_advice(part, parts, total) if _is_fraction(size) else "")
            raise ArgumentError(
                part, f"must get at least one of the {total} {unit}", size, described=described
            )
    if sum(sizes.values()) > total:
        wanted = ", ".join(f"{part}={size}" for part, size in parts.items())
        raise ArgumentError(
            "parts",
            f"must need at most the {total} {unit} there are",
            parts,
            described=f"{wanted}, together {sum(sizes.values())}",
        )
    return sizes


def _rounded(total: int, parts: Mapping[str, int | float]) -> dict[str, int]:
    sizes, fractions = {}, 0.0
    for part, size in parts.items():
        if _is_fraction(size):
            start, fractions = fractions, fractions + float(size)
            sizes[part] = round(fractions * total) - round(start * total)
        else:
            sizes[part] = int(size)
    return sizes


def _is_fraction(size: int | float) -> bool:
    return isinstance(size, (float, np.floating))


def _advice(part: str, parts: Mapping[str, int | float], total: int) -> str:
    """How many there must be so that no fraction is rounded to nothing."""
    fractions = {name: size for name, size in parts.items() if _is_fraction(size)}
    tried = range(total + 1, _MOST_TRIED)
    least = next((n for n in tried if min(_rounded(n, fractions).values()) > 0), None)
    needed = "" if least is None else f", for which there must be {least} or more;"
    return f"{needed} {part}=1 is a count"
