# SPDX-License-Identifier: MIT
"""Classes with few images do not decide for all others, and nothing is trained that can learn nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments import RECIPES, choices, selection

# One field that is too small to learn anything, for each recipe that has one.
HOPELESS = [(learner, {"way": 1}) for learner in RECIPES] + [("siamese", {"shot": 1})]


def store(sizes: list[int]) -> ImageStore:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.zeros((len(labels), 4, 4, 1), np.uint8)
    return ImageStore(images, labels.astype(np.int32), None, [f"class{i}" for i in range(len(sizes))])


def parts(**sizes: list[int]) -> dict[str, ImageStore]:
    """Parts of ten classes of twenty images, but for those that are given."""
    return {name: store(sizes.get(name, [20] * 10)) for name in ("train", "val", "test")}


def chosen(learner: str, data: dict[str, ImageStore], min_images: int | None = None, **fields: object):
    """The recipe fitted to the data, and the parts that it is trained and measured on."""
    planned = choices.planned_recipe(learner, "folder", **fields)
    least = selection.least_images(planned, data, planned.fixed(fields), min_images)
    left = selection.selected(data, least)
    recipe = planned.fitted(left, fields)
    recipe.check(left["train"])
    return recipe, left, selection.left_out_in_words(data, least)


@pytest.mark.parametrize("learner", RECIPES)
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_one_class_with_one_image_is_left_out_and_changes_nothing_else(learner, part):
    sizes = [20] * 9
    usual, whole, nothing = chosen(learner, parts(**{part: sizes}))
    assert (whole, nothing) == (whole, [])
    recipe, left, sentences = chosen(learner, parts(**{part: [*sizes[:4], 1, *sizes[4:]]}))
    assert recipe == usual
    assert recipe.protocols(left["test"]) == usual.protocols(whole["test"])
    assert {name: store.n_classes for name, store in left.items()} == {
        name: store.n_classes for name, store in whole.items()
    }
    (sentence,) = sentences
    assert "1 of the 10 classes" in sentence
    assert "'class4' (1)" in sentence
    assert "`min_images`" in sentence


@pytest.mark.parametrize("learner", RECIPES)
def test_sizes_shrink_to_classes_that_are_alike(learner):
    # Nothing is left out where many are small, or the smallest is not much smaller than the others.
    for sizes in ([3] * 10, [4, *[5] * 9], [20] * 5 + [3] * 5):
        recipe, left, sentences = chosen(learner, parts(train=sizes, test=sizes))
        assert sentences == []
        assert left["train"].n_classes == left["test"].n_classes == 10
        assert recipe.images_needed() <= min(sizes)
        assert recipe.protocols(left["test"])


@pytest.mark.parametrize("learner", RECIPES)
def test_a_size_that_was_chosen_leaves_out_the_classes_that_cannot_serve_it(learner):
    field = next(iter(RECIPES[learner].images_used))
    recipe, left, sentences = chosen(learner, parts(train=[20] * 5 + [7] * 5), **{field: 8})
    assert getattr(recipe, field) == 8
    assert left["train"].n_classes == 5
    assert "5 of the 10 classes for training are left out" in sentences[0]


@pytest.mark.parametrize("learner", RECIPES)
def test_min_images_decides(learner):
    data = parts(train=[20] * 9 + [2], test=[20] * 9 + [3])
    recipe, left, sentences = chosen(learner, data, min_images=2)
    assert left["train"].n_classes == left["test"].n_classes == 10
    assert recipe.images_needed() <= 2
    assert sentences == []
    _, left, sentences = chosen(learner, data, min_images=20)
    assert left["train"].n_classes == left["test"].n_classes == 9
    assert len(sentences) == 2
    with pytest.raises(ArgumentError, match="min_images must be at most 20, the images of the largest class"):
        chosen(learner, data, min_images=21)


@pytest.mark.parametrize(("learner", "fields"), HOPELESS)
def test_what_can_learn_nothing_is_refused_before_there_is_data(learner, fields):
    (name,) = fields
    with pytest.raises(ArgumentError, match=f"^{name} must be at least 2: .*received {name}=1"):
        choices.planned_recipe(learner, "folder", **fields)


@pytest.mark.parametrize("learner", RECIPES)
def test_data_that_can_teach_nothing_is_refused(learner):
    with pytest.raises(ArgumentError, match="data must have 2 or more classes for training"):
        chosen(learner, parts(train=[20]))
    if RECIPES[learner].default("folder").images_needed(fixed=()) > 1:
        with pytest.raises(ArgumentError, match="data must have classes of 2 or more images for training"):
            chosen(learner, parts(train=[1] * 10))


@pytest.mark.parametrize("learner", RECIPES)
def test_what_is_not_measured_as_usual_is_said(learner):
    recipe = choices.planned_recipe(learner, "folder", shot=2)
    test = store([20] * 9 + [4])
    protocols = recipe.protocols(test)
    sentences = selection.shortfalls(recipe, test, protocols, recipe.usual_protocols(test))
    assert "5-shot is not measured: in the test part the class 'class9' has 4 images" in sentences[0]
    assert "queries per class: 3 for 1-shot" in sentences[1]
    assert "instead of 15" in sentences[1]
    assert "`min_images`" in sentences[1]
    with pytest.raises(
        ArgumentError, match=r"shot must be at most 3 .* the class 'class9' has 4 images \(`min_images=6`"
    ):
        recipe.protocols(test, None, 5)
    assert selection.shortfalls(recipe, store([20] * 9), [(5, 1)], [(5, 1)]) == []
