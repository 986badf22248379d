# SPDX-License-Identifier: MIT
"""What the kernels and the ops take: the checks of arguments, whose sentences both share."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import _core

METRICS: tuple[str, ...] = _core.metrics
TRIPLET_METRICS = ("sqeuclidean", "euclidean", "cosine")
ACTIVATIONS = (None, "sigmoid")
PRECISIONS = ("float32", "tf32", "3xtf32", "bfloat16")


class ArgumentError(ValueError):
    """An argument that its receiver cannot use.

    The command line reports it as a wrong argument, in terms of its flags; any other ValueError is a fault.

    Args:
        argument: Name of the argument.
        requirement: What must hold, as in "must be at least 1". Names of other arguments stand in backticks.
        received: The value received.
    """

    def __init__(self, argument: str, requirement: str, received: object) -> None:
        super().__init__(f"{argument} {requirement}, received {argument}={received!r}")
        self.argument, self.requirement, self.received = argument, requirement, received


def check_metric(metric: str, known: tuple[str, ...]) -> None:
    """Raises ValueError for a metric that is not among `known`."""
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, received {metric!r}")


def check_precision(precision: str) -> None:
    """Raises ValueError for a precision that is not among `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, received {precision!r}")


def check_pairwise(metric: str, weights_given: bool, bias_given: bool, activation: str | None) -> None:
    """Raises ValueError for arguments of `pairwise` that do not go together."""
    check_metric(metric, METRICS)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be None or 'sigmoid', received {activation!r}")
    weighted = metric == "weighted_manhattan"
    if weighted and not weights_given:
        raise ValueError("weights must be given for weighted_manhattan, received None")
    if not weighted and (weights_given or bias_given or activation is not None):
        raise ValueError(
            f"weights, bias and activation belong to the metric weighted_manhattan, received metric: {metric}"
        )


def check_store(shape: tuple[int | None, ...], dtype: str) -> None:
    """Raises ValueError unless shape and type are those of a store of images."""
    if len(shape) != 4 or dtype != "uint8":
        raise ValueError(f"store must be uint8 [N, height, width, channels], received {dtype} {list(shape)}")


def as_size(size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width to bring images to, (0, 0) for None, or a ValueError."""
    if size is None:
        return 0, 0
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ValueError(f"size must be (height, width) or None, received {size!r}")
    height, width = (as_int64("size", length) for length in size)
    if height < 1 or width < 1:
        raise ValueError(f"size must be a height and a width of at least 1, received {size!r}")
    return height, width


def check_episode_counts(n_way: Any, k_shot: Any, n_query: Any, episodes: Any) -> tuple[int, int, int, int]:
    """The four counts as integers, or a ValueError that names one. The labels are the core's to check."""
    counts = []
    for name, value, least in (
        ("n_way", n_way, 1),
        ("k_shot", k_shot, 1),
        ("n_query", n_query, 0),
        ("episodes", episodes, 0),
    ):
        counts.append(as_int64(name, value))
        if counts[-1] < least:
            raise ValueError(f"{name} must be at least {least}, received {counts[-1]}")
    return counts[0], counts[1], counts[2], counts[3]


def check_permutations(n: Any, count: Any) -> tuple[int, int]:
    """Both as integers of at least 0, or a ValueError that names one."""
    numbers = []
    for name, value in (("n", n), ("count", count)):
        numbers.append(as_int64(name, value))
        if numbers[-1] < 0:
            raise ValueError(f"{name} must be at least 0, received {numbers[-1]}")
    return numbers[0], numbers[1]


def as_matrix(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as a float array of two axes, or a ValueError that names it."""
    array = np.asarray(value)
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 axes, received shape {list(array.shape)}")
    # To NumPy, bfloat16 (of ml_dtypes, as JAX and TensorFlow give it) is a type of another kind.
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} must hold real numbers, received {array.dtype}")
    return array


def as_integers(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as an integer array, or a ValueError that names it; an empty list counts as integers."""
    array = np.asarray(value)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold integers, received {array.dtype}")
    return array


def as_float(name: str, value: Any) -> float:
    """The argument as a Python float, or a ValueError that names it."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, received {value!r}") from None


def as_int64(name: str, value: Any) -> int:
    """The argument as a Python integer of 64 bits, or a ValueError that names it."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, received {value!r}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must be below 2^63, received {number}")
    return number


def as_labels(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """The labels as an integer array of one axis, or a ValueError."""
    array = as_integers("labels", labels)
    if array.ndim != 1:
        raise ValueError(f"labels must have 1 axis, received shape {list(array.shape)}")
    return array


def as_weights(weights: npt.ArrayLike | None) -> npt.NDArray[Any]:
    """The weights as a float32 array of one axis, empty for None, or a ValueError."""
    array = np.asarray(() if weights is None else weights, np.float32)
    if array.ndim != 1:
        raise ValueError(f"weights must have 1 axis, received shape {list(array.shape)}")
    return array
