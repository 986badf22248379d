# SPDX-License-Identifier: MIT
"""Recipes: the learners that they make, and how they stand in `config.json`."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from noise import noise_parts as parts

from fslcore import MAML, MetaGAN, Prototypical, Reptile, Siamese
from fslcore.arguments import ArgumentError
from fslcore.experiments import RECIPES, PrototypicalRecipe, SiameseRecipe, choices, results, runs, training
from fslcore.learners import REPTILE_PRESETS

# ---- the learners


@pytest.mark.parametrize(
    ("learner", "chosen", "kind"),
    [
        ("prototypical", {}, Prototypical),
        ("siamese", {"loss": "triplet"}, Siamese),
        ("siamese", {"loss": "crossentropy"}, Siamese),
        ("reptile", {"meta_batch": 2, "inner_steps": 2}, Reptile),
        ("maml", {"meta_batch": 2, "inner_steps": 1, "way": 2, "shot": 1}, MAML),
        ("metagan", {"meta_batch": 2, "inner_steps": 1, "unlabelled": 1, "way": 2, "shot": 1}, MetaGAN),
        ("metagan", {"meta_batch": 2, "inner_steps": 1, "generator": False, "way": 2, "shot": 1}, MetaGAN),
    ],
    ids=[
        "prototypical",
        "triplet",
        "crossentropy",
        "reptile",
        "maml",
        "metagan",
        "metagan-without-generator",
    ],
)
def test_a_recipe_makes_a_learner_that_trains(tmp_path, learner, chosen, kind):
    data = parts(n_classes=10, images=5, size=16, channels=3)
    recipe = choices.recipe(learner, "my/photos", data, epochs=1, steps_per_epoch=2, seed=4, **chosen)
    model = recipe.build((16, 16, 3))
    again = recipe.build((16, 16, 3))
    assert type(model) is kind
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    run = runs.create(tmp_path / "run", {})
    validate = results.validator(model, recipe, data["val"])
    history = training.train(model, recipe, data["train"], run, validate)
    assert np.isfinite(history[0]["loss"])
    assert ("accuracy" in history[0]) == (chosen.get("loss") != "triplet")
    assert 0 <= history[0]["val_accuracy"] <= 1


def test_a_network_is_the_same_with_an_adversary_and_without():
    data = parts(n_classes=5, images=20, size=8)
    networks = []
    for generator in (True, False):
        recipe = choices.recipe("metagan", "glyphs", data, generator=generator, seed=3)
        networks.append(recipe.build((8, 8, 1)).network)
    for a, b in zip(*(network.weights for network in networks), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("preset", REPTILE_PRESETS)
def test_a_preset_makes_the_published_learner(preset):
    published, data = REPTILE_PRESETS[preset], parts(n_classes=20, images=20, size=8)
    recipe = choices.recipe("reptile", "omniglot", data, preset=preset)
    model = recipe.build((8, 8, 1))
    expected = Reptile.from_preset(preset, (8, 8, 1))
    for name in ("n_way", "inner_optimizer", "inner_steps", "inner_batch", "meta_batch", "adapt_steps"):
        assert getattr(model, name) == getattr(expected, name), name
    assert model.adapt_batch == expected.adapt_batch
    assert model.sequential == expected.sequential
    assert recipe.steps == published.meta_iterations
    assert recipe.rotations == published.rotations
    assert recipe.epochs >= 10
    assert recipe.steps_per_epoch <= 2000
    assert model.steps_per_execution == 10
    # Half way, half of the meta-step is left.
    model.optimizer.iterations.assign(recipe.steps // 2)
    assert float(model.optimizer.learning_rate) == pytest.approx(published.meta_step / 2)


def test_what_is_chosen_for_metagan_reaches_the_learner():
    options = {"inner_steps": 2, "adapt_steps": 7, "learning_rate": 0.5, "generator_learning_rate": 0.25}
    options["adversary_weight"] = 0.125
    recipe = choices.recipe("metagan", "folder", parts(), precision="bfloat16", **options)
    model = recipe.build((8, 8, 1))
    assert (model.inner_steps, model.adapt_steps) == (2, 7)
    assert model.adversary_weight == 0.125
    # The schedules begin at their highest.
    assert float(model.optimizer.learning_rate) == 0.5
    assert float(model.generator_optimizer.learning_rate) == 0.25
    for network in (model.generator, model.task_encoder):
        kernels = [layer for layer in network.layers if layer.trainable_variables]
        assert {layer.dtype_policy.name for layer in kernels} == {"mixed_bfloat16"}
    assert {layer.compute_dtype for layer in model.network.layers} == {"float32"}


def test_recipes_do_not_import_tensorflow():
    script = "import sys, fslcore.experiments as e; [k.default('glyphs') for k in e.RECIPES.values()]\n"
    script += "print('tensorflow' in sys.modules, 'matplotlib.pyplot' in sys.modules, 'rich' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout == "False False False\n", result.stderr


# ---- config.json


@pytest.mark.parametrize("learner", RECIPES)
def test_a_recipe_comes_back_from_json(learner):
    recipe = choices.recipe(learner, "omniglot", parts(n_classes=20, images=20), seed=7)
    entries = json.loads(json.dumps(recipe.to_json()))
    assert entries["learner"] == learner
    assert choices.recipe_from_json(entries) == recipe


def test_a_recipe_of_the_first_runs_is_read():
    old = {"learner": "siamese", "loss": "triplet", "way": 32, "shot": 4, "query": 0, "epochs": 10}
    old |= {"steps_per_epoch": 60, "learning_rate": 0.004, "rotations": False, "seed": 0}
    siamese = choices.recipe_from_json(old)
    assert siamese == SiameseRecipe(
        loss="triplet", way=32, shot=4, epochs=10, steps_per_epoch=60, learning_rate=0.004, keep="last"
    )
    prototypical = choices.recipe_from_json({**old, "learner": "prototypical", "loss": None, "query": 3})
    assert prototypical == PrototypicalRecipe(
        way=32, shot=4, query=3, epochs=10, steps_per_epoch=60, learning_rate=0.004, keep="last"
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, f"must be for one of {', '.join(RECIPES)}"),
        ({"learner": "perceptron"}, f"must be for one of {', '.join(RECIPES)}"),
        ({"learner": "siamese", "ways": 5}, "must be one of this fslcore .*ways"),
        ({"learner": "siamese"}, "must be one of this fslcore .*missing"),
        (
            {**SiameseRecipe.default("glyphs").to_json(), "way": 0},
            "must be one of this fslcore .*way must be above 0",
        ),
    ],
    ids=["none", "unknown-learner", "unknown-field", "missing-field", "a-field-out-of-range"],
)
def test_a_damaged_recipe_is_named(entries, message):
    with pytest.raises(ArgumentError, match=f"recipe {message}"):
        choices.recipe_from_json(entries)
