# SPDX-License-Identifier: MIT
"""Which classes a run uses: those with enough images, so that the smallest one does not decide for all.

A class is left out if nothing can be learnt from it, if a size that the user has chosen asks for more images,
or if it is an exception: it has fewer images than a step takes and fewer than half of what is usual, and
three quarters of the classes have more. Otherwise the sizes shrink to the smallest class.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments import closed
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.recipes.sizing import smallest_class, smallest_in_words

_IN_WORDS = {"train": "training", "val": "validation", "test": "the test"}
_MOST_NAMES = 10
_USUAL_QUERIES = 15


def least_images(
    recipe: Recipe,
    parts: Mapping[str, ImageStore],
    fixed: Collection[str] | None,
    min_images: int | None = None,
    known: bool = False,
) -> dict[str, int]:
    """The images that a class of each part must have.

    Args:
        recipe: the recipe before its sizes have been shrunk to the data.
        parts: "train", "val" and "test".
        fixed: the fields that do not shrink; None: none of them does.
        min_images: the user's choice in place of the rule.
        known: whether the parts are a closed set: the training part decides, the others only need a query.

    Raises:
        ArgumentError: no class has `min_images` images.
    """
    wanted = {"train": recipe.images_needed(), "test": recipe.images_measured()}
    floors = {"train": recipe.images_needed(fixed), "test": recipe.images_measured(fixed)}
    least = {}
    for name, part in parts.items():
        if known and name != "train":
            least[name] = 1
            continue
        sizes = part.images_per_class
        floor = floors.get(name, 2 + recipe.unlabelled_images)
        if min_images is not None:
            if min_images > sizes.max():
                raise ArgumentError(
                    "min_images",
                    f"must be at most {sizes.max()}, the images of the largest class for {_IN_WORDS[name]}",
                    min_images,
                )
            chosen = max(min_images, floor)
        else:
            usual = min(-(-np.median(sizes) // 2), np.quantile(sizes, 0.25, method="lower"))
            chosen = max(floor, min(wanted.get(name, floor), int(usual)))
        # Where no class has as many, all stay: the recipe's own checks say which size asks for too much.
        least[name] = int(chosen) if chosen <= sizes.max() else 1
    return least


def selected(
    parts: Mapping[str, ImageStore], least: Mapping[str, int], known: bool = False
) -> dict[str, ImageStore]:
    """The parts without the classes that have too few images; a part that is not in `least` stays whole.

    If they are a closed set (`known`), the others do not have what the training part does not have, either.
    """
    left = {name: part.with_min_images(least.get(name, 1)) for name, part in parts.items()}
    return closed.aligned(left) if known else left


def left_out_in_words(parts: Mapping[str, ImageStore], least: Mapping[str, int]) -> list[str]:
    """A sentence for each part with classes that are left out: which they are, and how many images they have.

    Args:
        parts: the parts before the selection.
        least: as `least_images` returns it.
    """
    sentences = []
    for name, part in parts.items():
        small = np.flatnonzero(part.images_per_class < least[name])
        if small.size:
            names = [f"{part.class_names[i]!r} ({part.images_per_class[i]})" for i in small[:_MOST_NAMES]]
            more = small.size - len(names)
            sentences.append(
                f"{small.size} of the {part.n_classes} classes for {_IN_WORDS[name]} "
                f"{'is' if small.size == 1 else 'are'} left out, with fewer than {least[name]} images: "
                f"{', '.join(names)}{f' and {more} more' if more else ''} (`min_images` sets the number)"
            )
    return sentences


def check_none_left_out(sentences: Collection[str], small_classes: str) -> None:
    """Raises ArgumentError if classes are left out, as `left_out_in_words` says, that must not be."""
    if sentences and small_classes == "error":
        raise ArgumentError(
            "small_classes",
            "must be 'drop' where classes have too few images",
            small_classes,
            described=f"{small_classes!r}: {'; '.join(sentences)}",
        )


def shortfalls(
    recipe: Recipe,
    test: ImageStore,
    protocols: Collection[tuple[int, int]],
    usual: Collection[tuple[int, int]],
    query: int | None = None,
) -> list[str]:
    """Sentences on what is not measured as usual, because a test class has too few images.

    Args:
        recipe: the recipe of the learner.
        test: the test part.
        protocols: the (way, shot) that are measured.
        usual: those that were asked for.
        query: the queries per class that were asked for; None: as many as there are, up to 15.
    """
    sentences = []
    why = f"in the test part {smallest_in_words(test)}"
    missing = sorted({shot for _, shot in usual} - {shot for _, shot in protocols})
    if missing:
        shots = " and ".join(f"{shot}-shot" for shot in missing)
        sentences.append(f"{shots} is not measured: {why}")
    fewer = {shot: recipe.queries(test, shot) for shot in sorted({shot for _, shot in protocols})}
    fewer = {shot: number for shot, number in fewer.items() if number < _USUAL_QUERIES}
    if fewer and query is None:
        numbers = ", ".join(f"{number} for {shot}-shot" for shot, number in fewer.items())
        sentences.append(f"queries per class: {numbers}, instead of {_USUAL_QUERIES}: {why}")
    if sentences and smallest_class(test) < test.images_per_class.max():
        sentences[-1] += " (`min_images` leaves out the classes that are too small)"
    return sentences
