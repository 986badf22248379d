# SPDX-License-Identifier: MIT
"""Stores that stay on the disk: the same images as in memory, everywhere; and what is written survives."""

from __future__ import annotations

import mmap

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
from PIL import Image

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, cache, image_file, views


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    use_small_blocks(monkeypatch)


@pytest.fixture(scope="module")
def memory():
    return store_in_memory()


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
    assert image_file.damaged_blocks(tmp_path / FILES[kind]) == []


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
    relabelled = ImageStore.from_arrays(images, ["b", "a", "b", "a", "b"])
    assert isinstance(relabelled.images, views.StoredImages)
    np.testing.assert_array_equal(np.asarray(relabelled.images), whole[[1, 3, 0, 2, 4]])
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


class Recorder:
    """A memory map that notes what it is told."""

    def __init__(self, mapping):
        self.mapping, self.told = mapping, []

    def __len__(self):
        return len(self.mapping)

    def madvise(self, advice, start=0, size=None):
        self.mapping.madvise(advice, start, len(self) if size is None else size)
        self.told.append((advice, start, size))


def test_the_system_is_told_just_the_pages_that_will_be_read(tmp_path):
    np.zeros(4096 + 200 * 5000, np.uint8).tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, "r", 100, (200, 50, 100, 1))
    paging = views.Paging(mapped)
    paging._mapping = recorder = Recorder(paging._mapping)
    rows = np.array([[199, 3, 4], [90, 3, 0]])
    paging.expect(rows)
    page = mmap.PAGESIZE
    wanted = [(start, size) for advice, start, size in recorder.told if advice == mmap.MADV_WILLNEED]
    assert len(wanted) == 4  # 0, 3 with 4, 90, 199
    told = {start // page + i for start, size in wanted for i in range(-(-size // page))}
    needed = {
        byte // page for row in set(rows.flat) for byte in range(100 + row * 5000, 100 + (row + 1) * 5000)
    }
    assert told == needed
    assert not views.Paging(np.zeros((5, 4, 4, 1), np.uint8)).is_needed


# ---- folders


@KINDS
def test_a_folder_is_read_onto_the_disk(tmp_path, kind):
    for i in range(30):
        path = tmp_path / "photos" / f"class {i // 10}" / f"{i % 10}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 30), 30 + i).resize((200, 300)).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:100])
    load = {"image_size": 16, "cache_dir": tmp_path / "cache", "on_error": "skip"}
    with pytest.warns(UserWarning, match="1 image that cannot be read"):
        memory = fsl.data.load(tmp_path / "photos", **load)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 image that cannot be read"):
            store = fsl.data.load(tmp_path / "photos", storage=kind, **load)
        assert_near(store.images, memory.images, kind)
        assert (store.preparation, store.class_names) == (memory.preparation, memory.class_names)
    with pytest.raises(ArgumentError, match=r"class 2/9\.png, which cannot be read"):
        fsl.data.load(tmp_path / "photos", storage=kind, image_size=16, cache_dir=tmp_path / "cache")
    assert {entry.suffix for entry in (tmp_path / "cache").iterdir()} == {
        ".images",
        "." + FILES[kind].split(".")[1],
    }


def test_a_run_on_the_disk_learns_as_one_in_memory(tmp_path, monkeypatch):
    from fslcore import experiments
    from fslcore.experiments import PrototypicalRecipe

    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path / "cache"))
    for i in range(64):
        path = tmp_path / "letters" / f"class {i // 4:02}" / f"{i % 4}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 3 * i).save(path)
    recipe = PrototypicalRecipe(way=3, shot=1, query=1, epochs=1, steps_per_epoch=2, seed=5)
    options = {"image_size": 16, "eval_episodes": 3}
    runs = [
        experiments.train(recipe, tmp_path / "letters", tmp_path / kind, storage=kind, **options)
        for kind in ("memory", "mapped")
    ]
    assert [run.config["storage"] for run in runs] == ["memory", "mapped"]
    assert runs[0].config["split"] == runs[1].config["split"]
    weights = [experiments.open_run(run.folder).learner.get_weights() for run in runs]
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))
    (tmp_path / "cache").rename(tmp_path / "gone")
    experiments.evaluate(tmp_path / "mapped", episodes=3)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".images"]


def test_other_storage_is_refused():
    with pytest.raises(ArgumentError, match="storage must be one of memory, mapped, jpeg"):
        fsl.data.load("glyphs", storage="disk")
