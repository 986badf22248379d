# SPDX-License-Identifier: MIT
"""Run folders, checkpoints, and training that is broken off and goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from breaking import At, Killed, columns, ctrl_c, kill, state

from fslcore import Prototypical, files
from fslcore.data import ImageStore
from fslcore.evaluation import evaluate
from fslcore.experiments import Interrupted, PrototypicalRecipe, checkpoints, runs, training

SHAPE = (4, 4, 1)
RECIPE = PrototypicalRecipe(
    way=4, shot=1, query=2, epochs=3, steps_per_epoch=4, learning_rate=0.01, rotations=True
)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    images = np.random.default_rng(0).integers(0, 256, (48, *SHAPE), dtype=np.uint8)
    return ImageStore.from_arrays(images, np.repeat(np.arange(8), 6), name="noise")


def learner(seed: int = 0, width: int = 3) -> Prototypical:
    """With everything that training changes: weights, moving averages, a random generator, Adam's moments."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input(SHAPE),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(width),
    ]
    model = Prototypical(keras.Sequential([*layers, keras.layers.BatchNormalization()]))
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, RECIPE.steps)))
    return model


def run_folder(path: Path) -> Path:
    return runs.create(path, {"learner": "prototypical"})


# ---- the folder


def test_a_new_run_says_what_made_it(tmp_path):
    run = runs.create(tmp_path / "a" / "b", {"seed": 3})
    config = runs.read_config(run)
    assert config["seed"] == 3
    assert config["format"] == runs.FORMAT
    assert set(config["versions"]) == {"python", "fslcore", "tensorflow", "keras", "numpy"}


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"out must be a new or an empty folder, received out=.*"):
        runs.create(tmp_path, {})
    with pytest.raises(ValueError, match="must be a new or an empty folder"):
        runs.create(tmp_path / "thesis.tex", {})


def test_a_folder_without_a_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            ValueError,
            match=r"run must be a folder that a training has written, with a config\.json, received",
        ):
            runs.read_config(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"no": "format"}', "\xff"])
def test_damaged_json_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        runs.read_config(tmp_path)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match=r"config\.json has the run format 99, and this fslcore"):
        runs.read_config(tmp_path)


def test_missing_metrics_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"run must have a metrics\.json: .*metrics\.json is missing"):
        runs.read_json(tmp_path / runs.METRICS)


def test_metrics_without_results_are_named(tmp_path):
    run = runs.Run(tmp_path, {}, RECIPE)
    runs.write_json(tmp_path / runs.METRICS, {"format": 1, "results": [{"accuracy": 0.5}]})
    assert run.results == [{"accuracy": 0.5}]
    runs.write_json(tmp_path / runs.METRICS, {"format": 1})
    with pytest.raises(ValueError, match=r"run must have a metrics\.json with results"):
        _ = run.results


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"format": 1, "accuracy": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.write_json(path, {"format": 1, "accuracy": float("nan")})

    def half(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.replace(path, half)
    assert runs.read_json(path)["accuracy"] == 0.5
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_history_is_csv_with_every_column(tmp_path):
    runs.write_history(
        tmp_path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_accuracy": 0.75}]
    )
    assert (tmp_path / runs.HISTORY).read_text() == "epoch,loss,val_accuracy\n1,0.5,\n2,0.25,0.75\n"


# ---- weights and checkpoints


def test_weights_of_a_trained_learner_come_back(tmp_path, store):
    model, other = learner(0), learner(1)
    training.train(model, RECIPE, store, run_folder(tmp_path / "run"))
    checkpoints.save_weights(tmp_path, model)
    checkpoints.load_weights(tmp_path, other)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.weights\.h5 is missing, resume the training first"):
        checkpoints.load_weights(tmp_path, learner())
    path = checkpoints.save_weights(tmp_path, learner())
    with pytest.raises(ValueError, match=r"model\.weights\.h5 is damaged or of another model"):
        checkpoints.load_weights(tmp_path, learner(width=5))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model\.weights\.h5 is damaged or of another model"):
        checkpoints.load_weights(tmp_path, learner())


def test_a_checkpoint_holds_all_that_training_changes(tmp_path, store):
    model = learner(0)
    training.train(model, RECIPE, store, run_folder(tmp_path / "run"))
    other = learner(1)
    progress = checkpoints.load_checkpoint(tmp_path / "run", other)
    assert state(other) == state(model)
    assert progress.step == 12
    assert [row["step"] for row in progress.history] == [4, 8, 12]
    assert progress.partial == {}
    assert checkpoints.load_progress(tmp_path / "run") == progress


def test_no_checkpoint_is_a_beginning(tmp_path):
    model = learner()
    before = state(model)
    assert checkpoints.load_checkpoint(tmp_path, model) == checkpoints.Progress()
    assert state(model)[: len(before)] == before
    assert checkpoints.load_progress(tmp_path) == checkpoints.Progress()


def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path):
    checkpoints.save_checkpoint(tmp_path, learner(), checkpoints.Progress(step=3))
    with pytest.raises(ValueError, match=r"checkpoint\.npz belongs to another model"):
        checkpoints.load_checkpoint(tmp_path, learner(width=5))
    path = tmp_path / checkpoints.CHECKPOINT
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:-50], b"", b"not a zip"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint\.npz is damaged"):
            checkpoints.load_checkpoint(tmp_path, learner())
    with pytest.raises(ValueError, match=r"checkpoint\.npz is damaged"):
        checkpoints.load_progress(tmp_path)


def test_a_checkpoint_of_another_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FORMAT", 99)
        checkpoints.save_checkpoint(tmp_path, learner(), checkpoints.Progress())
    with pytest.raises(ValueError, match=r"checkpoint\.npz has the run format 99"):
        checkpoints.load_checkpoint(tmp_path, learner())


# ---- training that is broken off


@pytest.fixture(scope="module")
def uninterrupted(store, tmp_path_factory):
    model = learner()
    history = training.train(model, RECIPE, store, run_folder(tmp_path_factory.mktemp("runs") / "run"))
    return state(model), history


@pytest.mark.parametrize(
    ("action", "error", "breaks", "kept"),
    [
        (ctrl_c, Interrupted, [5], [6]),
        (ctrl_c, Interrupted, [3], [4]),
        (ctrl_c, Interrupted, [1, 1, 1], [2, 4, 6]),
        (kill, Killed, [2], [0]),
        (kill, Killed, [6, 7], [4, 8]),
    ],
    ids=["mid-epoch", "epoch-end", "often", "killed-before-the-first-checkpoint", "killed-between"],
)
def test_broken_training_goes_on_bit_for_bit(store, tmp_path, uninterrupted, action, error, breaks, kept):
    run = run_folder(tmp_path / "run")
    for step, expected in zip(breaks, kept, strict=True):
        # A fresh process each time, with other weights: all that counts must come from the checkpoint.
        model = learner(seed=step if (run / checkpoints.CHECKPOINT).exists() else 0)
        with pytest.raises(error):
            training.train(model, RECIPE, store, run, callbacks=(At(step, action),))
        assert checkpoints.load_checkpoint(run, model).step == expected
    model = learner(seed=9 if (run / checkpoints.CHECKPOINT).exists() else 0)
    history = training.train(model, RECIPE, store, run)
    final, expected_history = uninterrupted
    assert state(model) == final
    for row, expected_row in zip(columns(history), columns(expected_history), strict=True):
        # The means of a broken epoch are put together from two parts: one more rounding, in float64.
        assert row == pytest.approx(expected_row, rel=1e-6)


def test_a_finished_run_is_not_trained_further(store, tmp_path, uninterrupted):
    run = run_folder(tmp_path / "run")
    training.train(learner(), RECIPE, store, run)
    model = learner(seed=1)
    history = training.train(model, RECIPE, store, run)
    assert state(model) == uninterrupted[0]
    assert len(history) == 3


def test_the_second_ctrl_c_stops_at_once(store, tmp_path):
    def twice() -> None:
        ctrl_c()
        ctrl_c()

    run = run_folder(tmp_path / "run")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.train(learner(), RECIPE, store, run, callbacks=(At(2, twice),))
    assert not (run / checkpoints.CHECKPOINT).exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_validation_joins_the_history_and_changes_nothing(store, tmp_path, uninterrupted):
    model = learner()
    history = training.train(
        model,
        RECIPE,
        store,
        run_folder(tmp_path / "run"),
        lambda: evaluate(model, store, 4, 1, 2, episodes=5),
    )
    assert state(model) == uninterrupted[0]
    assert history[-1]["val_accuracy"] == evaluate(model, store, 4, 1, 2, episodes=5).accuracy
