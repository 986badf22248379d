# SPDX-License-Identifier: MIT
"""Timing several ways of doing one thing in the same run."""

from __future__ import annotations

import gc
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

# What is called in a loop meets threads that are awake, caches that hold its data and memory that is mapped:
# after a pause a call of a tenth of a millisecond may take ten times as long.
_WARM_UP_MS, _SHORTEST_TURN_MS, _SLOW_MS = 5.0, 10.0, 100.0
# A contender that has used up its time is timed no more, but not before it has a median.
_FEWEST_ROUNDS = 3
_MOST_SETTLING_SECONDS, _NAP_SECONDS = 0.5, 0.002
# Where the system does not tell what threads do, a nap is longer than a tick of its clock: the time that a
# thread on another core has used is counted up at ticks only.
_TICK_SECONDS = 0.02


@dataclass(frozen=True)
class Measurement:
    """One contender of one benchmark.

    Attributes:
        name: Who.
        milliseconds: Median over the rounds, of one call.
        spread: Interquartile range over the median.
        extra_megabytes: Peak memory of the first call beyond that before it (`peak_extra_megabytes`);
            compilation and result included.
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
        """Summarises the milliseconds of the rounds."""
        ordered, middle = sorted(samples), median(samples)
        between_quartiles = ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]
        return cls(
            name, middle, between_quartiles / middle, extra_megabytes, len(samples), first_call_seconds
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary for JSON."""
        return asdict(self)


def compare(
    contenders: Mapping[str, Callable[[], Any]], rounds: int = 7, budget_seconds: float = 3.0
) -> list[Measurement]:
    """Times the contenders interleaved: machines are shared, and a slow spell then hits all alike.

    Each is called before. Memory is taken on the first of these calls, compilation included. Before each turn
    the threads of the others fall asleep (`settle`): some spin for a while after their work, and would take
    the cores from the next in line. What follows for 5 milliseconds, at least two calls or one that takes 100
    milliseconds, is not timed: it wakes the contender's own threads and fills the caches.

    Args:
        contenders: Functions without arguments that finish their work before they return. One that takes
            less than 10 milliseconds is called several times for each round.
        rounds: How many times each is timed.
        budget_seconds: Of timed calls for one contender, after which it is left alone; see `interleaved`.

    Returns:
        One `Measurement` each, in the order given.
    """
    memory, timers = {}, {}
    for name, function in contenders.items():
        start = time.perf_counter()
        memory[name] = peak_extra_megabytes(function)
        slow = time.perf_counter() - start > budget_seconds
        repeats = 1 if slow else math.ceil(_SHORTEST_TURN_MS / _warm_up(function))
        timers[name] = partial(_settled_milliseconds, function, repeats, wake=not slow)
    return [
        Measurement.of(name, samples, extra_megabytes=memory[name])
        for name, samples in interleaved(timers, rounds, budget_seconds * 1e3).items()
    ]


def interleaved(
    timers: Mapping[str, Callable[[], float]], rounds: int, budget: float = math.inf
) -> dict[str, list[float]]:
    """Calls each timer once a round, and returns what they said, in the order of the rounds.

    Args:
        timers: Each returns a time.
        rounds: How many times each is called.
        budget: A timer is called no more once its times add up to this, but three times in any case, or once
            if that alone took longer.
    """
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            used = sum(samples[name])
            if used < budget or (len(samples[name]) < _FEWEST_ROUNDS and samples[name][0] < budget):
                samples[name].append(timer())
    return samples


def milliseconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def _settled_milliseconds(function: Callable[[], Any], repeats: int, *, wake: bool) -> float:
    settle()
    if wake:
        _warm_up(function)
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) * 1e3 / repeats


def _warm_up(function: Callable[[], Any]) -> float:
    """Calls it for a while, and twice unless it is slow; returns the milliseconds of the fastest call.

    The first call alone would tell little: to wake up it may take a thousand times as long as the next one.
    """
    taken = [milliseconds(function)]
    while sum(taken) < _WARM_UP_MS or (len(taken) < 2 and taken[0] < _SLOW_MS):
        taken.append(milliseconds(function))
    return min(taken)


def settle() -> None:
    """Returns once the other threads of this process sleep, or after half a second.

    On Linux it asks for the state of each thread, elsewhere for the time that the process has used.
    """
    deadline = time.perf_counter() + _MOST_SETTLING_SECONDS
    quiet = 0  # looks in a row, as a thread may sleep for a moment in the middle of work
    while quiet < 2 and time.perf_counter() < deadline:
        busy = _other_thread_runs()
        if busy is None:
            busy = _uses_time()
        else:
            time.sleep(_NAP_SECONDS)
        quiet = 0 if busy else quiet + 1


def _other_thread_runs() -> bool | None:
    """Whether another thread of this process runs or waits for a core; None if unknown."""
    own = str(threading.get_native_id())
    try:
        states = [_state_of(thread) for thread in Path("/proc/self/task").iterdir() if thread.name != own]
    except OSError:
        return None
    return "R" in states


def _state_of(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(") ")[2][:1]
    except OSError:  # it has ended
        return ""


def _uses_time() -> bool:
    start, used = time.perf_counter(), time.process_time()
    time.sleep(_TICK_SECONDS)
    return time.process_time() - used > 0.2 * (time.perf_counter() - start)


def peak_extra_megabytes(function: Callable[[], Any]) -> float | None:
    """How much more memory the process uses during a call than before it.

    The larger of two figures: how far its resident memory rises (on Linux, for which it resets the kernel's
    high-water mark), and what TensorFlow allocates, touched or not. TensorFlow keeps freed memory for later
    calls, whose needs the first figure would not show. None if there is neither.
    """
    gc.collect()
    allocated = _reset_tensorflow_peak()
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
        resident = _status_kilobytes("VmRSS")
    function()
    rises = []
    if reset.exists():
        rises.append((_status_kilobytes("VmHWM") - resident) * 1024)
    if allocated is not None:
        rises.append(_tensorflow_memory()["peak"] - allocated)
    return max(0, *rises) / 2**20 if rises else None


def _reset_tensorflow_peak() -> int | None:
    """Forgets the peak of TensorFlow's allocator; returns the bytes in use, None if it does not tell."""
    if "tensorflow" not in sys.modules:
        return None
    tf = sys.modules["tensorflow"]
    try:
        tf.config.experimental.reset_memory_stats("CPU:0")
    except ValueError:  # as its allocators without statistics answer
        return None
    return int(_tensorflow_memory()["current"])


def _tensorflow_memory() -> dict[str, int]:
    memory: dict[str, int] = sys.modules["tensorflow"].config.experimental.get_memory_info("CPU:0")
    return memory


def _status_kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)
