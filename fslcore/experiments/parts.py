# SPDX-License-Identifier: MIT
"""The data of a run: its disjoint parts, and whether they are still those that it was trained with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, datasets, default_split, load
from fslcore.data.datasets import Progress
from fslcore.experiments.renaming import renamed
from fslcore.experiments.runs import Run


def load_parts(
    data: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None,
    image_size: int,
    progress: Progress,
) -> dict[str, ImageStore]:
    """The classes for training, validation and test: "train", "val" and "test".

    Args:
        data: a named dataset or a folder.
        data_dir: where TensorFlow Datasets keeps omniglot.
        image_size: height and width of the images.
        progress: called as `progress(done, total, what)` while images are read.

    Raises:
        ArgumentError: there is no such dataset, or it is too small to be divided.
    """
    with renamed(name_or_path="data"):
        store = load(data, image_size=image_size, data_dir=data_dir, progress=progress)
    try:
        return default_split(store)
    except ArgumentError as error:
        raise ArgumentError(
            "data", f"must have classes for training, validation and test ({error})", data
        ) from error


def parts_of_run(
    run: Run, data_dir: str | os.PathLike[str] | None, progress: Progress
) -> dict[str, ImageStore]:
    """The parts that a run was trained with.

    Args:
        run: the run.
        data_dir: where TensorFlow Datasets keeps omniglot now; None: where it did.
        progress: as for `load_parts`.

    Raises:
        ArgumentError: the data is not what it was.
    """
    config = run.config
    parts = load_parts(config["data"], data_dir or config["data_dir"], config["image_size"], progress)
    for name, found in described(parts).items():
        expected = config["split"][name]
        if found != expected:
            raise ArgumentError(
                "run",
                f"must find the data that it was trained with: the {name} part of {config['data']} must have "
                f"{_in_words(expected)}, and it has {_in_words(found)}",
                str(run.folder),
            )
    return parts


def place(data: str | os.PathLike[str]) -> str:
    """The data as `config.json` names it: a dataset by its name, a folder by its absolute path."""
    return str(data) if data in datasets.names() else str(Path(data).resolve())


def described(parts: Mapping[str, ImageStore]) -> dict[str, dict[str, Any]]:
    """Sizes and hashes of the parts, which tell them from others, for `config.json`."""
    return {
        name: {"classes": part.n_classes, "images": len(part), "hash": part.content_hash}
        for name, part in parts.items()
    }


def _in_words(part: Mapping[str, Any]) -> str:
    return "{images} images of {classes} classes with the hash {hash}".format(**part)
