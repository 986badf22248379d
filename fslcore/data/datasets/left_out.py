# SPDX-License-Identifier: MIT
"""What a folder holds besides its images, in one sentence: nothing is left out without a word."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from fslcore.arguments import counted
from fslcore.data import pictures

_NAMED = 3

# Reasons that lose an image or a class, and two that lose nothing and are said only beside others.
EMPTY = "sub-folders without images"
RUNS = "run folders of fslcore"
SYSTEM = "folders and files of an operating system"
UNREADABLE = "folders and links that cannot be read"
OTHER = "files that are no image that Pillow reads"
LOOSE = "images beside the sub-folders, which belong to no class"
HIDDEN_IMAGES = "hidden images"
BROKEN = "images that cannot be read"
HIDDEN = "hidden files and folders"
TEXT = "text files"
_QUIET = (HIDDEN, TEXT)
_ONE = {
    EMPTY: "sub-folder without images",
    RUNS: "run folder of fslcore",
    SYSTEM: "folder or file of an operating system",
    UNREADABLE: "folder or link that cannot be read",
    OTHER: "file that is no image that Pillow reads",
    LOOSE: "image beside the sub-folders, which belongs to no class",
    HIDDEN_IMAGES: "hidden image",
    BROKEN: "image that cannot be read",
    HIDDEN: "hidden file or folder",
    TEXT: "text file",
}
_HEIF = (".heic", ".heif", ".hif")


def printable(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed, drawn and written: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class LeftOut:
    """What is left out of a folder, counted by reason.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._of: dict[str, list[Path]] = {}
        self._remarks: list[str] = []

    def add(self, reason: str, path: Path) -> None:
        """Notes that a file or folder is left out."""
        self._of.setdefault(reason, []).append(path)

    def remark(self, sentence: str) -> None:
        """Adds a sentence about what is not left out, but may be meant otherwise."""
        self._remarks.append(sentence)

    def explains(self, folder: Path) -> bool:
        """Whether it is said already why a folder has no images."""
        runs = self._of.get(RUNS, ())
        return folder in self._of.get(UNREADABLE, ()) or any(folder in (run, *run.parents) for run in runs)

    def count(self, reason: str) -> int:
        """How many are left out for a reason."""
        return len(self._of.get(reason, ()))

    def counted(self, reason: str) -> str:
        """How many are left out for a reason, with the reason, as in "2 text files"."""
        return counted(self.count(reason), _ONE[reason], reason)

    def first(self, reason: str) -> str:
        """The name of the first one that is left out for a reason."""
        return printable(self._of[reason][0].relative_to(self.root))

    def in_words(self) -> str:
        """The remarks, and all that is left out with counts and the first names, unless nothing is lost."""
        said = list(self._remarks)
        if not pictures.reads_heif() and any(
            path.suffix.lower() in _HEIF for path in self._of.get(OTHER, ())
        ):
            said.append("pip install 'fslcore[heif]' reads .heic files")
        if any(reason not in _QUIET for reason in self._of):
            said.append("left out: " + "; ".join(self._reason(reason) for reason in self._of))
        return "; ".join(said)

    def _reason(self, reason: str) -> str:
        paths = self._of[reason]
        if reason == OTHER:
            endings = Counter(path.suffix.lower() or "no ending" for path in paths)
            return f"{self.counted(reason)} ({_listed([f'{k} {n}' for k, n in endings.most_common()])})"
        names = [printable(path.relative_to(self.root)) for path in paths[:_NAMED]]
        return f"{self.counted(reason)} ({_listed(names, len(paths))})"


def _listed(names: list[str], count: int | None = None) -> str:
    count = len(names) if count is None else count
    return ", ".join(names[:_NAMED]) + (", ..." if count > _NAMED else "")
