# SPDX-License-Identifier: MIT
"""SIGTERM and SIGHUP end the program as Ctrl-C does: through its clean-up, with an exit code of their own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from fslcore.cli import exits

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """A signal other than Ctrl-C has asked the program to end.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Ended` for a signal; one that is ignored, as nohup ignores SIGHUP, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in previous.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def exit_code(stop: BaseException) -> int:
    """The exit code after Ctrl-C or another signal."""
    number = stop.number if isinstance(stop, Ended) else signal.SIGINT
    return exits.by_signal(number)


def _end(number: int, _: Any) -> None:
    raise Ended(number)
