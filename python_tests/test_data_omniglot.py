# SPDX-License-Identifier: MIT
"""Omniglot through TFDS. Needs a prepared copy; see `prepared`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from fslcore.data import default_split, load


@pytest.fixture(scope="module")
def prepared():
    beside = Path(__file__).resolve().parents[2] / "shared" / "tensorflow_datasets"
    folder = Path(os.environ.get("TFDS_DATA_DIR", beside))
    if not any(folder.glob("omniglot/*/omniglot-train*")):
        pytest.skip(f"no prepared omniglot in {folder}; set TFDS_DATA_DIR")
    return folder


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("omniglot")


@pytest.fixture(scope="module")
def store(prepared, cache_dir):
    return load("omniglot", data_dir=prepared, cache_dir=cache_dir)


def test_store_is_the_whole_dataset(store):
    assert (len(store), store.n_classes, store.n_groups) == (32460, 1623, 50)
    assert set(store.images_per_class) == {20}
    assert store.class_names[store.labels[0]] == "Arcadian_0"
    for name, group in zip(store.class_names, store.groups[::20], strict=True):
        assert name.startswith(store.group_names[group])


def test_ink_is_bright_on_black(store):
    # A drawing covers a small part of its image; the paper is exactly 0.
    assert np.all(store.images.max(axis=(1, 2, 3)) > 100)
    assert np.mean(store.images == 0) > 0.7


def test_images_are_area_averages_of_the_originals(store, prepared):
    import tensorflow_datasets as tfds

    original = next(iter(tfds.load("omniglot", split="train", data_dir=prepared, shuffle_files=False)))
    ink = 255.0 - original["image"].numpy()[..., 0]
    # A pixel is the mean over 105 / 28 = 3.75 pixels along each axis: exact on a grid four times as fine.
    expected = np.repeat(np.repeat(ink, 4, 0), 4, 1).reshape(28, 15, 28, 15).mean(axis=(1, 3))
    candidates = store.images[store.labels == int(original["label"]), ..., 0]
    # Half a grey level of rounding, and float32 on the way: 256 * 2**-23 per addition, 16 pixels.
    worst = np.abs(candidates - expected).max(axis=(1, 2))
    assert worst.min() <= 0.5 + 256 * 2.0**-19


def test_default_split_is_the_customary_one(store):
    parts = default_split(store)
    assert [part.n_classes for part in parts.values()] == [1028, 172, 423]
    names = [set(part.class_names) for part in parts.values()]
    assert set.union(*names) == set(store.class_names)


def test_cached_load_imports_neither_tfds_nor_tensorflow(store, prepared, cache_dir):
    program = (
        "import sys; from fslcore.data import load\n"
        f"store = load('omniglot', data_dir={str(prepared)!r}, cache_dir={str(cache_dir)!r})\n"
        "assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)\n"
        "print(store.content_hash)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == store.content_hash


def test_environment_names_the_data_folder(store, prepared, cache_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert load("omniglot", cache_dir=cache_dir).content_hash == store.content_hash


def test_missing_dataset_without_network(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(
        FileNotFoundError, match=r"data_dir must be .* received .*nowhere.*no network.*TFDS_DATA_DIR"
    ):
        load("omniglot", data_dir=tmp_path / "nowhere", cache_dir=tmp_path)


def copied(prepared, tmp_path):
    """A copy that can be written to, as the original may not be."""
    folder = tmp_path / "data"
    shutil.copytree(prepared / "omniglot", folder / "omniglot", copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def damaged(prepared, tmp_path):
    """A copy whose test file ends in the middle of a record."""
    folder = copied(prepared, tmp_path)
    (path,) = folder.glob("omniglot/*/omniglot-test*")
    os.truncate(path, path.stat().st_size // 2)
    return folder


def version_of(folder):
    (version,) = (folder / "omniglot").iterdir()
    return version


def without(name):
    def damage(folder):
        for path in version_of(folder).glob(name):
            path.unlink()

    return damage


def with_content(name, content):
    def damage(folder):
        for path in version_of(folder).glob(name):
            path.chmod(0o644)
            path.write_bytes(content)

    return damage


def with_changed(name, old, new):
    def damage(folder):
        for path in version_of(folder).glob(name):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes().replace(old, new))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        without("omniglot-test*"),
        without("dataset_info.json"),
        with_content("dataset_info.json", b"{"),
        with_content("dataset_info.json", b"{}"),
        with_content("omniglot-train*", b""),
        with_content("omniglot-train*", b"no record"),
        with_content("label.labels.txt", b""),
        with_changed("dataset_info.json", b'"test"', b'"other"'),
    ],
    ids=range(8),
)
def test_every_damage_is_one_sentence(prepared, tmp_path, damage):
    folder = copied(prepared, tmp_path)
    damage(folder)
    with pytest.raises(
        RuntimeError, match=r"^omniglot in .* cannot be read: .*\. Delete .* prepare it again$"
    ):
        load("omniglot", data_dir=folder, cache_dir=tmp_path)
    assert not list(tmp_path.glob("omniglot*"))


def test_damaged_dataset_is_named(damaged, tmp_path):
    with pytest.raises(RuntimeError, match=r"omniglot in .* cannot be read"):
        load("omniglot", data_dir=damaged, cache_dir=tmp_path)
    assert not list(tmp_path.glob("omniglot*"))
