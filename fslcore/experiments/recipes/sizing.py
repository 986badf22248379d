# SPDX-License-Identifier: MIT
"""Sizes of classes, and what a recipe can take of them."""

from __future__ import annotations

import dataclasses

from fslcore.arguments import counted
from fslcore.data import ImageStore


@dataclasses.dataclass(frozen=True)
class Validation:
    """The quick evaluation after every epoch."""

    way: int
    shot: int
    query: int
    episodes: int


def smallest_class(store: ImageStore) -> int:
    """Images of the smallest class."""
    return int(store.images_per_class.min())


def smallest_in_words(store: ImageStore) -> str:
    """The smallest class with its size, as in "the class 'oak' has 3 images"."""
    images = smallest_class(store)
    name = store.class_names[int(store.images_per_class.argmin())]
    return f"the class {name!r} has {counted(images, 'image')}"


def shared_out(shot: int, query: int, images: int) -> dict[str, int]:
    """Support and query images out of those of a class: support first, but at least one query."""
    shot = min(shot, max(images - 1, 1))
    return {"shot": shot, "query": min(query, max(images - shot, 1))}
