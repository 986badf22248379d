# SPDX-License-Identifier: MIT
"""The course of a run: it is trained, measured and drawn, or broken off, and says what has become of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import typer
from rich.console import Console

from fslcore.cli import exits
from fslcore.cli.console import TrainingProgress, announce, evaluation_progress, show
from fslcore.data import ImageStore
from fslcore.experiments import pictures, results, runs, training
from fslcore.experiments.defaults import option
from fslcore.experiments.recipes import Recipe

_MOST_EPISODES_OF_A_CURVE = 400


def carry_through(
    console: Console,
    run: Path,
    config: Mapping[str, Any],
    recipe: Recipe,
    learner: Any,
    parts: Mapping[str, ImageStore],
) -> None:
    """Trains a run from where it is to its end, measures it and draws its pictures.

    Args:
        console: where to say what happens.
        run: the run folder.
        config: its `config.json`.
        recipe: its recipe.
        learner: as `builders.build_learner` returns it.
        parts: "train", "val" and "test".

    Raises:
        typer.Exit: it was interrupted, or training has diverged; why has been said.
        ValueError: the checkpoint cannot be used.
    """
    test, title = parts["test"], f"{recipe.learner} on {Path(config['data']).name}"
    announce(console, run, recipe, parts)
    started = time.monotonic()
    try:
        with TrainingProgress(console, recipe.epochs, recipe.steps) as bar:
            validate = results.validator(learner, recipe, parts["val"])
            callbacks = (bar, *_curves(run, config))
            history = training.train(learner, recipe, parts["train"], run, validate, callbacks)
    except training.Interrupted as stop:
        runs.save_weights(run, learner)
        pictures.draw_history(run, recipe, stop.progress.history, title)
        console.print(
            f"\ninterrupted after {stop.progress.step:,} of {recipe.steps:,} steps, which are kept in {run}\n"
            f"  go on:       fslcore train --resume {run}\n"
            f"  measure it:  fslcore evaluate {run}",
            soft_wrap=True,
        )
        raise typer.Exit(exits.INTERRUPTED) from None
    except training.Diverged as stop:
        kept = runs.load_checkpoint(run, learner)
        if kept.step:
            runs.save_weights(run, learner)
            pictures.draw_history(run, recipe, kept.history, title)
        Console(stderr=True, highlight=False).print(_what_diverged(run, recipe, stop, kept), soft_wrap=True)
        raise typer.Exit(exits.FAILED) from None
    runs.save_weights(run, learner)
    pictures.draw_history(run, recipe, history, title)
    console.print(
        f"trained in {time.monotonic() - started:.0f} s; measuring on {test.n_classes} unseen classes"
    )
    episodes, protocols = config["eval_episodes"], results.protocols_for(recipe, test)
    try:
        with evaluation_progress(console, episodes * len(protocols)) as advance:
            measured = results.measure(
                learner, recipe, test, protocols, episodes, recipe.seed, progress=advance
            )
        results.write_metrics(run, measured, keep=False)
        pictures.draw(run, learner, recipe, parts["train"], test, min(episodes, _MOST_EPISODES_OF_A_CURVE))
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; training is complete. Measure it with: fslcore evaluate {run}")
        raise typer.Exit(exits.INTERRUPTED) from None
    show(console, measured, recipe.learner, test.n_classes)
    files = ", ".join(sorted(path.name for path in run.iterdir()))
    console.print(f"in {run}: {files}", soft_wrap=True)


def _curves(run: Path, config: Mapping[str, Any]) -> list[keras.callbacks.Callback]:
    """The callback that writes the curves for TensorBoard, if they were asked for."""
    # Runs of before the option have no such entry.
    if not config.get("tensorboard"):
        return []
    return [keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False)]


def _what_diverged(run: Path, recipe: Recipe, stop: training.Diverged, kept: runs.Progress) -> str:
    steps = (
        f"step {stop.last:,}"
        if stop.first == stop.last
        else f"one of the steps {stop.first:,} to {stop.last:,}"
    )
    spoilt = "a weight was no longer finite" if stop.loss is None else f"the loss was {stop.loss}"
    rates = " or ".join(f"{option(name)} (it was {getattr(recipe, name):g})" for name in recipe.rates)
    if kept.step:
        found = (
            f"  the last good checkpoint is that of step {kept.step:,}, in {run}, as it was\n"
            f"  measure it:  fslcore evaluate {run}\n"
        )
    else:
        found = f"  there was no checkpoint yet; {run} holds nothing worth keeping\n"
    return (
        f"fslcore: training has diverged in {steps} of {recipe.steps:,}: {spoilt}\n{found}"
        f"  try:         a new run with a smaller {rates}"
    )
