# SPDX-License-Identifier: MIT
"""The registry of datasets, their limits and splits, and the progress of a loader."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, datasets, default_split, load
from fslcore.data.datasets import registry
from fslcore.data.datasets.dataset import watched


@pytest.fixture
def pets(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    return tmp_path / "pets"


def test_names():
    assert {"glyphs", "omniglot"} <= set(datasets.names())


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_bears_its_name(name):
    dataset = datasets.get(name)
    assert dataset.name == name
    assert datasets.find(name) is dataset


def test_registry_imports_neither_tensorflow_nor_the_datasets():
    program = (
        "import sys; from fslcore.data import datasets; datasets.names()\n"
        "print({'tensorflow', 'keras', 'matplotlib', 'fslcore.data.datasets.glyphs'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_unknown_name():
    known = ", ".join(map(repr, datasets.names()))
    with pytest.raises(ArgumentError, match=f"name must be one of {known}, received name='mnist'"):
        datasets.get("mnist")


def test_folder_is_a_dataset(pets):
    dataset = datasets.find(pets)
    assert (dataset.name, dataset.channels, dataset.grouped) == ("folder", (1, 3), False)
    assert dataset.load(datasets.Request(image_size=8, cache_dir=pets.parent)).class_names == ("cat", "dog")


def test_folder_with_the_name_of_a_dataset(pets, monkeypatch):
    pets.rename(pets.parent / "glyphs")
    monkeypatch.chdir(pets.parent)
    assert datasets.find("glyphs").name == "glyphs"
    assert datasets.find("./glyphs").name == "folder"


@pytest.mark.parametrize("name", [name for name in datasets.names() if name != "emoji"])
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((7, None), "image_size must be an integer of 8 or more, received image_size=7"),
        ((28, 3), "channels must be 1 or None for {name}, received channels=3"),
    ],
    ids=["size", "channels"],
)
def test_limits_of_the_named_datasets(name, limits, message):
    with pytest.raises(ArgumentError, match=message.format(name=name)) as caught:
        datasets.get(name).check(*limits)
    assert caught.value.argument in ("image_size", "channels")
    datasets.get(name).check(8, 1)


def test_a_new_dataset_is_one_module_and_one_line(monkeypatch):
    store = ImageStore(np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 2, 3], name="toys")

    def split(whole):
        return {"train": whole.take([0, 1]), "val": whole.take([2]), "test": whole.take([3])}

    module = type(sys)("fslcore.data.datasets.toys")
    module.DATASET = datasets.Dataset("toys", lambda request: store, channels=(1,), split=split)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_NAMES", (*datasets.names(), "toys"))
    assert datasets.names()[-1] == "toys"
    assert load("toys") is store
    assert [part.n_classes for part in default_split(store).values()] == [2, 1, 1]
    with pytest.raises(ArgumentError, match=r"'glyphs', .* 'toys' or a folder, received 'no such'"):
        load("no such")


def test_progress_counts_from_nothing_to_all(pets):
    calls = []
    load(pets, image_size=8, cache_dir=pets.parent, progress=lambda *call: calls.append(call))
    assert calls == [(done, 3, "reading pets") for done in range(4)]


def test_progress_is_not_called_for_a_cached_store(pets):
    load(pets, image_size=8, cache_dir=pets.parent)

    def never(*call):
        raise AssertionError(call)

    load(pets, image_size=8, cache_dir=pets.parent, progress=never)


def test_watched_items_are_all_there():
    calls = []
    assert list(watched("abc", 3, "letters", lambda *call: calls.append(call))) == ["a", "b", "c"]
    assert list(watched("abc", 3, "letters", None)) == ["a", "b", "c"]
    assert calls == [(0, 3, "letters"), (1, 3, "letters"), (2, 3, "letters"), (3, 3, "letters")]
