# SPDX-License-Identifier: MIT
"""How many CPUs this process may use: its affinity, and the quota that a container sets."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_cpus() -> int:
    """The default number of threads: the CPUs that the process may run on, at most its quota of CPU time.

    Returns:
        At least 1. A quota of 1.5 CPUs counts as 2.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPUs' worth of time that the control groups of this process allow it, the least of all of them.

    Args:
        root: Where `proc` and the mount points are.

    Returns:
        As in 1.5; None if there is no quota, or no control group that can be read.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in groups:
        _, controllers, group = line.split(":", 2)  # "0::/group" in version 2, "4:cpu,cpuacct:/group" in 1
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in mounts:
            folders = _folders(mount, group, of_version_2=not controllers)
            read = _quota_of_version_1 if controllers else _quota_of_version_2
            quotas += [read(root / folder.lstrip("/")) for folder in folders]
    return min((quota for quota in quotas if quota is not None), default=None)


def _folders(mount: str, group: str, of_version_2: bool) -> list[str]:
    """Where a mount shows a group and the groups that it belongs to."""
    fields, _, rest = mount.partition(" - ")
    kind, _, options = (*rest.split(" ", 2), "", "", "")[:3]
    right = kind == "cgroup2" if of_version_2 else kind == "cgroup" and "cpu" in options.split(",")
    if not right:
        return []
    shown, point = fields.split(" ")[3:5]
    # In a container the mount may show a part of the tree, which the path of the group begins with.
    within = group.removeprefix(shown) if shown != "/" else group
    parts = [part for part in within.split("/") if part not in ("", "..")]
    return ["/".join([point, *parts[:depth]]) for depth in range(len(parts) + 1)]


def _quota_of_version_2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_of_version_1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _ratio(quota: str, period: str) -> float | None:
    """None for "max", for -1 and for what is not there: there is no quota."""
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)
