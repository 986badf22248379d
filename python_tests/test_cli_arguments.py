# SPDX-License-Identifier: MIT
"""Wrong arguments on the command line: one line that speaks of flags. Faults: a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import REPTILE, SHORT
from PIL import Image

from fslcore import cli
from fslcore.arguments import ArgumentError
from fslcore.cli import flags, startup
from fslcore.data import datasets
from fslcore.experiments import RECIPES, checkpoints
from fslcore.experiments.choices import listed, owners_of

LEARNERS = ", ".join(RECIPES)


@pytest.fixture
def run(in_process, folder) -> Path:
    if not (folder / "whole").exists():
        options = ("--data", "letters", "--epochs", 1, "--steps-per-epoch", 1, "--eval-episodes", 1)
        assert in_process("train", "siamese", *options, "--image-size", 16, "--out", "whole")[0] == 0
        in_process.layouts.clear()
    return folder / "whole"


@pytest.mark.parametrize(
    ("arguments", "message", "starts"),
    [
        (("perceptron",), f"learner must be one of {LEARNERS}, received learner='perceptron'", False),
        ((), f"learner must be one of {LEARNERS}, received learner=''", False),
        (
            ("siamese", "--data", "nowhere"),
            f"must be {', '.join(map(repr, datasets.names()))}, 'tfds:NAME', TFRecord files, a table or a",
            True,
        ),
        (("siamese", "--ways", 5), "No such option: --ways", False),
        (("siamese", "--way", "five"), "Invalid value for '--way'", False),
        (("siamese", "--epochs"), "Option '--epochs' requires an argument", False),
        (("--resume",), "Option '--resume' requires an argument", False),
        (("siamese", "--epochs", 0), "--epochs must be above 0, received --epochs 0", False),
        (("siamese", "--threads", 0), "Invalid value for '--threads'", False),
        (("--resume", "letters"), "--resume must be a folder that a training has written", False),
        (("siamese", "--resume", "whole"), "--resume must be given alone or with --data-dir", False),
        (("--resume", "whole", "siamese"), "--resume must be given alone or with --data-dir", False),
        (("--resume", "whole", "--epochs", 3), "--resume must be given alone or with --data-dir", False),
        (("--way", 3, "siamese"), "--way must follow the learner", False),
        (
            ("siamese", "--out", "letters"),
            "--out must be a new or an empty folder, received --out lett",
            False,
        ),
        (
            ("siamese", "--query", 5),
            f"--query belongs to {listed(owners_of('query'))}, received --query for siamese",
            False,
        ),
        (("siamese", "--inner-steps", 3), "--inner-steps belongs to reptile, maml and metagan, rec", False),
        (("reptile", "--no-generator"), "--no-generator belongs to metagan, received", False),
        (("maml", "--sequential"), "--sequential belongs to reptile, received", False),
        (
            ("reptile", "--learning-rate", 0.1),
            f"--learning-rate belongs to {listed(owners_of('learning_rate'))}, received",
            False,
        ),
        (("metagan", "--preset", "5w1s"), "--preset belongs to reptile", False),
        (("metagan", "--unlabelled", -1), "--unlabelled must be at least 0, received --unlabelled -1", False),
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
        (
            ("reptile", "--preset", "5w1s", "--way", 20),
            "--way must be 5 with --preset 5w1s (leave --preset out to choose the sizes one by one), "
            "received --way 20",
            False,
        ),
        (("reptile", "--preset", "7w1s"), "--preset must be one of 5w1s, 5w5s, 20w1s, 20w5s", False),
        (("reptile", "--way", 7), "--way must be at most 6 to measure the learner on", True),
        (("reptile", "--shot", 6), "--shot must be at most 5 to measure the learner on", True),
        (
            ("reptile", "--train-shots", 7),
            "--train-shots must be at most 6, the images of the smallest",
            True,
        ),
        (
            ("metagan", "--shot", 2, "--query", 1, "--unlabelled", 2),
            "--shot + --query + 2 * --unlabelled must be at most 6, the images of the smallest class for "
            "training, received --shot + --query + 2 * --unlabelled = 7",
            True,
        ),
        (("metagan", "--image-size", 10), "--image-size must be a multiple of 4", True),
        (("siamese", "--image-size", 8), "--image-size must be at least 16 for siamese", True),
        (("siamese", "--way", 99), "--way must be at most 18, the classes for training", True),
        (("siamese", "--shot", 7), "--shot must be at most 6, the images of the smallest class", True),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument_is_one_line_and_leaves_no_folder(in_process, folder, arguments, message, starts):
    if arguments and arguments[0] in LEARNERS.split(", ") and "--resume" not in arguments:
        for option, value in (("--data", "letters"), ("--image-size", 16), ("--out", "impossible")):
            arguments = arguments if option in arguments else (arguments[0], option, value, *arguments[1:])
    assert message in in_process.complaint("train", *arguments)
    # What can be known without the data is said before TensorFlow's seconds.
    assert bool(in_process.layouts) == starts
    assert not (folder / "impossible").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "letters"), "run must be a folder that a training has written"),
        (("evaluate", "whole", "--way", 7), "--way must be at most 6 to measure the learner on"),
        (("evaluate", "whole", "--shot", 9), "--shot must be at most 5 to measure the learner on"),
        (("evaluate", "whole", "--shot", 2, "--query", 5), "--query must be at most 4 beside --shot 2"),
        (("evaluate", "whole", "--against", "letters"), "--against must be a folder that a training has"),
        (("dance",), "No such command 'dance'"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wrong_arguments_of_other_commands(in_process, run, arguments, message):
    assert message in in_process.complaint(*arguments)


def test_a_run_is_not_resumed_with_other_data(in_process, folder, run, tmp_path):
    other = tmp_path / "letters"
    for source in (folder / "letters").glob("*/*.png"):
        (other / source.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            Image.fromarray(255 - np.asarray(image)).save(other / source.parent.name / source.name)
    copy = shutil.copytree(run, tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "data": str(other)}))
    message = in_process.complaint("train", "--resume", copy)
    assert "must find the data that it was trained with" in message
    assert f"the train part of {other} must have 108 images of 18 classes" in message


def test_damaged_runs_are_refused_in_one_line(in_process, run, tmp_path):
    (tmp_path / "config.json").write_text('{"format": 99}')
    assert "has the run format 99" in in_process.complaint("evaluate", tmp_path)
    (tmp_path / "config.json").write_text('{"format": 1, "recipe": {"learner": "siamese", "ways": 3}}')
    assert "run must have a config.json with a recipe that this fslcore knows" in in_process.complaint(
        "evaluate", tmp_path
    )
    for command, name in (
        (("evaluate",), checkpoints.WEIGHTS),
        (("train", "--resume"), checkpoints.CHECKPOINT),
    ):
        copy = shutil.copytree(run, tmp_path / name)
        (copy / name).write_bytes((copy / name).read_bytes()[:500])
        assert f"{name} is damaged" in in_process.complaint(*command, copy)


# ---- faults


def test_any_other_value_error_is_shown_as_the_fault_it_is(folder):
    script = "import sys; from fslcore import experiments; from fslcore.cli import main\n"
    script += "def faulty(*_, **__): raise ValueError('a fault of the program')\n"
    script += "experiments.train = faulty; sys.argv = ['fslcore', 'train', 'siamese']; main()"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("ValueError: a fault of the program\n")


def test_the_traceback_of_a_wrong_argument_is_there_if_asked_for(in_process, monkeypatch):
    monkeypatch.setenv("FSLCORE_TRACEBACK", "1")
    monkeypatch.setattr("sys.argv", ["fslcore", "train", "siamese", "--way", "0"])
    with pytest.raises(flags.WrongArgument, match="--way must be above 0") as raised:
        cli.main()
    assert isinstance(raised.value.__cause__, ArgumentError)


def test_errors_speak_of_flags():
    options = {"way", "generator", "preset", "shot", "query"}

    def message(*error: object) -> str:
        return flags.message(ArgumentError(*error), options)

    assert (
        message("way", "must be 5 with `preset='5w1s'`", 3)
        == "--way must be 5 with --preset 5w1s, received --way 3"
    )
    assert message("generator", "must be on", False) == "--no-generator must be on, received --no-generator"
    assert (
        message("way", "goes with `shot`, not `images`", 3)
        == "--way goes with --shot, not `images`, received --way 3"
    )
    assert message("shot + query", "must be at most 2", 3) == (
        "--shot + --query must be at most 2, received --shot + --query = 3"
    )
    assert message("learner", "must be known without `generator=False`", "x") == (
        "learner must be known without --no-generator, received learner='x'"
    )
    described = ArgumentError("way", "must be small", 9, described="far too much")
    assert flags.message(described, options) == "--way must be small, received far too much"


def test_tensorboard_that_is_not_there_is_named(in_process, folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = in_process(*REPTILE, *SHORT, "--tensorboard", "--out", "nothing")
    assert code == 1
    assert err == "fslcore: --tensorboard needs the package tensorboard: pip install tensorboard\n"
    assert not (folder / "nothing").exists()


@pytest.mark.parametrize(
    ("error", "written"),
    [(None, ""), (ArgumentError("name", "must be known", "?"), ""), (OSError("no"), "held")],
)
def test_what_tensorflow_writes_is_shown_with_errors_that_it_may_explain(capfd, error, written):
    with contextlib.suppress(ArgumentError, OSError), startup.quietly():
        os.write(2, b"held")
        if error:
            raise error
    assert capfd.readouterr().err == written
