# SPDX-License-Identifier: MIT
"""Which files of a folder are the images of which class."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from fslcore.arguments import ArgumentError
from fslcore.data.datasets import left_out
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.pictures import is_picture, suffixes

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
_PARTS = ("dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation")
_RUN_FILES = ("config.json", "metrics.json", "checkpoint.npz")


@dataclass
class Folder:
    """The images in a folder, and its sub-folders that hold any, in the order of their names."""

    path: Path
    images: list[Path] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)

    def every(self) -> list[Path]:
        """The images of the folder and of all below it."""
        return self.images + [image for folder in self.folders for image in folder.every()]


def classes_of(root: Path, notes: LeftOut) -> dict[str, list[Path]]:
    """The images of each class: those in a sub-folder of `root` and in all folders below it.

    Args:
        root: The folder.
        notes: Takes what is left out.

    Returns:
        For the name of each class its files, both sorted.

    Raises:
        ArgumentError: There are fewer than two classes, the sub-folders are parts such as "train" and "test",
            or they hold sub-folders that look like the classes.
    """
    tree = _read(root, notes, suffixes(), ())
    for image in tree.images:
        notes.add(left_out.LOOSE, image)
    _check_layout(tree, notes)
    return {printable(folder.path.name): folder.every() for folder in tree.folders}


def _read(path: Path, notes: LeftOut, endings: Collection[str], above: tuple[tuple[int, int], ...]) -> Folder:
    """A folder with all that is below it; `above` are the folders that it is in."""
    found = Folder(path)
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
        below = path / entry.name
        reason = _reason(entry, below, endings)
        if reason is not None:
            notes.add(reason, below)
        elif entry.is_file():
            found.images.append(below)
        else:
            folder = _read(below, notes, endings, (*above, here))
            if folder.images or folder.folders:
                found.folders.append(folder)
            elif not above and not notes.explains(below):
                notes.add(left_out.EMPTY, below)
    return found


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
        return left_out.RUNS if _is_run(path) else None
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


def _is_run(folder: Path) -> bool:
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


def _check_layout(tree: Folder, notes: LeftOut) -> None:
    names = [folder.path.name for folder in tree.folders]
    parts = [name for name in names if name.lower() in _PARTS]
    where = printable(tree.path)
    if parts and len(parts) == len(names):
        raise _refused(
            tree,
            f"{where} with {_joined(parts)}, which are parts of a data set and no classes; load each by "
            f"itself, such as {where}/{printable(parts[0])}",
        )
    if parts:
        notes.remark(
            f"{_joined(parts)} {'is' if len(parts) == 1 else 'are'} taken for classes, by name a part"
        )
    nested = [folder for folder in tree.folders if not folder.images]
    if len(names) == 1 and nested:
        raise _refused(
            tree,
            _counted(tree, notes)
            + f"; {where}/{printable(names[0])} holds sub-folders with images: load that",
        )
    if len(names) < 2:
        raise _refused(tree, _counted(tree, notes))
    # A folder such as "images" in each class is no further level.
    below = {folder.path.name for one in nested for folder in one.folders}
    if len(nested) == len(names) and (len(below) > 1 or any(len(one.folders) > 1 for one in nested)):
        example = nested[0].folders[0].path.relative_to(tree.path)
        raise _refused(
            tree,
            f"{where}, whose {len(names)} sub-folders hold no images themselves but sub-folders with images, "
            f"such as {printable(example)}; load one of them, such as {where}/{printable(names[0])}, or put "
            "all classes side by side",
        )


def _counted(tree: Folder, notes: LeftOut) -> str:
    names = [printable(folder.path.name) for folder in tree.folders]
    found = [f"{len(names)} sub-folder" + (f" ({names[0]})" if names else "s")]
    if empty := notes.count(left_out.EMPTY):
        found.append(f"{empty} without any, the first {notes.first(left_out.EMPTY)!r}")
        found[0] += " that hold" + ("s" if names else "") + " images"
    if tree.images:
        found.append(f"{len(tree.images)} images beside")
    for reason in (left_out.RUNS, left_out.SYSTEM, left_out.UNREADABLE, left_out.OTHER):
        if count := notes.count(reason):
            found.append(f"{count} {reason}, the first {notes.first(reason)!r}")
    run = ", a run folder of fslcore," if _is_run(tree.path) else ""
    return f"{printable(tree.path)}{run} with " + " and ".join(found)


def _joined(names: list[str]) -> str:
    return " and ".join(f"{printable(name)}/" for name in names)


def _refused(tree: Folder, described: str) -> ArgumentError:
    return ArgumentError(
        "name_or_path",
        "must be a folder with one sub-folder per class and at least two classes",
        tree.path,
        described=described,
    )
