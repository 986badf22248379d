# SPDX-License-Identifier: MIT
"""What a run reports while it goes on, and the two ways in which its training can end early."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

from fslcore.data import ImageStore
from fslcore.experiments.failures import reason

if TYPE_CHECKING:
    from fslcore.experiments.checkpoints import Progress
    from fslcore.experiments.results import OpenResult, Result
    from fslcore.experiments.runs import Row, Run


class Observer:
    """Is told what happens in a run. This one ignores it; a subclass overrides what it wants to know."""

    def starting(self) -> contextlib.AbstractContextManager[None]:
        """A context in which TensorFlow is imported and started."""
        return contextlib.nullcontext()

    def loading(self, done: int, total: int, what: str) -> None:
        """Images are read or drawn: `done` of `total`, first with `done=0`, last with `done=total`."""

    def begun(self, run: Run, parts: Mapping[str, ImageStore]) -> None:
        """Training begins, or is continued, on the parts "train", "val" and "test"."""

    def stepped(self, step: int, loss: float | None) -> None:
        """Training steps are done: `step` in the whole run so far, with the mean loss of the epoch so far."""

    def epoch_ended(self, row: Row) -> None:
        """An epoch is done; `row` is its row of the history."""

    def trained(self, run: Run, seconds: float, test: ImageStore) -> None:
        """Training is complete; the learner is measured and drawn next."""

    def measuring(self, done: int, total: int) -> None:
        """Test episodes are done: `done` of `total`, first with `done=0`."""

    def measured(self, run: Run, results: Sequence[Result], test: ImageStore) -> None:
        """The results are known; `metrics.json` has them already, or gets them next."""

    def measured_open(self, run: Run, results: Sequence[OpenResult]) -> None:
        """Results on known and unknown classes are known; `metrics.json` gets them next."""

    def finished(self, run: Run) -> None:
        """After a training: everything that could be written is in the run folder."""

    def noticed(self, text: str) -> None:
        """Something is measured otherwise than usual, such as with fewer queries; `text` is a sentence."""

    def left_out(self, text: str) -> None:
        """Classes are left out, because they have too few images; a sentence says which. This one warns."""
        warnings.warn(text, stacklevel=2)

    def unsaved(self, path: Path, error: Exception) -> None:
        """A file could not be written; what was computed is still reported. This one warns."""
        warnings.warn(f"{path} could not be written: {reason(error)}", stacklevel=2)

    def undrawn(self, path: Path, error: Exception) -> None:
        """A picture, or all those of a run, could not be drawn; nothing else is lost. This one warns."""
        warnings.warn(f"{path} could not be drawn: {reason(error)}", stacklevel=2)


class Interrupted(Exception):
    """Training was stopped by a signal, after a complete step; the checkpoint has been written.

    Attributes:
        progress: how far the run has come.
        signal: SIGINT, which is Ctrl-C, SIGTERM or SIGHUP.
    """

    def __init__(self, progress: Progress, signal: int = SIGINT) -> None:
        super().__init__(f"interrupted after step {progress.step}; the run can be resumed")
        self.progress, self.signal = progress, signal


class Diverged(Exception):
    """The loss or a variable of the learner is no longer finite. The last checkpoint is as it was.

    Attributes:
        first: the step it happened in, counted from 1, or the first of those that Keras ran in one call.
        last: the last of those.
        loss: the loss; None if it was a variable.
        kept: how far the last checkpoint had come; without progress if there is none.
    """

    def __init__(self, first: int, last: int, loss: float | None = None) -> None:
        super().__init__(f"training diverged in the steps {first} to {last}")
        self.first, self.last, self.loss = first, last, loss
        self.kept: Progress | None = None
