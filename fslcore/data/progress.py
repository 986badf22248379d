# SPDX-License-Identifier: MIT
"""The progress line of work that takes seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: float) -> Iterable[Item]:
    """Passes items on and shows on standard error how many of `total` are done; erases that at the end.

    Silent where standard error is no terminal.
    """
    console = Console(stderr=True)
    return track(items, description, total, console=console, transient=True, disable=not console.is_terminal)
