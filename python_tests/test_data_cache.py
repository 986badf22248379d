# SPDX-License-Identifier: MIT
"""The cache: what is written is read, and nothing else is ever believed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fslcore.data import ImageStore, cache


@pytest.fixture
def store():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 1), np.uint8)
    return ImageStore(
        images, [0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1], ["ж", "b", "c"], ["Greek", "Latin"], "toy"
    )


def assert_same_store(one, other):
    assert one.content_hash == other.content_hash
    assert (one.name, one.class_names, one.group_names) == (other.name, other.class_names, other.group_names)
    if one.groups is None:
        assert other.groups is None
    else:
        assert one.groups.tolist() == other.groups.tolist()


def never():
    raise AssertionError("built although it was in the cache")


def test_second_load_reads_the_file(store, tmp_path):
    cache.load_or_build("toy", "source", lambda: store, tmp_path)
    assert_same_store(cache.load_or_build("toy", "source", never, tmp_path), store)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.store"]


def test_store_without_groups_survives(tmp_path):
    plain = ImageStore(np.zeros((2, 3, 3, 3), np.uint8), [0, 1])
    cache.write(tmp_path / "plain.store", plain, None)
    assert_same_store(cache.read(tmp_path / "plain.store"), plain)


def test_another_source_is_rebuilt_without_a_warning(store, tmp_path):
    cache.load_or_build("toy", "old", lambda: store.take([0, 2]), tmp_path)
    assert_same_store(cache.load_or_build("toy", "new", lambda: store, tmp_path), store)
    assert_same_store(cache.load_or_build("toy", "new", never, tmp_path), store)


def test_any_source_is_accepted_where_none_is_known(store, tmp_path):
    cache.write(tmp_path / "toy.store", store, "source")
    assert_same_store(cache.read(tmp_path / "toy.store", None), store)
    assert cache.read(tmp_path / "toy.store", "other") is None


def assert_rebuilt(path, store, message):
    with pytest.warns(UserWarning, match=message):
        rebuilt = cache.load_or_build("toy", "source", lambda: store, path.parent)
    assert_same_store(rebuilt, store)
    assert_same_store(cache.load_or_build("toy", "source", never, path.parent), store)


# Magic, digest, first array, middle, the directory at the end of the archive.
POSITIONS = [0, 7, 8, 39, 40, 200, 0.25, 0.5, 0.75, -30, -1]


def at(position, size):
    return int(position * size) if isinstance(position, float) else position % size


@pytest.mark.parametrize("position", POSITIONS)
def test_flipped_byte_is_noticed(store, tmp_path, position):
    path = tmp_path / "toy.store"
    cache.write(path, store, "source")
    content = bytearray(path.read_bytes())
    content[at(position, len(content))] ^= 0x10
    path.write_bytes(content)
    assert_rebuilt(
        path, store, "not a store written by fslcore" if position in (0, 7) else "damaged or incomplete"
    )


@pytest.mark.parametrize("length", POSITIONS)
def test_half_written_file_is_noticed(store, tmp_path, length):
    path = tmp_path / "toy.store"
    cache.write(path, store, "source")
    content = path.read_bytes()
    path.write_bytes(content[: at(length, len(content))])
    assert_rebuilt(
        path, store, "not a store written by fslcore" if length in (0, 7) else "damaged or incomplete"
    )


def test_appended_byte_is_noticed(store, tmp_path):
    path = tmp_path / "toy.store"
    cache.write(path, store, "source")
    path.write_bytes(path.read_bytes() + b"\0")
    assert_rebuilt(path, store, "damaged or incomplete")


def test_foreign_file_is_noticed(store, tmp_path):
    path = tmp_path / "toy.store"
    with path.open("wb") as file:
        np.savez(file, images=np.zeros(3))
    assert_rebuilt(path, store, "not a store written by fslcore")


def test_interrupted_write_leaves_the_old_file_and_nothing_else(store, tmp_path, monkeypatch):
    path = tmp_path / "toy.store"
    cache.write(path, store, "old")

    def interrupted(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.write(path, store.take([0, 2]), "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.store"]
    assert_same_store(cache.read(path, "old"), store)


def test_unwritable_cache_gives_the_store_and_a_warning(store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not keep toy in the cache"):
        built = cache.load_or_build("toy", "source", lambda: store, tmp_path / "file" / "cache")
    assert built is store


def test_folder_in_place_of_the_file(store, tmp_path):
    (tmp_path / "toy.store").mkdir()
    with (
        pytest.warns(UserWarning, match="toy.store cannot be read"),
        pytest.warns(UserWarning, match="could not keep toy in the cache"),
    ):
        built = cache.load_or_build("toy", "source", lambda: store, tmp_path)
    assert built is store


def test_directory_comes_from_argument_environment_or_user(tmp_path, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path / "environment"))
    assert cache.directory(tmp_path / "argument") == tmp_path / "argument"
    assert cache.directory() == tmp_path / "environment"
    monkeypatch.delenv("FSLCORE_CACHE_DIR")
    assert cache.directory().name == "fslcore"


def test_file_fingerprint_follows_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = cache.file_fingerprint([path])
    assert cache.file_fingerprint([path]) == before
    os.utime(path, ns=(0, 1))
    touched = cache.file_fingerprint([path])
    path.write_bytes(b"four")
    os.utime(path, ns=(0, 1))
    assert len({before, touched, cache.file_fingerprint([path])}) == 3
