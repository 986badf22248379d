# SPDX-License-Identifier: MIT
"""Stores that stay on the disk: the same images as in memory, everywhere; and what is written survives."""

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
from PIL import Image

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, building, cache, image_file, views
from fslcore.data.stream import Stream

KINDS = pytest.mark.parametrize("kind", image_file.KINDS)
N_CLASSES, SAMPLES, SHAPE = 12, 8, (16, 16, 3)
LABELS = np.repeat(np.arange(N_CLASSES, dtype=np.int32), SAMPLES)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks of a few images, and memory maps of any size are released."""
    monkeypatch.setattr(image_file, "_BLOCK_BYTES", 10 * 16 * 16 * 3)
    monkeypatch.setattr(views, "_RESIDENT_BYTES", 1)
    monkeypatch.setattr(views, "_IMAGES_BETWEEN", 1)


@pytest.fixture(scope="module")
def memory():
    """Smooth images, which JPEG keeps well."""
    corners = np.random.default_rng(0).integers(0, 256, (len(LABELS), 3, 3, 3)).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(c).resize(SHAPE[:2], Image.BICUBIC)) for c in corners])
    groups = (LABELS // 4).astype(np.int32)
    parts = (LABELS % 2).astype(np.int32)
    names = [f"class {i}" for i in range(N_CLASSES)]
    return ImageStore(images, LABELS, groups, names, ["a", "b", "c"], "toy", parts, ["train", "test"])


def stored(memory, kind, folder):
    return cache.load_or_build("toy", "source", lambda: memory, folder, storage=kind)


def never(*_):
    raise AssertionError("built although it was in the cache")


def assert_near(received, expected, kind):
    """Equal, or for JPEG as near as its quality says."""
    received, expected = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    scale = 1 if received.max() > 1 else 255
    assert np.abs(received - expected).max() * scale <= (0 if kind == "mapped" else 12)


@KINDS
def test_a_store_on_the_disk_holds_what_that_in_memory_holds(memory, tmp_path, kind):
    store = stored(memory, kind, tmp_path)
    assert repr(store) == repr(memory)
    for name in ("labels", "groups", "parts"):
        np.testing.assert_array_equal(getattr(store, name), getattr(memory, name))
    for name in ("class_names", "group_names", "part_names", "image_shape"):
        assert getattr(store, name) == getattr(memory, name)
    assert_near(store.images, memory.images, kind)
    assert (store.content_hash == memory.content_hash) == (kind == "mapped")
    assert stored(never, kind, tmp_path).content_hash == store.content_hash
    assert image_file.damaged_blocks(tmp_path / f"toy.{kind}") == []


@KINDS
def test_parts_are_views_and_read_like_arrays(memory, tmp_path, kind):
    store = stored(memory, kind, tmp_path)
    rows = np.array([3, 8, 9, 40, 95])
    part, expected = store.take(rows), memory.take(rows)
    images = part.images
    assert isinstance(images, views.StoredImages)
    assert (images.shape, images.dtype, images.ndim, len(images)) == ((5, *SHAPE), np.uint8, 4, 5)
    whole = np.asarray(images)
    assert_near(whole, expected.images, kind)
    for key in (2, -1, slice(1, 4), [0, 3], np.array([True, False, True, False, True]), (1, ...), ...):
        np.testing.assert_array_equal(images[key], whole[key])
    np.testing.assert_array_equal(images[1:, 2:4, 5], whole[1:, 2:4, 5])
    np.testing.assert_array_equal(images[np.array([[0, 1], [4, 2]])], whole[np.array([[0, 1], [4, 2]])])
    np.testing.assert_array_equal(images / 255, whole / 255)
    with pytest.raises(IndexError):
        images[5]
    with pytest.raises(ValueError, match="cannot be an array without a copy"):
        np.array(images, copy=False)
    again = part.take([1, 4])
    np.testing.assert_array_equal(np.asarray(again.images), whole[[1, 4]])
    if kind == "mapped":
        assert np.shares_memory(images.base, store.images)
        assert part.content_hash == expected.content_hash


@KINDS
@pytest.mark.parametrize("rotations", [False, True], ids=["upright", "rotations"])
def test_episodes_batches_and_gather_are_those_of_the_memory(memory, tmp_path, kind, rotations):
    names = {"train": 8, "test": 4}
    part, expected = (store.split(**names)["train"] for store in (stored(memory, kind, tmp_path), memory))
    sampled = [
        lambda s: s.episodes(3, 2, 2, seed=5, episodes=6, rotations=rotations),
        lambda s: s.episodes((2, 4), (1, 3), 2, seed=5, episodes=6, rotations=rotations),
        lambda s: s.pk_batches(4, 2, seed=5, batches=6, rotations=rotations),
        lambda s: s.minibatches(3, 2, tasks=2, steps=2, batch=3, rotations=rotations).take(3),
    ]
    for sample in sampled:
        for received, wanted in zip(sample(part), sample(expected), strict=True):
            for one, other in zip(received, wanted, strict=True):
                assert_near(one, other, kind)
    rows = np.array([[1, 5], [60, 3]])
    turns = [1, 3] if rotations else None
    assert_near(part.gather(rows, turns), expected.gather(rows, turns), kind)
    for wrong in ([64], [-1], [0.5]):
        with pytest.raises(ArgumentError, match="rows must be"):
            part.gather(wrong)


def test_jpeg_gives_the_same_pixels_to_numpy_and_to_datasets(memory, tmp_path):
    for channels in (1, 3):
        images = np.ascontiguousarray(memory.images[..., :channels])
        gray = ImageStore(images, LABELS, name=f"of {channels}")
        store = cache.load_or_build(f"{channels}", "s", lambda gray=gray: gray, tmp_path, storage="jpeg")
        ((support, _),) = store.episodes(4, 3, 2, seed=1, episodes=1)
        known = {image.tobytes() for image in np.asarray(store.images)}
        assert all(
            np.rint(255 * i).astype(np.uint8).tobytes() in known
            for i in support.numpy().reshape(-1, *images.shape[1:])
        )
        assert store.images.nbytes == sum(map(len, store.images.encoded(np.arange(96))))
    two = ImageStore(np.zeros((4, 9, 9, 2), np.uint8), [0, 0, 1, 1])
    with pytest.raises(ArgumentError, match="storage must not be 'jpeg' for images with 2 channels"):
        cache.load_or_build("2", "s", lambda: two, tmp_path, storage="jpeg")


@KINDS
def test_evaluation_reads_from_the_disk(memory, tmp_path, kind):
    reports = [
        fsl.evaluate(fsl.PixelNearestNeighbour(), store.split(train=4, test=8)["test"], 4, 1, 3, 30)
        for store in (stored(memory, kind, tmp_path), memory)
    ]
    if kind == "mapped":
        assert reports[0] == reports[1]
    assert abs(reports[0].accuracy - reports[1].accuracy) < 0.05


def test_a_memory_map_of_the_user_is_split_without_a_copy(memory, tmp_path):
    np.save(tmp_path / "images.npy", memory.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    store = ImageStore.from_arrays(mapped, LABELS[::-1])
    assert np.shares_memory(store.images.base, mapped)
    np.testing.assert_array_equal(
        np.asarray(store.images), memory.images[np.argsort(LABELS[::-1], kind="stable")]
    )
    private = np.load(tmp_path / "images.npy", mmap_mode="c")
    private[0] = 7  # nowhere but in this process: to release the page would lose it
    store = ImageStore.from_arrays(private, LABELS)
    store.gather(np.arange(len(store)))
    assert store.images[0].max() == 7


def test_pages_of_a_large_map_are_released(tmp_path, monkeypatch):
    monkeypatch.setattr(views, "_RESIDENT_BYTES", 1 << 22)
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (4096, 64, 64, 1))
    images[:] = 1
    images.flush()
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    store = ImageStore.from_arrays(mapped, np.arange(4096) // 2)
    before = most = views._file_bytes()
    for start in range(0, 4096, 64):
        store.gather(np.arange(start, start + 64))
        most = max(most, views._file_bytes())
    assert most - before < 3 << 22
    assert int(mapped.sum()) == 4096 * 64 * 64
    assert views._file_bytes() - before >= 3 << 22  # what a reader without releases has


# ---- writing


def stream_of(memory, read=lambda i: None, broken=(), said=None):
    def images(first, last):
        for i in range(first, last):
            read(i)
            yield "it is broken" if i in broken else memory.images[i]

    def about(reasons):
        if said is None:
            raise ArgumentError("images", "must be readable", described=f"{sorted(reasons)}")
        return [f"{said} {sorted(reasons)} {set(reasons.values())}"]

    @contextmanager
    def opened():
        yield Stream(SHAPE, memory.labels, images, memory.class_names, name="toy", about_broken=about)

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
    assert [path.name for path in tmp_path.iterdir()] == [f"toy.{kind}"]
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
    path = tmp_path / f"toy.{kind}"
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
    path = tmp_path / "toy.mapped"
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
    assert [path.name for path in tmp_path.iterdir()] == ["toy.mapped"]


def test_without_locks_every_process_writes_its_own(memory, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(building.fcntl, "flock", no_locks)
    store = cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path)
    np.testing.assert_array_equal(store.images, memory.images)
    assert {path.name for path in tmp_path.iterdir()} <= {"toy.mapped", "toy.building"}


def test_a_disk_that_is_too_small_and_a_folder_that_is_none(memory, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path / "file" / "cache")
    usage = building.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ArgumentError, match=r"cache_dir must be a folder on a disk with room for the images"):
        cache.load_or_stream("toy", "s", stream_of(memory), "mapped", tmp_path / "cache")


# ---- folders


@KINDS
def test_a_folder_is_read_onto_the_disk(tmp_path, kind):
    for i in range(30):
        path = tmp_path / "photos" / f"class {i // 10}" / f"{i % 10}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 30), 30 + i).resize((200, 300)).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:100])
    load = {"image_size": 16, "cache_dir": tmp_path / "cache", "on_error": "skip"}
    with pytest.warns(UserWarning, match="1 images that cannot be read"):
        memory = fsl.data.load(tmp_path / "photos", **load)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 images that cannot be read"):
            store = fsl.data.load(tmp_path / "photos", storage=kind, **load)
        assert_near(store.images, memory.images, kind)
        assert (store.preparation, store.class_names) == (memory.preparation, memory.class_names)
    with pytest.raises(ArgumentError, match=r"class 2/9\.png, which cannot be read"):
        fsl.data.load(tmp_path / "photos", storage=kind, image_size=16, cache_dir=tmp_path / "cache")
    assert {entry.suffix for entry in (tmp_path / "cache").iterdir()} == {".store", f".{kind}"}


def test_other_storage_is_refused():
    with pytest.raises(ArgumentError, match="storage must be one of memory, mapped, jpeg"):
        fsl.data.load("glyphs", storage="disk")
