# SPDX-License-Identifier: MIT
"""Comparisons as tables on the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from fslcore.bench.comparison import Comparison, rate
from fslcore.bench.timing import Measurement

# A name of this length fits beside the figures on 80 columns; longer ones take two lines.
_NAME_WIDTH = 22


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints one case, each contender with its time as a multiple of ours (the first).

    Where the work can be counted, also the rate of each, and for ours the share of what the machine can do.
    """
    ours = comparison.measurements[0]
    columns: dict[str, Callable[[Measurement], str]] = {
        "ms": lambda m: f"{m.milliseconds:.2f}" if m.milliseconds >= 1 else f"{m.milliseconds:.3g}",
        "spread": lambda m: f"{100 * m.spread:.0f} %",
        "x ours": lambda m: f"{m.milliseconds / ours.milliseconds:.2f}",
    }
    columns |= _rate_columns(comparison)
    if any(m.extra_megabytes is not None for m in comparison.measurements):
        columns["extra MB"] = lambda m: _or_unknown(m.extra_megabytes, ".0f")
    if any(m.first_call_seconds is not None for m in comparison.measurements):
        columns["first call s"] = lambda m: _or_unknown(m.first_call_seconds, ".1f")
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", min_width=_NAME_WIDTH)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for m in comparison.measurements:
        table.add_row(m.name, *(cell(m) for cell in columns.values()))
    console.print(comparison.title, style="bold", soft_wrap=True)
    console.print(table)
    for name, needed in comparison.too_large.items():
        console.print(f"{name}: does not fit (needs {needed / 1e9:,.1f} GB)", soft_wrap=True)


def rate_unit(unit: str) -> str:
    """The unit in which rates of work are shown, 10^9 of it per second."""
    return f"G{unit}/s"


def _rate_columns(comparison: Comparison) -> dict[str, Callable[[Measurement], str]]:
    columns: dict[str, Callable[[Measurement], str]] = {}
    work, limit, units = comparison.work, comparison.limit, comparison.unit_count
    if work:
        columns[rate_unit(work.unit)] = lambda m: _three_digits(rate(m, work) / 1e9)
    if work and limit:
        # That of float32: other products may be faster.
        columns["limit"] = lambda m: (
            f"{100 * rate(m, work) / limit:.0f} %"
            if m.name.startswith("fslcore") and "bfloat16" not in m.name
            else ""
        )
    if units:
        columns[f"{comparison.unit}/s"] = lambda m: f"{units / m.milliseconds * 1e3:,.0f}"
    return columns


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _or_unknown(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
