# SPDX-License-Identifier: MIT
"""What the command line shows: the plan of a run, its progress and its results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fslcore.data import ImageStore
from fslcore.evaluation import Report
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.results import Result, validation_for

_FEW_CLASSES = 20


class TrainingProgress(keras.callbacks.Callback):
    """A Keras callback: a line per epoch and, inside its context, on a terminal a bar.

    Args:
        console: where to print; without a terminal there is no bar.
        epochs: number of epochs.
        steps: training steps of the whole run.
    """

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        super().__init__()
        self._console, self._epochs = console, epochs
        self._bar = _bar(console, "training", TextColumn("{task.fields[loss]}"))
        self._task = self._bar.add_task("training", total=steps, loss="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._bar.stop()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Moves the bar to where a resumed run begins."""
        self._bar.update(self._task, completed=int(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Moves the bar."""
        done = int(self.model.optimizer.iterations)
        self._bar.update(self._task, completed=done, loss=f"loss {logs['loss']:.4f}" if logs else "")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's figures."""
        logs = logs or {}
        line = [f"epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}", f"loss {logs['loss']:.4f}"]
        if "accuracy" in logs:
            line.append(f"training {100 * logs['accuracy']:.1f} %")
        if "val_accuracy" in logs:
            line.append(f"validation {100 * logs['val_accuracy']:.1f} % ± {100 * logs['val_ci95']:.1f}")
        line.append(f"{logs['seconds']:.0f} s")
        self._console.print("   ".join(line))


def announce(console: Console, run: Path, recipe: Recipe, parts: Mapping[str, ImageStore]) -> None:
    """Says what is going to be trained, on what, and where it goes."""
    turned = ", each also turned by 90, 180 and 270 degrees" if recipe.rotations else ""
    val, test = parts["val"], parts["test"]
    plan = validation_for(recipe, val)
    protocol = f"{plan.n_way}-way {plan.k_shot}-shot" if plan else "too few, left out"
    lines = (
        f"{recipe.learner} on {parts['train'].name.split('/')[0]}, run folder {run}",
        f"classes: {parts['train'].n_classes} for training{turned}",
        f"         {val.n_classes} for validation ({protocol}), {test.n_classes} for the test",
        f"{recipe.epochs:,} epochs of {recipe.steps_per_epoch:,} steps of {recipe.step_in_words()}",
    )
    console.print("\n".join(lines), soft_wrap=True)


@contextlib.contextmanager
def evaluation_progress(console: Console, episodes: int) -> Iterator[Callable[[], None]]:
    """A bar for an evaluation, on a terminal; gives what is to be called after each episode."""
    with _bar(console, "measuring") as bar:
        task = bar.add_task("measuring", total=episodes)
        yield lambda: bar.advance(task)


def show(console: Console, measured: Sequence[Result], learner: str, test_classes: int) -> None:
    """Prints the accuracies as a table, beside the baselines."""
    report = measured[0].report
    protocol = "transductive" if report.transductive else "non-transductive"
    console.print(
        f"\naccuracy on unseen classes ({report.dataset}): {report.episodes:,} episodes each, {protocol}, "
        f"± 95 % confidence",
        soft_wrap=True,
    )
    table = Table()
    for heading in ("", learner, "1-NN on pixels", "chance"):
        table.add_column(heading, justify="right")
    for result in measured:
        table.add_row(
            _task(result.report),
            _percent(result.report),
            _percent(result.baseline),
            f"{100 * result.report.chance:.1f} %",
        )
    console.print(table)
    for result in measured:
        if result.other and result.difference:
            difference, ci95 = result.difference
            console.print(
                f"{_task(result.report)}: the other run {_percent(result.other)} on the same episodes, "
                f"difference {100 * difference:+.2f} ± {100 * ci95:.2f}",
                soft_wrap=True,
            )
    if test_classes < _FEW_CLASSES:
        console.print(
            f"only {test_classes} test classes: the intervals are over episodes of these, and say little "
            "about others",
            soft_wrap=True,
        )


def _task(report: Report) -> str:
    return f"{report.n_way}-way {report.k_shot}-shot"


def _percent(report: Report) -> str:
    return f"{100 * report.accuracy:.2f} % ± {100 * report.ci95:.2f}"


def _bar(console: Console, doing: str, *columns: ProgressColumn) -> Progress:
    """A bar that counts towards a total and goes when it is done; without a terminal there is none."""
    return Progress(
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
