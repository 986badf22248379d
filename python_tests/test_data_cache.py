# SPDX-License-Identifier: MIT
"""The cache: what is written is read, and nothing else is ever believed."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, building, cache, image_file
from fslcore.data.arrays import is_aligned
from fslcore.data.stream import Stream


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


def keep(store, folder, source="source"):
    """The path of the file that a store is kept in."""
    cache.load_or_build("toy", source, lambda: store, folder)
    return folder / "toy.images"


def test_second_load_reads_the_file(store, tmp_path):
    cache.load_or_build("toy", "source", lambda: store, tmp_path)
    assert_same_store(cache.load_or_build("toy", "source", never, tmp_path), store)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.images"]


def test_store_without_groups_survives(tmp_path):
    plain = ImageStore(np.zeros((2, 3, 3, 3), np.uint8), [0, 1])
    assert_same_store(image_file.read(keep(plain, tmp_path), into_memory=True), plain)


@pytest.mark.parametrize("in_blocks_of", [1, 4, 1000])
def test_images_of_any_order_are_read_class_by_class(tmp_path, monkeypatch, in_blocks_of):
    monkeypatch.setattr(image_file, "_BLOCK_IMAGES", in_blocks_of)
    images = np.random.default_rng(1).integers(0, 256, (23, 4, 5, 3), np.uint8)
    labels = np.random.default_rng(2).integers(0, 5, 23).astype(np.int32)
    broken = (3, 11)

    @contextmanager
    def stream():
        yield Stream(
            (4, 5, 3),
            labels,
            lambda first, last: ("no image" if i in broken else images[i] for i in range(first, last)),
            tuple("abcde"),
            closing=lambda reasons: [f"{sorted(reasons)}"],
        )

    rows = [i for label in range(5) for i in range(23) if labels[i] == label and i not in broken]
    notes = [[], []]
    for said in notes:
        read = cache.load_or_stream("toy", "s", stream, "memory", tmp_path, said)
        np.testing.assert_array_equal(read.images, images[rows])
        np.testing.assert_array_equal(read.labels, labels[rows])
    assert notes == [["[3, 11]"]] * 2
    assert is_aligned(read.images)


def test_memory_and_map_share_a_file(store, tmp_path):
    keep(store, tmp_path)
    mapped = cache.load_or_build("toy", "source", never, tmp_path, storage="mapped")
    assert_same_store(mapped, store)
    memory = mapped.images
    while isinstance(memory, np.ndarray):
        memory = memory.base
    assert isinstance(memory, mmap.mmap)


def test_another_source_is_rebuilt_without_a_warning(store, tmp_path):
    cache.load_or_build("toy", "old", lambda: store.take([0, 2]), tmp_path)
    assert_same_store(cache.load_or_build("toy", "new", lambda: store, tmp_path), store)
    assert_same_store(cache.load_or_build("toy", "new", never, tmp_path), store)


def test_any_source_is_accepted_where_none_is_known(store, tmp_path):
    path = keep(store, tmp_path)
    assert_same_store(image_file.read(path, None), store)
    assert image_file.read(path, "other") is None


def assert_rebuilt(path, store, message):
    with pytest.warns(UserWarning, match=message):
        rebuilt = cache.load_or_build("toy", "source", lambda: store, path.parent)
    assert_same_store(rebuilt, store)
    assert_same_store(cache.load_or_build("toy", "source", never, path.parent), store)


# Magic, digest, first page, images (150 bytes), the index up to its end.
POSITIONS = [0, 7, 8, 39, 40, 200, 4095, 4096, 4200, 4245, 4246, 0.9, -30, -1]
WRONG = "not a store of images written by this version|damaged|incomplete"


def at(position, size):
    return int(position * size) if isinstance(position, float) else position % size


@pytest.mark.parametrize("position", POSITIONS)
def test_flipped_byte_is_noticed(store, tmp_path, position):
    path = keep(store, tmp_path)
    content = bytearray(path.read_bytes())
    content[at(position, len(content))] ^= 0x10
    path.write_bytes(content)
    assert_rebuilt(path, store, WRONG)


@pytest.mark.parametrize("length", POSITIONS)
def test_half_written_file_is_noticed(store, tmp_path, length):
    path = keep(store, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: at(length, len(content))])
    assert_rebuilt(path, store, WRONG)


def test_damage_in_any_block_is_noticed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "_BLOCK_IMAGES", 1)
    for block in range(len(store)):
        path = keep(store, tmp_path)
        content = bytearray(path.read_bytes())
        content[image_file.PAGE + 25 * block + 12] ^= 1
        path.write_bytes(content)
        assert_rebuilt(path, store, f"the checksum of block {block} does not match")


def test_appended_byte_is_noticed(store, tmp_path):
    path = keep(store, tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    assert_rebuilt(path, store, "incomplete")


def test_foreign_file_is_noticed(store, tmp_path):
    path = tmp_path / "toy.images"
    with path.open("wb") as file:
        np.savez(file, images=np.zeros(3))
    assert_rebuilt(path, store, "not a store of images")


def test_interrupted_write_leaves_the_old_file(store, tmp_path, monkeypatch):
    path = keep(store.take([0, 2]), tmp_path, "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_file, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.load_or_build("toy", "new", lambda: store, tmp_path)
    assert_same_store(image_file.read(path, "old"), store.take([0, 2]))
    monkeypatch.undo()
    assert_same_store(cache.load_or_build("toy", "new", lambda: store, tmp_path), store)
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.images"]


def test_unwritable_cache_gives_the_store_and_a_warning(store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not keep toy in the cache"):
        built = cache.load_or_build("toy", "source", lambda: store, tmp_path / "file" / "cache")
    assert built is store


def test_folder_in_place_of_the_file(store, tmp_path):
    (tmp_path / "toy.images").mkdir()
    with (
        pytest.warns(UserWarning, match="toy.images cannot be read"),
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


def odd(path, **changes):
    """Writes a cached file whose checksums are right and whose content is not."""
    layout = image_file.Layout("plain", 2, (3, 3, 1))
    images = np.zeros((2, 3, 3, 1), np.uint8)
    index = {
        "source": "source",
        "labels": np.array([0, 1], np.int32),
        "groups": None,
        "parts": None,
        "missing": np.zeros(2, np.bool_),
        "sizes": np.array([9, 9]),
        "digests": np.frombuffer(image_file.digest_of(images.data), np.uint8).reshape(1, 32),
        "class_names": ["a", "b"],
        "group_names": [],
        "part_names": [],
        "preparation": None,
        "name": "toy",
        "notes": [],
        **changes,
    }
    with path.open("w+b") as file:
        file.seek(image_file.PAGE)
        file.write(images.data)
        image_file.finish(file, layout, image_file.Index(**index))


ODD = {
    "no labels": {"labels": None},
    "names of another number": {"class_names": ["a"]},
    "names that are missing": {"class_names": ["a", None]},
    "labels that are objects": {"labels": np.array([None, None], object)},
    "labels of another number": {"labels": np.array([0, 1, 1], np.int32)},
    "labels without a name": {"labels": np.array([0, 7], np.int32)},
    "groups of another number": {"groups": np.array([0], np.int32)},
    "digests of another number": {"digests": np.zeros((0, 32), np.uint8)},
    "digests that are numbers": {"digests": np.zeros(1, np.float64)},
    "images missing of another number": {"missing": np.zeros(5, np.bool_)},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_odd_content_with_a_right_checksum_is_rebuilt(store, tmp_path, changes):
    odd(tmp_path / "toy.images", **changes)
    assert_rebuilt(
        tmp_path / "toy.images", store, r"toy\.images (has odd content|is damaged).*; it is rebuilt"
    )


def test_the_odd_content_would_be_read_if_it_were_not_odd(tmp_path):
    odd(tmp_path / "toy.images")
    store = image_file.read(tmp_path / "toy.images", "source", into_memory=True)
    assert store.class_names == ("a", "b")


def test_notes_are_kept_with_the_store(store, tmp_path):
    def build(notes):
        notes.append("one of two was left out")
        return store

    for _ in range(2):
        notes = []
        cache.load_or_build("toy", "source", lambda notes=notes: build(notes), tmp_path, notes)
        assert notes == ["one of two was left out"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_cache_that_cannot_be_written_is_said_with_what_would_help(store, tmp_path, monkeypatch, number):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(image_file, "finish", fails)
    message = f"could not keep toy in the cache .*toy.images: {os.strerror(number)}.*FSLCORE_CACHE_DIR names"
    with pytest.warns(UserWarning, match=message):
        assert cache.load_or_build("toy", "source", lambda: store, tmp_path) is store
    assert not (tmp_path / "toy.images").exists()


@pytest.mark.parametrize("storage", cache.STORAGES)
def test_a_disk_without_room(store, tmp_path, monkeypatch, storage):
    usage = building.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage)
    many = ImageStore(np.zeros((1000, 5, 5, 1), np.uint8), np.arange(1000) // 2)
    if storage == "memory":
        with pytest.warns(UserWarning, match="could not keep images in the cache .*GB are free; cache_dir"):
            assert cache.load_or_build("toy", "source", lambda: many, tmp_path) is many
    else:
        with pytest.raises(ArgumentError, match="cache_dir must be a folder on a disk with room"):
            cache.load_or_build("toy", "source", lambda: many, tmp_path, storage=storage)


def test_what_a_killed_process_has_left_is_used_up(store, tmp_path):
    program = (
        "import os, signal, sys, numpy as np\n"
        "from fslcore.data import ImageStore, cache, image_file\n"
        "image_file.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = ImageStore(np.zeros((2, 3, 3, 1), np.uint8), [0, 1])\n"
        "cache.load_or_build('toy', None, lambda: store, sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    cache.load_or_build("toy", "source", lambda: store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.images"]


def test_four_processes_build_one_cache(tmp_path):
    program = (
        "import sys, numpy as np\n"
        "from fslcore.data import ImageStore, cache\n"
        "images = np.arange(400 * 64 * 64, dtype=np.uint32).astype(np.uint8).reshape(400, 64, 64, 1)\n"
        "store = ImageStore(images, np.arange(400) // 2)\n"
        "for i in range(20):\n"
        "    print(cache.load_or_build('toy', str(i), lambda: store, sys.argv[1]).content_hash)"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = [process.communicate()[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len({digest for digests in printed for digest in digests}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["toy.images"]


@pytest.mark.parametrize("wrong", ["~no-such-user/cache", 3])
def test_a_cache_folder_that_is_none(wrong):
    with pytest.raises(ArgumentError, match="cache_dir must be a folder"):
        cache.directory(wrong)
