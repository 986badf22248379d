# SPDX-License-Identifier: MIT
"""The recipes of the learners: fields with help and range, defaults, and how learner and batches are made."""

from fslcore.experiments.recipes.maml import MAMLRecipe
from fslcore.experiments.recipes.matching import MatchingRecipe
from fslcore.experiments.recipes.metagan import MetaGANRecipe
from fslcore.experiments.recipes.prototypical import PrototypicalRecipe
from fslcore.experiments.recipes.recipe import Recipe
from fslcore.experiments.recipes.reptile import ReptileRecipe
from fslcore.experiments.recipes.siamese import SiameseRecipe

RECIPES: dict[str, type[Recipe]] = {
    "siamese": SiameseRecipe,
    "prototypical": PrototypicalRecipe,
    "matching": MatchingRecipe,
    "reptile": ReptileRecipe,
    "maml": MAMLRecipe,
    "metagan": MetaGANRecipe,
}

__all__ = [
    "RECIPES",
    "MAMLRecipe",
    "MatchingRecipe",
    "MetaGANRecipe",
    "PrototypicalRecipe",
    "Recipe",
    "ReptileRecipe",
    "SiameseRecipe",
]
