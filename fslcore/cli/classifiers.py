# SPDX-License-Identifier: MIT
"""What the commands about classifiers share: opening them, reading pictures, and one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fslcore.arguments import ArgumentError
from fslcore.cli import shared
from fslcore.cli.progress import Bar
from fslcore.cli.startup import quietly
from fslcore.serving import running

if TYPE_CHECKING:
    from fslcore.classifier import SupportSet

RULES = "prototype, nearest, k-nearest, class-mean, kernel, svc or adapted"
Rule = Annotated[
    str | None,
    typer.Option(
        help=f"How labels are scored: {RULES}. [default: what the learner was trained for]",
        show_default=False,
    ),
]
Support = Annotated[
    Path | None,
    typer.Option(
        help="For a run or a model: the folder of the support pictures, one sub-folder for each label.",
        show_default=False,
    ),
]

_AT_ONCE = 64  # pictures between two steps of the bar
_LOCK = ".lock"


def opened(source: Path, support: Path | None = None, rule: str | None = None) -> SupportSet:
    """The classifier of a support set, or of a run or model with support pictures.

    Args:
        source: The folder of a support set or of a run, or a .keras file.
        support: The folder of the support pictures; None for a support set.
        rule: As for `SupportSet`; None for a support set, which has one.

    Raises:
        ArgumentError: The source is none of these, or an argument does not go with it.
    """
    if is_support_set(source):
        for argument, value in (("support", support), ("rule", rule)):
            if value is not None:
                raise ArgumentError(argument, "must be left out for a support set, which has its own", value)
        with quietly():
            from fslcore.classifier import SupportSet

            return SupportSet.load(source)
    if support is None:
        raise ArgumentError("support", "must be given for a run or a model, which has no labels", None)
    made = empty(source, rule)
    add_folder(made, support)
    return made


def empty(encoder: Path, rule: str | None) -> SupportSet:
    """A support set without labels, of a run or of a .keras file."""
    with quietly():
        from fslcore import experiments
        from fslcore.classifier import SupportSet

        if encoder.suffix != ".keras":
            return experiments.support_set(encoder, rule)
        import keras

        if not encoder.is_file():
            raise ArgumentError("encoder", "must be a run folder or a .keras file", described=str(encoder))
        try:
            model = keras.saving.load_model(encoder, compile=False)
        except Exception as error:  # zipfile, h5py and Keras raise many kinds for damaged files
            first = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise ArgumentError(
                "encoder", "must be a model that Keras can open", described=f"{encoder}: {first}"
            ) from error
        return SupportSet(model, rule)


def is_support_set(folder: Path) -> bool:
    """Whether a folder is that of a support set."""
    from fslcore.classifier import saving

    return (folder / saving.SUPPORT).is_file()


def add_folder(support: SupportSet, folder: Path) -> dict[str, int]:
    """Adds the pictures of a folder, one sub-folder for each label; returns how many of each."""
    from fslcore.classifier.reading import labelled_files

    files, left_out = labelled_files(folder)
    note(left_out)
    add(support, files)
    return {label: len(paths) for label, paths in files.items()}


def add(support: SupportSet, files: dict[Any, list[str]]) -> None:
    """Adds pictures by label, all or nothing."""
    embedded = in_steps(support, [path for paths in files.values() for path in paths])
    support.update(
        dict(zip(files, _divided(embedded, [len(paths) for paths in files.values()]), strict=True))
    )


def in_steps(support: SupportSet, paths: Sequence[str]) -> Any:
    """Prepared pictures of files, with a bar on standard error if there are many."""
    import numpy as np

    parts = []
    with Bar(Console(stderr=True)) as bar:
        for first in range(0, len(paths), _AT_ONCE):
            if len(paths) > _AT_ONCE:
                bar.show(first, len(paths), "reading pictures")
            parts.append(support.prepare(list(paths[first : first + _AT_ONCE])))
    return np.concatenate(parts)


def _divided(pictures: Any, counts: list[int]) -> list[Any]:
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    return [pictures[end - count : end] for count, end in zip(counts, ends, strict=True)]


def note(text: str) -> None:
    """Prints a remark on standard error."""
    if text:
        Console(stderr=True, highlight=False).print(f"note: {text}", soft_wrap=True, markup=False)


def show(text: str) -> None:
    """Prints text as it is."""
    shared.console.print(text, soft_wrap=True, markup=False)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One command at a time changes a support set: the second one waits for the first.

    Raises:
        ArgumentError: The set is being served: the service would write over the change.
    """
    requirement = "must be changed through its service while it is served"
    with open(folder / _LOCK, "ab") as ours:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(ours, fcntl.LOCK_EX)
        with running.not_served(folder, "folder", requirement):
            yield
