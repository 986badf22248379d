# SPDX-License-Identifier: MIT
"""The recipe for a learner, a dataset and what the user chose."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes import RECIPES, Recipe, fields


def planned_recipe(learner: str, data: str, quick: bool = False, **chosen: Any) -> Recipe:
    """The recipe before the numbers of classes and images are known.

    Args:
        learner: a key of `RECIPES`.
        data: the name of a dataset or a folder.
        quick: take small sizes, for a trial.
        **chosen: fields that replace the defaults; None leaves the default.

    Returns:
        The recipe.

    Raises:
        ArgumentError: there is no such learner, a field belongs to another learner, a value is out of range,
            two do not go together, or nothing could be learnt.
    """
    if learner not in RECIPES:
        raise ArgumentError("learner", f"must be one of {', '.join(RECIPES)}{nearest(learner)}", learner)
    for name, value in _given(chosen).items():
        owners = owners_of(name)
        if learner not in owners:
            home = f"belongs to {listed(owners)}, not to" if owners else "must be a field of the recipe of"
            raise ArgumentError(name, f"{home} {learner}", value)
    planned = RECIPES[learner].planned(str(data), quick, _given(chosen))
    planned.check_learnable()
    return planned


def recipe(
    learner: str, data: str, parts: Mapping[str, ImageStore], quick: bool = False, **chosen: Any
) -> Recipe:
    """The recipe for a learner on a dataset.

    Args:
        learner: a key of `RECIPES`.
        data: the name of a dataset, or a folder.
        parts: "train", "val" and "test"; the defaults shrink to their numbers of classes and images.
        quick: take small sizes, for a trial.
        **chosen: fields that replace the defaults; None leaves the default. They are not shrunk.

    Returns:
        The recipe.

    Raises:
        ArgumentError: as for `planned_recipe`.
    """
    return planned_recipe(learner, data, quick, **chosen).fitted(parts, _given(chosen))


def recipe_from_json(entries: Mapping[str, Any]) -> Recipe:
    """The recipe that `Recipe.to_json` wrote, now or in an earlier version.

    Raises:
        ArgumentError: it is not a recipe of this version.
    """
    sizes = dict(entries)
    learner = sizes.pop("learner", "")
    if learner not in RECIPES:
        raise ArgumentError("recipe", f"must be for one of {', '.join(RECIPES)}", entries)
    kind = RECIPES[learner]
    # The first runs had one recipe for all learners, with None or 0 where an entry did not apply.
    unused = {
        name for name in ("loss", "query") if name not in fields.described(kind) and not sizes.get(name)
    }
    # Those of the versions after it kept the last weights.
    sizes.setdefault("keep", "last")
    try:
        return kind(**{name: value for name, value in sizes.items() if name not in unused})
    except (TypeError, ArgumentError) as error:
        raise ArgumentError("recipe", f"must be one of this fslcore ({error})", entries) from error


def owners_of(name: str) -> list[str]:
    """The learners whose recipes have a field that a user may choose."""
    return [learner for learner, kind in RECIPES.items() if name in fields.options(kind)]


def learners_of(kind: type[Recipe]) -> list[str]:
    """The learners whose recipes are of a kind."""
    return [learner for learner, recipe in RECIPES.items() if issubclass(recipe, kind)]


def listed(names: list[str]) -> str:
    """The names as in "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def nearest(name: str) -> str:
    """The learner whose name is most like one that does not exist, as a question in brackets."""
    found = difflib.get_close_matches(str(name), RECIPES, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _given(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if value is not None}
