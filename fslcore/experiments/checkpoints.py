# SPDX-License-Identifier: MIT
"""The weights of a run, and the checkpoint from which its training continues bit for bit."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.experiments.runs import FORMAT, Row, Run, check_format

CHECKPOINT, WEIGHTS = "checkpoint.npz", "model.weights.h5"


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: training steps done.
        history: the rows of the complete epochs.
        partial: the means over the steps of an epoch that was interrupted, and their number `steps`; empty
            between epochs.
    """

    step: int = 0
    history: list[Row] = dataclasses.field(default_factory=list)
    partial: Row = dataclasses.field(default_factory=dict)


def save_weights(run: Path, learner: Any) -> Path:
    """Writes the learner's weights for `load_weights`; returns the path."""
    files.replace(run / WEIGHTS, lambda temporary: learner.save_weights(temporary))
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
    _build_optimizers(learner)
    try:
        learner.load_weights(path)
    except Exception as error:  # h5py and Keras raise OSError, KeyError, ValueError ... for damaged files
        raise ArgumentError(
            "run",
            f"must have weights of its learner: {path} is damaged or of another model ({_first_line(error)})",
            str(run),
        ) from error


def trained_learner(run: Run, image_shape: tuple[int, int, int]) -> Any:
    """The learner of a run, with its trained weights.

    Args:
        run: the run.
        image_shape: (height, width, channels) of the images that it was trained on.

    Raises:
        ArgumentError: there are no weights, or they do not fit the recipe.
    """
    learner = run.recipe.build(image_shape)
    load_weights(run.folder, learner)
    return learner


def save_checkpoint(run: Path, learner: Any, progress: Progress) -> None:
    """Writes all state of a compiled learner: weights, moving averages, seeds, optimizer and progress."""
    header = json.dumps({"format": FORMAT, **dataclasses.asdict(progress)}).encode()
    arrays: dict[str, Any] = {"header": np.frombuffer(header, np.uint8)}
    arrays |= {key: np.asarray(variable) for key, variable in _state(learner).items()}
    files.replace(run / CHECKPOINT, lambda temporary: np.savez(temporary, **arrays))


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
    progress, arrays = _read(path)
    state = _state(learner)
    shapes = {key: tuple(variable.shape) for key, variable in state.items()}
    if shapes != {key: array.shape for key, array in arrays.items()}:
        raise ArgumentError(
            "run",
            f"must have a checkpoint of its learner: {path} belongs to another model, whose variables have "
            "other shapes",
            str(run),
        )
    for key, variable in state.items():
        variable.assign(arrays[key])
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


def _read(path: Path, wanted: Callable[[str], bool] = bool) -> tuple[Progress, dict[str, Any]]:
    """The progress in a checkpoint, and those of its arrays whose names are wanted."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files if wanted(name)}
        header = json.loads(arrays.pop("header").tobytes())
        found = header.pop("format")
        progress = Progress(**header) if found == FORMAT else Progress()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            "run",
            f"must have a checkpoint to continue from: {path} is damaged ({_first_line(error)})",
            str(path.parent),
        ) from error
    check_format(path, found)
    return progress, arrays


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
