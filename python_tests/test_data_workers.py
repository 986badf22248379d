# SPDX-License-Identifier: MIT
"""Pictures that processes of their own read: the same images and messages, whatever happens to a process."""

from __future__ import annotations

import fcntl
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import load
from fslcore.data.datasets import streaming, workers
from fslcore.data.image_file import digest_of
from fslcore.data.pictures import Header
from fslcore.data.preparation import Preparation


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pictures of several kinds in two classes, 16-bit ones and one in colours among them."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for i in range(70):
            Image.fromarray(rng.integers(0, 256, (9 + i % 5, 12), np.uint8)).save(folder / name / f"{i}.jpg")
        deep = rng.integers(0, 4096, (12, 12)).astype(np.uint16)
        Image.fromarray(deep).save(folder / name / "deep.png")
    Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / "b" / "zz.png")
    return folder


@pytest.fixture
def processes(monkeypatch):
    """Makes a load start processes, and counts them."""
    monkeypatch.setattr(streaming, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(streaming, "available_cpus", lambda: 2)
    started, popen = [], subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    return started


# Guessed from the first and the last picture, of which one has colours, or from all of them.
@pytest.mark.filterwarnings("ignore:.*12 bits")
@pytest.mark.parametrize(("guessed_from", "passes"), [(2, 2), (1000, 1)])
def test_processes_read_the_same_images_and_end(root, tmp_path, processes, monkeypatch, guessed_from, passes):
    monkeypatch.setattr(streaming, "_GUESSED_FROM", guessed_from)
    many = load(root, image_size=8, cache_dir=tmp_path / "many")
    assert len(processes) == 2 * passes
    assert all(process.poll() is not None for process in processes)
    monkeypatch.setattr(streaming, "_WORTH_PROCESSES", 10**6)
    few = load(root, image_size=8, cache_dir=tmp_path / "few")
    assert len(processes) == 2 * passes
    assert many.image_shape == (8, 8, 3)
    assert (many.content_hash, many.preparation) == (few.content_hash, few.preparation)
    deep = [(root / name / "deep.png") for name in ("a", "b")]
    np.testing.assert_array_equal(many.images[70], many.preparation(deep[0]))


@pytest.mark.filterwarnings("ignore:.*12 bits")
def test_without_processes_threads_read(root, tmp_path, processes, monkeypatch):
    def start(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    assert len(load(root, image_size=8, cache_dir=tmp_path)) == 143


def test_an_interrupted_load_ends_its_processes(root, tmp_path, processes):
    def interrupt(done, total, what):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(root, image_size=8, cache_dir=tmp_path, progress=interrupt)
    assert all(process.poll() is not None for process in processes)


WAY = workers.Way(Preparation(8, 3), guessed=True, free=True)


def written(file, share, jobs):
    """The images that are in a file, none for those that cannot be read."""
    file.seek(100)
    images = np.frombuffer(file.read(), np.uint8).reshape(len(jobs), 8, 8, 3)
    assert share.digest == digest_of(images.data)
    return [None if i in share.broken else image.tolist() for i, image in enumerate(images)]


def test_a_process_that_dies_is_replaced_and_broken_files_are_named(root, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    jobs = [
        workers.Job(str(root / "a" / "0.jpg")),
        workers.Job(str(tmp_path / "no.jpg")),
        workers.Job(str(root / "a" / "1.jpg"), (0, 0, 4, 4)),
        workers.Job("missing.jpg", None, "known to be broken"),
    ]
    with (tmp_path / "images").open("w+b") as file, workers.Crew(1, file.fileno()) as crew:
        crew._all[0].kill()
        share = crew.write(100, jobs, WAY)
        assert len(crew._all) == 2
        assert share.broken == {1: "it is of no format that Pillow reads", 3: "known to be broken"}
        assert share.headers == {Header(gray=True): 2}
        images = written(file, share, jobs)
        again = workers.write(file.fileno(), 100, jobs, WAY)
        assert (again.broken, again.headers, again.digest) == (share.broken, share.headers, share.digest)
    prepare = WAY.preparation
    assert images[0] == prepare(jobs[0].file).tolist()
    with Image.open(jobs[2].file) as image:
        assert images[2] == prepare(image.crop((0, 0, 4, 4))).tolist()
    assert all(process.poll() is not None for process in crew._all)


def test_a_picture_whose_decoder_crashes_is_named(root, tmp_path, monkeypatch):
    asked = workers._asked
    jobs = [workers.Job(str(root / "a" / f"{i}.jpg")) for i in range(3)]

    def crash(worker, request):
        if any("1.jpg" in job.file for job in request[1]):
            worker.kill()
            worker.wait()
        return asked(worker, request)

    monkeypatch.setattr(workers, "_asked", crash)
    with (tmp_path / "images").open("w+b") as file, workers.Crew(1, file.fileno()) as crew:
        share = crew.write(100, jobs, WAY)
        images = written(file, share, jobs)
    assert share.broken == {1: "the program that reads it crashed"}
    assert images == [WAY.preparation(jobs[0].file).tolist(), None, WAY.preparation(jobs[2].file).tolist()]


@pytest.mark.parametrize("name", ["b/zz.png", "a/deep.png"])
def test_a_picture_that_is_not_as_guessed_ends_the_share(root, tmp_path, name):
    way = workers.Way(Preparation(8, 1), guessed=True, free=True)
    jobs = [workers.Job(str(root / "a" / "0.jpg")), workers.Job(str(root / name))]
    with (tmp_path / "images").open("w+b") as file, workers.Crew(1, file.fileno()) as crew:
        assert crew.write(0, jobs, way).wrong


def test_a_file_that_cannot_be_written_is_no_crash(root, tmp_path):
    (tmp_path / "images").touch()
    with (tmp_path / "images").open("rb") as file, workers.Crew(1, file.fileno()) as crew:
        with pytest.raises(OSError, match="Bad file descriptor"):
            crew.write(0, [workers.Job(str(root / "a" / "0.jpg"))], WAY)
        assert len(crew._all) == 1


def test_a_process_ends_with_its_parent(tmp_path):
    file = (tmp_path / "images").open("w+b")
    crew = workers.Crew(1, file.fileno()).__enter__()
    (worker,) = crew._all
    worker.stdin.close()  # as the system does when the parent is killed
    for _ in range(600):
        if worker.poll() is not None:
            break
        time.sleep(0.1)
    assert worker.returncode == 0
    crew.__exit__()
    file.close()


def test_the_lock_of_the_file_lives_as_long_as_its_writers(tmp_path):
    file = (tmp_path / "images").open("w+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    crew = workers.Crew(1, file.fileno()).__enter__()
    file.close()  # as the system does when the parent is killed
    with (tmp_path / "images").open("r+b") as again:
        with pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        crew.__exit__()
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_bomb_is_one_in_a_process_too(root, tmp_path, processes, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ArgumentError, match=r"143 broken of 143: .*decompression bomb"):
        load(root, image_size=8, cache_dir=tmp_path)
