# SPDX-License-Identifier: MIT
"""Folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from fslcore import files
from fslcore.arguments import ArgumentError


def replace(folder: Path, marker: str, write: Callable[[Path], object]) -> None:
    """Writes a folder beside the one that is meant and moves it there.

    Args:
        folder: What to make. If it is there, it must be empty, or hold the marker, and is replaced.
        marker: The file by which a folder that this function has written is known.
        write: Called with a new folder in the same place; if it raises, what was there stays.

    Raises:
        ArgumentError: The folder holds something else.
        OSError: It cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    check(folder, marker)
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{token}.{what}") for what in ("new", "old"))
    try:
        new.mkdir()
        write(new)
        # A folder cannot be moved onto one that is not empty.
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(new, folder)
        except OSError:
            if old.exists():
                os.rename(old, folder)
            raise
    except OSError as error:
        raise files.named(error, folder) from error
    finally:
        for leftover in (new, old):
            with contextlib.suppress(OSError):
                shutil.rmtree(leftover)


def check(folder: Path, marker: str) -> None:
    """Raises ArgumentError for what is neither new nor empty nor a folder with the marker."""
    if folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        raise ArgumentError(
            "folder",
            f"must be new, empty, or an earlier export, with a {marker}",
            described=f"{folder}, which holds something else",
        )
