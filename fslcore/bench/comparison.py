# SPDX-License-Identifier: MIT
"""One benchmark case: contenders on one problem, the work they do, and the limit that the machine sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fslcore.bench.limits import copy_bandwidth, fma_peak, spare_bytes
from fslcore.bench.timing import Measurement, compare, settle

_LIMITS: dict[str, Callable[[], float]] = {"FLOP": fma_peak, "B": copy_bandwidth}


@dataclass(frozen=True)
class Work:
    """What one call has to do, however it goes about it.

    Attributes:
        amount: Floating-point operations, or bytes written.
        unit: "FLOP" or "B".
    """

    amount: int
    unit: str


@dataclass(frozen=True)
class Entry:
    """A contender before it is timed.

    Attributes:
        call: Does it once and returns the results as NumPy arrays, when they are there.
        temporaries: Bytes of the large tensors that it holds at a time, inputs and results apart; 0 if they
            do not matter.
    """

    call: Callable[[], Any]
    temporaries: int = 0


@dataclass(frozen=True)
class Comparison:
    """One benchmark case: the contenders on one problem, ours first.

    Attributes:
        title: What is computed, with sizes.
        measurements: Ours first.
        unit_count: How many units one call delivers, if a rate is of interest.
        unit: The name of these units.
        work: What one call does, if it can be counted.
        limit: How much of that the machine could do in a second, measured next to the case.
        series: The title without the batch size: cases of one series are points of one curve.
        batch: The batch size.
        too_large: Contenders that were not run because their temporaries do not fit, and the bytes of these.
    """

    title: str
    measurements: list[Measurement]
    unit_count: int | None = None
    unit: str = ""
    work: Work | None = None
    limit: float | None = None
    series: str = ""
    batch: int | None = None
    too_large: dict[str, int] = field(default_factory=dict)


def rate(measurement: Measurement, work: Work) -> float:
    """Units of work per second."""
    return work.amount / measurement.milliseconds * 1e3


def measure(
    title: str,
    entries: Mapping[str, Entry],
    work: Work | None = None,
    *,
    rounds: int = 7,
    spare: int | None = None,
    **fields: Any,
) -> Comparison:
    """Times those entries whose temporaries fit, and the machine's limit before and after them.

    Args:
        title: What is computed, with sizes.
        entries: By name, ours first.
        work: What one call does.
        rounds: How many times each is timed, at most.
        spare: Bytes that temporaries may take; None: `spare_bytes()`.
        **fields: More attributes of the `Comparison`.

    Returns:
        The comparison. Its limit is the better of the two.
    """
    spare = spare_bytes() if spare is None else spare
    too_large = {
        name: entry.temporaries
        for name, entry in entries.items()
        if spare is not None and entry.temporaries > spare
    }
    calls = {n: e.call for n, e in entries.items() if n not in too_large}
    return compared(title, lambda: compare(calls, rounds), work, too_large=too_large, **fields)


def compared(
    title: str, run: Callable[[], list[Measurement]], work: Work | None = None, **fields: Any
) -> Comparison:
    """What `run` measures; if there is work, with the better of the machine's limits before and after it.

    Args:
        title: What is computed, with sizes.
        run: Times the contenders, ours first.
        work: What is done in the time of a measurement.
        **fields: More attributes of the `Comparison`.
    """
    if work is None:
        return Comparison(title, run(), **fields)
    limit = partial(_settled, _LIMITS[work.unit])
    before = limit()
    measurements = run()
    return Comparison(title, measurements, work=work, limit=max(before, limit()), **fields)


def _settled(limit: Callable[[], float]) -> float:
    settle()  # threads that spin would take a core from it
    return limit()
