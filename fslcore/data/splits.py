# SPDX-License-Identifier: MIT
"""Seeded division of a store, or of numbers such as those of classes, into disjoint parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, counted

_MOST_TRIED = 10_000  # how many there might have to be, for an error message


_ROUNDING = 1e-9
BY = ("label", "group", "image")


class Labelled(Protocol):
    """What is divided: an `ImageStore`."""

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """int32 [N], the class of each image."""

    @property
    def groups(self) -> npt.NDArray[np.int32] | None:
        """int32 [N], the group of each image, or None."""

    @property
    def class_names(self) -> Sequence[str]:
        """One name per class."""

    @property
    def group_names(self) -> Sequence[str]:
        """One name per group."""


def rows_of_parts(
    store: Labelled, by: str, parts: Mapping[str, int | float], seed: int
) -> dict[str, npt.NDArray[Any]]:
    """The rows of each part; the arguments are those of `ImageStore.split`, and so are the errors."""
    if by == "image":
        return _images_of_parts(store, parts, seed)
    if by not in BY:
        raise ArgumentError("by", "must be 'label', 'group' or 'image'", by)
    keys, total = store.labels, len(store.class_names)
    if by == "group":
        if store.groups is None:
            raise ArgumentError(
                "by",
                "must be 'label' or 'image' for a store without groups",
                by,
                described=f"by='group' for {store!r}",
            )
        keys, total = store.groups, len(store.group_names)
    chosen = partition(total, parts, seed, unit=f"{by}s")
    return {part: np.flatnonzero(np.isin(keys, numbers)) for part, numbers in chosen.items()}


def _images_of_parts(
    store: Labelled, parts: Mapping[str, int | float], seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Some images of each class for each part."""
    _check_divisible(len(store.labels), parts, seed)
    for part, size in parts.items():
        if not _is_fraction(size) and size < 1:
            raise ArgumentError(part, "must be at least 1 image of each class", size)
    if (sum_ := sum(size for size in parts.values() if _is_fraction(size))) > 1 + _ROUNDING:
        raise ArgumentError(
            "parts", "must have fractions with a sum of at most 1", parts, described=f"{sum_:g}"
        )
    keys = np.random.Philox(int(seed)).random_raw(len(store.labels))  # as in `partition`
    chosen: dict[str, list[npt.NDArray[np.int64]]] = {part: [] for part in parts}
    starts = np.flatnonzero(np.diff(store.labels, prepend=-1))
    for start, end, name in zip(starts, [*starts[1:], len(keys)], store.class_names, strict=True):
        sizes = _sizes_of_class(int(end - start), parts, name)
        order, at = start + np.argsort(keys[start:end], kind="stable"), 0
        for part, size in sizes.items():
            chosen[part].append(np.sort(order[at : at + size]))
            at += size
    return {part: np.concatenate(rows) for part, rows in chosen.items()}


def _sizes_of_class(total: int, parts: Mapping[str, int | float], name: str) -> dict[str, int]:
    """The number of images of each part; a fraction gives at least one."""
    sizes = {part: max(size, 1) for part, size in _rounded(total, parts).items()}
    fractions = [part for part, size in parts.items() if _is_fraction(size)]
    needed = sum(1 if part in fractions else size for part, size in sizes.items())
    if needed > total:
        raise ArgumentError(
            "by",
            f"must not be 'image' where a class has fewer than {needed} images, which the parts need "
            f"(.with_min_images({needed}) leaves out the classes that are too small)",
            "image",
            described=f"by='image' with {counted(total, 'image')} of the class {name!r}",
        )
    while sum(sizes.values()) > total:  # what was rounded up
        sizes[max(fractions, key=lambda part: sizes[part])] -= 1
    return sizes


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
    _check_divisible(total, parts, seed)
    sizes = _sizes(total, parts, unit)
    # NumPy guarantees that the raw stream of a bit generator stays the same between versions; it does not
    # guarantee that of Generator.permutation. Equal 64-bit keys are practically impossible, and harmless.
    order = np.argsort(np.random.Philox(int(seed)).random_raw(total), kind="stable")
    ends = np.cumsum(list(sizes.values()))
    return {
        part: np.sort(order[end - size : end]) for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def _check_divisible(total: int, parts: Mapping[str, int | float], seed: int) -> None:
    """Raises ArgumentError unless the parts have a name, a size, and the shuffle a seed."""
    if not parts:
        raise ArgumentError(
            "parts",
            f"must name at least one part and its size, such as train={total}",
            parts,
            described="none",
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError("seed", "must be an integer of 0 or larger", seed)
    for part, size in parts.items():
        if isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, float, np.integer, np.floating)):
            raise ArgumentError(part, "must be a count (int) or a fraction (float)", size)
        if _is_fraction(size) and not 0 < size <= 1:
            raise ArgumentError(part, "must be a fraction above 0 and at most 1", size)


def _sizes(total: int, parts: Mapping[str, int | float], unit: str) -> dict[str, int]:
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
