# SPDX-License-Identifier: MIT
"""How much memory is free, asked before images are read that would not fit."""

from __future__ import annotations

from pathlib import Path

from fslcore.arguments import ArgumentError

_MEMINFO = Path("/proc/meminfo")
# Limit and use of a container: version 2 of control groups, then version 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check_fits(image_size: int, images: int, channels: int) -> None:
    """Raises ArgumentError if images of a size, uint8, would take more memory than is free."""
    needed, free = images * image_size**2 * channels, free_bytes()
    if free is not None and needed > free:
        raise ArgumentError(
            "image_size",
            "must be so small that the images fit into memory",
            image_size,
            described=f"image_size={image_size}: {images:,} images with {channels} channels take "
            f"{needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free",
        )


def free_bytes() -> int | None:
    """Bytes that can still be taken, within the limit of a container too; None if nothing says so."""
    free = [_available(), *(_left(Path(limit), Path(used)) for limit, used in _GROUPS)]
    return min((bytes_ for bytes_ in free if bytes_ is not None), default=None)


def _available() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _left(limit: Path, used: Path) -> int | None:
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return None
