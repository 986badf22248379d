# SPDX-License-Identifier: MIT
"""`fslcore support`, `classify` and `export`: from folders of pictures to answers, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from commandline import Fslcore
from PIL import Image

import fslcore as fsl
from fslcore.cli import classifiers, exits
from fslcore.serving import running


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an encoder, support pictures of three labels, and new pictures."""
    folder = tmp_path_factory.mktemp("classify")
    keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()]).save(folder / "pixels.keras")
    for label, value in (("dark", 0), ("gray", 128), ("light", 255)):
        (folder / "support" / label).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (4, 4), abs(value - i)).save(folder / "support" / label / f"{i}.png")
    support = fsl.SupportSet(keras.models.load_model(folder / "pixels.keras"))
    support.update({path.name: sorted(path.iterdir()) for path in sorted((folder / "support").iterdir())})
    support.save(folder / "shelf")
    (folder / "new").mkdir()
    (folder / "empty").mkdir()
    for name, value in (("a", 3), ("b", 250)):
        Image.new("L", (5, 4), value).save(folder / "new" / f"{name}.png")
    (folder / "new" / "notes.txt").write_text("a text")
    return folder


@pytest.fixture
def fslcore(place, tmp_path, capsys, monkeypatch):
    """The command line in a fresh copy of the folder."""
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    return Fslcore(copy, capsys, monkeypatch)


def done(answer):
    code, out, err = answer
    assert code == 0, err
    return out


def listed(fslcore, name="shelf"):
    said = json.loads(done(fslcore("support", "list", name, "--json")))
    return {entry["label"]: entry["pictures"] for entry in said["labels"]}


def test_a_set_is_made_changed_and_listed(fslcore):
    out = done(fslcore("support", "create", "made", "--encoder", "pixels.keras", "--from", "support"))
    assert out == "3 labels with 6 pictures, rule prototype, in made\n"
    assert listed(fslcore, "made") == listed(fslcore)
    assert listed(fslcore) == {"dark": 2, "gray": 2, "light": 2}
    assert (
        done(fslcore("support", "add", "shelf", "new one", "new"))
        == "shelf has 4 labels with 8 pictures now\n"
    )
    done(fslcore("support", "replace", "shelf", "gray", "new/a.png"))
    assert listed(fslcore) == {"dark": 2, "gray": 1, "light": 2, "new one": 2}
    assert (
        done(fslcore("support", "remove", "shelf", "gray", "dark"))
        == "shelf has 2 labels with 4 pictures now\n"
    )
    done(fslcore("support", "add", "shelf", "--from", "support"))
    out = done(fslcore("support", "list", "shelf"))
    assert "5 labels" not in out
    assert "4 labels with 10 pictures, rule prototype, threshold of unknown pictures: none" in out
    assert listed(fslcore) == {"light": 4, "new one": 2, "dark": 2, "gray": 2}


def test_an_empty_set_is_made_and_has_no_labels(fslcore):
    assert done(fslcore("support", "create", "made", "--encoder", "pixels.keras", "--rule", "nearest"))
    assert listed(fslcore, "made") == {}
    assert "must have a label before it predicts" in fslcore.complaint("classify", "made", "new")


def test_pictures_are_classified(fslcore):
    out = done(fslcore("classify", "shelf", "new", "support/gray/0.png"))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [
        ["new/a.png", "dark"],
        ["new/b.png", "light"],
        ["support/gray/0.png", "gray"],
    ]
    code, out, err = fslcore("classify", "pixels.keras", "--support", "support", "new", "--top", 2, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    support = fsl.SupportSet.load("shelf")
    labels, scores = support.predict(["new/a.png", "new/b.png"], top=2)
    chances = support.predict(["new/a.png", "new/b.png"], top=2, probabilities=True)[1]
    assert [entry["image"] for entry in found] == ["new/a.png", "new/b.png"]
    for row, entry in enumerate(found):
        assert (entry["label"], entry["known"]) == (labels[row, 0], True)
        assert [near["label"] for near in entry["nearest"]] == labels[row].tolist()
        np.testing.assert_array_equal([near["score"] for near in entry["nearest"]], scores[row])
        np.testing.assert_array_equal([near["probability"] for near in entry["nearest"]], chances[row])


def test_an_unknown_picture_changes_the_exit_code(fslcore):
    support = fsl.SupportSet.load("shelf")
    support.threshold = -0.01
    support.save("shelf")
    assert fslcore("classify", "shelf", "new")[0] == 0
    Image.new("L", (4, 4), 60).save("new/c.png")
    code, out, _ = fslcore("classify", "shelf", "new/c.png", "new/a.png", "--json")
    assert code == exits.UNKNOWN
    unknown, known = json.loads(out)
    assert (unknown["label"], unknown["known"], unknown["nearest"][0]["label"]) == (None, False, "dark")
    assert known["label"] == "dark"
    code, out, _ = fslcore("classify", "shelf", "new/c.png")
    assert code == exits.UNKNOWN
    assert "unknown (nearest: dark)" in out


def test_numbers_that_python_code_has_given_as_labels_are_found(fslcore):
    support = fsl.SupportSet(keras.models.load_model("pixels.keras"))
    support.update({3: np.zeros((2, 2), np.uint8), "x": np.full((2, 2), 9, np.uint8)})
    support.save("numbered")
    done(fslcore("support", "add", "numbered", "3", "new/a.png"))
    assert fsl.SupportSet.load("numbered").counts == {3: 2, "x": 1}
    done(fslcore("support", "remove", "numbered", "3"))
    assert fsl.SupportSet.load("numbered").labels == ("x",)


def test_a_set_that_is_served_is_not_changed_beside_its_service(fslcore):
    with open(Path("shelf") / running.LOCK, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "through its service" in fslcore.complaint("support", "remove", "shelf", "dark")
    done(fslcore("support", "remove", "shelf", "dark"))


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with classifiers.alone(tmp_path), running.not_served(tmp_path, "set", "must be alone"):
        assert (tmp_path / running.LOCK).exists()


def test_a_classifier_is_exported(fslcore):
    out = done(fslcore("export", "shelf", "--out", "served/1", "--format", "litert"))
    assert out.startswith(
        "litert with 3 labels in served/1\ncompared on 6 pictures: the same labels, scores within "
    )
    described = json.loads(Path("served/1/classifier.json").read_text())
    assert described["labels"] == ["dark", "gray", "light"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("classify", "pixels.keras", "new"), "--support must be given for a run or a model"),
        (("classify", "shelf", "nowhere.png"), "images must be there, received nowhere.png"),
        (
            ("classify", "shelf", "new", "--support", "support"),
            "--support must be left out for a support set",
        ),
        (("classify", "shelf", "pixels.keras"), "must be a picture that can be read"),
        (("classify", "shelf", "empty"), "images must hold at least one picture, received empty"),
        (("classify", "nowhere", "new", "--support", "support"), "nowhere"),
        (("classify", "pixels.keras", "new", "--support", "new"), "a sub-folder of pictures for each label"),
        (
            ("support", "create", "shelf", "--encoder", "pixels.keras"),
            "folder must be new or empty, received shelf",
        ),
        (("support", "create", "other", "--encoder", "no.keras"), "must be a run folder or a .keras file"),
        (
            ("support", "create", "other", "--encoder", "pixels.keras", "--rule", "knn"),
            "--rule must be one of",
        ),
        (("support", "add", "shelf", "dark"), "images must be given after a label, or a folder with --from"),
        (
            ("support", "add", "shelf", "dark", "new", "--from", "support"),
            "must be left out where a label is given",
        ),
        (("support", "add", "shelf", "", "new"), "label must be a string that is not empty"),
        (("support", "add", "new", "dark", "new"), "folder must be that of a support set"),
        (("support", "remove", "shelf", "dark", "blue"), "must be a label of this support set"),
        (("support", "replace", "shelf", "blue", "new"), "must be a label of this support set"),
        (("support", "list", "new"), "folder must be that of a support set"),
        (("export", "shelf", "--out", "new"), "must be new, empty, or an earlier export"),
        (("export", "shelf", "--out", "served", "--format", "tflite"), "--format must be one of saved_model"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_arguments_are_named_and_change_nothing(fslcore, arguments, message):
    assert message in fslcore.complaint(*arguments)
    assert listed(fslcore) == {"dark": 2, "gray": 2, "light": 2}
