# SPDX-License-Identifier: MIT
"""Folders of pictures for a support set: one sub-folder per label, or pictures without labels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fslcore.arguments import ArgumentError
from fslcore.data.datasets import left_out, tree
from fslcore.data.datasets.left_out import LeftOut, printable

File = str | os.PathLike[str]


def labelled_files(folder: File) -> tuple[dict[str, list[str]], str]:
    """The pictures of a folder by label.

    Args:
        folder: A folder with a sub-folder for each label, whose name is the label; the pictures may lie in
            folders below it.

    Returns:
        Label -> paths, both sorted; and what was left out, in one sentence, or "".

    Raises:
        ArgumentError: It is no folder, or has no sub-folder with pictures.
    """
    root = Path(folder).expanduser()
    _check_folder("support", root)
    notes = LeftOut(root)
    found = tree.read(root, notes)
    for image in found.images:
        notes.add(left_out.LOOSE, Path(image))
    if not found.folders:
        said = notes.in_words()
        raise ArgumentError(
            "support",
            "must be a folder with a sub-folder of pictures for each label",
            described=f"{printable(root)}, which has none" + (f" ({said})" if said else ""),
        )
    return {printable(label.path.name): label.every() for label in found.folders}, notes.in_words()


def files_of(places: Iterable[File]) -> tuple[list[str], str]:
    """The pictures of files and folders.

    Args:
        places: Paths; a folder stands for all pictures in it and below it.

    Returns:
        The paths, in the order given, those of a folder sorted; and what was left out of folders, or "".

    Raises:
        ArgumentError: A path is not there, or a folder holds no picture.
    """
    paths: list[str] = []
    said: list[str] = []
    for place in places:
        path = Path(place).expanduser()
        if not path.is_dir():
            if not path.exists():
                raise ArgumentError("images", "must be there", described=printable(path))
            paths.append(os.fspath(path))
            continue
        notes = LeftOut(path)
        below = tree.read(path, notes).every()
        if not below:
            raise ArgumentError("images", "must hold at least one picture", described=printable(path))
        paths += below
        said += [notes.in_words()] if notes.in_words() else []
    return paths, "; ".join(said)


def _check_folder(argument: str, path: Path) -> None:
    if not path.is_dir():
        there = "a file" if path.exists() else "which is not there"
        raise ArgumentError(argument, "must be a folder", described=f"{printable(path)}, {there}")
