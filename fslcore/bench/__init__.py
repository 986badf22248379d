# SPDX-License-Identifier: MIT
"""Benchmarks of the kernels and of training steps beside what a user would write instead, in the same run.

comparison   a case: contenders, work, the limit of the machine      limits   what the machine can do
timing       interleaved rounds, memory                              workers  the same across processes
gram*  triplet*  losses  search*  episode*  storage  overhead  blocks  augmentation  steps/   the cases
peers/       the other contenders; libraries take part if they are installed
service        a program: the service under load
report  records  changes  curves                tables, JSON, comparison with earlier figures, plots
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from fslcore.bench.comparison import Comparison, Entry, Work
from fslcore.bench.timing import Measurement, compare, peak_extra_megabytes

__all__ = [
    "BENCHMARKS",
    "Comparison",
    "Entry",
    "Measurement",
    "Work",
    "compare",
    "peak_extra_megabytes",
    "run",
]

# Modules of this package, each with a function `cases`.
BENCHMARKS = (
    "gram",
    "triplets",
    "losses",
    "search",
    "episodes",
    "overhead",
    "blocks",
    "augmentation",
    "steps",
)


def run(name: str, quick: bool = False) -> Iterator[Comparison]:
    """Runs one benchmark and yields its cases as they finish.

    Args:
        name: One of `BENCHMARKS`.
        quick: Small sizes, to see that it works.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}, received {name!r}")
    cases: Iterator[Comparison] = importlib.import_module(f"{__name__}.{name}").cases(quick)
    return cases
