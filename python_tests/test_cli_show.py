# SPDX-License-Identifier: MIT
"""`fslcore show`, on runs that are complete, unfinished or damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import environment

from fslcore.experiments import checkpoints, runs

SMALL = ("--data", "letters", "--image-size", 16, "--way", 5, "--shot", 2, "--eval-episodes", 20)


@pytest.fixture
def run(in_process, folder, tmp_path) -> Path:
    """A copy of a run that has been trained and measured."""
    if not (folder / "whole").exists():
        options = (*SMALL, "--epochs", 2, "--steps-per-epoch", 3, "--seed", 4, "--out", "whole")
        assert in_process("train", "siamese", *options)[0] == 0
    return shutil.copytree(folder / "whole", tmp_path / "run")


def words(text: str) -> str:
    """Without the lines of tables and with single spaces."""
    return " ".join("".join(" " if "─" <= c <= "╿" else c for c in text).split())


def set_back(run: Path, step: int, epochs: int, **partial: float) -> None:
    """Leaves the run as it was when it was broken off after a step."""
    with np.load(run / checkpoints.CHECKPOINT) as content:
        arrays = dict(content)
    header = json.loads(arrays["header"].tobytes())
    header |= {"step": step, "history": header["history"][:epochs], "partial": partial}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(run / checkpoints.CHECKPOINT, **arrays)
    (run / runs.METRICS).unlink()


def test_a_complete_run(in_process, run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    code, out, err = in_process("show", run)
    assert (code, err) == (0, "")
    shown = words(out)
    assert f"siamese on {runs.read_config(run)['data']}, run folder {run}" in out
    assert "train 18 classes, 108 images" in shown
    assert "test 6 classes, 36 images" in shown
    assert "images 16 x 16 pixels" in shown
    assert "seed 4, 1 threads" in shown
    for name, version in runs.versions().items():
        assert f"{name} {version}" in shown
    assert "complete: 2 of 2 epochs, 6 of 6 steps" in shown
    history = checkpoints.load_progress(run).history
    assert f"loss {history[-1]['loss']:.4f} in epoch 2" in shown
    assert f"validated {100 * history[-1]['val_accuracy']:.2f} %" in shown
    # The fields with what is usual beside those that were chosen.
    assert "way 5 32" in shown
    assert "epochs 2 20" in shown
    assert "loss triplet shot 2 4" in shown
    for result in runs.read_json(run / runs.METRICS)["results"]:
        baseline = result["baselines"]["PixelNearestNeighbour"]
        figures = " ".join(
            f"{100 * one['accuracy']:.2f} % ± {100 * one['ci95']:.2f}" for one in (result, baseline)
        )
        assert f"{result['n_way']}-way {result['k_shot']}-shot 20 4 {figures} 20.0 %" in shown
    assert "fslcore train" not in out
    assert "fslcore evaluate" not in out
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_measurements_of_other_protocols_and_another_run(in_process, run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    options = ("--way", 3, "--shot", 2, "--query", 2, "--episodes", 4, "--seed", 1, "--transductive")
    assert in_process("evaluate", run, *options, "--against", other)[0] == 0
    shown = words(in_process("show", run)[1])
    assert "5-way 5-shot 20 4" in shown
    assert "3-way 2-shot, transductive" in shown
    assert f"3-way 2-shot, transductive: {other} has" in shown
    assert "on the same episodes, difference +0.00 ± 0.00" in shown


def test_a_run_that_was_broken_off_in_an_epoch(in_process, run):
    set_back(run, step=5, epochs=1, loss=0.25, steps=2)
    code, out, _ = in_process("show", run)
    assert code == 0
    assert "not complete: 1 of 2 epochs, 5 of 6 steps" in out
    assert "0.2500 so far in epoch 2" in out
    assert "in epoch 1" in out
    assert f"continue:   fslcore train --resume {run}" in out
    assert f"measure it: fslcore evaluate {run}" in out
    assert "accuracy on the test classes" not in out


def test_a_run_without_a_checkpoint(in_process, run):
    for name in (checkpoints.CHECKPOINT, checkpoints.WEIGHTS, runs.METRICS):
        (run / name).unlink()
    code, out, _ = in_process("show", run)
    assert code == 0
    assert "no checkpoint yet" in out
    assert "not measured: no weights" in out
    assert "fslcore train --resume" in out
    assert "fslcore evaluate" not in out


def test_a_run_of_an_earlier_version_has_fewer_entries(in_process, run):
    config = runs.read_config(run)
    for name in ("tensorboard", "eval_episodes", "threads"):
        del config[name]
    runs.write_json(run / runs.CONFIG, config)
    assert "seed      4\n" in in_process("show", run)[1]


@pytest.mark.parametrize("name", [runs.CONFIG, runs.METRICS, checkpoints.CHECKPOINT])
def test_a_damaged_file_is_named(in_process, run, name):
    (run / name).write_bytes((run / name).read_bytes()[:100])
    assert f"{name} is damaged" in in_process.complaint("show", run)


@pytest.mark.parametrize(
    ("name", "entry", "value"),
    [
        (runs.CONFIG, "split", {"train": {"classes": 18}}),
        (runs.CONFIG, "versions", 3),
        (runs.METRICS, "results", [{"n_way": 5}]),
        (runs.METRICS, "results", [None]),
    ],
)
def test_an_entry_that_is_missing_names_its_file(in_process, run, name, entry, value):
    runs.write_json(run / name, {**runs.read_json(run / name), entry: value})
    message = in_process.complaint("show", run)
    assert f"run must have a {name} as fslcore writes it: {run / name} is damaged" in message


def test_what_is_no_run_is_refused(in_process, tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        assert "run must be a folder that a training has written" in in_process.complaint("show", path)
    (tmp_path / runs.CONFIG).write_text('{"format": 1, "recipe": {"learner": "perceptron"}}')
    assert "with a recipe that this fslcore knows" in in_process.complaint("show", tmp_path)


def test_it_does_not_import_tensorflow(folder, run):
    script = f"import sys; sys.argv = ['fslcore', 'show', {str(run)!r}]; from fslcore.cli import main\n"
    script += "try: main()\nexcept SystemExit as e: print('code', e.code, 'tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(folder), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("code 0 False\n"), done.stderr
