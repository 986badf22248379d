# SPDX-License-Identifier: MIT
"""Where the data of a run lies, and what is done when it has moved or changed; it is never written to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from breaking import At, ctrl_c
from PIL import Image

import fslcore as fsl
from fslcore import experiments
from fslcore.experiments import PrototypicalRecipe, checkpoints, runs

RECIPE = PrototypicalRecipe(way=4, shot=1, query=2, epochs=2, steps_per_epoch=2, seed=5)


@pytest.fixture
def run(in_process, folder, tmp_path) -> Path:
    """A run that was stopped after three of its four steps, on data that is not where it was."""
    if not (folder / "run").exists():
        shutil.copytree(folder / "letters", folder / "before")
        with pytest.raises(experiments.Interrupted):
            experiments.train(
                RECIPE, "before", "run", image_size=16, eval_episodes=5, callbacks=[At(2, ctrl_c)]
            )
        shutil.rmtree(folder / "before")
    return shutil.copytree(folder / "run", tmp_path / "run")


@pytest.fixture
def data(folder, tmp_path) -> Path:
    return shutil.copytree(folder / "letters", tmp_path / "moved")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def another_class(data: Path, name: str) -> None:
    shutil.copytree(data / "class00", data / name)


# ---- moved data


def test_data_that_has_moved_is_found_where_it_is_now(in_process, run, data):
    for command in (("evaluate", run), ("train", "--resume", run)):
        message = in_process.complaint(*command)
        assert "must find its data: there is no folder" in message
        assert "(--data says where it is now)" in message
    before = content(data)
    assert in_process("evaluate", run, "--data", data, "--episodes", 3)[0] == 0
    (first, *_) = runs.read_json(run / runs.METRICS)["results"]
    assert first["split_hash"] == runs.read_config(run)["split"]["test"]["hash"]
    code, out, err = in_process("train", "--resume", run, "--data", data)
    assert (code, err) == (0, "")
    assert "epoch 2/2" in out
    assert content(data) == before


@pytest.mark.parametrize("change", ["class", "image", "both"])
def test_data_that_has_changed_can_be_measured_but_not_resumed(in_process, run, data, change):
    config = runs.read_config(run)
    test = config["classes"]["test"]
    if change in ("class", "both"):
        another_class(data, "aaa")  # in front of all others: the seeded split would be another one
    if change in ("image", "both"):
        shutil.copy(data / test[0] / "0.png", data / test[0] / "more.png")
    code, out, err = in_process("evaluate", run, "--data", data, "--episodes", 3)
    assert (code, err) == (0, "")
    shown = " ".join(out.split())
    assert f"{data} is not the data that the run was trained with" in shown
    assert ("1 class more ('aaa')" in shown) == (change != "image")
    classes, images = len(test) + (change != "image"), 6 * (len(test) + (change != "image"))
    assert f"measured on its {classes} classes that are in neither training nor validation" in shown
    assert f"{images + (change != 'class')} images with the hash" in shown
    (result, *_) = runs.read_json(run / runs.METRICS)["results"]
    assert result["split_hash"] != config["split"]["test"]["hash"]
    before = content(run)
    message = in_process.complaint("train", "--resume", run, "--data", data)
    assert "--data must find the data that it was trained with" in message
    assert "begin a new run" in message
    assert content(run) == before


def test_a_class_of_the_test_that_is_gone_is_named(in_process, run, data):
    gone = runs.read_config(run)["classes"]["test"][0]
    shutil.rmtree(data / gone)
    code, out, _ = in_process("evaluate", run, "--data", data, "--episodes", 3)
    assert code == 0
    assert f"1 class fewer ('{gone}')" in " ".join(out.split())


def test_no_class_of_the_training_is_measured(in_process, run, data):
    config = runs.read_config(run)
    for name in config["classes"]["test"]:
        shutil.rmtree(data / name)
    message = in_process.complaint("evaluate", run, "--data", data)
    assert "--data must have classes that the learner of the run has not been trained on" in message


def test_pictures_in_colour_beside_the_others_do_not_change_the_learner(in_process, run, data):
    test = runs.read_config(run)["classes"]["test"]
    Image.fromarray(np.full((20, 20, 3), (200, 10, 10), np.uint8)).save(data / test[0] / "red.png")
    assert in_process("evaluate", run, "--data", data, "--episodes", 3)[0] == 0


def test_a_run_of_an_earlier_version_needs_its_own_data(in_process, run, data):
    config = runs.read_config(run)
    for name in ("classes", "image_shape", "min_images"):
        del config[name]
    runs.write_json(run / runs.CONFIG, config)
    assert in_process("evaluate", run, "--data", data, "--episodes", 3)[0] == 0
    another_class(data, "aaa")
    message = in_process.complaint("evaluate", run, "--data", data)
    assert "must be of a version that keeps the names of its classes" in message


# ---- the run in the data


@pytest.fixture
def places(data, tmp_path) -> dict[str, tuple[Path, Path, str]]:
    """Working folder, data and run folder of which the last lies in the second."""
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(data / "class00", tmp_path / "elsewhere" / "class00")
    (data / "class00").symlink_to(tmp_path / "elsewhere" / "class00")
    return {
        "inside": (tmp_path, data, str(data / "run")),
        "a class": (tmp_path, data, str(data / "class01" / "run")),
        "deep": (tmp_path, data, str(data / "a" / "b" / "c")),
        "relative": (data / "class01", data, "../run"),
        "through a link": (tmp_path, data, "link/run"),
        "the data through a link": (tmp_path, tmp_path / "link", str(data / "run")),
        "a class that is a link": (tmp_path, data, "elsewhere/class00/run"),
        "dots": (data, Path("."), "run"),
        "default": (data, Path("."), ""),
        "default, below": (data / "class01", Path(".."), ""),
    }


def test_a_run_folder_in_the_data_is_refused_before_anything_is_written(in_process, places, monkeypatch):
    for name, (at, data, out) in places.items():
        monkeypatch.chdir(at)
        before, entries = content(data), sorted(os.listdir(data))
        options = ("--image-size", 16, "--quick", *(("--out", out) if out else ()))
        message = in_process.complaint("train", "siamese", "--data", data, *options)
        assert "--out must lie outside of the data folder" in message, name
        assert (content(data), sorted(os.listdir(data))) == (before, entries), name
    assert in_process.layouts == []  # before TensorFlow has started


def test_the_data_itself_is_no_run_folder(in_process, data):
    before = content(data)
    assert "--out must be a new or an empty folder" in in_process.complaint(
        "train", "siamese", "--data", data, "--out", data
    )
    assert content(data) == before


def test_a_run_that_lies_in_its_data_is_neither_resumed_nor_measured(in_process, run, data):
    inside = shutil.copytree(run, data / "class01" / "run")
    before = content(data)
    for command in (("evaluate", inside), ("train", "--resume", inside)):
        assert "must lie outside of the data folder" in in_process.complaint(*command, "--data", data)
    assert content(data) == before


def test_data_dir_is_heeded_or_refused(in_process, run, data):
    for command in (
        ("train", "siamese", "--data", data),
        ("train", "siamese", "--data", "glyphs"),
        ("evaluate", run, "--data", data),
        ("train", "--resume", run, "--data", data),
        ("evaluate", run),
    ):
        assert "--data-dir must be left out for --data" in in_process.complaint(*command, "--data-dir", "x")
    assert "--data-dir must follow the learner" in in_process.complaint("train", "--data-dir", "x", "siamese")


@contextlib.contextmanager
def told(words: str) -> Iterator[None]:
    """Expects a warning; `pytest.warns` would raise those of other libraries, which do not matter here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert any(re.search(words, str(warning.message)) for warning in caught)


def test_files_that_cannot_be_read_can_be_skipped(in_process, folder, data):
    (data / "class03" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ("--data", data, "--image-size", 16, "--out", "skipping")
    message = in_process.complaint("train", "prototypical", *options)
    assert "broken.png" in message
    assert "--skip-broken leaves" in message
    short = ("--way", 3, "--epochs", 1, "--steps-per-epoch", 1, "--eval-episodes", 2, "--skip-broken")
    with told(r"broken\.png"):
        assert in_process("train", "prototypical", *options, *short)[0] == 0
    assert runs.read_config(folder / "skipping")["skip_broken"] is True
    with told(r"broken\.png"):
        assert in_process("evaluate", "skipping", "--episodes", 2)[0] == 0


# ---- opened in Python


def test_a_run_is_opened_with_its_learner_its_recipe_and_its_results(in_process, run, data):
    opened = fsl.experiments.open_run(run)
    assert (opened.folder, opened.recipe, opened.results) == (run, RECIPE, [])
    assert set(opened.class_names) == {"train", "val", "test"}
    assert opened.learner.embed(np.zeros((3, 16, 16, 1), np.float32)).shape[0] == 3
    assert in_process("evaluate", run, "--data", data, "--episodes", 3)[0] == 0
    assert len(fsl.experiments.open_run(run).results) == 2


def test_a_run_that_was_killed_has_the_learner_of_its_checkpoint(in_process, run, data):
    stale = (run / checkpoints.WEIGHTS).read_bytes()
    experiments.resume(run, data=data)
    trained = experiments.open_run(run).learner
    # As after a kill: without weights, or with those of the stop before.
    for weights in (None, stale):
        (run / checkpoints.WEIGHTS).unlink(missing_ok=True)
        if weights is not None:
            (run / checkpoints.WEIGHTS).write_bytes(weights)
        learner = experiments.open_run(run).learner
        for one, other in zip(learner.weights, trained.weights, strict=True):
            np.testing.assert_array_equal(one, other)
        assert in_process("evaluate", run, "--data", data, "--episodes", 3)[0] == 0
