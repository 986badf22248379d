# SPDX-License-Identifier: MIT
"""Timing several ways of doing one thing in the same run."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
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
        first_call_seconds: The first call: tracing and compilation included.
    """

    name: str
    milliseconds: float
    spread: float
    extra_megabytes: float | None
    rounds: int
    first_call_seconds: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        samples: list[float],
        *,
        extra_megabytes: float | None = None,
        first_call_seconds: float | None = None,
    ) -> Measurement:
        """Sums up the milliseconds of the rounds."""
        ordered, middle = sorted(samples), median(samples)
        between_quartiles = ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]
        return cls(
            name, middle, between_quartiles / middle, extra_megabytes, len(samples), first_call_seconds
        )

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
    timers = {name: partial(milliseconds, function) for name, function in contenders.items()}
    return [
        Measurement.of(name, samples, extra_megabytes=memory[name])
        for name, samples in interleaved(timers, rounds).items()
    ]


def interleaved(timers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls each timer once a round, and returns what they said, in the order of the rounds."""
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            samples[name].append(timer())
    return samples


def milliseconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


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
