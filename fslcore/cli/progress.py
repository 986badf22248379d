# SPDX-License-Identifier: MIT
"""A bar for work that reports as `progress(done, total, what)`."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """A bar on a terminal, inside its context; elsewhere one line for each kind of work.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._what = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop()

    def show(self, done: int, total: int, what: str) -> None:
        """Says what is being done, and how far it is."""
        if what != self._what:
            self._stop()
            self._begin(total, what)
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def _begin(self, total: int, what: str) -> None:
        self._what = what
        if not self.console.is_terminal:
            self.console.print(f"{what} ({total:,})", markup=False)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
