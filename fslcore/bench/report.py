# SPDX-License-Identifier: MIT
"""Comparisons as tables on the terminal and as JSON."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fslcore import kernels
from fslcore.bench import Comparison


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints one case, each contender with its time as a multiple of ours (the first)."""
    ours = comparison.measurements[0]
    table = Table(title=comparison.title, title_justify="left", title_style="bold")
    table.add_column("")
    for heading in ("median ms", "spread", "times ours", "extra MB"):
        table.add_column(heading, justify="right")
    if comparison.unit_count:
        table.add_column(f"{comparison.unit}/s", justify="right")
    for m in comparison.measurements:
        cells = [
            m.name,
            f"{m.milliseconds:.2f}",
            f"{100 * m.spread:.0f} %",
            f"{m.milliseconds / ours.milliseconds:.2f}",
            "?" if m.extra_megabytes is None else f"{m.extra_megabytes:.0f}",
        ]
        if comparison.unit_count:
            cells.append(f"{comparison.unit_count / m.milliseconds * 1e3:,.0f}")
        table.add_row(*cells)
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
