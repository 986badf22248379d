# SPDX-License-Identifier: MIT
"""Standard output that cannot show a character, or that nobody reads any more, does not stop the program."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

_HANDLER = "fslcore.plain"
# Plus-minus, times, arrow, ellipsis and dashes.
_PLAIN = {"\u00b1": "+-", "\u00d7": "x", "\u2192": "->", "\u2026": "...", "\u2013": "-", "\u2014": "-"}


def degrade() -> None:
    """Lets both streams write a plain substitute for what their encoding does not have."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Shows warnings as the program's own words, without the lines of code that they come from."""

    def one_line(message: Warning | str, *_: object) -> str:
        return f"fslcore: warning: {' '.join(str(message).split())}\n"

    before = warnings.formatwarning
    warnings.formatwarning = one_line  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before


def silence() -> None:
    """Sends what is still written to standard output nowhere: its reader is gone, or its disk is full."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # it is no file
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the rest of the process)


def _plain(error: UnicodeError) -> tuple[Any, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end
