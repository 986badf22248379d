# SPDX-License-Identifier: MIT
"""Folders of folders: which of them are classes, groups and parts, and how the parts become the split."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from warned import told

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, default_split, load


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def make(root, names):
    """Pictures of one colour each, the i-th of brightness i."""
    for i, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(path)


def rows(store):
    """(class, group, part, brightness) of every image."""
    groups = [None] * len(store) if store.groups is None else [store.group_names[i] for i in store.groups]
    parts = [None] * len(store) if store.parts is None else [store.part_names[i] for i in store.parts]
    names = [store.class_names[i] for i in store.labels]
    return list(zip(names, groups, parts, store.images[:, 0, 0, 0].tolist(), strict=True))


LAYOUTS = {
    "groups": (
        ["Greek/alpha/1", "Greek/beta/1", "Latin/a/1", "Latin/a/2"],
        "2 groups, such as Greek/, and their classes",
        [
            ("Greek/alpha", "Greek", None, 0),
            ("Greek/beta", "Greek", None, 1),
            ("Latin/a", "Latin", None, 2),
            ("Latin/a", "Latin", None, 3),
        ],
    ),
    "the same class in two groups": (
        ["may/oak/1", "june/oak/1", "may/yew/1"],
        "2 groups",
        [("june/oak", "june", None, 1), ("may/oak", "may", None, 0), ("may/yew", "may", None, 2)],
    ),
    "a closed set": (
        ["test/oak/1", "test/yew/1", "train/oak/1", "train/yew/1", "Validation/oak/1"],
        "Validation/ and test/ and train/ are taken for the parts",
        [
            ("oak", None, "train", 2),
            ("oak", None, "val", 4),
            ("oak", None, "test", 0),
            ("yew", None, "train", 3),
            ("yew", None, "test", 1),
        ],
    ),
    "parts within classes": (
        ["oak/train/1", "oak/test/1", "yew/test/1", "yew/train/1"],
        "test/ and train/ in the classes are taken for the parts",
        [
            ("oak", None, "train", 0),
            ("oak", None, "test", 1),
            ("yew", None, "train", 3),
            ("yew", None, "test", 2),
        ],
    ),
    "groups within parts": (
        ["images_background/Greek/c1/1", "images_background/Greek/c2/1", "images_evaluation/Tengwar/c1/1"],
        "parts of the data set; two levels of folders are taken for 2 groups",
        [
            ("Greek/c1", "Greek", "train", 0),
            ("Greek/c2", "Greek", "train", 1),
            ("Tengwar/c1", "Tengwar", "test", 2),
        ],
    ),
    "a wrapper": (
        ["photos/oak/1", "photos/yew/1"],
        "the classes are taken from photos/",
        [("oak", None, None, 0), ("yew", None, None, 1)],
    ),
    "wrappers around groups": (
        ["a/b/Greek/alpha/1", "a/b/Greek/beta/1", "a/b/Latin/a/1"],
        "from a/; the classes are taken from a/b/; two levels",
        [("Greek/alpha", "Greek", None, 0), ("Greek/beta", "Greek", None, 1), ("Latin/a", "Latin", None, 2)],
    ),
    "one part alone": (
        ["train/oak/1", "train/yew/1"],
        "the classes are taken from train/",
        [("oak", None, None, 0), ("yew", None, None, 1)],
    ),
    "one alphabet": (
        ["Greek/alpha/1", "Greek/beta/1"],
        "the classes are taken from Greek/",
        [("alpha", None, None, 0), ("beta", None, None, 1)],
    ),
    "some classes with folders": (
        ["oak/1", "yew/2023/1", "yew/2024/1"],
        "yew/, with images in several sub-folders, is taken for a class",
        [("oak", None, None, 0), ("yew", None, None, 1), ("yew", None, None, 2)],
    ),
    "a folder of images in each class": (
        ["oak/images/1", "yew/images/1"],
        "",
        [("oak", None, None, 0), ("yew", None, None, 1)],
    ),
}


@pytest.mark.parametrize(("names", "said", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, names, said, expected):
    make(tmp_path, names)
    for _ in range(2):  # built, then from the cache
        with told(said):
            store = load(tmp_path, image_size=8)
        assert rows(store) == expected


def test_images_beside_the_classes_and_empty_folders_are_named_at_every_level(tmp_path):
    make(tmp_path, ["top", "train/beside", "train/oak/1", "train/yew/1", "test/oak/1", "test/yew/1"])
    (tmp_path / "test" / "elm" / "empty").mkdir(parents=True)
    with told(
        r"1 sub-folder without images \(test/elm\); 2 images beside the .* \(top\.png, train/beside\.png\)"
    ):
        assert len(load(tmp_path, image_size=8)) == 4


def given(**parts):
    """A store in which the classes of each part have that many images each."""
    found = sorted(
        (name, order, part)
        for order, (part, classes) in enumerate(parts.items())
        for name, count in classes.items()
        for _ in range(count)
    )
    names = sorted({name for name, _, _ in found})
    labels = np.array([names.index(name) for name, _, _ in found], np.int32)
    images = np.arange(len(found), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    order = [list(parts).index(part) for _, _, part in found]
    return ImageStore(
        images, labels, None, names, name="own", parts=np.array(order, np.int32), part_names=list(parts)
    )


def sizes(parts):
    return {
        name: dict(zip(part.class_names, part.images_per_class.tolist(), strict=True))
        for name, part in parts.items()
    }


CLASSES = {f"c{i}": 5 for i in range(10)}


@pytest.mark.parametrize(
    ("parts", "said", "expected"),
    [
        (
            {"train": {"a": 2, "b": 3}, "val": {"c": 2, "d": 2}, "test": {"e": 2, "f": 2}},
            "",
            {"train": {"a": 2, "b": 3}, "val": {"c": 2, "d": 2}, "test": {"e": 2, "f": 2}},
        ),
        (
            {"train": {"a": 5, "b": 10}, "test": {"a": 2, "b": 2}},
            "validation takes 20 % of the images of each class of 'train'",
            {"train": {"a": 4, "b": 8}, "val": {"a": 1, "b": 2}, "test": {"a": 2, "b": 2}},
        ),
        (
            {"train": {"a": 5, "b": 10}, "val": {"a": 2, "b": 2}},
            "there is no part 'test': 'val' is taken for it; validation takes 20 % of the images",
            {"train": {"a": 4, "b": 8}, "val": {"a": 1, "b": 2}, "test": {"a": 2, "b": 2}},
        ),
        (
            {"train": {"a": 2, "b": 3}, "val": {"c": 2, "d": 2}, "test": {"a": 2, "f": 2}},
            "1 of the 2 classes for the test are classes of 'train', too",
            {"train": {"a": 2, "b": 3}, "val": {"c": 2, "d": 2}, "test": {"a": 2, "f": 2}},
        ),
    ],
    ids=["three parts", "closed without val", "closed without test", "partly closed"],
)
def test_the_parts_of_the_data_are_the_split(parts, said, expected):
    with told(said):
        found = default_split(given(**parts))
    assert sizes(found) == expected
    assert [part.name for part in found.values()] == ["own/train", "own/val", "own/test"]
    together = np.concatenate([part.images[:, 0, 0, 0] for part in found.values()])
    assert sorted(together) == list(range(len(together)))


def test_validation_of_new_classes_is_taken_from_the_classes_of_the_training():
    with told("validation takes 20 % of the classes of 'train'"):
        found = sizes(default_split(given(train=CLASSES, test={"x": 2, "y": 2})))
    assert len(found["train"]) == 8
    assert {**found["train"], **found["val"]} == CLASSES
    assert found["test"] == {"x": 2, "y": 2}


def test_parts_without_training_are_refused():
    with pytest.raises(ArgumentError, match="must have a part 'train', received 'val' and 'test' in"):
        default_split(given(val={"a": 1, "b": 1}, test={"a": 1, "b": 1}))


# ---- by image


@pytest.mark.parametrize(
    ("images", "parts", "expected"),
    [
        (10, {"train": 0.6, "val": 0.2, "test": 0.2}, [6, 2, 2]),
        (12, {"train": 0.6, "val": 0.2, "test": 0.2}, [7, 3, 2]),
        (3, {"train": 0.6, "val": 0.2, "test": 0.2}, [1, 1, 1]),
        (4, {"train": 0.6, "val": 0.2, "test": 0.2}, [2, 1, 1]),
        (6, {"train": 3, "test": 2}, [3, 2]),
        (6, {"train": 4, "test": 0.5}, [4, 2]),
    ],
)
def test_every_class_is_in_every_part(images, parts, expected):
    store = given(train={"a": images, "b": images, "c": 20})
    found = store.split(by="image", seed=3, **parts)
    for part, size in zip(found.values(), expected, strict=True):
        assert part.class_names == store.class_names
        assert part.images_per_class[:2].tolist() == [size, size]
    together = np.concatenate([part.images[:, 0, 0, 0] for part in found.values()])
    assert len(set(together.tolist())) == len(together)
    again = store.split(by="image", seed=3, **parts)
    assert [part.content_hash for part in again.values()] == [part.content_hash for part in found.values()]
    # The images of each class are shuffled by themselves.
    start = [part.images[part.labels == 1, 0, 0, 0] - images for part in found.values()]
    assert (
        any(
            not np.array_equal(part.images[part.labels == 0, 0, 0, 0], other)
            for part, other in zip(found.values(), start, strict=True)
        )
        or images < 6
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"train": 0.6, "val": 0.2, "test": 0.2},
            r"fewer than 3 images.*with_min_images\(3\).*2 images of the class 'b'",
        ),
        ({"train": 2, "test": 1}, "fewer than 3 images"),
        ({"train": 0, "test": 1}, "train must be at least 1 image of each class, received train=0"),
        ({"train": 0.8, "test": 0.4}, "parts must have fractions with a sum of at most 1, received 1.2"),
        ({"train": -0.5}, "train must be a fraction above 0"),
        ({}, "parts must name at least one part"),
    ],
)
def test_a_split_by_image_is_refused(parts, message):
    with pytest.raises(ArgumentError, match=message):
        given(train={"a": 4, "b": 2}).split(by="image", **parts)


def test_few_classes_are_told_about_the_split_by_image():
    store = given(train={name: 4 for name in "abcde"})
    with pytest.raises(
        ArgumentError, match=r"at least 8 classes .* received 5 in .*train=2.* or tell these .*by='image'"
    ):
        default_split(store)
