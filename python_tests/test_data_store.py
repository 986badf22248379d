# SPDX-License-Identifier: MIT
"""ImageStore: what it accepts, what its parts hold, and how it is divided."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, datasets, default_split


def store_of(sizes, groups=None, name="toy"):
    """A store with `sizes[c]` images of class c; every image holds its row number."""
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    images = np.arange(labels.size, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    class_names = [f"class {c}" for c in range(len(sizes))]
    if groups is None:
        return ImageStore(images, labels, class_names=class_names, name=name)
    group_names = [f"group {g}" for g in range(max(groups) + 1)]
    return ImageStore(images, labels, np.asarray(groups)[labels], class_names, group_names, name)


def rows(store):
    return store.images[:, 0, 0, 0].tolist()


def test_store_describes_itself():
    store = store_of([3, 1, 2], groups=[0, 1, 1])
    assert (len(store), store.n_classes, store.n_groups, store.image_shape) == (6, 3, 2, (2, 2, 1))
    assert store.images_per_class.tolist() == [3, 1, 2]
    assert repr(store) == "ImageStore('toy': 6 images 2x2x1, 3 classes in 2 groups)"


def test_store_cannot_be_changed():
    store = store_of([2, 2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        store.name = "other"
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 1


def test_names_default_to_numbers():
    store = ImageStore(np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 1]), groups=np.array([1, 0]))
    assert store.class_names == ("0", "1")
    assert store.group_names == ("0", "1")


IMAGES = np.zeros((3, 2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"images": IMAGES / 255.0}, r"images must be uint8 .* received float64", id="float images"
        ),
        pytest.param({"images": IMAGES[..., 0]}, r"received uint8 \[3, 2, 2\]", id="no channel axis"),
        pytest.param(
            {"images": IMAGES[:0], "labels": np.zeros(0, int)}, "at least one image", id="no images"
        ),
        pytest.param({"labels": [0, 1]}, r"one per image \[3\], received int64 \[2\]", id="labels too short"),
        pytest.param({"labels": [0.0, 1.0, 1.0]}, "labels must be integers", id="float labels"),
        pytest.param({"labels": [1, 1, 2]}, r"received labels\[0\]=1", id="labels do not start at 0"),
        pytest.param({"labels": [0, 1, 0]}, r"received labels\[2\]=0 after 1", id="labels not sorted"),
        pytest.param({"labels": [0, 2, 2]}, r"received labels\[1\]=2 after 0", id="an empty class"),
        pytest.param(
            {"class_names": ["a"]}, r"one name per class \(2\), received 1", id="class names missing"
        ),
        pytest.param({"groups": [0, 1]}, "groups must be integers, one per image", id="groups too short"),
        pytest.param(
            {"groups": [0, 0, 2], "group_names": ["a", "b"]},
            "the 2 group_names, received .* to 2",
            id="group beyond",
        ),
        pytest.param({"groups": [0, 0, -1]}, "received values from -1", id="negative group"),
        pytest.param(
            {"group_names": ["a"]}, "group_names must be empty without groups", id="names without groups"
        ),
    ],
)
def test_store_rejects(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        ImageStore(**{"images": IMAGES, "labels": [0, 1, 1], **arguments})


def test_from_arrays_sorts_by_class_and_keeps_the_order_within():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    store = ImageStore.from_arrays(images, ["b", "a", "b", "c", "a"], groups=[20, 10, 20, 10, 10])
    assert rows(store) == [1, 4, 0, 2, 3]
    assert store.class_names == ("a", "b", "c")
    assert store.labels.tolist() == [0, 0, 1, 1, 2]
    assert store.groups.tolist() == [0, 0, 1, 1, 0]
    assert store.group_names == ("10", "20")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([0, 1], "labels must be integers, one per image", id="too short"),
        pytest.param([[0], [1], [1]], r"integers or strings \[N\], received int64 \[3, 1\]", id="two axes"),
        pytest.param([0.5, 1, 1], "received float64", id="float"),
    ],
)
def test_from_arrays_rejects(labels, message):
    with pytest.raises(ArgumentError, match=message):
        ImageStore.from_arrays(IMAGES, labels)


def test_content_hash_is_of_images_and_labels_only():
    store = store_of([2, 2])
    assert store.content_hash == store_of([2, 2], groups=[0, 1], name="other").content_hash
    assert len(store.content_hash) == 32
    changed = store.images.copy()
    changed[3, 1, 1, 0] += 1
    assert ImageStore(changed, store.labels).content_hash != store.content_hash
    assert ImageStore(store.images, [0, 1, 1, 1]).content_hash != store.content_hash
    assert ImageStore(store.images.reshape(4, 4, 1, 1), store.labels).content_hash != store.content_hash


def test_take_keeps_names_and_renumbers():
    part = store_of([2, 2, 2], groups=[0, 1, 2]).take([5, 2, 4], name="part")
    assert rows(part) == [2, 4, 5]
    assert part.labels.tolist() == [0, 1, 1]
    assert part.class_names == ("class 1", "class 2")
    assert part.groups.tolist() == [0, 1, 1]
    assert part.group_names == ("group 1", "group 2")
    assert part.name == "part"


@pytest.mark.parametrize(
    "wrong", [[], [0, 0], [6], [-1], [0.0], [[0]], [True, False]], ids=lambda rows: str(rows).replace(" ", "")
)
def test_take_rejects(wrong):
    with pytest.raises(ArgumentError, match="rows must be"):
        store_of([2, 2, 2]).take(wrong)


def test_with_min_images():
    store = store_of([3, 1, 2])
    assert store.with_min_images(2).class_names == ("class 0", "class 2")
    assert store.with_min_images(1) is store
    with pytest.raises(ArgumentError, match=r"n must be at most 3.* received n=4"):
        store.with_min_images(4)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=12),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_label_parts_are_disjoint_and_complete(sizes, seed, data):
    store = store_of(sizes)
    train = data.draw(st.integers(1, len(sizes) - 2))
    parts = store.split(by="label", seed=seed, train=train, test=len(sizes) - train)
    names = [part.class_names for part in parts.values()]
    assert [len(part) for part in names] == [train, len(sizes) - train]
    assert set(names[0]).isdisjoint(names[1])
    assert sorted(rows(parts["train"]) + rows(parts["test"])) == list(range(len(store)))
    for part in parts.values():
        for row, label in zip(rows(part), part.labels, strict=True):
            assert part.class_names[label] == store.class_names[store.labels[row]]


@given(groups=st.lists(st.integers(0, 5), min_size=4, max_size=15), seed=st.integers(0, 1000))
def test_group_parts_share_no_group(groups, seed):
    groups = np.unique([*groups, 0, 1], return_inverse=True)[1].tolist()  # at least two, numbered from 0
    store = store_of([2] * len(groups), groups)
    parts = store.split(by="group", seed=seed, train=1, test=1)
    assert set(parts["train"].group_names).isdisjoint(parts["test"].group_names)
    for part in parts.values():
        (group,) = part.group_names
        assert len(part) == 2 * groups.count(store.group_names.index(group))


def test_split_is_the_same_for_the_same_seed_only():
    store = store_of([1] * 40)
    first, again, other = (store.split(seed=seed, train=20)["train"].class_names for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_split_is_the_same_on_every_platform():
    # The values are NumPy's guaranteed Philox stream; a change here would move every published split.
    parts = store_of([1] * 10).split(seed=0, train=6, test=4)
    assert rows(parts["train"]) == [0, 3, 5, 7, 8, 9]
    assert rows(parts["test"]) == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("total", "parts", "sizes"),
    [
        pytest.param(10, {"train": 0.6, "val": 0.2, "test": 0.2}, [6, 2, 2], id="even"),
        pytest.param(7, {"train": 0.6, "val": 0.2, "test": 0.2}, [4, 2, 1], id="rounded, nothing left over"),
        pytest.param(10, {"train": 0.5, "test": 2}, [5, 2], id="fraction and count"),
        pytest.param(10, {"all": 1.0}, [10], id="a float is a fraction"),
        pytest.param(10, {"one": 1}, [1], id="an int is a count"),
    ],
)
def test_part_sizes(total, parts, sizes):
    assert [part.n_classes for part in store_of([1] * total).split(**parts).values()] == sizes


def test_parts_are_named_after_the_store():
    assert store_of([1, 1], name="omniglot").split(test=1)["test"].name == "omniglot/test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"by": "alphabet", "a": 1},
            "by must be 'label', 'group' or 'image', received by='alphabet'",
            id="by",
        ),
        pytest.param({"by": "group", "a": 1}, "store without groups", id="no groups"),
        pytest.param({}, "at least one part", id="no parts"),
        pytest.param({"a": 3, "b": 2}, "at most the 4 labels there are, received a=3, b=2", id="too many"),
        pytest.param({"a": 0.8, "b": 0.8}, "together 6", id="fractions above 1"),
        pytest.param({"a": 0}, "a must get at least one .* received a=0", id="nothing"),
        pytest.param({"a": -1}, "received a=-1", id="negative"),
        pytest.param(
            {"a": 0.01}, "a must get at least one of the 4 labels, received a=0.01", id="rounds to none"
        ),
        pytest.param({"a": 1.5}, "a must be a fraction", id="fraction above 1"),
        pytest.param({"a": float("nan")}, "a must be a fraction", id="nan"),
        pytest.param({"a": True}, "a must be a count", id="bool"),
        pytest.param({"a": "half"}, "received a='half'", id="string"),
        pytest.param(
            {"a": 1, "seed": -1}, "seed must be an integer of 0 or larger, received seed=-1", id="seed"
        ),
    ],
)
def test_split_rejects(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        store_of([1, 1, 1, 1]).split(**arguments)


def test_default_split_of_any_store():
    sizes = {name: part.n_classes for name, part in default_split(store_of([2] * 20)).items()}
    assert sizes == {"train": 12, "val": 4, "test": 4}


@pytest.mark.parametrize("name", datasets.names())
def test_default_split_of_a_folder_that_bears_a_datasets_name(name):
    assert default_split(store_of([2] * 8, name=name))["train"].n_classes == 5


@pytest.mark.parametrize("n_classes", range(1, 8))
def test_a_default_split_with_nothing_to_tell_apart_is_refused(n_classes):
    store = store_of([2] * n_classes)
    with pytest.raises(ArgumentError, match=f"store must have at least 8 classes .* received {n_classes} in"):
        default_split(store)
    assert [part.n_classes for part in default_split(store_of([2] * 8)).values()] == [5, 1, 2]
    if n_classes >= 4:
        with pytest.raises(ArgumentError, match=r"store\.split\(train=2, test=2\)"):
            default_split(store)
        store.split(train=2, test=2)


@pytest.mark.parametrize("total", range(1, 20))
@pytest.mark.parametrize(
    "parts", [{"train": 0.6, "val": 0.2, "test": 0.2}, {"a": 0.1}, {"a": 0.9, "b": 0.1}, {"a": 1, "b": 0.25}]
)
def test_a_fraction_of_nothing_says_how_many_there_must_be(total, parts):
    try:
        store_of([1] * total).split(**parts)
    except ArgumentError as error:
        if "together" in str(error):
            return
        least = int(re.search(r"there must be (\d+) or more; \w+=1 is a count$", str(error))[1])
        assert least > total
        store_of([1] * (least + 1)).split(**parts)


def test_classes_with_few_images_are_named_with_what_helps():
    store = store_of([9, 2, 1, 3, 9, 2, 2, 3])
    message = (
        r"class 'class 2' of .* has 1; 6 of 8 classes have too few \(also 'class 1' 2, 'class 5' 2, "
        r"'class 6' 2, 'class 3' 3, \.\.\.\)\. Leave them out with \.with_min_images\(4\)"
    )
    for draw in (lambda s: s.episodes(2, 1, 3), lambda s: s.pk_batches(2, 4)):
        with pytest.raises(ArgumentError, match=message):
            draw(store)
        draw(store.with_min_images(4))
    with pytest.raises(ArgumentError, match=r"Choose at most 1, or up to 9 after \.with_min_images\(9\)"):
        store.episodes(2, 1, 15)
    with pytest.raises(ArgumentError, match=r"Choose at most 3$"):
        store_of([3, 3]).episodes(2, 1, 15)


@pytest.mark.parametrize("n", [-1, 2.0, "2", True, None, float("nan")])
def test_with_min_images_takes_a_count(n):
    with pytest.raises(ArgumentError, match="n must be an integer of 0 or more"):
        store_of([2, 2]).with_min_images(n)
