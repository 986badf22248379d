# SPDX-License-Identifier: MIT
"""Trains a learner by its recipe, so that a run stopped at any moment goes on as if it had not been.

Batches are a pure function of (recipe, step) and the checkpoint holds everything else that changes, so the
final weights are those of an uninterrupted run, bit for bit, on the same machine with the same number of
threads.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fslcore import encoders
from fslcore.cli import runs
from fslcore.cli.recipes import Recipe
from fslcore.data import ImageStore
from fslcore.evaluation import Report
from fslcore.learners import Learner, Prototypical, Siamese
from fslcore.metrics import classification_accuracy


class Interrupted(Exception):
    """Training was stopped by Ctrl-C, after a complete step; the checkpoint has been written.

    Attributes:
        progress: how far the run has come.
    """

    def __init__(self, progress: runs.Progress) -> None:
        super().__init__(f"interrupted after step {progress.step}")
        self.progress = progress


def set_up_tensorflow(threads: int) -> None:
    """Makes TensorFlow use a fixed number of threads and give the same bits each time, before any op runs.

    With several ops at a time one of the gradients, that of the first convolution's filter, came out in one
    of three ways that differ by 4e-6. One op at a time, on all threads, costs nothing that could be measured.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.list_logical_devices()  # starts the runtime: from here on these settings cannot be changed


def build_learner(recipe: Recipe, image_shape: tuple[int, int, int]) -> Learner:
    """The learner of a recipe, compiled, with the weights that the recipe's seed gives."""
    keras.utils.set_random_seed(recipe.seed)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps)
    encoder = encoders.conv4(image_shape)
    if recipe.learner == "prototypical":
        learner: Learner = Prototypical(encoder)
        learner.compile(keras.optimizers.Adam(schedule))
        return learner
    if recipe.loss == "triplet":
        learner = Siamese(encoder, "euclidean", output="embeddings")
        learner.compile(keras.optimizers.Adam(schedule))
        return learner
    accuracy = keras.metrics.MeanMetricWrapper(classification_accuracy(), name="accuracy")
    learner = Siamese(encoder, "DenseSigmoid")
    learner.compile(keras.optimizers.Adam(schedule), metrics=[accuracy])
    return learner


def batches(recipe: Recipe, store: ImageStore, first_step: int) -> tf.data.Dataset:
    """The training batches from a step on, without end."""
    if recipe.learner == "prototypical":
        return store.episodes(
            recipe.way,
            recipe.shot,
            recipe.query,
            seed=recipe.seed,
            first_episode=first_step,
            rotations=recipe.rotations,
        )
    return store.pk_batches(
        recipe.way, recipe.shot, seed=recipe.seed, first_batch=first_step, rotations=recipe.rotations
    )


def train(
    learner: Learner,
    recipe: Recipe,
    store: ImageStore,
    run: Path,
    validate: Callable[[], Report] | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
) -> list[runs.Row]:
    """Trains from the run's checkpoint, or from the start, to the end of the recipe.

    A checkpoint is written after every epoch, and at the next full step after Ctrl-C; a second Ctrl-C stops
    at once.

    Args:
        learner: as `build_learner` returns it.
        recipe: the recipe of the run.
        store: the training part.
        run: the run folder.
        validate: called after every epoch; its accuracy joins the history. It must not change the learner.
        callbacks: more Keras callbacks; at the end of an epoch they see the row of the history as `logs`.

    Returns:
        The history, one row per epoch.

    Raises:
        Interrupted: by Ctrl-C.
        ValueError: the checkpoint cannot be used, or the store cannot serve the recipe.
    """
    progress = runs.load_checkpoint(run, learner)
    recorder = _Recorder(run, progress, recipe.steps_per_epoch, validate)
    epoch, done = divmod(progress.step, recipe.steps_per_epoch)
    # Keras knows whole epochs only: what is left of a broken one is a call of its own.
    stages = [(epoch, epoch + 1, recipe.steps_per_epoch - done)] if done else []
    stages.append((epoch + len(stages), recipe.epochs, recipe.steps_per_epoch))
    with _stopped_by_ctrl_c(recorder):
        for first, end, steps in stages:
            if first < end:
                learner.fit(
                    batches(recipe, store, recorder.progress.step),
                    initial_epoch=first,
                    epochs=end,
                    steps_per_epoch=steps,
                    callbacks=[recorder, *callbacks],
                    shuffle=False,
                    verbose=0,
                )
    return recorder.progress.history


class _Recorder(keras.callbacks.Callback):
    """Keeps the history and the checkpoint, and ends the training where that was asked for."""

    def __init__(
        self, run: Path, progress: runs.Progress, steps_per_epoch: int, validate: Callable[[], Report] | None
    ) -> None:
        super().__init__()
        self.run, self.progress, self.validate = run, progress, validate
        self.steps_per_epoch = steps_per_epoch
        self.stop = False
        self.started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.progress.step += 1
        if self.stop and self.progress.step % self.steps_per_epoch:
            self.progress.partial = self._means(logs or {}, steps=batch + 1)
            self._save()
            raise Interrupted(self.progress)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: runs.Row = {"epoch": epoch + 1, "step": self.progress.step}
        row |= self._means(logs or {}, steps=self.steps_per_epoch - self.progress.partial.get("steps", 0))
        row.pop("steps")
        if self.validate is not None:
            report = self.validate()
            row |= {"val_accuracy": report.accuracy, "val_ci95": report.ci95}
        row["seconds"] = round(time.monotonic() - self.started, 1)
        self.started = time.monotonic()
        self.progress.history.append(row)
        self.progress.partial = {}
        self._save()
        if logs is not None:
            logs.update(row)
        if self.stop:
            raise Interrupted(self.progress)

    def _means(self, logs: dict[str, float], steps: float) -> runs.Row:
        """Means over the whole epoch so far, from those of this call of `fit` and of the run before it."""
        before = self.progress.partial
        weight = before.get("steps", 0)
        means = {
            key: (weight * before.get(key, 0.0) + steps * value) / (weight + steps)
            for key, value in logs.items()
        }
        return {**means, "steps": weight + steps}

    def _save(self) -> None:
        runs.write_history(self.run, self.progress.history)
        runs.save_checkpoint(self.run, self.model, self.progress)


@contextlib.contextmanager
def _stopped_by_ctrl_c(recorder: _Recorder) -> Iterator[None]:
    """Turns the first SIGINT into a wish: an exception between two variables would leave half a step."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals, and only it receives them
        return

    def wish(*_: Any) -> None:
        recorder.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, wish)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
