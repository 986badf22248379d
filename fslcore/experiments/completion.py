# SPDX-License-Identifier: MIT
"""From a learner that has been built to the results of its run. What has been computed is never lost.

Weights, results and pictures are written in this order. A file that cannot be written, or a picture that
cannot be drawn, is reported, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fslcore.data import ImageStore
from fslcore.experiments import closed, folders, runs, selection
from fslcore.experiments.failures import NotSaved
from fslcore.experiments.reporting import Diverged, Interrupted, Observer
from fslcore.experiments.runs import Run

if TYPE_CHECKING:
    import keras

_MOST_EPISODES_OF_A_CURVE = 400
# Runs from before the number was kept were measured by so many.
_EPISODES = 1000


def carry_through(
    run: Run,
    learner: Any,
    parts: Mapping[str, ImageStore],
    observer: Observer,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains a run from where it is to its end, measures it and draws its pictures.

    Raises:
        ArgumentError: another process trains it, or its checkpoint is damaged.
        Interrupted: as for `experiments.train`.
        Diverged: as for `experiments.train`.
        NotSaved: as for `experiments.train`.
    """
    with folders.locked(run.folder):
        folders.sweep(run.folder, without=runs.METRICS)  # which others write, too
        _train(run, learner, parts, observer, callbacks)
        _measure(run, learner, parts, observer)
        observer.finished(run)


def _train(
    run: Run,
    learner: Any,
    parts: Mapping[str, ImageStore],
    observer: Observer,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    from fslcore.experiments import checkpoints, results, training

    folder, recipe = run.folder, run.recipe
    observer.begun(run, parts)
    started = time.monotonic()
    try:
        history = training.train(
            learner,
            recipe,
            parts["train"],
            folder,
            results.validator(learner, recipe, parts["val"]),
            (*_curves(run), *callbacks),
            observer,
        )
    except Interrupted as stop:
        _keep_weights(run, learner, stop.progress.step, observer)
        _draw_history(run, stop.progress.history, observer)
        raise
    except Diverged as stop:
        stop.kept = checkpoints.load_checkpoint(folder, learner)
        if stop.kept.step:
            _keep_weights(run, learner, stop.kept.step, observer)
            _draw_history(run, stop.kept.history, observer)
        raise
    except NotSaved as stop:
        stop.kept = checkpoints.load_progress(folder).step
        raise
    _keep_weights(run, learner, recipe.steps, observer)
    _draw_history(run, history, observer)
    observer.trained(run, time.monotonic() - started, parts["test"])


def _measure(run: Run, learner: Any, parts: Mapping[str, ImageStore], observer: Observer) -> None:
    from fslcore.experiments import pictures, results

    folder, recipe, test = run.folder, run.recipe, parts["test"]
    episodes = run.config.get("eval_episodes", _EPISODES)
    support = closed.support_of(parts)
    protocols = recipe.protocols(test) if support is None else closed.protocols(recipe, support, test)
    measured = results.measure(
        learner,
        recipe,
        test,
        protocols,
        episodes,
        recipe.key("test"),
        support=support,
        progress=observer.measuring,
    )
    with unsaved_if_failing(folder / runs.METRICS, observer):
        results.write_metrics(run, measured, keep=False)
    observer.measured(run, measured, test)
    if support is None:
        for sentence in selection.shortfalls(recipe, test, protocols, recipe.usual_protocols(test)):
            observer.noticed(sentence)
    shown = min(episodes, _MOST_EPISODES_OF_A_CURVE)
    pictures.draw(folder, learner, recipe, parts["train"], test, shown, observer.undrawn)


@contextlib.contextmanager
def unsaved_if_failing(path: Path, observer: Observer) -> Iterator[None]:
    """Tells the observer that a file could not be written, instead of raising."""
    try:
        yield
    except OSError as error:
        observer.unsaved(path, error)


def _keep_weights(run: Run, learner: Any, step: int, observer: Observer) -> None:
    from fslcore.experiments import checkpoints

    with unsaved_if_failing(run.folder / checkpoints.WEIGHTS, observer):
        checkpoints.save_weights(run.folder, learner, step)


def _draw_history(run: Run, history: Sequence[runs.Row], observer: Observer) -> None:
    from fslcore.experiments import pictures

    title = f"{run.recipe.learner} on {Path(run.config['data']).name}"
    try:
        pictures.draw_history(run.folder, run.recipe, history, title)
    except Exception as error:  # whatever it is: the results do not depend on a picture
        observer.undrawn(run.folder / pictures.HISTORY, error)


def _curves(run: Run) -> list[keras.callbacks.Callback]:
    """The callback that writes the curves for TensorBoard, if they were asked for."""
    # Runs from before the option have no such entry.
    if not run.config.get("tensorboard"):
        return []
    import keras

    return [keras.callbacks.TensorBoard(run.folder / "tensorboard", write_graph=False)]
