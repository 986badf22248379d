# SPDX-License-Identifier: MIT
"""The command line for the learners that adapt: reptile and metagan."""

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
import tensorflow as tf
from commandline import Fslcore, command, environment, fslcore, letters
from PIL import Image

from fslcore.cli.console import TrainingProgress
from fslcore.experiments import recipes, results, runs

# The least that the networks can be made of: images of 8 pixels, tasks of 3 classes.
SMALL = ("--data", "letters", "--image-size", 8, "--way", 3, "--meta-batch", 2, "--eval-episodes", 10)
INNER = ("--inner-steps", 2, "--inner-batch", 3, "--adapt-steps", 2, "--adapt-batch", 3)
REPTILE = ("train", "reptile", *SMALL, *INNER)
METAGAN = ("train", "metagan", *SMALL, "--shot", 1, "--query", 1, "--inner-steps", 1)
SHORT = ("--epochs", 2, "--steps-per-epoch", 4)
# Some seconds, so that there is time to be killed in.
LONG = ("--epochs", 3, "--steps-per-epoch", 200, "--threads", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return letters(tmp_path_factory.mktemp("adaptive"))


@pytest.fixture
def in_process(folder, capsys, monkeypatch) -> Fslcore:
    return Fslcore(folder, capsys, monkeypatch)


@pytest.fixture(scope="module")
def trained(folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    return folder / "whole", fslcore(*REPTILE, *LONG, "--out", "whole", folder=folder)


def test_reptile_leaves_a_run_and_says_what_it_is_worth(trained):
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
    with subprocess.Popen(
        command(*REPTILE, *LONG, "--out", "killed"),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if line.startswith("epoch 1/3"):
                # 400 steps are left, each of several milliseconds.
                time.sleep(random.uniform(0, 0.4))
                process.kill()
    assert process.returncode == -signal.SIGKILL, output
    run = folder / "killed"
    with np.load(run / runs.CHECKPOINT) as checkpoint:
        assert json.loads(checkpoint["header"].tobytes())["step"] in (200, 400)

    result = fslcore("train", "--resume", "killed", folder=folder)
    assert result.returncode == 0, result.stderr
    with np.load(run / runs.CHECKPOINT) as resumed, np.load(whole / runs.CHECKPOINT) as expected:
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


def test_metagan_without_a_generator_is_first_order_maml(in_process, folder):
    code, out, _ = in_process(*METAGAN, *SHORT, "--no-generator", "--out", "maml")
    assert code == 0
    assert "without a generator" in out
    assert {path.name for path in (folder / "maml").glob("*.png")} == {"training.png", "episode.png"}
    assert "generator_loss" not in (folder / "maml" / runs.HISTORY).read_text()


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
    assert "--against must be a run on the same classes and images as whole, received elsewhere" in message


# ---- training that diverges


def test_divergence_stops_with_the_step_and_the_last_good_checkpoint(in_process, folder):
    options = (
        *REPTILE,
        "--epochs",
        2,
        "--steps-per-epoch",
        3,
        "--inner-learning-rate",
        1e38,
        "--out",
        "wild",
    )
    code, _, err = in_process(*options)
    assert code == 1
    assert "training has diverged in step 1 of 6: the loss was nan" in err or "the loss was inf" in err
    assert "there was no checkpoint yet" in err
    assert "a smaller --inner-learning-rate (it was 1e+38) or --meta-step (it was 1)" in err
    assert {path.name for path in (folder / "wild").iterdir()} == {runs.CONFIG}


def test_divergence_after_a_checkpoint_leaves_it_and_its_weights(in_process, folder, monkeypatch):
    run = folder / "later"
    kept: dict[str, bytes] = {}

    def spoil(callback: TrainingProgress, batch: int, logs: object = None) -> None:
        if int(callback.model.optimizer.iterations) == 5:
            kept.update({path.name: path.read_bytes() for path in run.iterdir()})
            kernel = callback.model.network.trainable_variables[0]
            kernel.assign(np.full(kernel.shape, np.nan))

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_train_batch_end", spoil)
        code, _, err = in_process(*REPTILE, *SHORT, "--out", "later")
    assert code == 1
    assert "training has diverged in step 6 of 8: the loss was nan" in err
    assert "the last good checkpoint is that of step 4, in later, as it was" in err
    assert {name: (run / name).read_bytes() for name in kept} == kept
    assert {path.name for path in run.iterdir()} - set(kept) == {runs.WEIGHTS, "training.png"}
    assert in_process("evaluate", "later", "--episodes", 3)[0] == 0


# ---- TensorBoard


def scalars(folder: Path) -> dict[str, list[int]]:
    """The steps at which each tag was written."""
    from tensorflow.core.util.event_pb2 import Event

    steps: dict[str, list[int]] = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    return steps


def test_the_curves_for_tensorboard_go_on_after_ctrl_c(in_process, folder, monkeypatch):
    pytest.importorskip("tensorboard")

    def ctrl_c(callback: TrainingProgress, batch: int, logs: object = None) -> None:
        if int(callback.model.optimizer.iterations) == 6:
            signal.raise_signal(signal.SIGINT)

    options = (*REPTILE, "--epochs", 3, "--steps-per-epoch", 4, "--tensorboard", "--out", "curves")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_train_batch_end", ctrl_c)
        code, out, _ = in_process(*options)
    assert code == 130
    assert "interrupted after 7 of 12 steps" in out
    assert in_process("train", "--resume", "curves")[0] == 0
    assert in_process.layouts == ["ops", "ops"]
    training, validation = (
        scalars(folder / "curves" / "tensorboard" / part) for part in ("train", "validation")
    )
    assert training["epoch_loss"] == training["epoch_learning_rate"] == [0, 1, 2]
    assert validation["epoch_accuracy"] == [0, 1, 2]


def test_tensorboard_that_is_not_there_is_named(in_process, folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = in_process(*REPTILE, "--tensorboard", "--out", "nothing")
    assert code == 1
    assert err == "fslcore: --tensorboard needs the package tensorboard: pip install tensorboard\n"
    assert not (folder / "nothing").exists()


# ---- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message", "starts"),
    [
        (("siamese", "--inner-steps", 3), "--inner-steps belongs to reptile and metagan, received", False),
        (("reptile", "--no-generator"), "--no-generator belongs to metagan", False),
        (
            ("reptile", "--learning-rate", 0.1),
            "--learning-rate belongs to siamese, prototypical and",
            False,
        ),
        (("metagan", "--preset", "5w1s"), "--preset belongs to reptile", False),
        (("metagan", "--unlabelled", -1), "Invalid value for '--unlabelled'", False),
        (("metagan", "--precision", "half"), "--precision must be one of float32, bfloat16", False),
        (
            ("metagan", "--no-generator", "--precision", "bfloat16"),
            "--precision must be float32 with --no-generator",
            False,
        ),
        (
            ("metagan", "--no-generator", "--unlabelled", 1),
            "--unlabelled must be 0 with --no-generator",
            False,
        ),
        (("reptile", "--preset", "5w1s", "--way", 20), "--preset 5w1s has --way 5, received --way 20", False),
        (("reptile", "--preset", "7w1s"), "--preset must be one of 5w1s, 5w5s, 20w1s, 20w5s", False),
        (("reptile", "--way", 7), "--way must be at most 6 to measure the learner on", True),
        (("reptile", "--shot", 6), "--shot must be at most 5 to measure the learner on", True),
        (("reptile", "--train-shots", 7), "k_shot must be at most the number of images", True),
        (
            ("metagan", "--shot", 2, "--unlabelled", 2),
            "k_shot + n_query + 2 * n_unlabelled must be at most",
            True,
        ),
        (("metagan", "--image-size", 10), "multiples of 4", True),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument_is_one_line_and_leaves_no_folder(in_process, folder, arguments, message, starts):
    if "--image-size" not in arguments:
        arguments = (*arguments, "--image-size", 8)
    assert message in in_process.complaint("train", *arguments, "--data", "letters", "--out", "impossible")
    # What can be known without the data is said before TensorFlow's seconds.
    assert bool(in_process.layouts) == starts
    assert not (folder / "impossible").exists()


def test_help_lists_every_option_of_every_learner_under_its_heading(in_process):
    code, out, _ = in_process("train", "--help")
    assert code == 0
    headings = [line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:5] == ["Arguments", "Classes and images", "Training", "siamese", "reptile and metagan"]
    shown = {word.rstrip(",") for word in out.split() if word.startswith("--")}
    for kind in recipes.RECIPES.values():
        for field in kind.__dataclass_fields__.values():
            if field.name != "inner_optimizer" and not str(field.type).startswith("ClassVar"):
                assert f"--{field.name.replace('_', '-')}" in shown
