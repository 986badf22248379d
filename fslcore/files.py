# SPDX-License-Identifier: MIT
"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a temporary file and moves it to `path` in one step.

    A reader sees the old file or the new one, never a part of one, even if the process is killed. If two
    processes write the same path, the last one to finish wins. If `write` raises, the old file stays.

    Args:
        path: The file. Its folder must exist.
        write: Called with the path of the temporary file, which lies in the same folder and has the same
            suffix. It must create that file and close it.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    # The same folder: a move is atomic only within a file system. The same suffix: Keras, NumPy and
    # matplotlib choose the format by it.
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
