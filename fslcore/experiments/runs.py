# SPDX-License-Identifier: MIT
"""The run folder: what was asked, what came out, and all it takes to go on exactly.

    config.json          arguments, versions and data of the run; written once, at its start
    checkpoint.npz       weights, optimizer, step and history: training continues from here, bit for bit
    history.csv          one row per epoch
    model.weights.h5     the weights, for Keras' load_weights
    metrics.json         accuracy with its confidence interval, the baselines, seed, split hash, versions
    *.png                pictures
    tensorboard/         curves for TensorBoard, if they were asked for

Every file is written beside its place and then moved into it: a reader, or a run that was killed, finds the
old file or the new one, never a half. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import platform
import secrets
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
CONFIG, CHECKPOINT, HISTORY = "config.json", "checkpoint.npz", "history.csv"
WEIGHTS, METRICS = "model.weights.h5", "metrics.json"

Row = dict[str, float]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that determine the numbers of a run."""
    packages = ("fslcore", "tensorflow", "keras", "numpy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def create(path: str | os.PathLike[str], config: Mapping[str, Any]) -> Path:
    """Makes a run folder and writes its `config.json`.

    Args:
        path: the folder; it must not exist or be empty.
        config: whatever describes the run, as JSON takes it. `format` and `versions` are added.

    Returns:
        The folder.

    Raises:
        ValueError: there is something at `path` already.
        OSError: the folder cannot be made.
    """
    run = Path(path)
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ValueError(f"the run folder must be new or empty, received {run}, which holds something")
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / CONFIG, {"format": FORMAT, **config, "versions": versions()})
    return run


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the `config.json` of a run.

    Raises:
        ValueError: `path` is no run folder, or one of another format.
    """
    run = Path(path)
    if not (run / CONFIG).is_file():
        raise ValueError(
            f"the run must be a folder written by `fslcore train`, received {run} without {CONFIG}"
        )
    return read_json(run / CONFIG)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, atomically. NaN is refused: it is no JSON."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Reads an object that carries the format of this version.

    Raises:
        ValueError: the file is missing, damaged, or of another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["format"]
    except FileNotFoundError:
        raise ValueError(f"the run has no {path.name}: {path} is missing") from None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged, it is not what fslcore has written: {error!r}") from error
    _check_format(path, found)
    return dict(content)


def write_history(run: Path, rows: Sequence[Row]) -> None:
    """Writes one row per epoch as CSV; the columns are all keys in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(run / HISTORY, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def save_weights(run: Path, learner: Any) -> Path:
    """Writes the learner's weights for `load_weights`; returns the path."""
    replace(run / WEIGHTS, lambda temporary: learner.save_weights(temporary))
    return run / WEIGHTS


def load_weights(run: Path, learner: Any) -> None:
    """Reads the weights of a run into a learner of the same architecture.

    Raises:
        ValueError: there are none, they are damaged, or they belong to another architecture.
    """
    path = run / WEIGHTS
    if not path.is_file():
        raise ValueError(f"the run has no weights yet: {path} is missing; continue it with --resume {run}")
    # Their state is in the file of a trained learner, and Keras refuses to leave it there.
    _build_optimizers(learner)
    try:
        learner.load_weights(path)
    except (
        Exception
    ) as error:  # h5py and Keras raise OSError, KeyError, ValueError ... according to the damage
        raise ValueError(f"{path} is damaged or of another model: {_first_line(error)}") from error


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: training steps done.
        history: the rows of the complete epochs.
        partial: the means over the steps of a broken epoch, and their number `steps`; empty between epochs.
    """

    step: int = 0
    history: list[Row] = dataclasses.field(default_factory=list)
    partial: Row = dataclasses.field(default_factory=dict)


def save_checkpoint(run: Path, learner: Any, progress: Progress) -> None:
    """Writes all state of a compiled learner: weights, moving averages, seeds, optimizer and progress."""
    header = json.dumps({"format": FORMAT, **dataclasses.asdict(progress)}).encode()
    arrays: dict[str, Any] = {"header": np.frombuffer(header, np.uint8)}
    arrays |= {key: np.asarray(variable) for key, variable in _state(learner).items()}
    replace(run / CHECKPOINT, lambda temporary: np.savez(temporary, **arrays))


def load_checkpoint(run: Path, learner: Any) -> Progress:
    """Restores what `save_checkpoint` wrote.

    Args:
        run: the run folder.
        learner: the learner as it was built and compiled at the start of the run.

    Returns:
        The progress; without any, and with the learner untouched, if the run has no checkpoint yet.

    Raises:
        ValueError: the checkpoint is damaged, of another format, or of another model.
    """
    path = run / CHECKPOINT
    if not path.exists():
        return Progress()
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = dict(content)
        header = json.loads(arrays.pop("header").tobytes())
        found = header.pop("format")
        progress = Progress(**header) if found == FORMAT else Progress()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged, training cannot be continued from it: {_first_line(error)}"
        ) from error
    _check_format(path, found)
    state = _state(learner)
    shapes = {key: tuple(variable.shape) for key, variable in state.items()}
    if shapes != {key: array.shape for key, array in arrays.items()}:
        raise ValueError(
            f"{path} belongs to another model: the shapes of its variables are not those of the learner"
        )
    for key, variable in state.items():
        variable.assign(arrays[key])
    return progress


def is_finite(learner: Any) -> bool:
    """Whether no variable of a compiled learner, or of its optimizers, is infinite or NaN."""
    arrays = (np.asarray(variable) for variable in _state(learner).values())
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f")


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file through `write(temporary path)` and moves it to `path` in one step.

    Raises:
        OSError: the folder cannot be written.
    """
    # The ending is kept, for Keras, NumPy and matplotlib all look at it.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def _check_format(path: Path, found: Any) -> None:
    if found != FORMAT:
        raise ValueError(
            f"{path} has the run format {found}, and this fslcore ({metadata.version('fslcore')}) reads "
            f"format {FORMAT}: use the version that wrote it"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
