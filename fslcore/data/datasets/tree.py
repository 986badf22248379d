# SPDX-License-Identifier: MIT
"""What a folder holds: its images and folders, and what of it is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from fslcore.arguments import ArgumentError
from fslcore.data.datasets import left_out
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.pictures import is_picture, suffixes

_SYSTEM_FOLDERS = (
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",
)
_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r")
_TEXT = (".csv", ".json", ".log", ".md", ".rst", ".tsv", ".txt", ".xml", ".yaml", ".yml")
_RUN_FILES = ("config.json", "metrics.json", "checkpoint.npz")


@dataclass
class Folder:
    """The paths of the images in a folder, and its sub-folders that hold any, in the order of their names."""

    path: Path
    images: list[str] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)

    def every(self) -> list[str]:
        """The images of the folder and of all below it."""
        return self.images + [image for folder in self.folders for image in folder.every()]


def read(root: Path, notes: LeftOut) -> Folder:
    """The images in a folder and in all folders below it.

    Args:
        root: The folder.
        notes: Takes what is left out.

    Raises:
        ArgumentError: The folder cannot be read.
    """
    return _read(root, notes, suffixes(), ())


def _read(path: Path, notes: LeftOut, endings: Collection[str], above: tuple[tuple[int, int], ...]) -> Folder:
    """A folder with all that is below it; `above` are the folders that it is in."""
    found = Folder(path)
    empty: list[Path] = []
    try:
        status = path.stat()
        with os.scandir(path) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        if not above:
            described = f"{printable(path)}: {error.strerror}"
            raise ArgumentError(
                "name_or_path", "must be a folder that can be read", path, described=described
            ) from error
        notes.add(left_out.UNREADABLE, path)
        return found
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder that it lies in
        notes.add(left_out.UNREADABLE, path)
        return found
    for entry in entries:
        if _is_plain_image(entry, endings):
            found.images.append(entry.path)
            continue
        below = path / entry.name
        reason = _reason(entry, below, endings)
        if reason is not None:
            notes.add(reason, below)
        elif entry.is_file():
            found.images.append(entry.path)
        else:
            folder = _read(below, notes, endings, (*above, here))
            if folder.images or folder.folders:
                found.folders.append(folder)
            elif not notes.explains(below):
                empty.append(below)
        # Of empty folders within each other, the outermost is named.
        if empty and (found.images or found.folders or not above):
            for folder_without in empty:
                notes.add(left_out.EMPTY, folder_without)
            empty.clear()
    return found


def _is_plain_image(entry: os.DirEntry[str], endings: Collection[str]) -> bool:
    """Whether an entry needs no closer look, as almost all do."""
    name = entry.name
    ending = os.path.splitext(name)[1]
    return (ending in endings or ending.lower() in endings) and name[0] != "." and _is_file(entry)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _reason(entry: os.DirEntry[str], path: Path, endings: Collection[str]) -> str | None:
    """Why an entry is left out; None for an image, and for a folder to be read."""
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:
        return left_out.UNREADABLE
    name = entry.name.lower()
    ending = os.path.splitext(name)[1]
    if name in (_SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES):
        return left_out.SYSTEM
    if name.startswith("."):
        images = _holds_images(path, endings) if is_folder else is_file and is_picture(path)
        return left_out.HIDDEN_IMAGES if images else left_out.HIDDEN
    if is_folder:
        return left_out.RUNS if is_run(path) else None
    if not is_file:
        return left_out.UNREADABLE
    if ending in endings:
        return None
    if ending in _TEXT:
        return left_out.TEXT
    return None if is_picture(path) else left_out.OTHER


def _holds_images(folder: Path, endings: Collection[str]) -> bool:
    try:
        return any(entry.suffix.lower() in endings for entry in folder.iterdir())
    except OSError:
        return False


def is_run(folder: Path) -> bool:
    """Whether fslcore has written a training into a folder: its pictures are no class."""
    if not any((folder / name).is_file() for name in _RUN_FILES):
        return False
    for name in _RUN_FILES[:2]:
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and "format" in content and "versions" in content:
            return True
    return (folder / _RUN_FILES[2]).is_file() and (folder / _RUN_FILES[0]).is_file()
