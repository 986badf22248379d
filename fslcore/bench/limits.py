# SPDX-License-Identifier: MIT
"""The limits of this machine, and how much memory it can spare.

Clocks change with temperature and with the neighbours' load, so a limit is measured next to the case that is
held against it.
"""

from __future__ import annotations

from pathlib import Path

from fslcore import _core

# Far more than the caches of one core; two arrays of this size are in play.
COPIED_BYTES = 64 << 20


def fma_peak() -> float:
    """Floating-point operations per second of multiply-adds between registers, 2 for each.

    On all threads of `kernels.num_threads()`, at the level of `kernels.simd_level()`; the best of several
    rounds, about 50 ms together. No kernel can be faster, and none that reads memory is as fast.
    """
    return _core.multiply_add_rate()


def copy_bandwidth(size: int = COPIED_BYTES) -> float:
    """Bytes per second that memcpy copies on all threads of `kernels.num_threads()`, each counted once.

    Args:
        size: Bytes of the source, at least 1. The best of several rounds.

    Raises:
        ValueError: If `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 byte, received {size}")
    return _core.copy_rate(size)


def spare_bytes() -> int | None:
    """Half of the memory that the system could give out now; None where /proc does not tell."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 // 2
