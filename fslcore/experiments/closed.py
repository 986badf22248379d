# SPDX-License-Identifier: MIT
"""Closed sets: the test asks for classes that the learner was trained on, with images that are new.

That is the case for data split by image, and for data whose owner has put the same classes into its parts.
Examples then come from the training part, queries from the test part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.recipes.adaptive import AdaptiveRecipe
from fslcore.experiments.recipes.sizing import smallest_class, smallest_in_words

_SHOTS = (1, 5)
_MOST_QUERIES = 15


def is_closed(parts: Mapping[str, ImageStore]) -> bool:
    """Whether all classes of the test are classes of the training."""
    return {*parts["test"].class_names} <= {*parts["train"].class_names}


def aligned(parts: Mapping[str, ImageStore]) -> dict[str, ImageStore]:
    """The parts of a closed set without classes that the training does not have (any more)."""
    known = parts["train"].class_names
    found = {}
    for name, part in parts.items():
        kept = np.isin(part.class_names, known)
        if not kept.any():
            raise ArgumentError("data", f"must have classes of the training in the part {name!r}", part)
        found[name] = part if kept.all() else part.take(kept[part.labels])
    return found


def support_of(parts: Mapping[str, ImageStore]) -> ImageStore | None:
    """The images that examples are drawn from; None unless the parts are a closed set."""
    if not is_closed(parts):
        return None
    train = parts["train"]
    asked = np.isin(train.class_names, parts["test"].class_names)
    return train if asked.all() else train.take(asked[train.labels])


def protocols(
    recipe: Recipe, support: ImageStore, test: ImageStore, way: int | None = None, shot: int | None = None
) -> list[tuple[int, int]]:
    """The (way, shot) to measure a learner by: all classes there are, with 1, 5 and all examples.

    Args:
        recipe: the recipe of the learner; one that is fitted to tasks keeps its number of classes.
        support: images that examples are drawn from, with the classes of `test`.
        test: the queries.
        way: the only number of classes to measure; None: the usual one.
        shot: the only number of examples, likewise.

    Raises:
        ArgumentError: there are too few classes or images.
    """
    fixed = recipe.way if isinstance(recipe, AdaptiveRecipe) else None
    most = {"way": test.n_classes, "shot": smallest_class(support)}
    if test.n_classes < 2:
        raise ArgumentError("data", "must have 2 or more classes for the test", test)
    if fixed is not None and way not in (None, fixed):
        raise ArgumentError(
            "way", f"must be {fixed}, the classes that the learner's network can tell apart", way
        )
    for name, value in (("way", way), ("shot", shot)):
        if value is not None and value > most[name]:
            why = f": {smallest_in_words(support)}" if name == "shot" else ""
            raise ArgumentError(
                name, f"must be at most {most[name]} to measure the learner on {test!r}{why}", value
            )
    ways = way or fixed or test.n_classes
    if shot is not None:
        return [(ways, shot)]
    own = {recipe.shot} if isinstance(recipe, AdaptiveRecipe) else {most["shot"]}
    return [(ways, shots) for shots in sorted({*_SHOTS, *own}) if shots <= most["shot"]]


def queries(test: ImageStore, recipe: Recipe) -> int:
    """Queries per class: 15, or what the smallest class has."""
    return max(1, min(_MOST_QUERIES, smallest_class(test) - recipe.unlabelled_images))
