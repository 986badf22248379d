# SPDX-License-Identifier: MIT
"""How `fslcore train` trains by default, for each learner and dataset, and what may be chosen instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fslcore.data import ImageStore
from fslcore.experiments.recipes import (
    RECIPES,
    MetaGANRecipe,
    PrototypicalRecipe,
    Recipe,
    ReptileRecipe,
    SiameseRecipe,
)
from fslcore.presets import REPTILE_PRESETS

_CHOICES = {
    "loss": ("triplet", "crossentropy"),
    "normalization": ("auto", "batch", "moving", "frozen"),
    "precision": ("float32", "bfloat16"),
}
_ABOVE_ZERO = (
    *("way", "shot", "query", "epochs", "steps_per_epoch", "learning_rate", "train_shots"),
    *("generator_learning_rate", "adversary_weight"),
    *("inner_steps", "inner_batch", "inner_learning_rate", "meta_batch", "meta_step"),
    *("adapt_steps", "adapt_batch"),
)
_OF_THE_GENERATOR = ("generator_learning_rate", "adversary_weight")

# Chosen by 5-way 5-shot on the validation part of omniglot after 1,200 tasks, by runs that differed in their
# queries, too (5 or 10). Without a generator: 90.2 % with the rate 0.002, 94.1 with 0.005. With one: 89.2
# with 0.002 for both optimizers, 88.0 with 0.004 and 0.001, which fitted the training tasks better. With
# 0.005 for both the generator does not keep up: 76.5 after 400 tasks, instead of 83. These with the weight 1
# of the adversary; after 1,200 tasks, 91.5 with 0.3 and 92.9 with 0.1 (92.7 without one, 88.2 with 1).
_METAGAN = MetaGANRecipe(
    way=5,
    shot=5,
    query=5,
    inner_steps=3,
    adapt_steps=10,
    inner_learning_rate=0.15,
    meta_batch=4,
    learning_rate=4e-3,
    generator_learning_rate=1e-3,
    adversary_weight=0.1,
    epochs=30,
    steps_per_epoch=100,
    rotations=True,
)
_METAGAN_SHORT = dataclasses.replace(_METAGAN, epochs=10, steps_per_epoch=20, rotations=False)
# Chosen by 20-way 1-shot on the validation parts. Siamese on Omniglot, 300 steps of 128 images: 64 classes of
# 2 images 82.1 %, 32 of 4 85.3, 16 of 8 85.6 on squared distances; 88.1 on Euclidean ones; 90.3 with the rate
# 0.002 instead of 0.001. On glyphs, where letters turned by 90 degrees cost 1.6, 0.004 is better still: 94.0
# after 600 steps.
_DEFAULTS: dict[tuple[str, str], Recipe] = {
    ("siamese", "glyphs"): SiameseRecipe(way=32, shot=4, epochs=10, steps_per_epoch=60, learning_rate=4e-3),
    ("siamese", "omniglot"): SiameseRecipe(way=32, shot=4, epochs=50, steps_per_epoch=100, rotations=True),
    ("siamese", "folder"): SiameseRecipe(way=32, shot=4, epochs=20, steps_per_epoch=50, learning_rate=1e-3),
    ("prototypical", "glyphs"): PrototypicalRecipe(
        way=40, shot=1, query=3, epochs=10, steps_per_epoch=60, learning_rate=4e-3
    ),
    ("prototypical", "omniglot"): PrototypicalRecipe(
        way=60, shot=1, query=4, epochs=50, steps_per_epoch=60, rotations=True
    ),
    ("prototypical", "folder"): PrototypicalRecipe(
        way=20, shot=1, query=4, epochs=20, steps_per_epoch=50, learning_rate=1e-3
    ),
    ("metagan", "glyphs"): _METAGAN_SHORT,
    ("metagan", "omniglot"): _METAGAN,
    ("metagan", "folder"): _METAGAN_SHORT,
}
_QUICK: dict[str, dict[str, Any]] = {
    "siamese": {"way": 20, "epochs": 3, "steps_per_epoch": 20},
    "prototypical": {"way": 20, "epochs": 3, "steps_per_epoch": 20},
    "reptile": {"epochs": 3, "steps_per_epoch": 100},
    "metagan": {"epochs": 2, "steps_per_epoch": 10},
}

_DEFAULT_PRESET = "5w1s"
# What --preset does not decide: how long to train, and what the published settings have in common.
_BESIDE_A_PRESET = {"preset", "epochs", "steps_per_epoch", "seed", "sequential", "normalization", "precision"}
_LONGEST_EPOCH, _FEWEST_EPOCHS = 2_000, 10


def check(learner: str, chosen: Mapping[str, Any]) -> None:
    """Checks what can be checked without data.

    Args:
        learner: what is to be trained.
        chosen: values of options by their field names; None where an option was not given.

    Raises:
        ValueError: there is no such learner or preset, an option belongs to another learner or contradicts
            the preset, or a value is out of range.
    """
    if learner not in RECIPES:
        raise ValueError(f"learner must be one of {', '.join(RECIPES)}, received learner={learner!r}")
    for name, value in chosen.items():
        if value is None:
            continue
        owners = [owner for owner, kind in RECIPES.items() if name in _fields(kind)]
        if learner not in owners:
            raise ValueError(
                f"{option(name, value)} belongs to {_listed(owners)}, received "
                f"{option_and_value(name, value)} for {learner}"
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(
                f"{option(name)} must be one of {', '.join(_CHOICES[name])}, received "
                f"{option_and_value(name, value)}"
            )
        if name in _ABOVE_ZERO and not value > 0:
            raise ValueError(f"{option(name)} must be above 0, received {option_and_value(name, value)}")
    if chosen.get("generator") is False:
        for name in _OF_THE_GENERATOR:
            if chosen.get(name) is not None:
                raise ValueError(
                    f"{option(name)} must not be given with --no-generator, which has no use for it, "
                    f"received {option_and_value(name, chosen[name])}"
                )
    if chosen.get("preset") is not None:
        _check_against(_preset(chosen["preset"]), chosen)


def recipe(
    learner: str, data: str, parts: Mapping[str, ImageStore], quick: bool = False, **chosen: Any
) -> Recipe:
    """The recipe for a learner on a dataset.

    Args:
        learner: a key of `RECIPES`.
        data: "glyphs", "omniglot" or a folder.
        parts: "train", "val" and "test"; the defaults shrink to their numbers of classes and images.
        quick: take small sizes, for trying things out.
        **chosen: fields that replace the defaults; None leaves the default. They are not shrunk: a size that
            the data cannot serve is an error when the episodes are made.

    Returns:
        The recipe.

    Raises:
        ValueError: as for `check`, or `way` is more than there are classes.
    """
    result = unfitted_recipe(learner, data, quick, **chosen)
    if chosen.get("preset") is None:
        fitting: dict[str, Any] = {n: v for n, v in result.shrunk(parts).items() if chosen.get(n) is None}
        result = dataclasses.replace(result, **fitting)
    most = parts["train"].n_classes * (4 if result.rotations else 1)
    if result.way > most:
        raise ValueError(
            f"{option('way')} must be at most {most}, the classes for training, received "
            f"{option_and_value('way', result.way)}"
        )
    return result


def unfitted_recipe(learner: str, data: str, quick: bool = False, **chosen: Any) -> Recipe:
    """`recipe` before the numbers of classes and images are known."""
    check(learner, chosen)
    dataset = data if data in ("glyphs", "omniglot") else "folder"
    if chosen.get("preset") is not None:
        default: Recipe = _preset(chosen["preset"])
    else:
        default = _reptile(dataset) if learner == "reptile" else _DEFAULTS[learner, dataset]
    if quick:
        default = dataclasses.replace(default, **_QUICK[learner])
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return dataclasses.replace(default, **chosen)


def option(name: str, value: Any = None) -> str:
    """An option as it is typed: `inner_steps` is --inner-steps, and a `generator` of False --no-generator."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def option_and_value(name: str, value: Any) -> str:
    """An option as it is typed, with its value."""
    return option(name, value) if isinstance(value, bool) else f"{option(name)} {value}"


def _preset(name: str) -> ReptileRecipe:
    """A published setting, in epochs of up to 2,000 steps."""
    if name not in REPTILE_PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(REPTILE_PRESETS)}, received --preset {name}")
    sizes = dataclasses.asdict(REPTILE_PRESETS[name])
    way, shot, iterations = (sizes.pop(key) for key in ("n_way", "k_shot", "meta_iterations"))
    steps = min(_LONGEST_EPOCH, iterations // _FEWEST_EPOCHS)
    return ReptileRecipe(
        preset=name, way=way, shot=shot, epochs=iterations // steps, steps_per_epoch=steps, **sizes
    )


def _reptile(dataset: str) -> ReptileRecipe:
    """The authors' setting for 5 ways; off Omniglot without turned letters, and much shorter."""
    published = dataclasses.replace(_preset(_DEFAULT_PRESET), preset=None)
    if dataset == "omniglot":
        return published
    return dataclasses.replace(published, rotations=False, epochs=10, steps_per_epoch=300)


def _check_against(preset: Recipe, chosen: Mapping[str, Any]) -> None:
    for name, value in chosen.items():
        if value is None or name in _BESIDE_A_PRESET:
            continue
        published = getattr(preset, name)
        if value != published:
            raise ValueError(
                f"--preset {chosen['preset']} has {option_and_value(name, published)}, received "
                f"{option_and_value(name, value)}: leave --preset out to choose the sizes one by one"
            )


def _fields(kind: type[Recipe]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
