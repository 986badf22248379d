# SPDX-License-Identifier: MIT
"""Which image files there are, and the class, the group and the part of each; nothing has been read yet."""

from __future__ import annotations

import hashlib
import json
import os
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
        boxes: int64 [N, 4], the part of each picture to take: y, x, height, width, four zeros for all of it;
            None if all are taken whole.
    """

    files: Sequence[str]
    labels: npt.NDArray[np.int32]
    class_names: Sequence[str]
    groups: npt.NDArray[np.int32] | None = None
    group_names: Sequence[str] = ()
    parts: npt.NDArray[np.int32] | None = None
    part_names: Sequence[str] = ()
    boxes: npt.NDArray[np.int64] | None = None

    def box(self, i: int) -> tuple[int, int, int, int] | None:
        """The part of a picture to take; None for all of it."""
        if self.boxes is None:
            return None
        top, left, height, width = map(int, self.boxes[i])
        return (top, left, height, width) if height else None

    def fingerprint(self) -> str:
        """Digest of all this, and of the sizes and modification times (nanoseconds) of the files."""
        found = hashlib.blake2b(digest_size=8)
        for path in self.files:
            status = os.stat(path)
            found.update(
                f"{path}\0{status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
            )
        for name, column in (("l", self.labels), ("g", self.groups), ("p", self.parts), ("b", self.boxes)):
            if column is not None:
                found.update(name.encode() + np.ascontiguousarray(column).tobytes())
        names = (list(self.class_names), list(self.group_names), list(self.part_names))
        found.update(json.dumps(names).encode())
        return found.hexdigest()


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
