# SPDX-License-Identifier: MIT
"""The weights of a run, and the checkpoint from which its training continues bit for bit."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.experiments import archives
from fslcore.experiments.failures import NotSaved
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import FORMAT, Row, Run, check_format

CHECKPOINT, WEIGHTS = "checkpoint.npz", "model.weights.h5"
_BEST = "best-"  # the names of the arrays of the best epoch

# What reading a damaged .npz can raise; NotImplementedError: it claims an unknown compression.
_DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error),
    *(AttributeError, NotImplementedError, RuntimeError, RecursionError, MemoryError, OverflowError),
)


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: training steps done.
        history: the rows of the complete epochs.
        partial: the means over the steps of an epoch that was interrupted, and their number `steps`; empty
            between epochs.
        best: the variables of the learner after the best epoch, if they are to be kept.
    """

    step: int = 0
    history: list[Row] = dataclasses.field(default_factory=list)
    partial: Row = dataclasses.field(default_factory=dict)
    best: list[Any] = dataclasses.field(default_factory=list, init=False, compare=False, repr=False)

    def keep_best(self, learner: Any) -> None:
        """Keeps the variables of the learner if the epoch that has just ended is the best so far."""
        if self.history and best_row(self.history) is self.history[-1]:
            self.best = [np.asarray(variable).copy() for variable in learner.variables]

    def restore_best(self, learner: Any) -> None:
        """Gives the learner the variables of the best epoch, if there is one."""
        for variable, value in zip(learner.variables, self.best, strict=False):
            variable.assign(value)


def best_row(history: Sequence[Row]) -> Row | None:
    """The epoch with the highest accuracy in validation, the last of several; None without validation."""
    validated = [row for row in history if "val_accuracy" in row]
    return max(reversed(validated), key=lambda row: row["val_accuracy"], default=None)


def save_weights(run: Path, learner: Any, step: int | None = None) -> Path:
    """Writes the learner's weights for `load_weights`.

    Args:
        run: the run folder.
        learner: the learner.
        step: the training step that they are from.

    Returns:
        The path of the file.

    Raises:
        NotSaved: the file cannot be written.
    """

    def write(temporary: Path) -> None:
        learner.save_weights(temporary)
        archives.describe_weights(temporary, learner.weights, step)

    try:
        files.replace(run / WEIGHTS, write)
    except (OSError, RuntimeError) as error:  # h5py raises either where the disk is full
        raise NotSaved(run / WEIGHTS, error) from error
    return run / WEIGHTS


def load_weights(run: Path, learner: Any) -> None:
    """Reads the weights of a run into a learner of the same architecture.

    Raises:
        ArgumentError: there are none, they are damaged, or they belong to another architecture.
    """
    path = run / WEIGHTS
    if not path.is_file():
        raise ArgumentError(
            "run", f"must have weights: {path} is missing, resume the training first", str(run)
        )
    # Their state is in the file of a trained learner, and Keras refuses to leave it there.
    state = _state(learner)
    try:
        archives.check_weights_file(path, sum(math.prod(variable.shape) for variable in state.values()))
        learner.load_weights(path)
        archives.check_weights(path, learner.weights)
    except Exception as error:  # h5py and Keras raise OSError, KeyError, ValueError ... for damaged files
        raise ArgumentError(
            "run",
            f"must have weights of its learner: {path} is damaged or of another model ({_first_line(error)})",
            str(run),
        ) from error


def trained_learner(run: Run, image_shape: tuple[int, int, int] | None = None) -> Any:
    """The learner of a run, with its trained weights; those of its checkpoint, if it was killed later on.

    Args:
        run: the run.
        image_shape: (height, width, channels) of the images that it was trained on; None: as its
            `config.json` says.

    Raises:
        ArgumentError: there are no weights, or they do not fit the recipe.
    """
    image_shape = image_shape or run.config.get("image_shape")
    if image_shape is None:
        raise ArgumentError("image_shape", "must be given for a run of an earlier version", None)
    height, width, channels = image_shape
    learner = run.recipe.build((height, width, channels), fresh=False)
    if not _checkpoint_is_ahead(run.folder):
        # The file holds the state of the optimizer too, for the weights that its phase trained.
        _enter(run.recipe, learner, archives.weights_step(run.folder / WEIGHTS) or run.recipe.steps)
        load_weights(run.folder, learner)
        return learner
    progress = continued(run.folder, run.recipe, learner)
    if progress.step >= run.recipe.steps:
        progress.restore_best(learner)
    return learner


def continued(run: Path, recipe: Recipe, learner: Any) -> Progress:
    """`load_checkpoint`, of a learner that is made ready for the phase that wrote the checkpoint."""
    _enter(recipe, learner, load_progress(run).step)
    return load_checkpoint(run, learner)


def _enter(recipe: Recipe, learner: Any, step: int) -> None:
    """Makes a learner ready for the phase whose optimizer has made a step; for the first one if none has."""
    ends = np.cumsum([stage.epochs * recipe.steps_per_epoch for stage in recipe.stages()])
    recipe.enter(learner, min(int(np.searchsorted(ends, step)), len(ends) - 1))


def _checkpoint_is_ahead(run: Path) -> bool:
    """Whether training has come further than the file of weights, because it was killed before its end."""
    if not (run / CHECKPOINT).exists():
        return False
    step = archives.weights_step(run / WEIGHTS)
    if (run / WEIGHTS).exists() and step is None:
        return False  # of an earlier version, or damaged
    return load_progress(run).step > (step or 0)


def is_measurable(run: Path) -> bool:
    """Whether a run has weights, in their own file or in a checkpoint."""
    return (run / WEIGHTS).exists() or load_progress(run).step > 0


def save_checkpoint(run: Path, learner: Any, progress: Progress) -> None:
    """Writes all state of a compiled learner: weights, moving averages, seeds, optimizer and progress.

    Raises:
        NotSaved: the file cannot be written.
    """
    entries = {name: getattr(progress, name) for name in ("step", "history", "partial")}
    header = json.dumps({"format": FORMAT, **entries}).encode()
    arrays: dict[str, Any] = {"header": np.frombuffer(header, np.uint8)}
    arrays |= {key: np.asarray(variable) for key, variable in _state(learner).items()}
    arrays |= {f"{_BEST}{i:04}": value for i, value in enumerate(progress.best)}
    try:
        files.replace(run / CHECKPOINT, lambda temporary: np.savez(temporary, **arrays))
    except OSError as error:
        raise NotSaved(run / CHECKPOINT, error) from error


def load_checkpoint(run: Path, learner: Any) -> Progress:
    """Restores what `save_checkpoint` wrote.

    Args:
        run: the run folder.
        learner: the learner as it was built and compiled at the start of the run.

    Returns:
        The progress; without any, and with the learner untouched, if the run has no checkpoint yet.

    Raises:
        ArgumentError: the checkpoint is damaged, of another format, or of another model.
    """
    path = run / CHECKPOINT
    if not path.exists():
        return Progress()
    state = _state(learner)
    shapes = {key: tuple(variable.shape) for key, variable in state.items()}
    of_best = {f"{_BEST}{i:04}": tuple(variable.shape) for i, variable in enumerate(learner.variables)}
    progress, arrays = _read(path, shapes=shapes, others=of_best)
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise _damaged(path, ValueError("a number in it is not finite"))
    for key, variable in state.items():
        variable.assign(arrays[key])
    progress.best = [arrays[key] for key in of_best if key in arrays]
    return progress


def load_progress(run: Path) -> Progress:
    """How far a run has come by its checkpoint, without its arrays and without a learner.

    Args:
        run: the run folder.

    Returns:
        The progress; without any if the run has no checkpoint yet.

    Raises:
        ArgumentError: the checkpoint is damaged or of another format.
    """
    path = run / CHECKPOINT
    return _read(path, lambda name: name == "header")[0] if path.exists() else Progress()


def is_finite(learner: Any) -> bool:
    """Whether no variable of a compiled learner, or of its optimizers, is infinite or NaN."""
    arrays = (np.asarray(variable) for variable in _state(learner).values())
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f")


def _read(
    path: Path,
    wanted: Callable[[str], bool] = bool,
    shapes: dict[str, tuple[int, ...]] | None = None,
    others: dict[str, tuple[int, ...]] | None = None,
) -> tuple[Progress, dict[str, Any]]:
    """The progress in a checkpoint, and those of its arrays whose names are wanted.

    Args:
        path: the file.
        wanted: whether an array of a name is to be read.
        shapes: the shapes that the arrays must have, by name.
        others: those of the arrays that may be there besides, all or none.
    """
    try:
        # Before anything is unpacked.
        held = {name: shape for name, (shape, _) in archives.forms(path).items()}
        header = _header(path)
        found = header.pop("format")
        progress = _progress(header) if found == FORMAT else Progress()
    except _DAMAGES as error:
        raise _damaged(path, error) from error
    check_format(path, found)
    del held["header"]
    if shapes is not None and held not in (shapes, {**shapes, **(others or {})}):
        raise ArgumentError(
            "run",
            f"must have a checkpoint of its learner: {path} belongs to another model, whose variables have "
            "other shapes",
            str(path.parent),
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return progress, {name: content[name] for name in held if wanted(name)}
    except _DAMAGES as error:
        raise _damaged(path, error) from error


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        return dict(json.loads(content["header"].tobytes()))


def _progress(header: dict[str, Any]) -> Progress:
    """The progress in the header of a checkpoint, or a ValueError or TypeError."""
    progress = Progress(**header)
    rows = [*progress.history, progress.partial]
    if not isinstance(progress.step, int) or progress.step < 0:
        raise ValueError("step is no number of steps")
    if not all(isinstance(value, (int, float)) for row in rows for value in dict(row).values()):
        raise ValueError("its history is not one of numbers")
    needed = {"epoch", "loss"}
    if not all(needed <= row.keys() for row in progress.history) or not isinstance(progress.history, list):
        raise ValueError("its history has no losses")
    if progress.partial and not {"loss", "steps"} <= progress.partial.keys():
        raise ValueError("its last epoch has no loss")
    return progress


def _damaged(path: Path, error: Exception) -> ArgumentError:
    return ArgumentError(
        "run",
        f"must have a checkpoint to continue from: {path} is damaged ({_first_line(error)})",
        str(path.parent),
    )


def _state(learner: Any) -> dict[str, Any]:
    """Every variable that training changes, under a key that sorts as they were created."""
    of_optimizers = [v for optimizer in _build_optimizers(learner) for v in optimizer.variables]
    parts = {"model": learner.variables, "optimizer": of_optimizers}
    return {
        f"{part}-{i:04}": variable
        for part, variables in parts.items()
        for i, variable in enumerate(variables)
    }


def _build_optimizers(learner: Any) -> list[Any]:
    """The outer optimizers of a learner, with their variables; none if it is not compiled."""
    if learner.optimizer is None:
        return []
    if hasattr(learner, "optimizers"):
        return list(learner.optimizers)
    learner.optimizer.build(learner.trainable_variables)
    return [learner.optimizer]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
