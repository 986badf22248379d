# SPDX-License-Identifier: MIT
"""One process writes a file, others that need the same one wait for it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
_SECONDS_BETWEEN_LOOKS = 0.2


@contextmanager
def alone(
    path: Path, is_there: Callable[[], bool], waits: Callable[[], object] = lambda: None
) -> Iterator[tuple[BinaryIO, Path] | None]:
    """The file at a path, open and locked, and that path; None once another process has done the work.

    Where the file system has no locks, a file with a name of its own: then every process writes its own.

    Args:
        path: A file that is being written; its journal has the ending .journal.
        is_there: Whether another process has done the work meanwhile.
        waits: Called once if another process holds the file.
    """
    waiting = False
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # noqa: SIM115 (yielded)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    waits()
                waiting = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                continue
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                with _private(path) as own:
                    yield own
                return
            # The one before may have moved it away, or removed it, between opening and locking.
            if not _is_at(file, path):
                continue
            if is_there():
                remove(path, path.with_suffix(".journal"))
                yield None
            else:
                yield file, path
            return
        finally:
            file.close()


@contextmanager
def _private(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    own = path.with_name(f"{path.stem}-{os.getpid()}-{time.time_ns():x}{path.suffix}")
    try:
        with open(own, "w+b") as file:
            yield file, own
    finally:
        remove(own, own.with_suffix(".journal"))


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        there, own = os.stat(path), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)


def remove(*paths: Path) -> None:
    """Removes files that may be gone already."""
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
