# SPDX-License-Identifier: MIT
"""The figures on known and unknown classes, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fslcore.evaluation import OpenReport
    from fslcore.experiments.results import OpenResult


def show(console: Console, measured: Sequence[OpenResult], learner: str) -> None:
    """Prints the figures beside those of the baseline, and what the thresholds keep."""
    first = measured[0].report
    console.print(
        f"\n{first.n_way} known and {first.n_way} unknown classes ({first.dataset}): {first.episodes:,} "
        "episodes each, non-transductive, ± 95 % confidence",
        soft_wrap=True,
    )
    console.print(_table(measured, learner))
    for result in measured:
        report = result.report
        if report.false_accepts is not None and report.kept is not None:
            console.print(
                f"{report.k_shot}-shot, thresholds for {100 * report.false_accept_rate:g} % of the unknown: "
                f"{report.false_accepts} accepted (within the interval in {100 * report.kept:.0f} % of the "
                f"episodes), of the known {report.accepted}; recall {report.recall}, precision "
                f"{report.precision or 'none'}",
                soft_wrap=True,
            )


def _table(measured: Sequence[OpenResult], learner: str) -> Table:
    table = Table()
    for heading in ("", "", "AUROC", "FPR at 95 % TPR", "accuracy"):
        table.add_column(heading, justify="right")
    for result in measured:
        for name, report in ((learner, result.report), ("1-NN on pixels", result.baseline)):
            table.add_row(f"{report.k_shot}-shot", name, *_figures(report))
    return table


def _figures(report: OpenReport) -> tuple[str, str, str]:
    return str(report.auroc), str(report.fpr_at_95_tpr), str(report.accuracy)
