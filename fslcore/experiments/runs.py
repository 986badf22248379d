# SPDX-License-Identifier: MIT
"""The run folder: what was asked, what came out, and all it takes to continue exactly.

    config.json          arguments, versions and data of the run; written once, at its start
    checkpoint.npz       weights, optimizer, step and history: training continues from here, bit for bit
    history.csv          one row per epoch
    model.weights.h5     the weights, for Keras' load_weights
    metrics.json         accuracy with its confidence interval, the baselines, seed, split hash, versions
    *.png                pictures
    tensorboard/         curves for TensorBoard, if they were asked for

Every file is written atomically: a reader, or a run that was killed, finds the old file or the new one, never
a part of one. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.experiments.choices import recipe_from_json
from fslcore.experiments.recipes import Recipe

FORMAT = 1
CONFIG, HISTORY, METRICS = "config.json", "history.csv", "metrics.json"

Row = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, opened.

    Attributes:
        folder: where it is.
        config: its `config.json`.
        recipe: the recipe of its learner.
    """

    folder: Path
    config: Mapping[str, Any]
    recipe: Recipe

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """Opens a run that is there.

        Raises:
            ArgumentError: `folder` is no run folder, it is damaged, or it is of another version.
        """
        config = read_config(folder)
        try:
            recipe = recipe_from_json(config["recipe"])
        except (ArgumentError, KeyError, TypeError) as error:
            raise ArgumentError(
                "run", f"must have a {CONFIG} with a recipe that this fslcore knows: {error}", str(folder)
            ) from error
        return cls(Path(folder), config, recipe)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results in `metrics.json`.

        Raises:
            ArgumentError: it is missing or damaged.
        """
        results = read_json(self.folder / METRICS).get("results")
        if not isinstance(results, list):
            raise ArgumentError(
                "run",
                f"must have a {METRICS} with results: {self.folder / METRICS} has none",
                str(self.folder),
            )
        return results


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
        ArgumentError: there is something at `path` already.
        OSError: the folder cannot be made.
    """
    run = Path(path)
    check_new(run)
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / CONFIG, {"format": FORMAT, **config, "versions": versions()})
    return run


def check_new(run: Path) -> None:
    """Raises ArgumentError unless there is nothing at the path, or an empty folder."""
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ArgumentError("out", "must be a new or an empty folder", str(run))


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the `config.json` of a run.

    Raises:
        ArgumentError: `path` is no run folder, or one of another format.
    """
    run = Path(path)
    if not (run / CONFIG).is_file():
        raise ArgumentError("run", f"must be a folder that a training has written, with a {CONFIG}", str(run))
    return read_json(run / CONFIG)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, atomically. NaN is refused: it is no JSON."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    files.replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Reads an object that carries the format of this version.

    Raises:
        ArgumentError: the file is missing, damaged, or of another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["format"]
    except FileNotFoundError:
        raise ArgumentError("run", f"must have a {path.name}: {path} is missing", str(path.parent)) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ArgumentError(
            "run",
            f"must have a {path.name} as fslcore writes it: {path} is damaged ({error!r})",
            str(path.parent),
        ) from error
    check_format(path, found)
    return dict(content)


def check_format(path: Path, found: Any) -> None:
    """Raises ArgumentError for a file of a run whose format is not that of this version."""
    if found != FORMAT:
        raise ArgumentError(
            "run",
            f"must be of the run format {FORMAT}: {path} has the run format {found}, and this fslcore "
            f"({metadata.version('fslcore')}) cannot read it; use the version that wrote it",
            str(path.parent),
        )


def write_history(run: Path, rows: Sequence[Row]) -> None:
    """Writes one row per epoch as CSV; the columns are all keys in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.replace(run / HISTORY, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))
