# SPDX-License-Identifier: MIT
"""Run folders against other processes, kills, and the user's own pictures: who may write where."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from fslcore.arguments import ArgumentError

try:
    import fcntl
except ImportError:  # there is none on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

# What `files.replace` calls a file that it is writing; a process that is killed leaves it behind.
_TEMPORARY = re.compile(r"\.(?:\d+-[0-9a-f]{8}-)?[0-9a-f]{8}\..+", re.DOTALL)


def is_new(folder: Path) -> bool:
    """Whether there is nothing at the path, or a folder without files but those that a kill has left."""
    if not folder.exists():
        return not folder.is_symlink()
    return folder.is_dir() and all(_TEMPORARY.fullmatch(entry.name) for entry in folder.iterdir())


def sweep(folder: Path, name: str | None = None, *, without: str | None = None) -> None:
    """Removes the temporary files that killed processes have left.

    Args:
        folder: the run folder; the caller is the only one to write what is swept.
        name: only temporary files of this file; None: of all files.
        without: but not those of this file.
    """
    with contextlib.suppress(OSError):  # a folder that cannot be written is none to be tidied
        for entry in folder.iterdir():
            wanted = (name is None or entry.name.endswith(f".{name}")) and not (
                without is not None and entry.name.endswith(f".{without}")
            )
            if wanted and _TEMPORARY.fullmatch(entry.name):
                entry.unlink(missing_ok=True)


def create_exclusively(path: Path, text: str) -> bool:
    """Writes a file that is not there yet, whole; returns whether this process was the one to do it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{os.urandom(4).hex()}.{path.name}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a move, it fails if another process was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without links: the check and the move are two steps there
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, argument: str = "run", *, wait: bool = False) -> Iterator[None]:
    """Holds a lock on a file or a folder, which ends with this process however it ends.

    Args:
        path: what to lock; nothing is written to it.
        argument: what to call it in an error.
        wait: whether to wait for another process that holds it.

    Raises:
        ArgumentError: another process holds the lock, and `wait` is False.
    """
    descriptor = None
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
        if descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ArgumentError(
                    argument, "must not be in training by another process at the same time", str(path)
                ) from None
            except OSError:  # a file system without locks
                pass
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_outside(folder: Path, data: Path, argument: str, hint: str = "") -> None:
    """Checks that a run folder does not lie in the folder of the user's pictures.

    Args:
        folder: the run folder, which may not exist yet.
        data: the folder with one sub-folder of pictures per class.
        argument: what the run folder is called in an error.
        hint: what else to say.

    Raises:
        ArgumentError: it is the same folder, or inside of it, or inside of one that a link in it leads to.
    """
    if not data.is_dir():
        return
    inside = [data, *(entry for entry in data.iterdir() if entry.is_symlink() and entry.is_dir())]
    target = Path(os.path.abspath(folder)).resolve()
    for parent in (target, *target.parents):
        if parent.exists() and any(os.path.samefile(parent, place) for place in inside):
            raise ArgumentError(
                argument,
                f"must lie outside of the data folder {data}, whose sub-folders are classes{hint}",
                str(folder),
            )
