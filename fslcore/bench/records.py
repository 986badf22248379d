# SPDX-License-Identifier: MIT
"""Figures as JSON, and figures from JSON.

    {"format": 2,
     "machine": {"processor", "simd", "threads"},
     "cases": [{"title", "series", "batch", "work", "unit", "limit", "too_large",
                "measurements": [{"name", "milliseconds", "spread", "rounds", ...}]}]}

Files without a format number are of format 1, whose cases have a title and measurements only. A case of later
formats has null or nothing where it does not apply.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fslcore import files, kernels
from fslcore.bench.comparison import Comparison

FORMAT = 2


@dataclass(frozen=True)
class Record:
    """The figures of one contender in one case.

    Attributes:
        milliseconds: Median.
        spread: Interquartile range over the median.
    """

    milliseconds: float
    spread: float


Records = dict[tuple[str, str], Record]


def write_json(comparisons: list[Comparison], path: Path) -> None:
    """Writes the cases and what they ran on; the file appears whole or not at all."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "simd": kernels.simd_level(),
            "threads": kernels.num_threads(),
        },
        "cases": [_case(comparison) for comparison in comparisons],
    }
    files.replace(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def records_of(comparisons: list[Comparison]) -> Records:
    """The figures of this run by (title, contender)."""
    return {(c.title, m.name): Record(m.milliseconds, m.spread) for c in comparisons for m in c.measurements}


def read_json(path: Path, argument: str = "path") -> Records:
    """The figures of a file that `write_json` has written, now or in format 1, by (title, contender).

    Args:
        path: The file.
        argument: What to call it in an error.

    Raises:
        ValueError: It cannot be read, is not such a file, or is of a later format.
    """
    expected = f"{argument} must be a JSON file written by `fslcore bench --out`, received {path}"
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:  # undecodable bytes and bad JSON are ValueErrors
        raise ValueError(f"{expected}: {error}") from None
    if not isinstance(content, dict) or "cases" not in content:
        raise ValueError(f"{expected}, which holds no cases")
    form = content.get("format", 1)
    if form not in range(1, FORMAT + 1):
        raise ValueError(f"{argument} must be of a format up to {FORMAT}, received {path} of format {form!r}")
    try:
        return {
            (case["title"], m["name"]): Record(float(m["milliseconds"]), float(m["spread"]))
            for case in content["cases"]
            for m in case["measurements"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{expected}, in which a case is incomplete: {error!r}") from None


def _case(comparison: Comparison) -> dict[str, Any]:
    work = comparison.work
    return {
        "title": comparison.title,
        "series": comparison.series,
        "batch": comparison.batch,
        "work": work.amount if work else None,
        "unit": work.unit if work else None,
        "limit": comparison.limit,
        "too_large": comparison.too_large,
        "measurements": [m.to_dict() for m in comparison.measurements],
    }
