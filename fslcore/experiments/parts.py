# SPDX-License-Identifier: MIT
"""The data of a run: its disjoint parts, and whether they are still those that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fslcore.data import ImageStore


def load_parts(data: str, data_dir: str | Path | None, image_size: int) -> dict[str, ImageStore]:
    """The classes for training, validation and test: "train", "val" and "test"."""
    from fslcore.data import default_split, load

    return default_split(load(data, image_size=image_size, data_dir=data_dir))


def parts_of_run(run: Path, config: Mapping[str, Any], data_dir: Path | None) -> dict[str, ImageStore]:
    """The parts that a run was trained with.

    Args:
        run: the run folder, for messages.
        config: its `config.json`.
        data_dir: where TensorFlow Datasets keeps omniglot now; None: where it did.

    Returns:
        As `load_parts`.

    Raises:
        ValueError: the data is not what it was.
    """
    parts = load_parts(config["data"], data_dir or config["data_dir"], config["image_size"])
    for name, found in described(parts).items():
        expected = config["split"][name]
        if found != expected:
            raise ValueError(
                f"the data must be what {run} was trained with: its {name} part must have "
                f"{_in_words(expected)}, received {_in_words(found)}"
            )
    return parts


def described(parts: Mapping[str, ImageStore]) -> dict[str, dict[str, Any]]:
    """What tells the parts from others, for `config.json`."""
    return {
        name: {"classes": part.n_classes, "images": len(part), "hash": part.content_hash}
        for name, part in parts.items()
    }


def _in_words(part: Mapping[str, Any]) -> str:
    return "{images} images of {classes} classes with the hash {hash}".format(**part)
