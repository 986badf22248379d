# SPDX-License-Identifier: MIT
"""What `fslcore bench` does between its options and its tables."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fslcore import kernels
from fslcore.bench import BENCHMARKS, Comparison, run
from fslcore.bench.changes import print_changes
from fslcore.bench.limits import copy_bandwidth, fma_peak
from fslcore.bench.peers import missing, share_threads
from fslcore.bench.records import Records, read_json, records_of, write_json
from fslcore.bench.report import print_comparison
from fslcore.cli import startup
from fslcore.experiments import runs


def run_benchmarks(
    console: Console,
    what: str,
    *,
    quick: bool,
    threads: int | None,
    out: Path | None,
    against: Path | None,
    plots: Path | None,
) -> None:
    """Runs one benchmark or all, prints every case as it finishes, and leaves what was asked for.

    Args:
        console: Where to print.
        what: One of `BENCHMARKS`, or "all".
        quick: Small sizes, to see that it works.
        threads: CPU threads of all contenders; None: all.
        out: The JSON file to write.
        against: An earlier one to compare with; read before anything is timed.
        plots: The folder for the pictures, made if need be.

    Raises:
        ValueError: `what` is unknown, or `against` is no such file.
        OSError: A file cannot be written.
    """
    if what not in ("all", *BENCHMARKS):
        raise ValueError(f"what must be one of {', '.join(BENCHMARKS)}, all, received {what!r}")
    before = None if against is None else read_json(against, "--against")
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    startup.start_tensorflow(threads)
    share_threads()
    # Every contender is traced once, on purpose; TensorFlow takes that for a mistake and says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _print_limits(console)
    comparisons = []
    for name in BENCHMARKS if what == "all" else [what]:
        for comparison in run(name, quick):
            print_comparison(comparison, console)
            comparisons.append(comparison)
    _leave(console, comparisons, out, before, plots)


def _print_limits(console: Console) -> None:
    console.print(
        f"this machine at best, {kernels.num_threads()} threads, {kernels.simd_level()}: "
        f"{fma_peak() / 1e9:.0f} GFLOP/s of fused multiply-adds, {copy_bandwidth() / 1e9:.1f} GB/s copied",
        soft_wrap=True,
    )
    absent = missing()
    if absent:
        console.print(
            f"not installed: {', '.join(absent)} (pip install 'fslcore[bench]')", soft_wrap=True, markup=False
        )


def _leave(
    console: Console,
    comparisons: Sequence[Comparison],
    out: Path | None,
    before: Records | None,
    plots: Path | None,
) -> None:
    if before is not None:
        print_changes(before, records_of(list(comparisons)), console)
    if out is not None:
        write_json(list(comparisons), out)
        console.print(f"written to {out}", soft_wrap=True)
    if plots is not None:
        pictures = draw_all(comparisons, plots)
        console.print(f"{len(pictures)} pictures written to {plots}", soft_wrap=True)


def draw_all(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Writes a picture for every series of two sizes or more into an existing folder; returns their paths.

    Raises:
        OSError: The folder cannot be written.
    """
    from fslcore.bench.curves import draw_curves, series  # matplotlib takes a while to import

    paths = []
    for title, cases in series(comparisons).items():
        path = folder / (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".png")
        runs.replace(path, draw_curves(cases, title).savefig)
        paths.append(path)
    return paths
