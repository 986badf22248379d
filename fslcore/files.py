# SPDX-License-Identifier: MIT
"""Files that are written whole or not at all, also if the machine loses power."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
# Of a temporary file whose process cannot be asked whether it lives: no writing pauses for so long.
_ABANDONED_SECONDS = 24 * 3600
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(?:(\d+)-([0-9a-f]{8})\.)?.+", re.DOTALL)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a temporary file and moves it to `path` in one step.

    A reader sees the old file or the new one, never a part of one, even if the process is killed or the
    machine loses power. If two processes write the same path, the last one to finish wins. If `write` raises,
    the old file stays. Temporary files that killed processes have left for the same path are removed.

    Args:
        path: The file. Its folder must exist.
        write: Called with the path of the temporary file, which lies in the same folder and has the same
            suffix. It must create that file and close it.

    Raises:
        OSError: The folder or the file cannot be written; the message names the path and what would help.
    """
    # The same folder: a move is atomic only within a file system. The same suffix: Keras, NumPy and
    # matplotlib choose the format by it.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{os.getpid()}-{_place()}.{path.name}")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise named(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sweep(path.parent, path.name)


def sweep(folder: Path, name: str | None = None) -> None:
    """Removes temporary files that `replace` cannot have removed, since its process was killed.

    Args:
        folder: Where to look.
        name: Name of the file that they were written for; None for all.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(f".{name}" if name else ""):
                match = _TEMPORARY.fullmatch(entry.name)
                if match and _is_abandoned(match, entry):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _is_abandoned(match: re.Match[str], entry: os.DirEntry[str]) -> bool:
    process, place = match.groups()
    if place == _place():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except OSError:  # it lives, and is another user's
            pass
    return time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS


def _place() -> str:
    """Where the numbers of processes are those that this process sees: host, boot and container."""
    seen = [socket.gethostname()]
    with contextlib.suppress(OSError):
        seen.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        seen.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.blake2b("\n".join(seen).encode(), digest_size=4).hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk, where the file system can do so."""
    try:
        number = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder or file that may be written but not read
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(number)


def named(error: OSError, path: Path) -> OSError:
    """The error with the path that was to be written, and what would help."""
    if error.errno is None:
        return OSError(f"cannot write {path}: {error}")
    reason = error.strerror or os.strerror(error.errno)
    if error.errno in _FULL:
        reason += "; free space or choose another folder"
    elif error.errno in _REFUSED:
        reason += "; choose a folder that can be written"
    return OSError(error.errno, reason, str(path))
