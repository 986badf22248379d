# SPDX-License-Identifier: MIT
"""The command line for the learners that adapt: reptile, maml and metagan."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from commandline import MAML, METAGAN, REPTILE, SHORT, fslcore, fslcore_beside
from PIL import Image

from fslcore.experiments import checkpoints, results, runs

# Some seconds, so that there is time to be killed in.
LONG = ("--epochs", 3, "--steps-per-epoch", 200, "--threads", 2)


@pytest.fixture(scope="module")
def trained(folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    return folder / "whole", fslcore(*REPTILE, *LONG, "--out", "whole", folder=folder)


def test_reptile_leaves_a_run_and_prints_its_accuracy(trained):
    run, result = trained
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert (
        "3 epochs of 200 steps of 2 tasks of 3 classes with 6 images, each in 2 inner steps of 3"
        in result.stdout
    )
    assert "6 for validation (3-way 1-shot), 6 for the test" in result.stdout
    assert "3-way 5-shot" in result.stdout
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "checkpoint.npz", "history.csv", "metrics.json", "model.weights.h5"),
        *("training.png", "episode.png"),
    }
    for picture in run.glob("*.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn
    measured = runs.read_json(run / runs.METRICS)["results"]
    assert [(result["n_way"], result["k_shot"], result["n_query"]) for result in measured] == [
        (3, 1, 5),
        (3, 5, 1),
    ]
    for result in measured:
        baseline = result["baselines"]["PixelNearestNeighbour"]
        assert baseline["split_hash"] == result["split_hash"]
        assert result["learner"] == "Reptile"
        assert result["episodes"] == 10


def test_a_killed_run_goes_on_bit_for_bit(folder, trained):
    whole, _ = trained
    output = ""
    with fslcore_beside(*REPTILE, *LONG, "--out", "killed", folder=folder) as process:
        for line in process.stdout:
            output += line
            if line.startswith("epoch 1/3"):
                # 400 steps are left, each of several milliseconds.
                time.sleep(random.uniform(0, 0.4))
                process.kill()
    assert process.returncode == -signal.SIGKILL, output
    run = folder / "killed"
    with np.load(run / checkpoints.CHECKPOINT) as checkpoint:
        assert json.loads(checkpoint["header"].tobytes())["step"] in (200, 400)

    result = fslcore("train", "--resume", "killed", folder=folder)
    assert result.returncode == 0, result.stderr
    with (
        np.load(run / checkpoints.CHECKPOINT) as resumed,
        np.load(whole / checkpoints.CHECKPOINT) as expected,
    ):
        assert resumed.files == expected.files
        for name in expected.files:
            if name != "header":  # which holds the times
                np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)
    assert runs.read_json(run / runs.METRICS) == runs.read_json(whole / runs.METRICS)


def test_evaluate_keeps_to_the_ways_of_the_network(in_process, trained):
    run, _ = trained
    code, out, err = in_process("evaluate", "whole", "--shot", 2, "--episodes", 6, "--transductive")
    assert (code, err) == (0, "")
    assert "3-way 2-shot" in out
    assert "6 episodes each, transductive" in out
    latest = runs.read_json(run / runs.METRICS)["results"][-1]
    assert (latest["n_way"], latest["k_shot"], latest["n_query"], latest["transductive"]) == (3, 2, 4, True)
    assert in_process("evaluate", "whole", "--episodes", 3, "--way", 3, "--query", 1)[0] == 0
    assert in_process.layouts == ["ops", "ops"]
    message = in_process.complaint("evaluate", "whole", "--way", 5)
    assert (
        "--way must be 3, the classes that the learner's network can tell apart, received --way 5" in message
    )


def test_metagan_leaves_generated_images_and_is_given_unlabelled_ones(in_process, folder, monkeypatch):
    given = []
    evaluate = results.evaluate

    def spy(*arguments, **options):
        given.append((type(arguments[0]).__name__, options.get("n_unlabelled", 0)))
        return evaluate(*arguments, **options)

    monkeypatch.setattr(results, "evaluate", spy)
    code, out, err = in_process(*METAGAN, *SHORT, "--unlabelled", 1, "--out", "metagan")
    assert (code, err) == (0, "")
    assert "with 1 + 1 images, 1 more of either unlabelled, each in 1 inner steps, with a generator" in out
    run = folder / "metagan"
    assert {path.name for path in run.glob("*.png")} == {"training.png", "episode.png", "generated.png"}
    history = (run / runs.HISTORY).read_text().splitlines()
    assert {"generator_loss", "real_probability", "val_accuracy"} <= set(history[0].split(","))
    assert len(history) == 3
    measured = runs.read_json(run / runs.METRICS)["results"]
    # Of six images one is the example and one without its label.
    assert [(result["k_shot"], result["n_query"]) for result in measured] == [(1, 4)]
    assert set(given) == {("MetaGAN", 1), ("PixelNearestNeighbour", 0)}
    given.clear()
    assert in_process("evaluate", "metagan", "--episodes", 3)[0] == 0
    assert given == [("MetaGAN", 1), ("PixelNearestNeighbour", 0)]


def test_maml_is_metagan_without_a_generator(folder):
    # In processes of their own, where threads are fixed: the bits depend on them.
    bare = fslcore(*METAGAN, *SHORT, "--no-generator", "--threads", 2, "--out", "bare", folder=folder)
    assert bare.returncode == 0, bare.stderr
    assert "without a generator" in bare.stdout
    maml = fslcore(*MAML, *SHORT, "--threads", 2, "--out", "maml", folder=folder)
    assert maml.returncode == 0, maml.stderr
    assert "with 1 + 1 images, each in 1 inner steps, first order" in maml.stdout
    for run in (folder / "bare", folder / "maml"):
        assert {path.name for path in run.glob("*.png")} == {"training.png", "episode.png"}
        assert "generator_loss" not in (run / runs.HISTORY).read_text()
    states = [np.load(folder / run / checkpoints.CHECKPOINT) for run in ("bare", "maml")]
    with states[0], states[1]:
        assert states[0].files == states[1].files
        for name in states[0].files:
            if name != "header":  # which holds the times
                np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
    measured = [runs.read_json(folder / run / runs.METRICS)["results"] for run in ("bare", "maml")]
    for first, second in zip(*measured, strict=True):
        assert first["baselines"] == second["baselines"]
        # MAML adapts to a test task by the compiled op, MetaGAN does not: a rounding may turn a query or two.
        assert first["accuracy"] == pytest.approx(second["accuracy"], abs=0.02)
    assert {result["learner"] for result in measured[1]} == {"MAML"}


def test_maml_of_second_order_trains(in_process, folder):
    code, out, err = in_process(
        *MAML, "--epochs", 1, "--steps-per-epoch", 2, "--second-order", "--out", "second"
    )
    assert (code, err) == (0, "")
    assert "second order" in out
    assert runs.read_config(folder / "second")["recipe"]["second_order"] is True


def test_two_runs_are_compared_on_the_same_episodes(in_process, folder, trained):
    options = ("--unlabelled", 1, "--precision", "bfloat16", "--out", "semi")
    assert in_process(*METAGAN, *SHORT, *options)[0] == 0
    code, out, err = in_process("evaluate", "semi", "--shot", 1, "--episodes", 6, "--against", "whole")
    assert (code, err) == (0, "")
    assert re.search(r"3-way 1-shot: the other run \d.* % ± \d.* on the same episodes, difference [+-]", out)
    entry = runs.read_json(folder / "semi" / runs.METRICS)["results"][-1]
    other = entry["against"]
    assert (other["run"], other["learner"], other["n_unlabelled"]) == ("whole", "Reptile", 0)
    assert (entry["learner"], entry["n_unlabelled"]) == ("MetaGAN", 1)
    assert entry["n_query"] == other["n_query"] == 4  # what is left for both
    assert other["difference"] == pytest.approx(entry["accuracy"] - other["accuracy"], abs=1e-12)
    assert other["difference_ci95"] >= 0
    # A run is as good as itself, episode by episode.
    assert in_process("evaluate", "whole", "--shot", 1, "--episodes", 3, "--against", "whole")[0] == 0
    itself = runs.read_json(folder / "whole" / runs.METRICS)["results"][-1]["against"]
    assert (itself["difference"], itself["difference_ci95"]) == (0.0, 0.0)


def test_a_run_on_other_data_is_not_compared(in_process, folder, trained):
    config = runs.read_config(folder / "whole")
    config["split"]["test"]["hash"] = "another"
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / runs.CONFIG).write_text(json.dumps(config))
    message = in_process.complaint("evaluate", "whole", "--against", "elsewhere")
    assert (
        "--against must be a run on the same classes and images as whole, received --against elsewhere"
        in message
    )
