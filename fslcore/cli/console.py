# SPDX-License-Identifier: MIT
"""What the command line shows of a run: its plan, its progress and its results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fslcore.cli import open_sets, output
from fslcore.cli.flags import flag, in_flags
from fslcore.cli.startup import quietly
from fslcore.experiments import Diverged, Interrupted, NotSaved, Observer
from fslcore.experiments.checkpoints import best_row, load_progress
from fslcore.experiments.closed import is_closed
from fslcore.experiments.failures import reason

if TYPE_CHECKING:
    from fslcore.data import ImageStore
    from fslcore.evaluation import Report
    from fslcore.experiments import Run
    from fslcore.experiments.results import OpenResult, Result
    from fslcore.experiments.runs import Row

_FEW_CLASSES = 20
_NAMED_IN_NOTES = ("min_images",)


class RunConsole(Observer):
    """Prints what happens in a run, and draws a bar inside its context, on a terminal.

    Args:
        console: where to print; without a terminal there is no bar.

    Attributes:
        complete: whether training is complete.
        failed: whether something that was to be left, on the disk or on standard output, could not be.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.complete, self.failed = console, False, False
        self._run: Run | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> RunConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop_bar()

    def starting(self) -> contextlib.AbstractContextManager[None]:
        """Holds back what TensorFlow writes when it starts."""
        return quietly()

    def loading(self, done: int, total: int, what: str) -> None:
        """Draws the bar, on standard error."""
        self._show_bar(done, total, what, Console(stderr=True))

    def begun(self, run: Run, parts: Mapping[str, ImageStore]) -> None:
        """Prints what is going to be trained, on what, and into which folder."""
        self._run, recipe = run, run.recipe
        val, test = parts["val"], parts["test"]
        turned = ", each also turned by 90, 180 and 270 degrees" if recipe.rotations else ""
        plan = recipe.validation(val)
        height, width, channels = parts["train"].image_shape
        protocol = f"{plan.way}-way {plan.shot}-shot" if plan else "too few, left out"
        train = parts["train"]
        classes = (
            f"classes: {train.n_classes} for training{turned}",
            f"         {val.n_classes} for validation ({protocol}), {test.n_classes} for the test",
        )
        if is_closed(parts):
            classes = (
                f"classes: {train.n_classes}{turned}, with {len(train):,} images for training;",
                f"         {len(val):,} images for validation ({protocol}), {len(test):,} for the test",
            )
        lines = (
            f"{recipe.learner} on {train.name.split('/')[0]}, run folder {run.folder}",
            f"images of {height} x {width} x {channels}, network {recipe.encoder}",
            *classes,
            f"{recipe.epochs:,} epochs of {recipe.steps_per_epoch:,} steps of {recipe.step_in_words()}",
        )
        self._print("\n".join(lines))

    def left_out(self, text: str) -> None:
        """Prints which classes are left out."""
        self._print(f"note: {in_flags(text, _NAMED_IN_NOTES)}")

    def noticed(self, text: str) -> None:
        """Prints what is measured otherwise than usual."""
        self._print(f"note: {in_flags(text, _NAMED_IN_NOTES)}")

    def unsaved(self, path: Path, error: Exception) -> None:
        """Says on standard error what could not be written; the exit code will, too."""
        self.failed = True
        _complain(f"{path} could not be written: {reason(error)}")

    def undrawn(self, path: Path, error: Exception) -> None:
        """Says on standard error which picture is missing."""
        _complain(f"warning: {path} could not be drawn: {reason(error)}")

    def stepped(self, step: int, loss: float | None) -> None:
        """Moves the bar."""
        shown = "" if loss is None else f"loss {loss:.4f}"
        self._show_bar(step, self._begun.recipe.steps, "training", self.console, shown)

    def epoch_ended(self, row: Row) -> None:
        """Prints the epoch's figures."""
        epochs = self._begun.recipe.epochs
        line = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", f"loss {row['loss']:.4f}"]
        if "accuracy" in row:
            line.append(f"training {100 * row['accuracy']:.1f} %")
        if "val_accuracy" in row:
            line.append(f"validation {100 * row['val_accuracy']:.1f} % ± {100 * row['val_ci95']:.1f}")
        line.append(f"{row['seconds']:.0f} s")
        self._print("   ".join(line))

    def trained(self, run: Run, seconds: float, test: ImageStore) -> None:
        """Prints how long the training took."""
        self._stop_bar()
        self.complete = True
        kept = _kept_weights(load_progress(run.folder).history, run.recipe.keep)
        classes = run.config["classes"]
        known = {*classes["test"]} <= {*classes["train"]}
        what = f"unseen images of {test.n_classes} classes" if known else f"{test.n_classes} unseen classes"
        self._print(f"trained in {seconds:.0f} s{kept}; measuring on {what}")

    def measuring(self, done: int, total: int) -> None:
        """Draws the bar."""
        self._show_bar(done, total, "measuring", self.console)

    def measured(self, run: Run, results: Sequence[Result], test: ImageStore) -> None:
        """Prints the results."""
        self._stop_bar()
        with self._printing():
            show(self.console, results, run.recipe.learner, test.n_classes)

    def measured_open(self, run: Run, results: Sequence[OpenResult]) -> None:
        """Prints the results on known and unknown classes."""
        self._stop_bar()
        with self._printing():
            open_sets.show(self.console, results, run.recipe.learner)

    def finished(self, run: Run) -> None:
        """Prints the files of the run."""
        files = ", ".join(sorted(path.name for path in run.folder.iterdir()))
        self._print(f"in {run.folder}: {files}")

    def interrupted(self, stop: Interrupted) -> None:
        """Prints how to continue."""
        run, recipe = self._begun.folder, self._begun.recipe
        self._print(
            f"\ninterrupted after {stop.progress.step:,} of {recipe.steps:,} steps, which are kept in {run}\n"
            f"  continue:    fslcore train --resume {run}\n"
            f"  measure it:  fslcore evaluate {run}"
        )

    def interrupted_after_training(self) -> None:
        """Prints how to measure the learner."""
        run = self._begun.folder
        self._print(f"\ninterrupted; training is complete. Measure it with: fslcore evaluate {run}")

    def not_saved(self, stop: NotSaved) -> None:
        """Prints which file could not be written, what is left and how to go on, on standard error."""
        run = self._begun.folder
        kept = "there is no checkpoint yet"
        if stop.kept:
            kept = f"the checkpoint of step {stop.kept:,} is as it was"
        _complain(
            f"{stop.path} could not be written: {stop.why}; {kept}\n"
            f"  continue:    fslcore train --resume {run}, when there is room"
        )

    def diverged(self, stop: Diverged) -> None:
        """Prints where training diverged, what is left and what to try, on standard error."""
        run, recipe = self._begun.folder, self._begun.recipe
        where = f"step {stop.last:,}"
        if stop.first != stop.last:
            where = f"one of the steps {stop.first:,} to {stop.last:,}"
        what = "a weight was no longer finite" if stop.loss is None else f"the loss was {stop.loss}"
        rates = " or ".join(f"{flag(name)} (it was {getattr(recipe, name):g})" for name in recipe.rates)
        if stop.kept is not None and stop.kept.step:
            found = (
                f"  the last good checkpoint is that of step {stop.kept.step:,}, in {run}, as it was\n"
                f"  measure it:  fslcore evaluate {run}\n"
            )
        else:
            found = f"  there was no checkpoint yet; {run} holds nothing worth keeping\n"
        _complain(
            f"training has diverged in {where} of {recipe.steps:,}: {what}\n{found}"
            f"  try:         a new run with a smaller {rates}"
        )

    def _print(self, text: str) -> None:
        with self._printing():
            self.console.print(text, soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def _printing(self) -> Iterator[None]:
        """Goes on in silence if standard output cannot be written: a training is worth more than its log."""
        try:
            yield
        except (OSError, ValueError):  # ValueError: it has been closed
            self._bar, self.failed = None, True
            output.silence()

    @property
    def _begun(self) -> Run:
        assert self._run is not None
        return self._run

    def _show_bar(self, done: int, total: int, what: str, console: Console, text: str = "") -> None:
        """Draws the bar of what is being done, or moves it; it goes when it is full."""
        if not console.is_terminal:
            return
        with self._printing():
            self._move_bar(done, total, what, console, text)

    def _move_bar(self, done: int, total: int, what: str, console: Console, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(what, total=total, text=text)
            self._bar.start()
        self._bar.update(self._task, completed=done, text=text)
        if done >= total:
            self._stop_bar()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            with self._printing():
                self._bar.stop()
            self._bar = None


def show(console: Console, measured: Sequence[Result], learner: str, test_classes: int) -> None:
    """Prints the accuracies as a table, beside the baselines."""
    report = measured[0].report
    protocol = "transductive" if report.transductive else "non-transductive"
    what = "unseen classes" if report.support_hash is None else "unseen images of the classes of the training"
    console.print(
        f"\naccuracy on {what} ({report.dataset}): {report.episodes:,} episodes each, {protocol}, "
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
    if test_classes < _FEW_CLASSES and report.support_hash is None:
        console.print(
            f"only {test_classes} test classes: the intervals are over episodes of these, and say little "
            "about others",
            soft_wrap=True,
        )


def _kept_weights(history: Sequence[Row], keep: str) -> str:
    """Which weights are kept, if they are not both the last and those with the best validation."""
    best = best_row(history)
    if best is None or best is history[-1]:
        return ""
    best_in_words = f"{100 * best['val_accuracy']:.1f} %"
    if keep == "best":
        return (
            f"; the weights of epoch {best['epoch']:.0f} are kept, the best in validation ({best_in_words})"
        )
    return (
        f"; the weights of the last epoch are kept (validation {100 * history[-1]['val_accuracy']:.1f} %), "
        f"the best validation was {best_in_words} in epoch {best['epoch']:.0f}"
    )


def _complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # there is nobody to tell
        print(f"fslcore: {text}", file=sys.stderr, flush=True)


def _task(report: Report) -> str:
    return f"{report.n_way}-way {report.k_shot}-shot"


def _percent(report: Report) -> str:
    return f"{100 * report.accuracy:.2f} % ± {100 * report.ci95:.2f}"
