# SPDX-License-Identifier: MIT
"""Whether a training fits into the free memory: an estimate, before a failed allocation ends the process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments.recipes import Recipe

_FILTERS, _BYTES = 64, 4
# Images that are embedded in one call when a learner is measured.
_EMBEDDED_AT_A_TIME = 256
_GIGABYTE = 2**30


def check(recipe: Recipe, parts: Mapping[str, ImageStore]) -> None:
    """Checks that the largest activations of a training step, and of the measuring, fit into the free memory.

    Args:
        recipe: the recipe.
        parts: the stores; without "train", the learner is only measured.

    Raises:
        ArgumentError: they do not.
    """
    free = free_bytes()
    height, width, _ = parts["test"].image_shape
    pixels = height * width // recipe.halved**2
    images = {"measuring": min(_EMBEDDED_AT_A_TIME, len(parts["test"]))}
    if "train" in parts:
        images["a training step"] = recipe.way * recipe.images_needed()
    for what, number in images.items():
        needed = number * pixels * _FILTERS * _BYTES
        if free is not None and needed > free:
            raise ArgumentError(
                "image_size",
                f"must be smaller: {what} with {number} images of {height} x {width} pixels takes more than "
                f"{needed / _GIGABYTE:.0f} GB, and {free / _GIGABYTE:.1f} GB of memory are free",
                height,
            )


def free_bytes() -> int | None:
    """Memory that this process can still take: what system and container have left; None if unknown."""
    left = [_available(), _left_in_container(), _left_of_address_space()]
    known = [value for value in left if value is not None]
    return min(known) if known else None


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _left_in_container() -> int | None:
    """The limit of the cgroup less what it uses; version 2, then version 1."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            root = Path("/sys/fs/cgroup")
            return max(0, int((root / limit).read_text()) - int((root / used).read_text()))
        except (OSError, ValueError):  # "max" is no limit
            continue
    return None


def _left_of_address_space() -> int | None:
    """What `ulimit -v` leaves."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        return max(0, limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
    except (ImportError, OSError, ValueError):
        return None
