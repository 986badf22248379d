# SPDX-License-Identifier: MIT
"""`fslcore bench`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fslcore import files
from fslcore.arguments import ArgumentError, counted
from fslcore.cli import shared, startup
from fslcore.cli.flags import WrongArgument
from fslcore.experiments.starting import fix_threads

if TYPE_CHECKING:
    from fslcore.bench import Comparison
    from fslcore.bench.records import Records


def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="gram, triplets, losses, search, episodes, overhead, blocks, augmentation, steps, or all."
        ),
    ] = "all",
    out: Annotated[
        Path | None, typer.Option(help="Also write the figures to this JSON file.", show_default=False)
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file of an earlier run: also tell which medians differ by more than both spreads "
            "and 10 %.",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            help="Also draw time and memory against the batch size, into this folder.", show_default=False
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, to see that it works.")] = False,
    threads: shared.Threads = None,
) -> None:
    """Time the kernels beside what one would write or install instead, interleaved in the same run.

    First the limits of the machine are measured: multiply-adds per second, and bytes copied. Then for each
    case and contender the median and the spread of the times, the time as a multiple of ours, the rate of
    work, for ours also as a share of the limit (measured anew next to each case), and the memory that one
    call takes beyond what the process had. Contenders whose temporaries would take more than half of the
    free memory are listed with what they need instead of being run.

    The exit code is 0 whatever --against finds: how much slower is too slow depends on how quiet the machine
    was.
    """
    from fslcore.bench import BENCHMARKS, run
    from fslcore.bench.peers import share_threads
    from fslcore.bench.records import read_json
    from fslcore.bench.report import print_comparison

    if what not in ("all", *BENCHMARKS):
        raise ArgumentError("what", f"must be one of {', '.join(BENCHMARKS)}, all", what)
    try:
        before = None if against is None else read_json(against, "--against")
    except ValueError as error:  # about the file, and nothing else
        raise WrongArgument(str(error)) from error
    # Before minutes of measuring, whose figures would then be lost.
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ArgumentError("out", "must be a file in a folder that is there", str(out))
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    with startup.quietly():
        fix_threads(threads, "ops", required=True)
    share_threads()
    # Every contender is traced once, on purpose; TensorFlow warns about it.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _print_limits(shared.console)
    comparisons = []
    for name in BENCHMARKS if what == "all" else [what]:
        for comparison in run(name, quick):
            print_comparison(comparison, shared.console)
            comparisons.append(comparison)
    _leave(shared.console, comparisons, out, before, plots)


def _print_limits(console: Console) -> None:
    from fslcore import kernels
    from fslcore.bench.limits import copy_bandwidth, fma_peak
    from fslcore.bench.peers import missing

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
    """Prints the changes, and writes the files that were asked for."""
    from fslcore.bench.changes import print_changes
    from fslcore.bench.records import records_of, write_json

    if before is not None:
        print_changes(before, records_of(list(comparisons)), console)
    if out is not None:
        write_json(list(comparisons), out)
        console.print(f"written to {out}", soft_wrap=True)
    if plots is not None:
        pictures = draw_all(comparisons, plots)
        console.print(f"{counted(len(pictures), 'picture')} written to {plots}", soft_wrap=True)


def draw_all(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Writes a picture for every series of two sizes or more into an existing folder; returns their paths.

    Raises:
        OSError: The folder cannot be written.
    """
    from fslcore.bench.curves import draw_curves, series  # matplotlib takes a while to import

    paths = []
    for title, cases in series(comparisons).items():
        path = folder / (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".png")
        files.replace(path, draw_curves(cases, title).savefig)
        paths.append(path)
    return paths
