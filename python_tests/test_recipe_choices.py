# SPDX-License-Identifier: MIT
"""Recipes: their defaults, what may be chosen instead, and how their learners are measured."""

from __future__ import annotations

import dataclasses
import re

import pytest
from noise import noise as store
from noise import noise_parts as parts

from fslcore.arguments import ArgumentError
from fslcore.experiments import RECIPES, choices
from fslcore.experiments.recipes import fields

# ---- defaults


def test_defaults_shrink_to_the_data_and_choices_do_not():
    data = parts()
    assert choices.recipe("prototypical", "folder", data).way == 8
    assert choices.recipe("prototypical", "folder", data, rotations=True, way=30).way == 30
    siamese = choices.recipe("siamese", "folder", parts(images=2))
    assert (siamese.way, siamese.shot) == (8, 2)
    assert choices.recipe("siamese", "glyphs", data, quick=True).steps <= 100
    # Five images stay for the queries beside a shot of one, and one for a chosen shot of five.
    assert choices.recipe("prototypical", "folder", data).query == 4
    assert choices.recipe("prototypical", "folder", data, shot=5).query == 1


def test_defaults_of_the_learners_that_adapt_shrink_to_train_and_test_classes():
    data = {**parts(), "test": store(3, 4)}
    reptile = choices.recipe("reptile", "folder", data)
    assert (reptile.way, reptile.train_shots, reptile.shot) == (3, 6, 1)
    metagan = choices.recipe("metagan", "folder", data, unlabelled=1)
    # Of six images four are left: three for the support, which a test task can serve too, one for a query.
    assert (metagan.way, metagan.shot, metagan.query) == (3, 3, 1)


def test_reptile_on_omniglot_is_the_published_setting_and_elsewhere_shorter():
    data = parts(n_classes=20, images=20)
    published = choices.recipe("reptile", "omniglot", data, preset="5w1s")
    assert choices.recipe("reptile", "omniglot", data) == dataclasses.replace(
        published, preset=None, keep="best"
    )
    shorter = choices.recipe("reptile", "glyphs", data)
    assert shorter.steps < published.steps / 10
    assert shorter.inner_batch == published.inner_batch
    assert choices.recipe("reptile", "glyphs", data, quick=True).steps < shorter.steps


def test_a_preset_leaves_the_length_of_the_training_open():
    data = parts(n_classes=20, images=20)
    recipe = choices.recipe("reptile", "glyphs", data, preset="20w5s", epochs=3, steps_per_epoch=7, way=20)
    assert (recipe.way, recipe.shot, recipe.steps, recipe.preset) == (20, 5, 21, "20w5s")
    assert recipe.steps_per_execution == 1  # 10 would step over the end of the epoch
    assert choices.recipe("reptile", "glyphs", data, preset="20w5s", precision="bfloat16").preset == "20w5s"
    assert choices.recipe("reptile", "glyphs", data, quick=True, preset="20w5s").steps < 1000


def test_layouts():
    layouts = {name: choices.planned_recipe(name, "omniglot").layout for name in RECIPES}
    assert {name for name, layout in layouts.items() if layout == "tasks"} == {"maml", "metagan"}
    assert set(layouts.values()) == {"ops", "tasks"}
    for preset, layout in (("5w1s", "tasks"), ("keras-example", "ops")):
        frozen = choices.planned_recipe("reptile", "omniglot", preset=preset, normalization="frozen")
        assert frozen.layout == layout


# ---- choices


@pytest.mark.parametrize(
    ("learner", "chosen", "message"),
    [
        (
            "perceptron",
            {},
            f"learner must be one of {', '.join(RECIPES)}, received learner='p",
        ),
        (
            "siamese",
            {"query": 3},
            "query belongs to prototypical, .*maml and metagan, not to siamese, received query=3",
        ),
        (
            "prototypical",
            {"loss": "triplet"},
            "loss belongs to siamese, not to prototypical, received loss='trip",
        ),
        ("siamese", {"inner_steps": 3}, "inner_steps belongs to reptile, maml and metagan, not to siamese"),
        ("siamese", {"ways": 3}, "ways must be a field of the recipe of siamese, received ways=3"),
        ("reptile", {"inner_optimizer": "sgd"}, "inner_optimizer must be a field of the recipe of reptile"),
        (
            "reptile",
            {"generator": False},
            "generator belongs to metagan, not to reptile, received generator=False",
        ),
        ("metagan", {"sequential": True}, "sequential belongs to reptile, not to metagan"),
        (
            "reptile",
            {"learning_rate": 0.1},
            "learning_rate belongs to siamese, prototypical, .*maml and metagan, not to reptile",
        ),
        ("siamese", {"loss": "hinge"}, "loss must be one of triplet, crossentropy, received loss='hinge'"),
        ("reptile", {"normalization": "x"}, "normalization must be one of auto, batch, moving, frozen, rec"),
        ("siamese", {"way": 0}, "way must be above 0, received way=0"),
        ("siamese", {"way": 2.5}, "way must be an integer, received way=2.5"),
        ("siamese", {"way": True}, "way must be an integer, received way=True"),
        (
            "siamese",
            {"learning_rate": "fast"},
            "learning_rate must be a number, received learning_rate='fast'",
        ),
        (
            "siamese",
            {"learning_rate": float("nan")},
            "learning_rate must be above 0, received learning_rate=nan",
        ),
        ("siamese", {"seed": -1}, "seed must be at least 0, received seed=-1"),
        ("siamese", {"rotations": 1}, "rotations must be True or False, received rotations=1"),
        ("reptile", {"meta_step": -1.0}, "meta_step must be above 0, received meta_step=-1.0"),
        ("reptile", {"preset": "6w1s"}, "preset must be one of 5w1s, 5w5s, 20w1s, 20w5s, keras-example, rec"),
        (
            "reptile",
            {"preset": "5w1s", "way": 20},
            r"way must be 5 with `preset='5w1s'` \(leave `preset` out .*\), received way=20",
        ),
        (
            "reptile",
            {"preset": "5w1s", "rotations": False},
            "rotations must be True with `preset='5w1s'` .*, received rotations=False",
        ),
        (
            "metagan",
            {"generator": False, "adversary_weight": 0.3},
            "adversary_weight must not be given with `generator=False`, which does not use it, received "
            "adversary_weight=0.3",
        ),
        (
            "maml",
            {"second_order": True, "precision": "bfloat16"},
            "precision must be float32 with `second_order=True`, received precision='bfloat16'",
        ),
        ("metagan", {"generator": False, "unlabelled": 2}, "unlabelled must be 0 with `generator=False`"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_bad_choices_are_named(learner, chosen, message):
    with pytest.raises(ArgumentError, match=message):
        choices.recipe(learner, "glyphs", parts(), **chosen)


@pytest.mark.parametrize(
    ("learner", "chosen", "message"),
    [
        ("reptile", {"way": 9}, "way must be at most 8, the classes for training, received way=9"),
        ("siamese", {"shot": 7}, "shot must be at most 6, the images of the smallest class for training"),
        (
            "prototypical",
            {"shot": 4, "query": 3},
            r"shot \+ query must be at most 6, .* received shot \+ query=7",
        ),
        (
            "metagan",
            {"shot": 2, "query": 1, "unlabelled": 2},
            r"shot \+ query \+ 2 \* unlabelled must be at most 6",
        ),
    ],
)
def test_sizes_that_the_training_classes_cannot_serve_are_named(learner, chosen, message):
    recipe = choices.recipe(learner, "glyphs", parts(), **chosen)
    with pytest.raises(ArgumentError, match=message):
        recipe.check(parts()["train"])


@pytest.mark.parametrize("learner", RECIPES)
def test_every_field_has_help_and_a_range(learner):
    panels = (fields.TASKS, fields.TRAINING, fields.NETWORK, fields.INNER_LOOP, fields.GENERATOR, None)
    for name, (field, about) in fields.described(RECIPES[learner]).items():
        assert about.help.endswith("."), name
        assert about.panel in panels
        if field.type != "bool":
            assert about.requirement, name
        for option in re.findall(r"`(\w+)", about.help):
            assert option in {*fields.options(RECIPES[learner]), "quick"}


def test_tasks_that_the_test_classes_cannot_serve_are_named():
    data = {**parts(), "test": store(3, 4)}
    too_wide = choices.recipe("reptile", "folder", data, way=5)
    with pytest.raises(ValueError, match=r"way must be at most 3 to measure the learner on .*received way=5"):
        too_wide.protocols(data["test"])
    too_many = choices.recipe("metagan", "folder", data, shot=3, unlabelled=1)
    with pytest.raises(ValueError, match=r"shot must be at most 2 to measure .* received shot=3"):
        too_many.protocols(data["test"])


# ---- protocols


def test_protocols():
    data = parts(n_classes=20, images=20)
    siamese, reptile = (choices.recipe(name, "folder", data) for name in ("siamese", "reptile"))
    assert siamese.protocols(data["test"]) == [(5, 1), (5, 5), (20, 1), (20, 5)]
    assert reptile.protocols(data["test"]) == [(5, 1), (5, 5)]
    assert reptile.queries(data["test"], 5) == 15
    reptile = choices.recipe("reptile", "folder", data, way=7, shot=2)
    assert reptile.protocols(data["test"]) == [(7, 1), (7, 2), (7, 5)]
    assert reptile.protocols(data["test"], 7, 3) == [(7, 3)]
    assert reptile.protocols(data["test"], None, 3) == [(7, 3)]
    assert siamese.protocols(data["test"], 3, None) == [(3, 1)]
    with pytest.raises(ValueError, match=r"way must be 7, the classes that .* received way=5"):
        reptile.protocols(data["test"], 5, None)
    metagan = choices.recipe("metagan", "folder", data, unlabelled=4)
    assert metagan.queries(data["test"], 5) == 11


@pytest.mark.parametrize(
    ("n_classes", "images", "expected"),
    [(20, 20, (5, 1, 5)), (5, 3, (5, 1, 2)), (4, 20, None), (5, 1, None)],
)
def test_validation_has_the_ways_of_the_network_or_is_left_out(n_classes, images, expected):
    recipe = choices.recipe("reptile", "glyphs", parts(n_classes=20, images=20))
    plan = recipe.validation(store(n_classes, images))
    assert (plan and (plan.way, plan.shot, plan.query)) == expected
