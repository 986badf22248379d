# SPDX-License-Identifier: MIT
"""Comparisons as tables on the terminal and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fslcore import kernels
from fslcore.bench import Comparison, Measurement


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints one case, each contender with its time as a multiple of ours (the first)."""
    ours = comparison.measurements[0]
    columns: dict[str, Callable[[Measurement], str]] = {
        "median ms": lambda m: f"{m.milliseconds:.2f}",
        "spread": lambda m: f"{100 * m.spread:.0f} %",
        "times ours": lambda m: f"{m.milliseconds / ours.milliseconds:.2f}",
    }
    if any(m.extra_megabytes is not None for m in comparison.measurements):
        columns["extra MB"] = lambda m: _or_unknown(m.extra_megabytes, ".0f")
    if any(m.first_call_seconds is not None for m in comparison.measurements):
        columns["first call s"] = lambda m: _or_unknown(m.first_call_seconds, ".1f")
    if comparison.unit_count:
        units = comparison.unit_count
        columns[f"{comparison.unit}/s"] = lambda m: f"{units / m.milliseconds * 1e3:,.0f}"
    table = Table()
    table.add_column("")
    for heading in columns:
        table.add_column(heading, justify="right")
    for m in comparison.measurements:
        table.add_row(m.name, *(cell(m) for cell in columns.values()))
    console.print(comparison.title, style="bold", soft_wrap=True)
    console.print(table)


def write_json(comparisons: list[Comparison], path: Path) -> None:
    """Writes the cases and what they ran on; the file appears whole or not at all."""
    content: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "simd": kernels.simd_level(),
            "threads": kernels.num_threads(),
        },
        "cases": [
            {"title": c.title, "measurements": [m.to_dict() for m in c.measurements]} for c in comparisons
        ],
    }
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


def _or_unknown(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
