# SPDX-License-Identifier: MIT
"""Closed sets: known classes are asked for with new images; examples come from the images of the training."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from commandline import Fslcore, letters

from fslcore import PixelNearestNeighbour, evaluate
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.evaluation.episodes import Episodes
from fslcore.experiments import RECIPES, PrototypicalRecipe, choices, closed, parts, runs, selection, train


def store(sizes: list[int], seed: int = 0, first: int = 0) -> ImageStore:
    """Classes of noise around one level each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = 20 * labels[:, None, None, None] + rng.integers(0, 60, (len(labels), 4, 4, 1))
    names = [f"c{first + i}" for i in range(len(sizes))]
    return ImageStore(images.astype(np.uint8), labels.astype(np.int32), None, names)


SUPPORT, QUERIES = store([7, 5, 6, 9, 5, 8]), store([3, 4, 2, 5, 3, 2], seed=1)


@pytest.mark.parametrize("way", [2, 5, 6])
@pytest.mark.parametrize("shot", [1, 5])
def test_examples_and_queries_are_of_the_same_classes(way, shot):
    drawn = Episodes(QUERIES, way, shot, 2, 0, 30, 7, support=SUPPORT)
    tables = np.concatenate(list(drawn.tables(4)))
    examples, queries = np.split(tables, [shot], axis=2)
    queries = queries - len(SUPPORT)
    assert tables.shape == (30, way, shot + 2)
    classes = SUPPORT.labels[examples][:, :, :1]
    assert (SUPPORT.labels[examples] == classes).all()
    assert (QUERIES.labels[queries] == classes).all()
    for rows in (examples, queries):
        assert all(len(set(row.ravel().tolist())) == row.size for row in rows)
    images = drawn.gather(tables)
    np.testing.assert_array_equal(
        images[:, :, :shot], np.float32(SUPPORT.images[examples]) * np.float32(1 / 255)
    )
    np.testing.assert_array_equal(
        images[:, :, shot:], np.float32(QUERIES.images[queries]) * np.float32(1 / 255)
    )


def test_the_accuracy_is_that_of_a_loop():
    report = evaluate(PixelNearestNeighbour(), QUERIES, 4, 2, 2, episodes=20, seed=3, support=SUPPORT)
    assert report.support_hash == SUPPORT.content_hash == report.to_dict()["support_hash"]
    right = []
    for (table,) in Episodes(QUERIES, 4, 2, 2, 0, 20, 3, support=SUPPORT).tables():
        for own in range(4):
            for row in table[own, 2:]:
                query = QUERIES.images[row - len(SUPPORT)].astype(float)
                near = [
                    min(np.square(SUPPORT.images[one].astype(float) - query).sum() for one in table[c, :2])
                    for c in range(4)
                ]
                right.append((near[own] == min(near)) / near.count(min(near)))
    assert report.accuracy == pytest.approx(np.mean(right), abs=1e-9)
    assert (
        evaluate(PixelNearestNeighbour(), QUERIES, 2, 1, 1, episodes=2).to_dict().get("support_hash") is None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"support": store([7] * 5)},
            "support must have the classes and the shape of the images of ImageStore",
        ),
        ({"support": store([7] * 6, first=1)}, "support must have the classes"),
        ({"support": SUPPORT.images}, "support must be an ImageStore, received ndarray"),
        ({"k_shot": 6}, r"k_shot must be at most 5: the class 'c1' of .* has 5 images"),
        (
            {"n_query": 3},
            r"n_query must be at most 2 with `n_unlabelled`=0: the class 'c2' of .* has 2 images",
        ),
    ],
)
def test_what_the_stores_cannot_serve_is_refused(arguments, message):
    given = {"n_way": 2, "k_shot": 1, "n_query": 1, "support": SUPPORT, **arguments}
    with pytest.raises(ArgumentError, match=message):
        evaluate(PixelNearestNeighbour(), QUERIES, episodes=2, **given)


@pytest.mark.parametrize("learner", RECIPES)
def test_all_classes_are_measured_with_all_examples(learner):
    recipe = choices.planned_recipe(learner, "folder")
    support, test = store([12] * 9), store([3] * 9)
    found = closed.protocols(recipe, support, test)
    adaptive = learner in ("reptile", "maml", "metagan")
    assert found == ([(5, 1), (5, 5)] if adaptive else [(9, 1), (9, 5), (9, 12)])
    assert closed.protocols(recipe, support, test, shot=12) == [(5 if adaptive else 9, 12)]
    with pytest.raises(ArgumentError, match="shot must be at most 12"):
        closed.protocols(recipe, support, test, shot=13)
    with pytest.raises(ArgumentError, match="way must be"):
        closed.protocols(recipe, support, test, way=10)
    assert closed.queries(test, recipe) == 3


def test_small_classes_of_the_training_are_left_out_of_all_parts():
    whole = {"train": store([9, 1, 9]), "val": store([2, 2, 2]), "test": store([1, 1, 1])}
    recipe = choices.planned_recipe("siamese", "folder")
    least = selection.least_images(recipe, whole, set(), known=True)
    left = selection.selected(whole, least, known=True)
    assert [part.class_names for part in left.values()] == [("c0", "c2")] * 3
    (sentence,) = selection.left_out_in_words(whole, least)
    assert "1 of the 3 classes for training is left out" in sentence
    with pytest.raises(ArgumentError, match=r"small_classes must be 'drop' .* received 'error': 1 of the 3"):
        selection.check_none_left_out([sentence], "error")
    selection.check_none_left_out([sentence], "drop")
    selection.check_none_left_out([], "error")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five classes of six letters, and one of two."""
    root = letters(tmp_path_factory.mktemp("data"))
    few = root / "few"
    for name in sorted(path.name for path in (root / "letters").iterdir())[:6]:
        shutil.copytree(root / "letters" / name, few / name)
    for i in range(2, 6):
        (few / "class05" / f"{i}.png").unlink()
    return root


@pytest.fixture
def in_process(folder, capsys, monkeypatch) -> Fslcore:
    return Fslcore(folder, capsys, monkeypatch)


SHORT = ("--image-size", 16, "--epochs", 1, "--steps-per-epoch", 2, "--eval-episodes", 5)


def test_few_classes_are_trained_and_measured_by_image(in_process, folder, tmp_path):
    message = in_process.complaint("train", "prototypical", "--data", "few", *SHORT)
    assert (
        "at least 8 (--split image tells fewer classes apart, on new images), received 6 classes" in message
    )
    closed_set = ("train", "prototypical", "--data", "few", "--split", "image", *SHORT)
    message = in_process.complaint(*closed_set, "--small-classes", "error")
    assert "--small-classes must be 'drop' where classes have too few images" in message
    assert "'class05'" in message
    code, out, _ = in_process(*closed_set, "--resize", "pad", "--out", tmp_path / "run")
    shown = " ".join(out.split())
    assert code == 0
    assert "1 of the 6 classes is left out, with fewer than 3 images: 'class05' (--min-images" in shown
    assert "classes: 5, with 20 images for training; 5 images for validation" in shown
    assert "accuracy on unseen images of the classes of the training" in shown
    for row in ("5-way 1-shot", "5-way 4-shot", "chance"):
        assert row in shown
    config = runs.read_config(tmp_path / "run")
    assert (config["split_by"], config["preparation"]["resize"]) == ("image", "pad")
    assert config["classes"]["train"] == config["classes"]["test"]
    before = json.loads((tmp_path / "run" / runs.METRICS).read_text())["results"]
    assert [(one["n_way"], one["k_shot"]) for one in before] == [(5, 1), (5, 4)]
    code, out, _ = in_process("evaluate", tmp_path / "run", "--episodes", 5)
    assert code == 0
    after = json.loads((tmp_path / "run" / runs.METRICS).read_text())["results"]
    assert {one["split_hash"] for one in after} == {before[0]["split_hash"]}
    assert {one["support_hash"] for one in after} == {before[0]["support_hash"]}
    shutil.copytree(folder / "few", tmp_path / "changed")
    shutil.copy(folder / "few" / "class00" / "0.png", tmp_path / "changed" / "class00" / "more.png")
    message = in_process.complaint("evaluate", tmp_path / "run", "--data", tmp_path / "changed")
    assert "--data must be as it was for a run on a closed set" in message


def test_the_parts_of_a_folder_are_those_of_the_run(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(folder / "cache"))
    names = sorted(path.name for path in (folder / "letters").iterdir())
    for part, chosen in (("train", names[:5]), ("val", names[5:8]), ("test", names[8:12])):
        for name in chosen:
            shutil.copytree(folder / "letters" / name, tmp_path / "own" / part / name)
    recipe = PrototypicalRecipe(way=3, shot=1, query=1, epochs=1, steps_per_epoch=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = train(recipe, tmp_path / "own", tmp_path / "run", image_size=16, eval_episodes=2)
    assert run.config["classes"] == {"train": names[:5], "val": names[5:8], "test": names[8:12]}
    assert run.config["split_by"] is None


def test_groups_can_be_asked_for(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(folder / "cache"))
    for i, name in enumerate(sorted(path.name for path in (folder / "letters").iterdir())[:20]):
        shutil.copytree(folder / "letters" / name, tmp_path / "own" / f"group{i // 2}" / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = parts.load_parts(tmp_path / "own", None, 8, lambda *_: None, split="group")
    groups = [set(part.group_names) for part in found.values()]
    assert [len(one) for one in groups] == [6, 2, 2]
    assert not set.intersection(*groups)
    with pytest.raises(ArgumentError, match=r"split must have classes .*, received 'group'|without groups"):
        parts.load_parts(folder / "letters", None, 8, lambda *_: None, split="group")


def test_a_frame_has_no_name_for_a_run():
    with pytest.raises(ArgumentError, match=r"data must be a name or a path, .* received a dict"):
        train("siamese", {})
