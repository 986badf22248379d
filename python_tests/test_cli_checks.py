# SPDX-License-Identifier: MIT
"""`fslcore support check` and `fslcore support calibrate`."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from PIL import Image

from fslcore import SupportSet

SIDE = 6


def write(folder, pictures, label, numbers):
    """Pictures of a label into its sub-folder."""
    (folder / label).mkdir(parents=True)
    for number in numbers:
        Image.fromarray(pictures[number]).save(folder / label / f"{number}.png")


@pytest.fixture(scope="module")
def pictures():
    """Sixty labels of eight pictures, uint8 [60, 8, 6, 6]."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(60, 196, (60, 1, SIDE, SIDE))
    return np.clip(patterns + rng.normal(0, 45, (60, 8, SIDE, SIDE)), 0, 255).astype(np.uint8)


@pytest.fixture
def home(tmp_path, pictures):
    """A folder with a support set of 10 labels, and pictures of these and of 20 others."""
    support = SupportSet(keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten()]))
    support.update({f"[b]{i}": list(pictures[i, :4]) for i in range(10)})
    support.add(7, pictures[9, 0])
    support.save(tmp_path / "set")
    for i in range(10):
        write(tmp_path / "known", pictures[i], f"[b]{i}", range(4, 8))
    for i in range(30):
        write(tmp_path / "both", pictures[i], f"[b]{i}" if i < 10 else f"other {i}", range(4, 8))
    return tmp_path


def words(text: str) -> str:
    """Without the lines of tables and with single spaces."""
    return " ".join("".join(" " if "─" <= c <= "╿" else c for c in text).split())


def test_a_set_is_checked_by_its_own_pictures(in_process, home):
    code, out, err = in_process("support", "check", home / "set", "--pictures", home / "drawn")
    assert (code, err) == (0, "")
    shown = words(out)
    assert "of 40 support images, each left out of its label get their label" in shown
    assert "[b]0 4 " in shown  # a label is no markup
    assert "1 near-duplicates have different labels: '[b]9' and 7" in shown
    assert "1 label has a single support image, which cannot be left out: 7" in shown
    for name in ("confusion.png", "duplicates.png"):
        with Image.open(home / "drawn" / name) as image:
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn
    assert not list((home / "drawn").glob(".*"))


def test_other_pictures_are_asked_for(in_process, home):
    code, out, err = in_process("support", "check", home / "set", "--images", home / "known", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["asked"] == "images"
    assert [label["label"] for label in found["labels"]][-2:] == ["[b]9", 7]
    assert found["accuracy"] > 0.5
    assert found["repeated"] == []
    code, _, err = in_process("support", "check", home / "set", "--images", home / "both")
    assert code == 2
    assert "labels must be labels of this support set, received 'other 10'" in err
    code, _, err = in_process("support", "check", home / "set", "--similarity", 2)
    assert code == 2
    assert "--similarity must be above 0 and at most 1" in err


def test_a_calibrated_set_is_saved(in_process, home):
    options = ("--images", home / "both", "--false-accept-rate", 0.05)
    code, out, err = in_process("support", "calibrate", home / "set", *options)
    assert (code, err) == (0, "reading pictures (120)\n")
    assert "threshold" in out
    assert "known: images; unknown: images" in out
    assert "from 40 images: cross-entropy" in out
    support = SupportSet.load(home / "set")
    assert support.threshold < 0
    assert support.temperature != 1
    code, out, _ = in_process("support", "calibrate", home / "set", *options, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["threshold"][0] == support.threshold
    assert found["temperature"] == support.temperature
    assert found["report"]["unknown"] == 80


def test_what_cannot_be_calibrated_leaves_the_set_as_it_was(in_process, home):
    before = {path: path.read_bytes() for path in (home / "set").iterdir() if path.name != ".lock"}
    code, _, err = in_process("support", "calibrate", home / "set")
    assert code == 2
    assert "--false-accept-rate must be at least 1/42 = 0.024 with 41 images of unknown labels" in err
    assert before == {path: path.read_bytes() for path in before}
    code, _, err = in_process("support", "calibrate", home / "set", "--images", home / "nowhere")
    assert code == 2
    assert "--images must be a folder" in err
