# SPDX-License-Identifier: MIT
"""Recipes: their defaults, what may be chosen, and how they stand in `config.json`."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fslcore import MetaGAN, Prototypical, Reptile, Siamese
from fslcore.data import ImageStore
from fslcore.experiments import builders, defaults, recipes, results, runs, training
from fslcore.learners import REPTILE_PRESETS


def store(n_classes: int, images: int, size: int = 4, channels: int = 1) -> ImageStore:
    shape = (n_classes * images, size, size, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return ImageStore.from_arrays(pixels, np.repeat(np.arange(n_classes), images), name="noise")


def parts(n_classes: int = 8, images: int = 6, **shape: int) -> dict[str, ImageStore]:
    return dict.fromkeys(("train", "val", "test"), store(n_classes, images, **shape))


# ---- what they make


@pytest.mark.parametrize(
    ("learner", "chosen", "kind"),
    [
        ("prototypical", {}, Prototypical),
        ("siamese", {"loss": "triplet"}, Siamese),
        ("siamese", {"loss": "crossentropy"}, Siamese),
        ("reptile", {"meta_batch": 2, "inner_steps": 2}, Reptile),
        ("metagan", {"meta_batch": 2, "inner_steps": 1, "unlabelled": 1, "way": 2, "shot": 1}, MetaGAN),
        ("metagan", {"meta_batch": 2, "inner_steps": 1, "generator": False, "way": 2, "shot": 1}, MetaGAN),
    ],
    ids=["prototypical", "triplet", "crossentropy", "reptile", "metagan", "first-order-maml"],
)
def test_a_recipe_makes_a_learner_that_trains(tmp_path, learner, chosen, kind):
    data = parts(n_classes=10, images=5, size=16, channels=3)
    recipe = defaults.recipe(learner, "my/photos", data, epochs=1, steps_per_epoch=2, seed=4, **chosen)
    model = builders.build_learner(recipe, (16, 16, 3))
    again = builders.build_learner(recipe, (16, 16, 3))
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
        recipe = defaults.recipe("metagan", "glyphs", data, generator=generator, seed=3)
        networks.append(builders.build_learner(recipe, (8, 8, 1)).network)
    for a, b in zip(*(network.weights for network in networks), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("preset", REPTILE_PRESETS)
def test_a_preset_makes_the_published_learner(preset):
    published, data = REPTILE_PRESETS[preset], parts(n_classes=20, images=20, size=8)
    recipe = defaults.recipe("reptile", "omniglot", data, preset=preset)
    model = builders.build_learner(recipe, (8, 8, 1))
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
    recipe = defaults.recipe("metagan", "folder", parts(), precision="bfloat16", **options)
    model = builders.build_learner(recipe, (8, 8, 1))
    assert (model.inner_steps, model.adapt_steps) == (2, 7)
    assert model.adversary_weight == 0.125
    # The schedules begin at their highest.
    assert float(model.optimizer.learning_rate) == 0.5
    assert float(model.generator_optimizer.learning_rate) == 0.25
    for network in (model.generator, model.task_encoder):
        kernels = [layer for layer in network.layers if layer.trainable_variables]
        assert {layer.dtype_policy.name for layer in kernels} == {"mixed_bfloat16"}
    assert {layer.compute_dtype for layer in model.network.layers} == {"float32"}


# ---- defaults


def test_defaults_shrink_to_the_data_and_choices_do_not():
    data = parts()
    assert defaults.recipe("prototypical", "folder", data).way == 8
    assert defaults.recipe("prototypical", "folder", data, rotations=True, way=30).way == 30
    siamese = defaults.recipe("siamese", "folder", parts(images=2))
    assert (siamese.way, siamese.shot) == (8, 2)
    assert defaults.recipe("siamese", "glyphs", data, quick=True).steps <= 100
    # Five images stay for the queries beside a shot of one, and one for a chosen shot of five.
    assert defaults.recipe("prototypical", "folder", data).query == 4
    assert defaults.recipe("prototypical", "folder", data, shot=5).query == 1


def test_defaults_of_the_learners_that_adapt_shrink_to_train_and_test_classes():
    data = {**parts(), "test": store(3, 4)}
    reptile = defaults.recipe("reptile", "folder", data)
    assert (reptile.way, reptile.train_shots, reptile.shot) == (3, 6, 1)
    metagan = defaults.recipe("metagan", "folder", data, unlabelled=1)
    # Of six images four are left: three for the support, which a test task can serve too, one for a query.
    assert (metagan.way, metagan.shot, metagan.query) == (3, 3, 1)


def test_reptile_on_omniglot_is_the_published_setting_and_elsewhere_shorter():
    data = parts(n_classes=20, images=20)
    published = defaults.recipe("reptile", "omniglot", data, preset="5w1s")
    assert defaults.recipe("reptile", "omniglot", data) == dataclasses.replace(published, preset=None)
    shorter = defaults.recipe("reptile", "glyphs", data)
    assert shorter.steps < published.steps / 10
    assert shorter.inner_batch == published.inner_batch
    assert defaults.recipe("reptile", "glyphs", data, quick=True).steps < shorter.steps


def test_a_preset_leaves_the_length_of_the_training_open():
    data = parts(n_classes=20, images=20)
    recipe = defaults.recipe("reptile", "glyphs", data, preset="20w5s", epochs=3, steps_per_epoch=7, way=20)
    assert (recipe.way, recipe.shot, recipe.steps, recipe.preset) == (20, 5, 21, "20w5s")
    assert recipe.steps_per_execution == 1  # 10 would step over the end of the epoch
    assert defaults.recipe("reptile", "glyphs", data, preset="20w5s", precision="bfloat16").preset == "20w5s"
    assert defaults.recipe("reptile", "glyphs", data, quick=True, preset="20w5s").steps < 1000


def test_layouts():
    layouts = {name: defaults.unfitted_recipe(name, "omniglot").layout for name in recipes.RECIPES}
    assert layouts == {"siamese": "ops", "prototypical": "ops", "reptile": "ops", "metagan": "tasks"}
    for preset, layout in (("5w1s", "tasks"), ("keras-example", "ops")):
        frozen = defaults.unfitted_recipe("reptile", "omniglot", preset=preset, normalization="frozen")
        assert frozen.layout == layout


# ---- choices


@pytest.mark.parametrize(
    ("learner", "chosen", "message"),
    [
        (
            "perceptron",
            {},
            "learner must be one of siamese, prototypical, reptile, metagan, received learner='p",
        ),
        (
            "siamese",
            {"query": 3},
            "--query belongs to prototypical and metagan, received --query 3 for siamese",
        ),
        ("prototypical", {"loss": "triplet"}, "--loss belongs to siamese, received --loss triplet for proto"),
        (
            "siamese",
            {"inner_steps": 3},
            "--inner-steps belongs to reptile and metagan, received --inner-steps 3",
        ),
        (
            "reptile",
            {"generator": False},
            "--no-generator belongs to metagan, received --no-generator for rep",
        ),
        (
            "metagan",
            {"sequential": True},
            "--sequential belongs to reptile, received --sequential for metagan",
        ),
        (
            "reptile",
            {"learning_rate": 0.1},
            "--learning-rate belongs to siamese, prototypical and metagan",
        ),
        ("siamese", {"loss": "hinge"}, "--loss must be one of triplet, crossentropy, received --loss hinge"),
        (
            "reptile",
            {"normalization": "x"},
            "--normalization must be one of auto, batch, moving, frozen, rec",
        ),
        ("siamese", {"way": 0}, "--way must be above 0, received --way 0"),
        ("reptile", {"meta_step": -1.0}, "--meta-step must be above 0, received --meta-step -1.0"),
        (
            "reptile",
            {"preset": "6w1s"},
            "--preset must be one of 5w1s, 5w5s, 20w1s, 20w5s, keras-example, rec",
        ),
        ("reptile", {"preset": "5w1s", "way": 20}, "--preset 5w1s has --way 5, received --way 20: leave"),
        ("reptile", {"preset": "5w1s", "rotations": False}, "5w1s has --rotations, received --no-rotations"),
        ("reptile", {"way": 9}, "--way must be at most 8, the classes for training, received --way 9"),
        (
            "metagan",
            {"generator": False, "adversary_weight": 0.3},
            "--adversary-weight must not be given with --no-generator, which has no use for it, received "
            "--adversary-weight 0.3",
        ),
        ("metagan", {"generator": False, "unlabelled": 2}, "--unlabelled must be 0 with --no-generator"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_bad_choices_are_named_as_they_are_typed(learner, chosen, message):
    with pytest.raises(ValueError, match=message):
        defaults.recipe(learner, "glyphs", parts(), **chosen)


def test_tasks_that_the_test_classes_cannot_serve_are_named():
    data = {**parts(), "test": store(3, 4)}
    too_wide = defaults.recipe("reptile", "folder", data, way=5)
    with pytest.raises(
        ValueError, match=r"--way must be at most 3 to measure the learner on .*received --way 5"
    ):
        results.protocols_for(too_wide, data["test"])
    too_many = defaults.recipe("metagan", "folder", data, shot=3, unlabelled=1)
    with pytest.raises(ValueError, match=r"--shot must be at most 2 to measure .* received --shot 3"):
        results.protocols_for(too_many, data["test"])


# ---- protocols


def test_protocols():
    data = parts(n_classes=20, images=20)
    siamese, reptile = (defaults.recipe(name, "folder", data) for name in ("siamese", "reptile"))
    assert results.protocols_for(siamese, data["test"]) == [(5, 1), (5, 5), (20, 1), (20, 5)]
    assert results.protocols_for(reptile, data["test"]) == [(5, 1), (5, 5)]
    assert results.queries_for(reptile, data["test"], 5) == 15
    reptile = defaults.recipe("reptile", "folder", data, way=7, shot=2)
    assert results.protocols_for(reptile, data["test"]) == [(7, 1), (7, 2), (7, 5)]
    assert results.chosen_protocols(reptile, data["test"], 7, 3) == [(7, 3)]
    assert results.chosen_protocols(reptile, data["test"], None, 3) == [(7, 3)]
    assert results.chosen_protocols(siamese, data["test"], 3, None) == [(3, 1)]
    with pytest.raises(ValueError, match=r"--way must be 7, the classes that .* received --way 5"):
        results.chosen_protocols(reptile, data["test"], 5, None)
    metagan = defaults.recipe("metagan", "folder", data, unlabelled=4)
    assert results.queries_for(metagan, data["test"], 5) == 11


@pytest.mark.parametrize(
    ("n_classes", "images", "expected"),
    [(20, 20, (5, 1, 5)), (5, 3, (5, 1, 2)), (4, 20, None), (5, 1, None)],
)
def test_validation_has_the_ways_of_the_network_or_is_left_out(n_classes, images, expected):
    recipe = defaults.recipe("reptile", "glyphs", parts(n_classes=20, images=20))
    plan = results.validation_for(recipe, store(n_classes, images))
    assert (plan and (plan.n_way, plan.k_shot, plan.n_query)) == expected


# ---- config.json


@pytest.mark.parametrize("learner", recipes.RECIPES)
def test_a_recipe_comes_back_from_json(learner):
    recipe = defaults.recipe(learner, "omniglot", parts(n_classes=20, images=20), seed=7)
    entries = json.loads(json.dumps(recipes.to_json(recipe)))
    assert entries["learner"] == learner
    assert recipes.from_json(entries) == recipe


def test_a_recipe_of_the_first_runs_is_read():
    old = {"learner": "siamese", "loss": "triplet", "way": 32, "shot": 4, "query": 0, "epochs": 10}
    old |= {"steps_per_epoch": 60, "learning_rate": 0.004, "rotations": False, "seed": 0}
    siamese = recipes.from_json(old)
    assert siamese == recipes.SiameseRecipe(
        loss="triplet", way=32, shot=4, epochs=10, steps_per_epoch=60, learning_rate=0.004
    )
    prototypical = recipes.from_json({**old, "learner": "prototypical", "loss": None, "query": 3})
    assert prototypical == recipes.PrototypicalRecipe(
        way=32, shot=4, query=3, epochs=10, steps_per_epoch=60, learning_rate=0.004
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "must be for one of siamese, prototypical, reptile, metagan"),
        ({"learner": "perceptron"}, "must be for one of siamese, prototypical, reptile, metagan"),
        ({"learner": "siamese", "ways": 5}, "is not one of this fslcore: .*ways"),
        ({"learner": "siamese"}, "is not one of this fslcore: .*missing"),
    ],
    ids=["none", "unknown-learner", "unknown-field", "missing-field"],
)
def test_a_damaged_recipe_is_named(entries, message):
    with pytest.raises(ValueError, match=f"the recipe of the run {message}"):
        recipes.from_json(entries)
