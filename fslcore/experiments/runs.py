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

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.data.cache import STORAGES
from fslcore.data.preparation import Preparation
from fslcore.experiments import folders
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
        folder = Path(folder).expanduser()
        config = read_config(folder)
        try:
            recipe = recipe_from_json(config["recipe"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArgumentError(
                "run", f"must have a {CONFIG} with a recipe that this fslcore knows: {error}", str(folder)
            ) from error
        check_entries(folder, config)
        return cls(folder, config, recipe)

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
    # Another process may have made it since the check: only one of them writes the file.
    text = _as_json({"format": FORMAT, **config, "versions": versions()})
    if not folders.create_exclusively(run / CONFIG, text):
        raise _not_new(run)
    folders.sweep(run)
    return run


def create_numbered(path: Path, config: Mapping[str, Any]) -> Path:
    """As `create`; if there is something at `path` already, in the first of `path-2`, `path-3`, ..."""
    for number in itertools.count(1):
        with contextlib.suppress(ArgumentError):
            return create(path if number == 1 else path.with_name(f"{path.name}-{number}"), config)
    raise AssertionError


def check_new(run: Path) -> None:
    """Raises ArgumentError unless there is nothing at the path, or an empty folder."""
    if not folders.is_new(run):
        raise _not_new(run)


def _not_new(run: Path) -> ArgumentError:
    return ArgumentError("out", "must be a new or an empty folder", str(run))


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the `config.json` of a run.

    Raises:
        ArgumentError: `path` is no run folder, or one of another format.
    """
    run = Path(path)
    if not (run / CONFIG).is_file():
        begun = run.is_dir() and folders.is_new(run) and any(run.iterdir())
        raise ArgumentError(
            "run",
            f"must be a folder that a training has written, with a {CONFIG}"
            + (" (this one ended before that: begin it again)" if begun else ""),
            str(run),
        )
    return read_json(run / CONFIG)


def check_entries(run: Path, config: Mapping[str, Any]) -> None:
    """Checks the entries of a `config.json` beside its recipe.

    Raises:
        ArgumentError: one is missing, is not known, or is of another type.
    """
    problems = [f"the entry {name!r} is not known" for name in config if name not in _ENTRIES]
    for name, (kind, fits) in _ENTRIES.items():
        if name not in config:
            if name not in _LATER_ENTRIES:
                problems.append(f"the entry {name!r} is missing")
        elif not fits(config[name]):
            problems.append(f"{name!r} must be {kind}, and is {str(config[name])[:80]!r}")
    if problems:
        raise damaged(run / CONFIG, problems[0])


def damaged(path: Path, why: object) -> ArgumentError:
    """The error about a file of a run that is not as it was written."""
    return ArgumentError(
        "run", f"must have a {path.name} as fslcore writes it: {path} is damaged ({why})", str(path.parent)
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, atomically. NaN is refused: it is no JSON."""
    text = _as_json(content)
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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, repr(error)) from error
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


def _as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _split(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, dict)
        and _whole(part.get("classes"))
        and _whole(part.get("images"))
        and isinstance(part.get("hash"), str)
        for part in (value.get(name) for name in _PARTS)
    )


def _preparation(value: Any) -> bool:
    try:
        return value is None or (isinstance(value, dict) and bool(Preparation.from_config(value)))
    except ArgumentError:
        return False


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(_whole(value.get(name)) for name in _PARTS)


def _names(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(part), list) and all(isinstance(name, str) for name in value[part])
        for part in _PARTS
    )


_PARTS = ("train", "val", "test")
# What config.json holds: the kind of each entry in words, and its check.
_ENTRIES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "format": ("a number", _whole),
    "recipe": ("a recipe", lambda value: isinstance(value, dict)),
    "data": ("a name or a path", lambda value: isinstance(value, str)),
    "data_dir": ("a path or null", lambda value: value is None or isinstance(value, str)),
    "image_size": ("a number of pixels", _whole),
    "image_shape": (
        "height, width and channels",
        lambda value: isinstance(value, list) and len(value) == 3 and all(map(_whole, value)),
    ),
    "skip_broken": ("true or false", lambda value: isinstance(value, bool)),
    "storage": ("memory, mapped or jpeg", lambda value: isinstance(value, str) and value in STORAGES),
    "min_images": ("a number for each part", _numbers),
    "classes": ("the names of the classes of each part", _names),
    "split_by": (
        "label, group, image or null",
        lambda value: value is None or (isinstance(value, str) and value in ("label", "group", "image")),
    ),
    "split_min_images": ("a number of images or null", lambda value: value is None or _whole(value)),
    "preparation": ("a preparation of images or null", _preparation),
    "split": ("the sizes and the hash of each part", _split),
    "eval_episodes": ("a number of episodes", _whole),
    "threads": ("a number of threads", _whole),
    "tensorboard": ("true or false", lambda value: isinstance(value, bool)),
    "versions": ("the versions of packages", lambda value: isinstance(value, dict)),
}
# Runs of earlier versions do not have these.
_LATER_ENTRIES = {
    *("data_dir", "image_shape", "min_images", "classes", "eval_episodes", "threads", "tensorboard"),
    *("versions", "skip_broken", "storage", "split_by", "split_min_images", "preparation"),
}
