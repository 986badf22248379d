# SPDX-License-Identifier: MIT
"""Runs of learners that adapt, which have more state and take several steps in one call; and divergence."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from breaking import At, Killed, columns, ctrl_c, kill, state

from fslcore import MetaGAN, Reptile
from fslcore.data import ImageStore
from fslcore.experiments import (
    Diverged,
    Interrupted,
    MetaGANRecipe,
    ReptileRecipe,
    checkpoints,
    runs,
    training,
)
from fslcore.learners import SGD, Adam

SHAPE = (4, 4, 1)
TASKS = {"way": 4, "shot": 1, "epochs": 2, "steps_per_epoch": 6, "inner_learning_rate": 0.1, "meta_batch": 2}


@pytest.fixture(scope="module")
def store() -> ImageStore:
    images = np.random.default_rng(0).integers(0, 256, (48, *SHAPE), dtype=np.uint8)
    return ImageStore.from_arrays(images, np.repeat(np.arange(8), 6), name="noise")


def run_folder(path: Path) -> Path:
    return runs.create(path, {})


def classifier() -> keras.Sequential:
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6), keras.layers.Dropout(0.2)]
    return keras.Sequential([*layers, keras.layers.BatchNormalization(), keras.layers.Dense(4)])


def reptile(seed: int, steps_per_execution: int = 2) -> tuple[ReptileRecipe, Reptile]:
    keras.utils.set_random_seed(seed)
    sizes = {"inner_steps": 2, "inner_batch": 3, "adapt_steps": 2, "adapt_batch": 3}
    recipe = ReptileRecipe(**TASKS, **sizes, inner_optimizer="adam", train_shots=3, meta_step=0.5)
    model = Reptile(classifier(), Adam(0.1), meta_batch=2, **sizes)
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, recipe.steps, 0.0)
    model.compile(keras.optimizers.SGD(schedule), steps_per_execution=steps_per_execution)
    return recipe, model


def metagan(seed: int) -> tuple[MetaGANRecipe, MetaGAN]:
    keras.utils.set_random_seed(seed)
    rates = {"learning_rate": 0.01, "generator_learning_rate": 0.01}
    recipe = MetaGANRecipe(**TASKS, **rates, inner_steps=1, adapt_steps=1, query=1, unlabelled=1)
    noise, task = keras.Input((3,)), keras.Input((2,))
    pixels = keras.layers.Dense(16, "sigmoid")(keras.layers.Concatenate()([noise, task]))
    generator = keras.Model([noise, task], keras.layers.Reshape(SHAPE)(pixels))
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2), keras.layers.Dropout(0.2)]
    sizes = {"adapt_steps": 1, "meta_batch": 2, "noise_dim": 3, "n_unlabelled": 1}
    model = MetaGAN(classifier(), generator, keras.Sequential(layers), SGD(0.1), **sizes)
    model.compile(keras.optimizers.Adam(0.01), steps_per_execution=2)
    return recipe, model


@pytest.mark.parametrize("make", [reptile, metagan])
def test_a_learner_that_adapts_goes_on_bit_for_bit(store, tmp_path, make):
    recipe, whole = make(0)
    history = training.train(whole, recipe, store, run_folder(tmp_path / "whole"))
    assert [row["step"] for row in history] == [6, 12]
    assert history[0]["loss"] != history[1]["loss"]

    run = run_folder(tmp_path / "run")
    # Steps go in pairs: the wish of the first pair is granted after the second, in the middle of an epoch.
    for seed, at, action, error, kept in ((0, 1, ctrl_c, Interrupted, 4), (1, 3, kill, Killed, 6)):
        recipe, model = make(seed)
        with pytest.raises(error):
            training.train(model, recipe, store, run, callbacks=(At(at, action),))
        assert checkpoints.load_checkpoint(run, make(7)[1]).step == kept
    recipe, model = make(2)
    resumed = training.train(model, recipe, store, run)
    assert state(model) == state(whole)
    for row, expected in zip(columns(resumed), columns(history), strict=True):
        assert row == pytest.approx(expected, rel=1e-6)


def test_a_checkpoint_holds_every_outer_optimizer(store, tmp_path):
    recipe, model = metagan(0)
    training.train(model, recipe, store, run_folder(tmp_path / "run"))
    moments = [np.asarray(v) for optimizer in model.optimizers for v in optimizer.variables[2:]]
    assert len(model.optimizers) == 2
    assert all(np.any(moment) for moment in moments)
    _, other = metagan(1)
    checkpoints.load_checkpoint(tmp_path / "run", other)
    assert state(other) == state(model)
    checkpoints.save_weights(tmp_path, model)
    _, third = metagan(2)
    checkpoints.load_weights(tmp_path, third)
    for a, b in zip(model.weights, third.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- training that diverges


def spoil(model: Reptile, value: float) -> None:
    kernel = model.network.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, value))


@pytest.mark.parametrize(
    ("at", "step", "loss"),
    [(8, 9, "nan"), (12, 12, "None")],
    ids=["seen-in-the-next-loss", "seen-in-the-weights-at-the-end-of-an-epoch"],
)
def test_diverged_training_stops_and_leaves_the_last_good_checkpoint(store, tmp_path, at, step, loss):
    run = run_folder(tmp_path / "run")
    recipe, model = reptile(0, steps_per_execution=1)
    kept: dict[str, bytes] = {}

    def go_wrong() -> None:
        kept.update({path.name: path.read_bytes() for path in run.iterdir()})
        spoil(model, np.nan)

    with pytest.raises(Diverged) as stopped:
        training.train(model, recipe, store, run, callbacks=(At(at, go_wrong),))
    assert (stopped.value.first, stopped.value.last) == (step, step)
    assert str(stopped.value.loss) == loss
    assert {path.name: path.read_bytes() for path in run.iterdir()} == kept
    assert set(kept) == {runs.CONFIG, checkpoints.CHECKPOINT, runs.HISTORY}
    assert checkpoints.load_checkpoint(run, reptile(1)[1]).step == 6


def test_divergence_within_several_steps_of_one_call_names_them_all(store, tmp_path):
    recipe, model = reptile(0)
    action = At(1, lambda: spoil(model, np.inf))
    with pytest.raises(Diverged) as stopped:
        training.train(model, recipe, store, run_folder(tmp_path / "run"), callbacks=(action,))
    assert (stopped.value.first, stopped.value.last) == (3, 4)
    assert not (tmp_path / "run" / checkpoints.CHECKPOINT).exists()


def test_an_infinite_variable_of_an_optimizer_is_found():
    _, model = metagan(0)
    assert checkpoints.is_finite(model)
    moment = model.optimizers[1].variables[-1]
    moment.assign(np.full(moment.shape, np.inf))
    assert not checkpoints.is_finite(model)
