# SPDX-License-Identifier: MIT
"""Trains a learner by its recipe, one phase after the other, and keeps the weights of the best epoch.

A run that was stopped at any moment continues as if it had not been.

Batches are a pure function of (recipe, step) and the checkpoint holds everything else that changes, so the
final weights are those of an uninterrupted run, bit for bit, on the same machine with the same number of
threads.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from fslcore.data import ImageStore
from fslcore.evaluation import Report
from fslcore.experiments import checkpoints, runs
from fslcore.experiments.failures import NotSaved
from fslcore.experiments.recipes import Recipe, augmentation
from fslcore.experiments.reporting import Diverged, Interrupted, Observer


def train(
    learner: Any,
    recipe: Recipe,
    store: ImageStore,
    run: Path,
    validate: Callable[[], Report] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    observer: Observer | None = None,
) -> list[runs.Row]:
    """Trains from the run's checkpoint, or from the start, to the end of the recipe.

    Each phase begins with the weights of the best epoch so far, and in the end the learner has those, if the
    recipe says so and there is a validation. A checkpoint is written after every epoch, and at the next full
    step after Ctrl-C, SIGTERM or SIGHUP; a second Ctrl-C stops at once.

    Args:
        learner: as `Recipe.build` returns it.
        recipe: the recipe of the run.
        store: the training part.
        run: the run folder.
        validate: called after every epoch; its accuracy joins the history. It must not change the learner.
        callbacks: more Keras callbacks; at the end of an epoch they see the row of the history as `logs`.
        observer: is told of steps and epochs.

    Returns:
        The history, one row per epoch.

    Raises:
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP.
        NotSaved: the checkpoint or the history cannot be written.
        Diverged: the loss, or a weight, has become infinite or NaN.
        ArgumentError: the checkpoint cannot be used, or the store cannot serve the recipe.
    """
    progress = checkpoints.continued(run, recipe, learner)
    keeps = recipe.keep == "best" and validate is not None
    recorder = _Recorder(run, progress, recipe.steps_per_epoch, validate, keeps, observer or Observer())
    with _stopped_by_signals(recorder):
        begin = 0
        for number, stage in enumerate(recipe.stages()):
            end = begin + stage.epochs * recipe.steps_per_epoch
            if number and progress.step == begin:
                progress.restore_best(learner)
                recipe.enter(learner, number)
            if progress.step < end and not recorder.ended:
                data = recipe.data_of(learner, store, number, recorder.observer.loading)
            while progress.step < end and not recorder.ended:
                _fit(learner, recipe, data, recorder, end, callbacks)
            begin = end
    if keeps:
        progress.restore_best(learner)
    return progress.history


def _fit(
    learner: Any,
    recipe: Recipe,
    store: ImageStore,
    recorder: _Recorder,
    end: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains to a step, or to the end of an epoch that was interrupted: Keras knows whole epochs only."""
    first = recorder.progress.step
    epoch, done = divmod(first, recipe.steps_per_epoch)
    learner.fit(
        _varied(recipe, recipe.batches(learner, store, first), store, first),
        initial_epoch=epoch,
        epochs=epoch + 1 if done else end // recipe.steps_per_epoch,
        steps_per_epoch=recipe.steps_per_epoch - done,
        callbacks=[recorder, *callbacks],
        shuffle=False,
        verbose=0,
    )


def _varied(recipe: Recipe, batches: Any, store: Any, first: int) -> Any:
    """The batches, with images varied as the recipe says; embeddings stay as they are."""
    kinds = augmentation.parsed(recipe.augment)
    if not kinds or not isinstance(store, ImageStore):
        return batches
    return augmentation.varied(batches, kinds, recipe.key("augmentation"), first)


# Windows has no SIGHUP.
_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Recorder(keras.callbacks.Callback):
    """Keeps the history and the checkpoint, reports, and ends the training when it is told to.

    Attributes:
        ended: whether another callback has ended the training.
    """

    ended = False

    def __init__(
        self,
        run: Path,
        progress: checkpoints.Progress,
        steps_per_epoch: int,
        validate: Callable[[], Report] | None,
        keeps_best: bool,
        observer: Observer,
    ) -> None:
        super().__init__()
        self.run, self.progress, self.validate, self.observer = run, progress, validate, observer
        self.keeps_best = keeps_best
        self.steps_per_epoch = steps_per_epoch
        self.before = self.first = progress.step
        self.stop = 0  # the signal that asked for it
        self.started = time.monotonic()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.ended = self.model.stop_training

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.before = self.progress.step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # `batch` is the last of the steps of one execution.
        self.first, self.progress.step = self.progress.step + 1, self.before + batch + 1
        if logs and not math.isfinite(logs["loss"]):
            raise Diverged(self.first, self.progress.step, logs["loss"])
        self.observer.stepped(self.progress.step, logs["loss"] if logs else None)
        if self.stop and self.progress.step % self.steps_per_epoch:
            self._check_variables()
            self.progress.partial = self._means(logs or {}, steps=batch + 1)
            self._save()
            raise Interrupted(self.progress, self.stop)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._check_variables()
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
        if self.keeps_best:
            self.progress.keep_best(self.model)
        self._save()
        if logs is not None:
            logs.update(row)
        self.observer.epoch_ended(row)
        if self.stop:
            raise Interrupted(self.progress, self.stop)

    def _means(self, logs: dict[str, float], steps: float) -> runs.Row:
        """Means over the whole epoch so far, from those of this call of `fit` and of the run before it."""
        before = self.progress.partial
        weight = before.get("steps", 0)
        means = {
            key: (weight * before.get(key, 0.0) + steps * value) / (weight + steps)
            for key, value in logs.items()
        }
        return {**means, "steps": weight + steps}

    def _check_variables(self) -> None:
        """The loss of a step is that of the weights before it: it does not show what the step did to them."""
        if not checkpoints.is_finite(self.model):
            raise Diverged(self.first, self.progress.step)

    def _save(self) -> None:
        checkpoints.save_checkpoint(self.run, self.model, self.progress)
        try:
            runs.write_history(self.run, self.progress.history)
        except OSError as error:
            raise NotSaved(self.run / runs.HISTORY, error) from error


@contextlib.contextmanager
def _stopped_by_signals(recorder: _Recorder) -> Iterator[None]:
    """Lets a signal stop the training after a step: an exception would leave half a step."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals, and only it receives them
        return

    def stop(number: int, _: Any) -> None:
        recorder.stop = number
        restore()  # the next one stops at once

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    # A signal that is ignored stays so: nohup ignores SIGHUP.
    handlers = {number: signal.getsignal(number) for number in _STOPPING}
    previous = {
        number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
    }
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
