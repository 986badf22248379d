# SPDX-License-Identifier: MIT
"""Pictures that processes of their own read: the same images and messages, whatever happens to a process."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import load
from fslcore.data.datasets import reading, workers


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
    monkeypatch.setattr(reading, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(reading, "available_cpus", lambda: 2)
    started, popen = [], subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    return started


@pytest.mark.filterwarnings("ignore:.*12 bits")
def test_processes_read_the_same_images_and_end(root, tmp_path, processes, monkeypatch):
    many = load(root, image_size=8, cache_dir=tmp_path / "many")
    assert len(processes) == 2
    assert all(process.poll() is not None for process in processes)
    monkeypatch.setattr(reading, "_WORTH_PROCESSES", 10**6)
    few = load(root, image_size=8, cache_dir=tmp_path / "few")
    assert len(processes) == 2
    assert many.image_shape == (8, 8, 3)
    assert (many.content_hash, many.preparation) == (few.content_hash, few.preparation)


@pytest.mark.filterwarnings("ignore:.*12 bits")
def test_without_processes_threads_read(root, tmp_path, processes, monkeypatch):
    def start(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    assert len(load(root, image_size=8, cache_dir=tmp_path)) == 143


def test_an_interrupted_load_ends_its_processes(root, tmp_path, processes):
    def interrupt(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(root, image_size=8, cache_dir=tmp_path, progress=interrupt)
    assert all(process.poll() is not None for process in processes)


def test_a_process_that_dies_is_replaced_and_broken_files_are_named(root, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    jobs = [
        (str(root / "a" / "0.jpg"), None),
        (str(tmp_path / "no.jpg"), None),
        (str(root / "a" / "1.jpg"), (0, 0, 4, 4)),
    ]
    with workers.Crew(1) as crew:
        crew._all[0].kill()
        found = crew.look(jobs, 8, None, "stretch")
        assert len(crew._all) == 2
        for one, other in zip(found, workers.look(jobs, 8, None, "stretch"), strict=True):
            if isinstance(one, str):
                assert one == other == "it is of no format that Pillow reads"
            else:
                assert one[0] == other[0]
                np.testing.assert_array_equal(one[1], other[1])
    assert all(process.poll() is not None for process in crew._all)


def test_a_picture_whose_decoder_crashes_is_named(root, monkeypatch):
    asked = workers._asked
    jobs = [(str(root / "a" / f"{i}.jpg"), None) for i in range(3)]

    def crash(worker, request):
        if any("1.jpg" in file for file, _ in request[0]):
            worker.kill()
            worker.wait()
        return asked(worker, request)

    monkeypatch.setattr(workers, "_asked", crash)
    with workers.Crew(1) as crew:
        found = crew.look(jobs, 8, None, "stretch")
    assert [isinstance(one, str) for one in found] == [False, True, False]
    assert found[1] == "the program that reads it crashed"


def test_a_process_ends_with_its_parent(tmp_path):
    crew = workers.Crew(1).__enter__()
    (worker,) = crew._all
    worker.stdin.close()  # as the system does when the parent is killed
    for _ in range(600):
        if worker.poll() is not None:
            break
        time.sleep(0.1)
    assert worker.returncode == 0
    crew.__exit__()


def test_a_bomb_is_one_in_a_process_too(root, tmp_path, processes, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ArgumentError, match=r"143 broken of 143: .*decompression bomb"):
        load(root, image_size=8, cache_dir=tmp_path)
