# SPDX-License-Identifier: MIT
"""Experiments from Python: one call does what the command line does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import warm
from breaking import At, ctrl_c
from commandline import environment, fslcore

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.experiments import Observer, PrototypicalRecipe, checkpoints, course, parts, runs

SIZES = {"way": 4, "shot": 1, "query": 2, "epochs": 2, "steps_per_epoch": 3, "seed": 5}
RECIPE = PrototypicalRecipe(**SIZES)


@pytest.fixture(autouse=True)
def at_home(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(folder / "cache"))


def train(out: str, recipe: object = RECIPE, **options: object) -> fsl.experiments.Run:
    return fsl.experiments.train(recipe, "letters", out, image_size=16, eval_episodes=5, **options)


@pytest.fixture(scope="module")
def whole(folder) -> fsl.experiments.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FSLCORE_CACHE_DIR", str(folder / "cache"))
        return train("whole")


def assert_same(run: Path, expected: Path) -> None:
    """The same weights, optimizer and results, bit for bit."""
    with (
        np.load(run / checkpoints.CHECKPOINT) as found,
        np.load(expected / checkpoints.CHECKPOINT) as wanted,
    ):
        assert found.files == wanted.files
        for name in wanted.files:
            if name != "header":  # which holds the times
                np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    assert runs.read_json(run / runs.METRICS) == runs.read_json(expected / runs.METRICS)


def test_one_call_does_what_the_command_line_does(folder):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    options += ["--data=letters", "--image-size=16", "--eval-episodes=5", "--threads=2", "--out=typed"]
    result = fslcore("train", "prototypical", *options, folder=folder)
    assert result.returncode == 0, result.stderr
    sizes = {**SIZES, "image_size": 16, "eval_episodes": 5, "threads": 2}
    script = f"import fslcore as fsl; fsl.experiments.train('prototypical', 'letters', 'called', **{sizes})"
    result = warm.run(["-c", script], cwd=folder, env=environment(folder))
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    typed, called = folder / "typed", folder / "called"
    assert {path.name for path in typed.iterdir()} == {path.name for path in called.iterdir()}
    assert runs.read_config(called) == runs.read_config(typed)
    assert_same(called, typed)
    for picture in ("episode.png", "distances.png", "accuracy_versus_way.png"):
        assert (called / picture).read_bytes() == (typed / picture).read_bytes()


def test_a_run_is_returned(whole, folder):
    assert (whole.folder, whole.recipe) == (Path("whole"), RECIPE)
    assert whole.config == runs.read_config("whole")
    assert [(result["n_way"], result["k_shot"]) for result in whole.results] == [(5, 1), (5, 5)]
    again = fsl.experiments.Run.open(folder / "whole")
    assert again.recipe == RECIPE
    learner = fsl.experiments.trained_learner(again, (16, 16, 1))
    assert learner.embed(np.zeros((3, 16, 16, 1), np.float32)).shape[0] == 3


def test_a_run_classifies_new_images(whole, folder):
    support = fsl.experiments.support_set(folder / "whole")
    assert support.preparation.to_config() == whole.config["preparation"]
    pictures = {path.name: sorted(path.iterdir())[:3] for path in sorted((folder / "letters").iterdir())[:4]}
    support.update(pictures)
    # A support image is nearest to itself.
    nearest = fsl.experiments.support_set(fsl.experiments.open_run("whole"), "nearest")
    nearest.update(pictures)
    labels, scores = nearest.predict([paths[1] for paths in pictures.values()])
    assert labels.tolist() == list(pictures)
    assert scores.tolist() == [0, 0, 0, 0]
    assert support.predict(pictures[labels[0]][0], top=4)[0].shape == (1, 4)


def test_an_interrupted_run_is_resumed_bit_for_bit(whole):
    with pytest.raises(fsl.experiments.Interrupted) as stopped:
        train("stopped", callbacks=[At(4, ctrl_c)])
    assert stopped.value.progress.step == 5
    assert not (Path("stopped") / runs.METRICS).exists()
    run = fsl.experiments.resume("stopped")
    assert_same(run.folder, whole.folder)


def test_a_name_takes_the_defaults_that_the_data_can_serve():
    run = train("quick", "prototypical", epochs=1, steps_per_epoch=1, quick=True)
    assert (run.recipe.way, run.recipe.shot, run.recipe.query) == (18, 1, 4)
    assert run.config["eval_episodes"] == 5


def test_an_observer_is_told_and_nothing_is_printed(capsys):
    told: list[object] = []

    class Listener(Observer):
        def loading(self, done, total, what):
            told.append(("loading", done <= total))

        def begun(self, run, parts):
            told.append(("begun", run.folder.name, sorted(parts)))

        def stepped(self, step, loss):
            told.append(("step", step, np.isfinite(loss)))

        def epoch_ended(self, row):
            told.append(("epoch", row["epoch"]))

        def trained(self, run, seconds, test):
            told.append(("trained", seconds >= 0, test.n_classes))

        def measuring(self, done, total):
            told.append(("measuring", done, total))

        def measured(self, run, results, test):
            told.append(("measured", len(results)))

    train("observed", observer=Listener())
    events = [event for event in told if event[0] != "loading"]
    steps = [("step", i, True) for i in range(1, 7)]
    assert events[:10] == [
        ("begun", "observed", ["test", "train", "val"]),
        *steps[:3],
        ("epoch", 1),
        *steps[3:],
        ("epoch", 2),
        ("trained", True, 6),
    ]
    assert events[10:] == [*(("measuring", done, 10) for done in range(11)), ("measured", 2)]
    assert capsys.readouterr() == ("", "")


def test_a_run_is_evaluated_and_the_results_are_kept(whole):
    results = fsl.experiments.evaluate(whole, way=3, shot=2, query=4, episodes=6, seed=1)
    (result,) = results
    assert (result.report.n_way, result.report.k_shot, result.report.n_query) == (3, 2, 4)
    kept = whole.results[-1]
    assert (kept["n_way"], kept["seed"], kept["accuracy"]) == (3, 1, result.report.accuracy)
    (against,) = fsl.experiments.evaluate("whole", way=3, shot=2, episodes=4, against=whole)
    assert against.difference == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"way": 3}, "way must be left out with a recipe"),
        ({"quick": True}, "quick must be left out with a recipe"),
        ({"eval_episodes": 0}, "eval_episodes must be at least 1, received eval_episodes=0"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"out": "letters"}, "out must be a new or an empty folder, received out='letters'"),
        ({"data": "nowhere"}, "data must be .*'glyphs', .* or a folder, received 'nowhere'"),
        ({"image_size": 8}, "image_size must be at least 16 for prototypical, received image_size=8"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_errors_speak_of_arguments(folder, options, message):
    sizes = {"data": "letters", "out": "impossible", "image_size": 16, **options}
    with pytest.raises(ArgumentError, match=message):
        fsl.experiments.train(RECIPE, **sizes)
    assert not (folder / "impossible").exists()


def test_a_process_that_has_started_keeps_its_threads(monkeypatch):
    def started(*_: object) -> int:
        raise RuntimeError("cannot be modified after initialization")

    monkeypatch.setattr("fslcore.threads.set_threads", started)
    assert course.fix_threads(None, "ops") >= 1
    with pytest.raises(ArgumentError, match="threads must be None once TensorFlow has started"):
        course.fix_threads(2, "ops", required=True)


def test_too_few_classes_to_be_divided_are_named(tmp_path, folder):
    for source in sorted((folder / "letters").iterdir())[:2]:
        (tmp_path / source.name).symlink_to(source)
    with pytest.raises(ArgumentError, match="data must have classes for training, validation and test"):
        parts.load_parts(tmp_path, None, 16, lambda *_: None)
