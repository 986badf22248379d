# SPDX-License-Identifier: MIT
"""Threads that read pictures, and what is said of those that cannot be read or had to be guessed about."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError, counted
from fslcore.cpus import available_cpus
from fslcore.data.datasets import left_out
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.workers import GuessError, message_of
from fslcore.data.pictures import Depth, Header

Result = TypeVar("Result")
Source = TypeVar("Source")

_NAMED = 3
_BESIDE_CPUS = 2  # threads that wait for a disk


def in_words(depth: Depth, headers: Sequence[Header]) -> list[str]:
    """What had to be guessed about files with these headers, one sentence each."""
    said = depth.in_words(headers)
    if paged := sum(header.pages > 1 for header in headers):
        said.append(f"{paged} TIFF files hold several pages, of which the first is read")
    return said


def said_of_skipped(
    broken: dict[int, str],
    labels: npt.NDArray[np.int32],
    class_names: Sequence[str],
    files: Sequence[str],
    root: Path,
) -> list[str]:
    """What is left out with the broken files, one sentence each; or an ArgumentError if too much is."""
    notes = LeftOut(root)
    for i in sorted(broken):
        notes.add(left_out.BROKEN, Path(files[i]))
    said = [notes.in_words()]
    left = np.unique(np.delete(labels, list(broken)))
    if gone := sorted(set(class_names) - {class_names[i] for i in left}):
        classes = counted(len(gone), "class", "classes")
        said.append(f"{classes} without an image that can be read, the first {gone[0]!r}")
    if len(left) < 2:
        raise ArgumentError(
            "on_error",
            "must be 'raise' where 'skip' leaves fewer than two classes",
            "skip",
            described=f"{printable(root)}, {said[-1]}",
        )
    return said


def attempt(use: Callable[[Source], Result], file: Source) -> Result | str:
    """What `use` makes of a file, or the message of its error; a wrong guess is no such error."""
    try:
        return use(file)
    except GuessError:
        raise
    # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
    except Exception as error:
        return message_of(error)


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon after an error or Ctrl-C; Pillow decodes without the interpreter's lock."""
    threads = ThreadPoolExecutor(available_cpus() + _BESIDE_CPUS)
    try:
        with warnings.catch_warnings():
            # The memory of large photographs is bounded; what is far beyond is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def cannot_be_read(files: Sequence[str], broken: dict[int, str]) -> ArgumentError:
    """The error that names the broken files."""
    numbers = sorted(broken)
    named = [f"{printable(files[i])}, which cannot be read: {broken[i]}" for i in numbers[:_NAMED]]
    if len(numbers) == 1:
        (described,) = named
    else:
        more = f"; and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
        described = f"{len(numbers)} broken of {len(files):,}: {'; '.join(named)}{more}"
    return ArgumentError(
        "name_or_path",
        "must hold readable images (on_error='skip' leaves others out)",
        [files[i] for i in numbers],
        described=described,
    )
