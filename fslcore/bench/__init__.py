# SPDX-License-Identifier: MIT
"""Benchmarks of the kernels and of training steps beside what a user would write instead, in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fslcore.bench.timing import Measurement, compare, peak_extra_megabytes

__all__ = ["BENCHMARKS", "Comparison", "Measurement", "compare", "peak_extra_megabytes", "run"]


@dataclass(frozen=True)
class Comparison:
    """One benchmark case: the contenders on one problem, ours first.

    Attributes:
        title: What is computed, with sizes.
        measurements: Ours first.
        unit_count: How many units one call delivers, if a rate is of interest.
        unit: The name of these units.
    """

    title: str
    measurements: list[Measurement]
    unit_count: int | None = None
    unit: str = ""


def run(name: str, quick: bool = False) -> Iterator[Comparison]:
    """Runs one benchmark and yields its cases as they finish.

    Args:
        name: A key of `BENCHMARKS`.
        quick: Small sizes, to see that it works.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}, received {name!r}")
    return BENCHMARKS[name](quick)


def _gram(quick: bool) -> Iterator[Comparison]:
    from fslcore.bench.gram import cases

    return cases(quick)


def _triplets(quick: bool) -> Iterator[Comparison]:
    from fslcore.bench.triplets import cases

    return cases(quick)


def _episodes(quick: bool) -> Iterator[Comparison]:
    from fslcore.bench.episodes import cases

    return cases(quick)


def _steps(quick: bool) -> Iterator[Comparison]:
    from fslcore.bench.steps import cases

    return cases(quick)


BENCHMARKS: dict[str, Callable[[bool], Iterator[Comparison]]] = {
    "gram": _gram,
    "triplets": _triplets,
    "episodes": _episodes,
    "steps": _steps,
}
