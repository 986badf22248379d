# SPDX-License-Identifier: MIT
"""What has become slower or faster since earlier figures."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from fslcore.bench.records import Records

# Of the times of a quiet machine that change between runs, nearly all stay within this.
_LEAST_CHANGE = 0.1


@dataclass(frozen=True)
class Change:
    """A median that differs by more than chance would have it.

    Attributes:
        title: The case.
        name: The contender.
        before: Milliseconds in the earlier file.
        now: Milliseconds in this run.
    """

    title: str
    name: str
    before: float
    now: float

    @property
    def multiple(self) -> float:
        """The time now as a multiple of that before: above 1 is slower."""
        return self.now / self.before


def changes(before: Records, now: Records) -> list[Change]:
    """The contenders in both whose medians differ by more than both spreads and 10 %, slowest first.

    A spread is the interquartile range over the median. The difference is taken relative to the smaller of
    the two medians, so that twice as slow and twice as fast count alike.
    """
    found = []
    for (title, name), new in now.items():
        old = before.get((title, name))
        if old is None:
            continue
        difference = max(old.milliseconds, new.milliseconds) / min(old.milliseconds, new.milliseconds) - 1
        if difference > max(_LEAST_CHANGE, old.spread, new.spread):
            found.append(Change(title, name, old.milliseconds, new.milliseconds))
    return sorted(found, key=lambda change: -change.multiple)


def print_changes(before: Records, now: Records, console: Console) -> None:
    """Prints the changes as a table, or that there are none, and how many figures could be compared."""
    common = len(before.keys() & now.keys())
    found = changes(before, now)
    counted = f"{common} of {len(now)} figures are in the earlier file"
    if not common:
        console.print("nothing to compare: no figure of this run is in the earlier file", soft_wrap=True)
        return
    if not found:
        console.print(f"no change beyond the spread and 10 %; {counted}", soft_wrap=True)
        return
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("case", "contender"):
        table.add_column(heading)
    for heading in ("before ms", "now ms", "x before", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for c in found:
        verdict = "slower" if c.multiple > 1 else "faster"
        table.add_row(c.title, c.name, f"{c.before:.3g}", f"{c.now:.3g}", f"{c.multiple:.2f}", verdict)
    console.print("changes beyond the spread and 10 %", style="bold")
    console.print(table)
    console.print(counted, soft_wrap=True)
