# SPDX-License-Identifier: MIT
"""Which image files there are, and the class, the group and the part of each; nothing has been read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Listing:
    """Image files, sorted by class.

    Attributes:
        files: The paths of the files [N].
        labels: int32 [N], indices into `class_names`, never decreasing.
        class_names: Names of the classes.
        groups: int32 [N], indices into `group_names`; None without groups.
        group_names: Names of the groups.
        parts: int32 [N], indices into `part_names`; None if the data is not divided.
        part_names: Names of the parts that there are, of "train", "val" and "test".
        boxes: int64 [N, 4], the part of each picture to take: y, x, height, width; None for all of it.
    """

    files: Sequence[str]
    labels: npt.NDArray[np.int32]
    class_names: Sequence[str]
    groups: npt.NDArray[np.int32] | None = None
    group_names: Sequence[str] = ()
    parts: npt.NDArray[np.int32] | None = None
    part_names: Sequence[str] = ()
    boxes: npt.NDArray[np.int64] | None = None


def part_of(name: str) -> str | None:
    """The part that a folder or a cell with this name stands for: "train", "val" or "test"; None for others.

    Example:
        >>> part_of("Validation"), part_of("oak")
        ('val', None)
    """
    return _PARTS.get(name.strip().lower())


_PARTS = {
    **dict.fromkeys(("train", "training", "images_background"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "images_evaluation"), "test"),
}
