# SPDX-License-Identifier: MIT
"""What the folders of a tree are: classes, groups of classes, or the parts of a data set.

    class/image                   classes
    group/class/image             classes "group/class" in groups
    train/class/image, val/, ...  classes, divided into these parts; groups may lie between
    class/train/image, ...        the same
    wrapper/...                   what is in the wrapper

Folders below that of a class belong to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, counted
from fslcore.data.datasets import left_out
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.listing import PARTS, Listing, part_of
from fslcore.data.datasets.tree import Folder, is_run

_NAMED = 3


@dataclass(frozen=True)
class _Class:
    """The images of a class in one part and one group."""

    name: str
    images: Sequence[str]
    group: str | None = None
    part: str | None = None


def listing_of(tree: Folder, notes: LeftOut) -> Listing:
    """The images of a folder with their classes, groups and parts.

    Args:
        tree: The folder.
        notes: Takes the remarks about what had to be guessed, and the images that belong to no class.

    Returns:
        The listing; classes are sorted by name, images of a class by part, then by path.

    Raises:
        ArgumentError: There are fewer than two classes.
    """
    root = _unwrapped(tree, notes)
    found = list(_classes(_in_parts(root, notes), notes))
    if len({one.name for one in found}) < 2:
        raise _refused(tree, notes)
    return _listed(found)


def _unwrapped(tree: Folder, notes: LeftOut) -> Folder:
    """The first folder that is not alone in the one around it."""
    _note_loose(tree, notes)
    while len(tree.folders) == 1 and not tree.folders[0].images and tree.folders[0].folders:
        (tree,) = tree.folders
        _note_loose(tree, notes)
        notes.remark(f"the classes are taken from {printable(tree.path.relative_to(notes.root))}/")
    return tree


def _note_loose(folder: Folder, notes: LeftOut) -> None:
    for image in folder.images:
        notes.add(left_out.LOOSE, Path(image))


def _in_parts(root: Folder, notes: LeftOut) -> list[tuple[str | None, Folder]]:
    """The sub-folders of a folder, or of the parts that it is divided into, each with its part."""
    parts = {folder.path.name: part_of(folder.path.name) for folder in root.folders}
    named = [name for name, part in parts.items() if part is not None]
    if not named or len(named) < len(parts):
        if named:
            notes.remark(f"{_joined(named)} {_are(named)} taken for classes, by name a part")
        return [(None, folder) for folder in root.folders]
    notes.remark(f"{_joined(named)} {_are(named)} taken for the parts of the data set")
    for folder in root.folders:
        _note_loose(folder, notes)
    return [(parts[folder.path.name], below) for folder in root.folders for below in folder.folders]


def _classes(tops: Sequence[tuple[str | None, Folder]], notes: LeftOut) -> Iterator[_Class]:
    """The classes, which are in groups or not."""
    nested = [top for _, top in tops if not top.images]
    below = {folder.path.name for top in nested for folder in top.folders}
    several = [top for top in nested if len(top.folders) > 1]
    all_nested = bool(nested) and len(nested) == len(tops)
    if all_nested and all(map(part_of, below)) and not any(part for part, _ in tops):
        notes.remark(
            f"{_joined(sorted(below))} in the classes {_are(below)} taken for the parts of the data set"
        )
        for _, top in tops:
            for folder in top.folders:
                yield _Class(printable(top.path.name), folder.every(), part=part_of(folder.path.name))
        return
    # A folder such as "images" in each class is no further level.
    if all_nested and (len(below) > 1 or several):
        groups = {top.path.name for top in nested}
        notes.remark(
            f"two levels of folders are taken for {len(groups)} groups, such as "
            f"{printable(nested[0].path.name)}/, and their classes, named group/class"
        )
        for part, top in tops:
            group = printable(top.path.name)
            for folder in top.folders:
                yield _Class(f"{group}/{printable(folder.path.name)}", folder.every(), group, part)
        return
    if several:
        names = [top.path.name for top in several]
        others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        notes.remark(
            f"{_joined(names[:_NAMED])}{others}, with images in several sub-folders, {_are(names)} taken for "
            f"{'a class' if len(names) == 1 else 'classes'}, as other folders hold their images themselves"
        )
    for part, top in tops:
        yield _Class(printable(top.path.name), top.every(), part=part)


def _listed(found: Sequence[_Class]) -> Listing:
    names = list(dict.fromkeys(one.name for one in found))
    if any(one.part for one in found):  # which each list the classes anew
        names.sort()
    numbers = {name: i for i, name in enumerate(names)}
    found = sorted(found, key=lambda one: (numbers[one.name], PARTS.index(one.part) if one.part else 0))
    groups = list(dict.fromkeys(one.group for one in found if one.group is not None))
    parts = [part for part in PARTS if any(one.part == part for one in found)]
    counts = [len(one.images) for one in found]

    def column(values: Sequence[int]) -> npt.NDArray[np.int32]:
        return np.repeat(np.array(values, np.int32), counts)

    return Listing(
        [image for one in found for image in one.images],
        column([numbers[one.name] for one in found]),
        names,
        column([groups.index(one.group) for one in found if one.group]) if groups else None,
        groups,
        column([parts.index(one.part) for one in found if one.part]) if parts else None,
        parts,
    )


def _refused(tree: Folder, notes: LeftOut) -> ArgumentError:
    return ArgumentError(
        "name_or_path",
        "must be a folder with one sub-folder per class and at least two classes",
        tree.path,
        described=_counted(tree, notes),
    )


def _counted(tree: Folder, notes: LeftOut) -> str:
    names = [printable(folder.path.name) for folder in tree.folders]
    if names and all(map(part_of, names)):
        return f"{printable(tree.path)} with {_joined(names)}, which are parts without folders of classes"
    found = [f"{len(names)} sub-folder" + (f" ({names[0]})" if names else "s")]
    if empty := notes.count(left_out.EMPTY):
        found.append(f"{empty} without any, the first {notes.first(left_out.EMPTY)!r}")
        found[0] += " that hold" + ("s" if len(names) == 1 else "") + " images"
    if loose := notes.count(left_out.LOOSE):
        found.append(f"{counted(loose, 'image')} beside")
    for reason in (left_out.RUNS, left_out.SYSTEM, left_out.UNREADABLE, left_out.OTHER):
        if notes.count(reason):
            found.append(f"{notes.counted(reason)}, the first {notes.first(reason)!r}")
    run = ", a run folder of fslcore," if is_run(tree.path) else ""
    return f"{printable(tree.path)}{run} with " + " and ".join(found)


def _joined(names: Sequence[str]) -> str:
    return " and ".join(f"{printable(name)}/" for name in names)


def _are(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"
