# SPDX-License-Identifier: MIT
"""Timing several ways of doing one thing in the same run."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One contender of one benchmark.

    Attributes:
        name: Who.
        milliseconds: Median over the rounds.
        spread: Interquartile range over the median.
        extra_megabytes: Peak resident memory during the first call, above that before it; compilation and
            result included.
        rounds: How many rounds were timed.
    """

    name: str
    milliseconds: float
    spread: float
    extra_megabytes: float | None
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary for JSON."""
        return asdict(self)


def compare(contenders: Mapping[str, Callable[[], Any]], rounds: int = 7) -> list[Measurement]:
    """Times the contenders interleaved: machines are shared, and a slow spell then hits all alike.

    Each is called twice before. Memory is taken on the first of these: that includes the compilation, but
    an allocator that keeps what it has freed would hide later calls.

    Args:
        contenders: Functions without arguments that finish their work before they return.
        rounds: How many times each is timed.

    Returns:
        One `Measurement` each, in the order given.
    """
    memory = {}
    for name, function in contenders.items():
        memory[name] = peak_extra_megabytes(function)
        function()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return [
        Measurement(name, median(samples), _interquartile(samples) / median(samples), memory[name], rounds)
        for name, samples in times.items()
    ]


def peak_extra_megabytes(function: Callable[[], Any]) -> float | None:
    """How far the resident memory of the process rises above its present size during a call.

    Linux only (it resets the kernel's high-water mark); None elsewhere.
    """
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    gc.collect()
    reset.write_text("5")
    before = _status_kilobytes("VmRSS")
    function()
    return max(0, _status_kilobytes("VmHWM") - before) / 1024


def _status_kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)


def _interquartile(samples: list[float]) -> float:
    ordered = sorted(samples)
    return ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]
