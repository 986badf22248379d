# SPDX-License-Identifier: MIT
"""Threads and instruction set of the kernels in this process."""

from __future__ import annotations

import os
import warnings

from fslcore import _core
from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.cpus import available_cpus

_MOST_THREADS = 1 << 16  # beyond what any system starts for a process


def simd_level() -> str:
    """The instruction set in use: "avx512bf16", "avx512" or "avx2" (x86), "neon" (ARM) or "portable".

    The environment variable FSLCORE_SIMD selects a lower one than the CPU has; it is read once per process.
    """
    return str(_core.simd_level())


def num_threads() -> int:
    """The number of threads that the functions of this module use."""
    return int(_core.num_threads())


def set_num_threads(threads: int) -> None:
    """Sets `num_threads()`, which starts as FSLCORE_NUM_THREADS or as the number of usable CPUs.

    CPUs are usable that the process may run on, and that the quota of its container gives it time for.

    Raises:
        ArgumentError: `threads` is not a whole number from 1 to 65,536.
        RuntimeError: The system does not start so many threads; `num_threads()` stays as it was.
    """
    threads = as_int64("threads", threads)
    check_at_least("threads", threads, 1)
    if threads > _MOST_THREADS:
        raise ArgumentError("threads", f"must be at most {_MOST_THREADS}", threads)
    _core.set_num_threads(threads)


def _start() -> None:
    asked = os.environ.get("FSLCORE_NUM_THREADS", "")
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise ValueError(f"FSLCORE_NUM_THREADS must be a whole number of at least 1, received {asked!r}")
        set_num_threads(int(asked))
        return
    try:
        set_num_threads(available_cpus())
    except RuntimeError as error:  # nobody asked for so many
        warnings.warn(f"The kernels on NumPy arrays use one thread: {error}", RuntimeWarning, stacklevel=2)


_start()
