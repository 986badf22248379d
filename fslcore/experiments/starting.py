# SPDX-License-Identifier: MIT
"""The threads of a run: the same number in the same layout give the same bits."""

from __future__ import annotations

import os
import threading

from fslcore._tensorflow import require_backend
from fslcore.arguments import ArgumentError

# TensorFlow has several pools, of as many threads as it is told or as there are cores, and a few beside.
_POOLS, _BESIDE = 3, 32
_SMALL_STACK = 1 << 16
# More than any machine needs; the bits of a run from a larger machine can still be repeated.
_MOST_THREADS = 512


def fix_threads(threads: int | None, layout: str, required: bool = False) -> int:
    """Fixes the threads of TensorFlow and of the kernels for the rest of the process.

    If TensorFlow has started already with others, its threads stay as they are.

    Args:
        threads: number of CPU threads; None: as many as this process may run on.
        layout: as for `fslcore.set_threads`.
        required: whether threads that cannot be changed any more are an error.

    Returns:
        The number of threads.

    Raises:
        ImportError: Keras is to run on another backend than TensorFlow.
        ArgumentError: as `required` says, or the system does not allow so many threads.
    """
    require_backend()
    from fslcore import kernels
    from fslcore.threads import set_threads

    number = threads or kernels.num_threads()
    _check_startable(number)
    try:
        set_threads(number, layout)
    except RuntimeError as error:
        if required:
            raise ArgumentError(
                "threads",
                "must be None once TensorFlow has started with other threads: they can no longer be changed",
                threads,
            ) from error
    kernels.set_num_threads(number)
    return number


def _check_startable(threads: int) -> None:
    """Starts as many threads as TensorFlow will: where it cannot start one, it ends the process.

    Raises:
        ArgumentError: the system does not allow them (`ulimit -u`, the limits of a container, memory).
    """
    if threads > max(_MOST_THREADS, 4 * (os.cpu_count() or 1)):
        raise ArgumentError(
            "threads", f"must be at most {_MOST_THREADS}, or 4 for each of the {os.cpu_count()} CPUs", threads
        )
    needed = _POOLS * threads + _BESIDE
    release = threading.Event()
    started: list[threading.Thread] = []
    before = threading.stack_size(_SMALL_STACK)
    try:
        while len(started) < needed:
            thread = threading.Thread(target=release.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise ArgumentError(
            "threads",
            f"must be at most {max(1, (len(started) - _BESIDE) // _POOLS)} here: the system allows "
            f"{len(started)} more threads (ulimit -u, or the limit of the container), and TensorFlow starts "
            f"up to {needed}",
            threads,
        ) from error
    finally:
        threading.stack_size(before)
        release.set()
        for thread in started:
            thread.join()
