# SPDX-License-Identifier: MIT
"""The command line, run as its users run it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commandline import fslcore, fslcore_anew, fslcore_beside
from PIL import Image

from fslcore.experiments import checkpoints, runs

# Sixteen pixels are the least that four poolings leave one of.
SMALL = ("--image-size", "16", "--way", "5", "--shot", "2", "--eval-episodes", "20", "--threads", "2")


@pytest.fixture(scope="module")
def trained(folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    options = ("--data", "letters", "--epochs", 3, "--steps-per-epoch", 40, "--out", "whole", *SMALL)
    return folder / "whole", fslcore_anew("train", "siamese", *options, folder=folder)


def test_train_leaves_a_run_and_prints_its_accuracy(trained):
    run, result = trained
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # nothing of TensorFlow's start-up
    assert "18 for training" in result.stdout
    assert "6 for validation (6-way 1-shot), 6 for the test" in result.stdout
    assert "epoch 3/3   loss " in result.stdout
    assert "5-way 1-shot" in result.stdout
    assert "1-NN on pixels" in result.stdout
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "checkpoint.npz", "history.csv", "metrics.json", "model.weights.h5"),
        *("training.png", "episode.png", "distances.png", "accuracy_versus_way.png"),
    }
    for picture in run.glob("*.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn


def test_metrics_and_config_hold_what_is_needed_to_repeat_the_run(trained):
    run, _ = trained
    config, metrics = runs.read_config(run), runs.read_json(run / runs.METRICS)
    assert config["recipe"]["seed"] == 0
    assert config["threads"] == 2
    assert config["versions"]["fslcore"]
    for result in metrics["results"]:
        baseline = result["baselines"]["PixelNearestNeighbour"]
        assert result["split_hash"] == baseline["split_hash"] == config["split"]["test"]["hash"]
        assert result["episodes"] == baseline["episodes"] == 20
        assert not result["transductive"]
        assert result["seed"] == 0
        assert 0 < result["ci95"] < 0.2
        assert result["chance"] == 0.2
        assert result["accuracy"] > 0.4  # blocks of 4 x 4 in noise: twice as good as chance is little
    assert [(result["n_way"], result["k_shot"]) for result in metrics["results"]] == [(5, 1), (5, 5)]


def test_ctrl_c_keeps_the_run_and_resume_goes_on_bit_for_bit(folder, trained):
    options = ("--data", "letters", "--epochs", 3, "--steps-per-epoch", 40, "--out", "broken", *SMALL)
    output = ""
    with fslcore_beside("train", "siamese", *options, folder=folder) as process:
        for line in process.stdout:
            output += line
            if line.startswith("epoch 1/3"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, output
    assert "of 120 steps, which are kept in broken" in output
    assert "fslcore train --resume broken" in output
    run = folder / "broken"
    assert (run / checkpoints.WEIGHTS).exists()
    assert not (run / runs.METRICS).exists()
    with np.load(run / checkpoints.CHECKPOINT) as checkpoint:
        assert 40 <= json.loads(checkpoint["header"].tobytes())["step"] < 120

    result = fslcore("train", "--resume", "broken", folder=folder)
    assert result.returncode == 0, result.stderr
    with (
        np.load(run / checkpoints.CHECKPOINT) as resumed,
        np.load(trained[0] / checkpoints.CHECKPOINT) as whole,
    ):
        for name in whole.files:
            if name != "header":
                np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)
    assert runs.read_json(run / runs.METRICS) == runs.read_json(trained[0] / runs.METRICS)


def test_evaluate_measures_a_run_again_and_keeps_it(folder, trained):
    run, _ = trained
    before = runs.read_json(run / runs.METRICS)["results"]
    options = ("--way", 3, "--shot", 2, "--query", 4, "--episodes", 30, "--seed", 1, "--transductive")
    result = fslcore("evaluate", "whole", *options, folder=folder)
    assert result.returncode == 0, result.stderr
    assert "3-way 2-shot" in result.stdout
    assert "30 episodes each, transductive" in result.stdout
    after = runs.read_json(run / runs.METRICS)["results"]
    assert after[:-1] == before
    new = after[-1]
    assert (new["n_way"], new["k_shot"], new["n_query"], new["seed"], new["transductive"]) == (
        3,
        2,
        4,
        1,
        True,
    )
