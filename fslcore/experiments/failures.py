# SPDX-License-Identifier: MIT
"""Files that cannot be written."""

from __future__ import annotations

from pathlib import Path


def reason(error: Exception) -> str:
    """What went wrong, in a line: that of the system, without the names of temporary files."""
    if isinstance(error, NotSaved):
        return error.why
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [""])[0] or type(error).__name__


class NotSaved(OSError):
    """A file of the training could not be written, such as on a full disk. The last checkpoint is as it was.

    Attributes:
        path: the file.
        why: what the system said.
        kept: the step of the last checkpoint; 0 if there is none.
    """

    def __init__(self, path: Path, error: Exception) -> None:
        self.path, self.why = path, reason(error)
        self.kept = 0
        super().__init__(f"{path} could not be written: {self.why}")
