# SPDX-License-Identifier: MIT
"""`fslcore evaluate --unknown`: what it prints, keeps and draws, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fslcore.experiments import Run, evaluate_unknown, results, runs

SMALL = ("--data", "turned", "--image-size", 16, "--way", 5, "--shot", 2, "--eval-episodes", 20)
OPTIONS = ("--unknown", "--query", 4, "--episodes", 6, "--false-accept-rate", 0.4)


@pytest.fixture
def run(in_process, folder, tmp_path) -> Path:
    """A copy of a run that has been trained and measured; twelve test classes of six images.

    A threshold takes two unknown classes at least, one to be left out: the letters are there turned, too.
    """
    if not (folder / "seen").exists():
        for path in sorted((folder / "letters").glob("*/*")):
            for degrees in (0, 90):
                turned = folder / "turned" / f"{path.parent.name}-{degrees}" / path.name
                turned.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(path) as image:
                    image.rotate(degrees).save(turned)
        options = (*SMALL, "--epochs", 2, "--steps-per-epoch", 20, "--out", "seen")
        assert in_process("train", "siamese", *options)[0] == 0
    return shutil.copytree(folder / "seen", tmp_path / "run")


def words(text: str) -> str:
    """Without the lines of tables and with single spaces."""
    return " ".join("".join(" " if "─" <= c <= "╿" else c for c in text).split())


def test_figures_are_printed_kept_drawn_and_shown(in_process, run):
    before = runs.read_json(run / runs.METRICS)["results"]
    code, out, err = in_process("evaluate", run, *OPTIONS, "--shot", 1)
    assert (code, err) == (0, "")
    (entry,) = results.kept_open_set(run)
    assert (entry["n_way"], entry["k_shot"], entry["n_query"], entry["episodes"]) == (6, 1, 4, 6)
    assert entry["split_hash"] == runs.read_config(run)["split"]["test"]["hash"]
    baseline = entry["baselines"]["PixelNearestNeighbour"]
    assert baseline["split_hash"] == entry["split_hash"]
    shown = words(out)
    assert "6 known and 6 unknown classes" in shown
    for one in (entry, baseline):
        value, ci95 = one["auroc"]
        assert 0.4 < value < 1
        assert f"{100 * value:.2f} % ± {100 * ci95:.2f}" in shown
    assert "1-shot, thresholds for 40 % of the unknown" in shown
    assert runs.read_json(run / runs.METRICS)["results"] == before
    with Image.open(run / "unknown.png") as image:
        assert np.asarray(image.convert("L")).std() > 5  # something is drawn

    # Other figures are kept beside these, and the same again in their place.
    assert in_process("evaluate", run, *OPTIONS, "--shot", 2)[0] == 0
    assert in_process("evaluate", run, *OPTIONS, "--shot", 1)[0] == 0
    assert [each["k_shot"] for each in results.kept_open_set(run)] == [2, 1]
    assert in_process("evaluate", run, "--way", 3, "--shot", 1, "--episodes", 3)[0] == 0
    assert [each["k_shot"] for each in results.kept_open_set(run)] == [2, 1]
    assert len(runs.read_json(run / runs.METRICS)["results"]) == len(before) + 1
    code, out, _ = in_process("show", run)
    assert code == 0
    assert f"6-way 1-shot, 6 episodes: AUROC {100 * entry['auroc'][0]:.2f} %" in words(out)


def test_a_rate_that_takes_more_images_than_there_are_is_noted(in_process, run):
    code, out, _ = in_process("evaluate", run, "--unknown", "--episodes", 2, "--shot", 1)
    assert code == 0
    assert (
        "note: 0 of 2 1-shot episodes have a threshold: a rate of 0.01 takes 99 images of unknown classes"
        in words(out)
    )
    (entry,) = results.kept_open_set(run)
    assert entry["false_accepts"] is None
    assert entry["auroc"][0] > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--false-accept-rate", 0.1), "--false-accept-rate must be left out without --unknown"),
        (("--unknown", "--transductive"), "--transductive must be left out with --unknown"),
        (("--unknown", "--way", 7), "--way must be at most 6, half of the 12 classes"),
        (("--unknown", "--shot", 6), "--shot must be at most 5 to measure the learner"),
        (("--unknown", "--shot", 1, "--query", 6), "--query must be at most 5 beside --shot 1"),
        (("--unknown", "--false-accept-rate", 1.5), "--false-accept-rate must be above 0 and below 1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[-2] if value[-1] != "--transductive" else "-",
)
def test_options_that_do_not_go_together_are_refused(in_process, run, options, message):
    code, _, err = in_process("evaluate", run, *options)
    assert code == 2
    assert message in words(err)
    assert results.kept_open_set(run) == []


def test_damaged_results_are_refused_before_the_measuring(run):
    content = runs.read_json(run / runs.METRICS)
    runs.write_json(run / runs.METRICS, {**content, "open_set": [1]})
    with pytest.raises(ValueError, match="its 'open_set' holds no results"):
        evaluate_unknown(Run.open(run), episodes=1, query=4)
