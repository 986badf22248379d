# SPDX-License-Identifier: MIT
"""Seeded division of classes or groups into disjoint parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fslcore.data.store import ImageStore

# Omniglot's usual division for few-shot work: 1,200 classes for training (172 of them for validation), 423
# for test.
_OMNIGLOT_PARTS = {"train": 1028, "val": 172, "test": 423}
_DEFAULT_PARTS = {"train": 0.6, "val": 0.2, "test": 0.2}
_SPLIT_SEED = 0

# Whole alphabets, named rather than drawn: a test set then stays the same when other fonts add or lose an
# alphabet.
_GLYPH_ALPHABETS = {
    "val": ("Armenian", "Nko"),
    "test": ("Greek", "Hebrew", "Lao", "Old Italic", "Tifinagh"),
}


def partition(
    total: int, parts: Mapping[str, int | float], seed: int, unit: str = "labels"
) -> dict[str, npt.NDArray[np.int64]]:
    """Deals the numbers 0..total-1 into disjoint parts.

    Args:
        total: How many there are.
        parts: Name and size of each part; an int is a count, a float a fraction of `total`. Fractions are
            rounded at their running sum, so that fractions with the sum 1 leave nothing over.
        seed: Seed of the shuffle, 0 or larger.
        unit: What is dealt out, for messages.

    Returns:
        For each part its numbers, ascending, int64.

    Raises:
        ValueError: no parts, a part that would be empty, or parts that need more than `total`.
    """
    if not parts:
        raise ValueError(
            f"parts must name at least one part and its size, such as train={total}, received none"
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of 0 or larger, received seed={seed!r}")
    sizes = _sizes(total, parts, unit)
    # The raw stream of a bit generator is guaranteed by NumPy to stay the same between versions; that of
    # Generator.permutation is not. Equal 64-bit keys are as good as impossible, and harmless.
    order = np.argsort(np.random.Philox(int(seed)).random_raw(total), kind="stable")
    ends = np.cumsum(list(sizes.values()))
    return {
        part: np.sort(order[end - size : end]) for (part, size), end in zip(sizes.items(), ends, strict=True)
    }


def default_split(store: ImageStore) -> dict[str, ImageStore]:
    """Divides a store as the field does, or as is sensible where there is no custom.

    - "glyphs": by alphabet; validation and test hold alphabets of which training has seen no letter.
    - "omniglot": by label, 1,028 / 172 / 423 classes drawn from all 50 alphabets with a fixed seed.
    - any other store: by label, 60 % / 20 % / 20 % of the classes, with a fixed seed.

    Args:
        store: A whole store, as `fslcore.data.load` returns it.

    Returns:
        A dict with the stores "train", "val" and "test".

    Raises:
        ValueError: the store is too small to be divided in three.
    """
    # A folder may bear the name of a dataset, but it has no groups.
    if store.groups is not None and store.name == "glyphs":
        return _by_alphabet(store, store.groups)
    if store.groups is not None and store.name == "omniglot":
        return store.split(by="label", seed=_SPLIT_SEED, **_OMNIGLOT_PARTS)
    return store.split(by="label", seed=_SPLIT_SEED, **_DEFAULT_PARTS)


def _by_alphabet(store: ImageStore, alphabet_of_image: npt.NDArray[np.int32]) -> dict[str, ImageStore]:
    held_out = {name for names in _GLYPH_ALPHABETS.values() for name in names}
    parts = {"train": tuple(name for name in store.group_names if name not in held_out), **_GLYPH_ALPHABETS}
    result = {}
    for part, names in parts.items():
        chosen = [i for i, name in enumerate(store.group_names) if name in names]
        result[part] = store.take(np.isin(alphabet_of_image, chosen), f"{store.name}/{part}")
    return result


def _sizes(total: int, parts: Mapping[str, int | float], unit: str) -> dict[str, int]:
    sizes = {}
    fractions = 0.0
    for part, size in parts.items():
        if isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, float, np.integer, np.floating)):
            raise ValueError(f"{part} must be a count (int) or a fraction (float), received {part}={size!r}")
        if isinstance(size, (float, np.floating)):
            if not 0 < size <= 1:
                raise ValueError(f"{part} must be a fraction above 0 and at most 1, received {part}={size}")
            start, fractions = fractions, fractions + float(size)
            sizes[part] = round(fractions * total) - round(start * total)
        else:
            sizes[part] = int(size)
        if sizes[part] < 1:
            raise ValueError(f"{part} must get at least one of the {total} {unit}, received {part}={size}")
    if sum(sizes.values()) > total:
        wanted = ", ".join(f"{part}={size}" for part, size in parts.items())
        raise ValueError(
            f"the parts must need at most the {total} {unit} there are, "
            f"received {wanted}, together {sum(sizes.values())}"
        )
    return sizes
