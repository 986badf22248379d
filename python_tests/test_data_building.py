# SPDX-License-Identifier: MIT
"""Writing stores that stay on the disk: interrupted, killed, damaged, by several processes, without room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from on_disk import (
    FILES,
    KINDS,
    LABELS,
    SHAPE,
    assert_near,
    never,
    store_in_memory,
    stored,
    use_small_blocks,
)

from fslcore.arguments import ArgumentError
from fslcore.data import building, cache, exclusive, image_file
from fslcore.data.stream import Stream


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    use_small_blocks(monkeypatch)


@pytest.fixture(scope="module")
def memory():
    return store_in_memory()


def stream_of(memory, read=lambda i: None, broken=(), said=None):
    def images(first, last):
        for i in range(first, last):
            read(i)
            yield "it is broken" if i in broken else memory.images[i]

    def about(reasons):
        if not reasons:
            return []
        if said is None:
            raise ArgumentError("images", "must be readable", described=f"{sorted(reasons)}")
        return [f"{said} {sorted(reasons)} {set(reasons.values())}"]

    @contextmanager
    def opened():
        yield Stream(SHAPE, memory.labels, images, memory.class_names, name="toy", closing=about)

    return opened


@KINDS
def test_an_interrupted_writer_goes_on_where_it_was(memory, tmp_path, kind):
    def interrupted(i):
        if i == 57:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.load_or_stream("toy", "s", stream_of(memory, interrupted, {12}, "left out"), kind, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.building", "toy.journal"]
    with (tmp_path / "toy.journal").open("a") as journal:
        journal.write('{"digest": "12')  # as if it had been killed while it wrote
    read, told, notes = [], [], []
    store = cache.load_or_stream(
        "toy",
        "s",
        stream_of(memory, read.append, {12}, "left out"),
        kind,
        tmp_path,
        notes,
        lambda *progress: told.append(progress),
        "reading toy",
    )
    assert read == list(range(50, 96))
    assert (told[0], told[-1]) == ((50, 96, "reading toy"), (96, 96, "reading toy"))
    assert notes == ["left out [12] {'it is broken'}"]
    assert_near(store.images, np.delete(memory.images, 12, axis=0), kind)
    np.testing.assert_array_equal(store.labels, np.delete(LABELS, 12))
    assert [path.name for path in tmp_path.iterdir()] == [FILES[kind]]
    again = []
    cache.load_or_stream("toy", "s", never, kind, tmp_path, again)
    assert again == notes


@pytest.mark.parametrize("change", ["source", "damage", "journal"])
def test_blocks_of_other_or_damaged_content_are_written_again(memory, tmp_path, change):
    def interrupted(i):
        if i == 57:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.load_or_stream("toy", "s", stream_of(memory, interrupted), "mapped", tmp_path)
    if change == "damage":
        with (tmp_path / "toy.building").open("r+b") as file:
            file.seek(image_file.PAGE + 25 * 16 * 16 * 3)
            file.write(b"\1\2\3")
    elif change == "journal":
        lines = (tmp_path / "toy.journal").read_text().splitlines()
        lines[3] = json.dumps({"digest": 3})
        (tmp_path / "toy.journal").write_text("\n".join(lines) + "\n")
    read = []
    source = "other" if change == "source" else "s"
    store = cache.load_or_stream("toy", source, stream_of(memory, read.append), "mapped", tmp_path)
    assert read[0] == {"source": 0, "damage": 20, "journal": 20}[change]
    np.testing.assert_array_equal(store.images, memory.images)


def test_classes_that_are_all_broken_are_gone(memory, tmp_path):
    broken = set(range(8, 16))
    store = cache.load_or_stream("toy", "s", stream_of(memory, broken=broken, said="x"), "mapped", tmp_path)
    assert store.class_names == memory.class_names[:1] + memory.class_names[2:]
    np.testing.assert_array_equal(store.images, memory.images[~np.isin(np.arange(96), list(broken))])


def test_an_error_about_broken_images_leaves_nothing(memory, tmp_path):
    with pytest.raises(ArgumentError, match=r"\[3, 70\]"):
        cache.load_or_stream("toy", "s", stream_of(memory, broken={3, 70}), "mapped", tmp_path)
    assert not list(tmp_path.iterdir())


PLACES = {
    "first page": 30,
    "size in the first page": 45,
    "first block": 5000,
    "last block": -9000,
    "index": -300,
}


@KINDS
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_damage_is_noticed_and_rebuilt(memory, tmp_path, kind, place):
    path = tmp_path / FILES[kind]
    expected = stored(memory, kind, tmp_path).content_hash
    content = bytearray(path.read_bytes())
    at = place if place != -9000 else int(json.loads(bytes(content[40:4096]))["at"]) - 20
    content[at] ^= 0x10
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="cached file .* is (damaged|incomplete).*; it is rebuilt"):
        assert stored(memory, kind, tmp_path).content_hash == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored(never, kind, tmp_path)


def test_damage_in_the_middle_is_found_by_a_full_check(memory, tmp_path):
    stored(memory, "mapped", tmp_path)
    path = tmp_path / FILES["mapped"]
    content = bytearray(path.read_bytes())
    content[image_file.PAGE + 35 * 16 * 16 * 3] ^= 1
    path.write_bytes(content)
    assert image_file.damaged_blocks(path) == [3]
    assert stored(never, "mapped", tmp_path).images[35].tobytes() != memory.images[35].tobytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="is incomplete"):
        image_file.damaged_blocks(path)


WRITER = """
import sys, time, numpy as np
from contextlib import contextmanager
from fslcore.data import cache, image_file
from fslcore.data.stream import Stream
image_file._BLOCK_BYTES = 64 * 64 * 4
def images(first, last):
    for i in range(first, last):
        print(i, flush=True)
        time.sleep(0.002)
        yield np.full((64, 64, 1), i % 251, np.uint8)
@contextmanager
def opened():
    yield Stream((64, 64, 1), np.arange(200, dtype=np.int32) // 2, images, tuple(map(str, range(100))))
store = cache.load_or_stream("toy", "s", opened, "mapped", sys.argv[1])
assert np.array_equal(np.asarray(store.images)[:, 0, 0, 0], np.arange(200) % 251)
print("done", store.content_hash)
"""


def start(folder):
    command = [sys.executable, "-W", "error", "-c", WRITER, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_once_and_a_killed_one_is_followed(tmp_path):
    killed = start(tmp_path)
    for line in killed.stdout:
        if line.strip() == "100":
            killed.send_signal(signal.SIGKILL)
            break
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    printed = [process.communicate()[0].split("\n") for process in [start(tmp_path) for _ in range(3)]]
    read = sorted(int(line) for lines in printed for line in lines if line.isdecimal())
    assert 90 <= read[0] <= 100
    assert read == list(range(read[0], 200))  # together each image once, and none of those before
    assert len({line for lines in printed for line in lines if line.startswith("done")}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["toy.images"]


def test_without_locks_every_process_writes_its_own(memory, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(exclusive.fcntl, "flock", no_locks)
    store = cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path)
    np.testing.assert_array_equal(store.images, memory.images)
    assert {path.name for path in tmp_path.iterdir()} <= {"toy.images", "toy.building"}


def test_a_disk_that_is_too_small_and_a_folder_that_is_none(memory, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path / "file" / "cache")
    usage = building.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ArgumentError, match=r"cache_dir must be a folder on a disk with room for the images"):
        cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path / "cache")
