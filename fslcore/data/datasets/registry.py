# SPDX-License-Identifier: MIT
"""The datasets that have a name. To add one, write its module here and its name into `_NAMES`."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.data.datasets import folder, records, table, tfds
from fslcore.data.datasets.dataset import Dataset
from fslcore.data.store import ImageStore

# Each is the name of a module in this folder, which defines DATASET. Modules are imported on first use.
_NAMES = (
    "emoji",
    "glyphs",
    "omniglot",
    "symbols",
)


def names() -> tuple[str, ...]:
    """The names that `fslcore.data.load` knows."""
    return _NAMES


def get(name: str) -> Dataset:
    """The dataset of a name.

    Raises:
        ArgumentError: There is none.
    """
    if name not in _NAMES:
        raise ArgumentError("name", f"must be one of {', '.join(map(repr, _NAMES))}", name)
    dataset: Dataset = importlib.import_module(f"fslcore.data.datasets.{name}").DATASET
    return dataset


def find(name_or_path: Any) -> Dataset:
    """The dataset of a name, or else the one in a folder or of a table.

    Raises:
        ArgumentError: There is neither a dataset of that name nor such a folder.
    """
    if isinstance(name_or_path, str) and name_or_path in _NAMES:
        return get(name_or_path)
    if isinstance(name_or_path, str) and name_or_path.startswith(tfds.PREFIX):
        return tfds.dataset(name_or_path)
    if isinstance(name_or_path, (str, os.PathLike)) and (files := records.files_of(name_or_path)):
        return records.dataset(files)
    if isinstance(name_or_path, (str, os.PathLike)) and Path(name_or_path).expanduser().is_dir():
        return folder.dataset(Path(name_or_path).expanduser())
    if table.is_table(name_or_path):
        return table.dataset(name_or_path)
    known = ", ".join(map(repr, _NAMES))
    raise ArgumentError(
        "name_or_path", f"must be {known}, a folder or a table", name_or_path, described=repr(name_or_path)
    )


def of(store: ImageStore) -> Dataset | None:
    """The named dataset that a whole store was loaded from; None for any other store."""
    if store.name not in _NAMES:
        return None
    dataset = get(store.name)
    # The name of a folder may be that of a dataset, but its images have been prepared.
    return dataset if dataset.grouped == (store.groups is not None) and store.preparation is None else None
