# SPDX-License-Identifier: MIT
"""The cache: what is written is read, and nothing else is ever believed."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
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


def with_right_checksum(content):
    return b"fslcore1" + hashlib.blake2b(content, digest_size=32).digest() + content


def odd(**changes):
    """A cached file whose checksum is right and whose arrays are not."""
    header = {"source": "source", "class_names": ["a", "b"], "group_names": [], "name": "toy"}
    changed = changes.pop("header", {})
    header = {key: value for key, value in {**header, **(changed or {})}.items() if value != "gone"}
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "images": np.zeros((2, 3, 3, 1), np.uint8),
        "labels": np.array([0, 1], np.int32),
        **changes,
    }
    if changed is None:
        del arrays["header"]
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return with_right_checksum(file.getvalue())


ODD = {
    "no archive": with_right_checksum(b"no archive"),
    "nothing": with_right_checksum(b""),
    **{f"no {name}": odd(**{name: None}) for name in ("header", "images", "labels")},
    **{f"no {key}": odd(header={key: "gone"}) for key in ("source", "class_names", "group_names", "name")},
    "the beginning of an archive": with_right_checksum(b"PK"),
    "names of another number": odd(header={"class_names": ["a"]}),
    "names that are missing": odd(header={"class_names": ["a", None]}),
    "names that are numbers": odd(header={"class_names": 3}),
    "labels that are not sorted": odd(labels=np.array([1, 0], np.int32)),
    "labels of another number": odd(labels=np.array([0, 1, 1], np.int32)),
    "images of another type": odd(images=np.zeros((2, 3, 3, 1))),
    "images that are objects": odd(images=np.array([None, None], object)),
    "groups of another number": odd(groups=np.array([0], np.int32)),
    "notes that are a number": odd(header={"notes": 3}),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_content_with_a_right_checksum_is_rebuilt(store, tmp_path, content):
    (tmp_path / "toy.store").write_bytes(content)
    assert_rebuilt(tmp_path / "toy.store", store, r"toy\.store has odd content .*; it is rebuilt")


def test_the_odd_content_would_be_read_if_it_were_not_odd(tmp_path):
    (tmp_path / "toy.store").write_bytes(odd())
    assert cache.read(tmp_path / "toy.store", "source").class_names == ("a", "b")


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

    monkeypatch.setattr(np, "savez", fails)
    message = f"could not keep toy in the cache .*toy.store: {os.strerror(number)}.*FSLCORE_CACHE_DIR names"
    with pytest.warns(UserWarning, match=message):
        assert cache.load_or_build("toy", "source", lambda: store, tmp_path) is store
    assert not list(tmp_path.iterdir())


def test_temporaries_of_killed_processes_are_swept(store, tmp_path):
    program = (
        "import os, signal, sys, numpy as np\n"
        "from fslcore.data import ImageStore, cache\n"
        "np.savez = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = ImageStore(np.zeros((2, 3, 3, 1), np.uint8), [0, 1])\n"
        "cache.load_or_build('other', None, lambda: store, sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    cache.load_or_build("toy", "source", lambda: store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.store"]


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
    assert [path.name for path in tmp_path.iterdir()] == ["toy.store"]


@pytest.mark.parametrize("wrong", ["~no-such-user/cache", 3])
def test_a_cache_folder_that_is_none(wrong):
    with pytest.raises(ArgumentError, match="cache_dir must be a folder"):
        cache.directory(wrong)
