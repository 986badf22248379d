# SPDX-License-Identifier: MIT
"""The command line, run as its users run it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import Fslcore, command, environment, fslcore, letters
from PIL import Image

from fslcore.cli import commands, doctor
from fslcore.experiments import runs

# Sixteen pixels are the least that four poolings leave one of.
SMALL = ("--image-size", "16", "--way", "5", "--shot", "2", "--eval-episodes", "20", "--threads", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return letters(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def in_process(folder, capsys, monkeypatch) -> Fslcore:
    return Fslcore(folder, capsys, monkeypatch)


@pytest.fixture(scope="module")
def trained(folder) -> tuple[Path, subprocess.CompletedProcess[str]]:
    options = ("--data", "letters", "--epochs", 3, "--steps-per-epoch", 40, "--out", "whole", *SMALL)
    return folder / "whole", fslcore("train", "siamese", *options, folder=folder)


def test_train_leaves_a_run_and_says_what_it_is_worth(trained):
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
    with subprocess.Popen(
        command("train", "siamese", *options),
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
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, output
    assert "of 120 steps, which are kept in broken" in output
    assert "fslcore train --resume broken" in output
    run = folder / "broken"
    assert (run / runs.WEIGHTS).exists()
    assert not (run / runs.METRICS).exists()
    with np.load(run / runs.CHECKPOINT) as checkpoint:
        assert 40 <= json.loads(checkpoint["header"].tobytes())["step"] < 120

    result = fslcore("train", "--resume", "broken", folder=folder)
    assert result.returncode == 0, result.stderr
    with (
        np.load(run / runs.CHECKPOINT) as resumed,
        np.load(trained[0] / runs.CHECKPOINT) as whole,
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


# ---- wrong arguments: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "perceptron"),
            "learner must be one of siamese, prototypical, reptile, metagan, received learner='perceptron'",
        ),
        (("train",), "learner must be one of siamese, prototypical, reptile, metagan, received learner=''"),
        (("train", "siamese", "--data", "nowhere"), "name_or_path must be 'glyphs', 'omniglot' or a folder"),
        (("train", "siamese", "--ways", "5"), "No such option: --ways"),
        (("train", "siamese", "--way", "five"), "Invalid value for '--way'"),
        (
            ("train", "siamese", "--query", "5"),
            "--query belongs to prototypical and metagan, received --query 5 for siamese",
        ),
        (("train", "siamese", "--epochs", "0"), "--epochs must be above 0, received --epochs 0"),
        (("train", "siamese", "--threads", "0"), "Invalid value for '--threads'"),
        (("train", "--resume", "letters"), "the run must be a folder written by `fslcore train`"),
        (("train", "siamese", "--resume", "whole"), "--resume must be given alone or with --data-dir"),
        (("train", "siamese", "--out", "letters"), "the run folder must be new or empty"),
        (("evaluate", "letters"), "the run must be a folder written by `fslcore train`"),
        (("evaluate", "whole", "--way", "7"), "n_way"),
        (("evaluate", "whole", "--shot", "9"), "k_shot"),
        (("dance",), "No such command 'dance'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument_is_one_line(in_process, trained, arguments, message):
    if arguments[:1] == ("train",) and "--data" not in arguments and "--resume" not in arguments:
        arguments = (*arguments, "--data", "letters", "--image-size", "16")
    assert message in in_process.complaint(*arguments)


def test_a_run_that_cannot_be_trained_leaves_no_folder(in_process, folder):
    arguments = ("train", "siamese", "--data", "letters", "--out", "impossible")
    assert "way must be at most 18" in in_process.complaint(*arguments, "--way", 99)
    assert "samples = 7" in in_process.complaint(*arguments, "--shot", 7)
    assert not (folder / "impossible").exists()


def test_a_run_is_not_resumed_with_other_data(in_process, folder, trained, tmp_path):
    other = tmp_path / "letters"
    for source in (folder / "letters").glob("*/*.png"):
        (other / source.parent.name).mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            Image.fromarray(255 - np.asarray(image)).save(other / source.parent.name / source.name)
    run = shutil.copytree(trained[0], tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data": str(other)}))
    message = in_process.complaint("train", "--resume", run)
    assert "the data must be what" in message
    assert "its train part must have 108 images of 18 classes" in message


def test_a_run_of_another_format_is_refused(in_process, tmp_path):
    (tmp_path / "config.json").write_text('{"format": 99}')
    assert "has the run format 99" in in_process.complaint("evaluate", tmp_path)


def test_help_does_not_import_tensorflow(folder):
    script = "import sys; sys.argv = ['fslcore', 'train', '--help']; from fslcore.cli import main\n"
    script += "try: main()\nexcept SystemExit as e: print('code', e.code, 'tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "code 0 False" in result.stdout
    assert "--learning-rate" in result.stdout


# ---- doctor


def test_doctor_finds_this_machine_well():
    findings = {finding.subject: finding for finding in doctor.diagnose()}
    assert {finding.state for finding in findings.values()} <= {"ok", "missing"}
    assert findings["SIMD level"].detail.split()[0] in ("avx512bf16", "avx512", "avx2", "portable")
    assert {"python", "tensorflow", "threads", "library core", "XLA", "CUDA kernels"} <= set(findings)


def test_doctor_survives_what_is_broken(monkeypatch):
    def broken() -> list[doctor.Finding]:
        raise ImportError("undefined symbol: _ZN10tensorflow")

    monkeypatch.setattr(doctor, "_libraries", broken)
    findings = {finding.subject: finding for finding in doctor.diagnose()}
    assert findings["TensorFlow ops"].state == "broken"
    assert findings["TensorFlow ops"].detail == "ImportError: undefined symbol: _ZN10tensorflow"
    assert "XLA" in findings


def test_doctor_tells_its_findings(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fslcore", "doctor"])
    monkeypatch.setattr(doctor, "diagnose", lambda: [doctor.Finding("XLA", "broken", "why it is [so]")])
    with pytest.raises(SystemExit) as exit_info:
        commands.main()
    assert exit_info.value.code == 1
    assert capsys.readouterr().out.split() == ["broken", "XLA", "why", "it", "is", "[so]"]
