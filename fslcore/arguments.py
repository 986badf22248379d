# SPDX-License-Identifier: MIT
"""What kernels, ops and their twins accept, checked once: all of them raise the same error messages.

This module imports neither the compiled core nor TensorFlow.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# The compiled core's own list, in its order: a test compares them.
METRICS = ("sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan", "chebyshev")
TRIPLET_METRICS = ("sqeuclidean", "euclidean", "cosine")
# Those that have nothing to learn.
SEARCH_METRICS = ("sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "chebyshev")
# The rules of mining triplets, also in the order of the compiled core, and those with a triplet for every
# (anchor, positive) pair; the others have one for every anchor.
MININGS = ("semihard", "hard", "easy_positive")
PAIR_MININGS = ("semihard",)
ACTIVATIONS = (None, "sigmoid")
# What `pairwise_norms` makes of a coordinate of two rows, in the order of csrc/core/norms/norm.h; and those
# that keras-fsl's MixedNorms takes by default.
NORMS = ("first", "second", "product", "sum", "absolute", "squared", "unit_product", "softmax")
MIXED_NORMS = ("product", "sum", "absolute", "squared")
NORM_UNITS = ("row", "batch")
PRECISIONS = ("float32", "tf32", "3xtf32", "bfloat16")
CONV_PRECISIONS = ("float32", "bfloat16")
# What is outside of a warped image, and what is drawn for it: the names and the order of
# csrc/core/images/warp.h and transforms.h.
FILLS = ("constant", "nearest")
AFFINE_PARAMETERS = (
    "rotation", "shear_x", "shear_y", "zoom", "zoom_x", "zoom_y", "shift_x", "shift_y", "flip_x", "flip_y",
)  # fmt: skip


def counted(count: int, one: str, many: str | None = None) -> str:
    """The count with its noun, as in "1 image" and "1,234 images"; `many` for a plural of another form."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {many or one + 's'}"


class ArgumentError(ValueError):
    """An argument that its receiver cannot use.

    The command line reports it as a wrong argument, in terms of its flags; any other ValueError is a fault.

    Args:
        argument: Name of the argument.
        requirement: What must hold, as in "must be at least 1". Names of other arguments stand in backticks.
        received: The value received.
        described: What was received, in words, where the value itself does not show what is wrong with it.
    """

    # Without this, AutoGraph replaces the error by one of its own, which is not a ValueError.
    ag_pass_through = True

    def __init__(
        self, argument: str, requirement: str = "", received: object = None, *, described: str | None = None
    ) -> None:
        self.argument, self.requirement, self.received = argument, requirement, received
        self.described = f"{argument}={received!r}" if described is None else described
        # Keras and pickle copy an error by calling its type with the message alone.
        message = f"{argument} {requirement}, received {self.described}" if requirement else argument
        super().__init__(message)


def check_one_of(argument: str, value: str, known: tuple[str, ...]) -> None:
    """Raises ArgumentError for a value that is not among the words `known`."""
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(argument, f"must be one of {', '.join(known)}", value)


def check_metric(metric: str, known: tuple[str, ...]) -> None:
    """Raises ArgumentError for a metric that is not among `known`."""
    check_one_of("metric", metric, known)


def check_mining(mining: str) -> None:
    """Raises ArgumentError for a rule of mining that is not among `MININGS`."""
    check_one_of("mining", mining, MININGS)


def check_triplets(mining: str, metric: str) -> None:
    """Raises ArgumentError for a rule of mining or a metric that triplets do not have."""
    check_mining(mining)
    check_metric(metric, TRIPLET_METRICS)


def check_nearest(k: Any, metric: str) -> int:
    """`k` as an integer of at least 1, or an ArgumentError, also for a metric that a search does not have."""
    number = as_int64("k", k)
    check_at_least("k", number, 1)
    check_metric(metric, SEARCH_METRICS)
    return number


def check_precision(precision: str) -> None:
    """Raises ArgumentError for a precision that is not among `PRECISIONS`."""
    check_one_of("precision", precision, PRECISIONS)


def check_activation(activation: str | None) -> None:
    """Raises ArgumentError for an activation that is not among `ACTIVATIONS`."""
    if activation is not None and (not isinstance(activation, str) or activation not in ACTIVATIONS):
        raise ArgumentError("activation", "must be None or 'sigmoid'", activation)


def check_fill(fill: str) -> None:
    """Raises ArgumentError unless it is a name of what is outside of a warped image."""
    check_one_of("fill", fill, FILLS)


def check_at_least(argument: str, value: int, least: int) -> None:
    """Raises ArgumentError for a value below `least`, or that is no whole number as `as_int64` has them."""
    if as_int64(argument, value) < least:
        raise ArgumentError(argument, f"must be at least {least}", value)


def check_image_shape(argument: str, shape: Any, least: int) -> None:
    """Raises ArgumentError unless the shape is (height, width, channels) of images that are large enough.

    Args:
        argument: Name of the argument.
        shape: Three integers; a height or width of None is not compared.
        least: Least height and width.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) else ()
    known = [size for size in sizes if size is not None]
    whole = all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in known)
    if len(sizes) != 3 or not whole or sizes[2] is None or sizes[2] < 1:
        raise ArgumentError(argument, "must be (height, width, channels)", shape)
    if any(size is not None and size < least for size in sizes[:2]):
        raise ArgumentError(
            argument,
            f"must be a height and a width of at least {least} pixels, or nothing is left to embed",
            shape,
        )


def check_norms(norms: Sequence[str], unit: str, activation: str | None) -> tuple[str, ...]:
    """The norms as a tuple, or an ArgumentError if they are not different names, or another is unknown."""
    names = tuple(norms) if isinstance(norms, (tuple, list)) else ()
    known = all(isinstance(name, str) and name in NORMS for name in names)
    if not names or not known or len(set(names)) < len(names):
        raise ArgumentError("norms", f"must be a list of different names among {', '.join(NORMS)}", norms)
    check_one_of("unit", unit, NORM_UNITS)
    check_activation(activation)
    return names


def norms_as_bits(norms: tuple[str, ...]) -> int:
    """The set of norms as the compiled core has it, a bit for each."""
    return sum(1 << NORMS.index(name) for name in norms)


def order_of_norms(norms: tuple[str, ...]) -> list[int]:
    """The positions of the norms in the order in which the compiled core has them."""
    return sorted(range(len(norms)), key=lambda position: NORMS.index(norms[position]))


def check_pairwise(metric: str, weights_given: bool, bias_given: bool, activation: str | None) -> None:
    """Raises ValueError for arguments of `pairwise` that do not go together."""
    check_metric(metric, METRICS)
    check_activation(activation)
    weighted = metric == "weighted_manhattan"
    if weighted and not weights_given:
        raise ArgumentError("weights", "must be given for weighted_manhattan", None)
    if not weighted and (weights_given or bias_given or activation is not None):
        raise ValueError(
            f"weights, bias and activation belong to the metric weighted_manhattan, received metric: {metric}"
        )


def check_conv_block(strides: int, pool_size: int, epsilon: float, precision: str) -> tuple[int, int, float]:
    """The options of `conv_block`.

    Args:
        strides: 1 or 2.
        pool_size: 1 or 2.
        epsilon: Positive.
        precision: One of `CONV_PRECISIONS`.

    Returns:
        The first three, as Python ints and float.

    Raises:
        ArgumentError: For any other value.
    """
    for argument, value in (("strides", strides), ("pool_size", pool_size)):
        if as_int64(argument, value) not in (1, 2):
            raise ArgumentError(argument, "must be 1 or 2", value)
    try:
        number = as_float("epsilon", epsilon)
    except ArgumentError:
        number = 0.0
    if number <= 0:
        raise ArgumentError("epsilon", "must be positive and finite", epsilon)
    check_one_of("precision", precision, CONV_PRECISIONS)
    return int(strides), int(pool_size), number


def check_store(shape: tuple[int | None, ...], dtype: str) -> None:
    """Raises ValueError unless shape and dtype are those of a store of images."""
    if len(shape) != 4 or dtype != "uint8":
        raise ValueError(f"store must be uint8 [N, height, width, channels], received {dtype} {list(shape)}")


def as_size(size: tuple[int, int] | None) -> tuple[int, int]:
    """The height and width to resize images to, (0, 0) for None, or an ArgumentError."""
    if size is None:
        return 0, 0
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ArgumentError("size", "must be (height, width) or None", size)
    height, width = (as_int64("size", length) for length in size)
    if height < 1 or width < 1:
        raise ArgumentError("size", "must be a height and a width of at least 1", size)
    return height, width


def check_episode_counts(n_way: Any, k_shot: Any, n_query: Any, episodes: Any) -> tuple[int, int, int, int]:
    """The four counts as integers, or an ArgumentError. The compiled core compares them with the labels."""

    def count(argument: str, value: Any, least: int) -> int:
        number = as_int64(argument, value)
        check_at_least(argument, number, least)
        return number

    return (
        count("n_way", n_way, 1),
        count("k_shot", k_shot, 1),
        count("n_query", n_query, 0),
        count("episodes", episodes, 0),
    )


def check_permutations(n: Any, count: Any) -> tuple[int, int]:
    """Both as integers of at least 0, or an ArgumentError that names one."""
    n, count = as_int64("n", n), as_int64("count", count)
    check_at_least("n", n, 0)
    check_at_least("count", count, 0)
    return n, count


# Tuples: a union of types would be made anew in each call.
_TRUTH_VALUES = (bool, np.bool_)
_NO_NUMBERS = (str, bytes, bytearray, *_TRUTH_VALUES)


def as_array(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as an array, or an ArgumentError: NumPy would drop a mask without a word."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ArgumentError(name, "must have no masked entries", described="a masked array")
    return np.asarray(value)


def as_numbers(name: str, value: npt.ArrayLike, axes: int) -> npt.NDArray[Any]:
    """The argument as an array of real numbers with so many axes, or a ValueError that names it."""
    array = as_array(name, value)
    if array.ndim != axes:
        raise ValueError(f"{name} must have {_axes(axes)}, received shape {list(array.shape)}")
    # NumPy does not count bfloat16 (from ml_dtypes, as in JAX and TensorFlow) among its floats.
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} must hold real numbers, received {array.dtype}")
    return array


def as_matrix(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as a float array of two axes, or a ValueError that names it."""
    return as_numbers(name, value, 2)


def as_integers(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as an integer array, or a ValueError that names it; an empty list counts as integers."""
    array = as_array(name, value)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold integers, received {array.dtype}")
    if array.dtype == np.uint64 and (greatest := int(array.max())) >= 2**63:
        raise ArgumentError(name, "must be below 2^63", greatest)
    return array


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def as_float(name: str, value: Any) -> float:
    """The argument as a Python float, or an ArgumentError; text, truth values, NaN and inf are no numbers."""
    if isinstance(value, _NO_NUMBERS) or value is np.ma.masked:
        raise ArgumentError(name, "must be a number", value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentError(name, "must be a number", value) from None
    except OverflowError:  # an integer beyond the greatest float
        number = math.inf
    if not math.isfinite(number):
        raise ArgumentError(name, "must be a finite number", value)
    return number


def as_bool(name: str, value: Any) -> bool:
    """The argument as a Python truth value, or an ArgumentError; "no", 0 and None are none."""
    if not isinstance(value, _TRUTH_VALUES):
        raise ArgumentError(name, "must be True or False", value)
    return bool(value)


def as_int64(name: str, value: Any) -> int:
    """The argument as a Python integer of 64 bits, or an ArgumentError; 5.0, "5" and True are no integers."""
    if isinstance(value, _TRUTH_VALUES):
        raise ArgumentError(name, "must be a whole number", value)
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(name, "must be a whole number", value) from None
    if not -(2**63) <= number < 2**63:
        raise ArgumentError(name, "must be below 2^63", number)
    return number


def as_labels(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """The labels as an integer array of one axis, or a ValueError."""
    array = as_integers("labels", labels)
    if array.ndim != 1:
        raise ValueError(f"labels must have 1 axis, received shape {list(array.shape)}")
    return array


def as_weights(weights: npt.ArrayLike | None) -> npt.NDArray[Any]:
    """The weights as a float32 array of one axis, empty for None, or a ValueError."""
    if weights is None:
        return np.zeros(0, np.float32)
    return as_numbers("weights", weights, 1).astype(np.float32, copy=False)
