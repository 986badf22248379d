# SPDX-License-Identifier: MIT
"""Threads and instruction set of the kernels in this process."""

from __future__ import annotations

import os

from fslcore import _core


def simd_level() -> str:
    """The instruction set in use: "avx512bf16", "avx512", "avx2" or "portable".

    The environment variable FSLCORE_SIMD selects a lower one than the CPU has; it is read once per process.
    """
    return str(_core.simd_level())


def num_threads() -> int:
    """The number of threads that the functions of this module use."""
    return int(_core.num_threads())


def set_num_threads(threads: int) -> None:
    """Sets `num_threads()`, which starts as FSLCORE_NUM_THREADS or as the number of usable CPUs.

    Raises:
        ValueError: If `threads` is less than 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, received {threads}")
    _core.set_num_threads(threads)


def _default_threads() -> int:
    asked = os.environ.get("FSLCORE_NUM_THREADS", "")
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"FSLCORE_NUM_THREADS must be a whole number of at least 1, received {asked!r}")
    return int(asked)


set_num_threads(_default_threads())
