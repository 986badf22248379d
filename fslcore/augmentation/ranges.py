# SPDX-License-Identifier: MIT
"""What an augmentation draws from: a number, a pair of bounds, or a normal distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from fslcore.arguments import ArgumentError, as_float


class Normal(NamedTuple):
    """A normal distribution, in place of a pair of bounds."""

    mean: float
    deviation: float


class Range(NamedTuple):
    """A distribution: uniform from `first` to `second`, or normal with this mean and deviation."""

    first: float
    second: float
    normal: bool = False

    def config(self) -> list[Any]:
        """As JSON has it; `range_of` takes it."""
        return ["normal", self.first, self.second] if self.normal else [self.first, self.second]


def range_of(argument: str, value: Any, around: float | None = None) -> Range:
    """The distribution that an argument stands for.

    Args:
        argument: Name of the argument.
        value: (least, greatest), a `Normal`, or a number.
        around: What a number is counted from: r means around - r to around + r; None: the number itself.

    Raises:
        ArgumentError: It is something else, or the bounds are in the wrong order.
    """
    if isinstance(value, Normal) or (
        isinstance(value, list | tuple) and value[:1] in (["normal"], ("normal",))
    ):
        mean, deviation = (as_float(argument, number) for number in tuple(value)[-2:])
        if deviation < 0:
            raise ArgumentError(argument, "must have a deviation of at least 0", value)
        return Range(mean, deviation, normal=True)
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ArgumentError(argument, "must be a number, a pair (least, greatest) or a Normal", value)
        least, greatest = (as_float(argument, number) for number in value)
        if least > greatest:
            raise ArgumentError(argument, "must be a pair (least, greatest)", value)
        return Range(least, greatest)
    number = as_float(argument, value)
    if around is None:
        return Range(number, number)
    if number < 0:
        raise ArgumentError(argument, "must be at least 0, or a pair (least, greatest)", value)
    return Range(around - number, around + number)


def share_of(argument: str, value: Any) -> float:
    """A probability.

    Raises:
        ArgumentError: It is not from 0 to 1.
    """
    number = as_float(argument, value)
    if not 0 <= number <= 1:
        raise ArgumentError(argument, "must be from 0 to 1", value)
    return number


def shares_of(argument: str, value: Any, names: tuple[str, ...]) -> dict[str, float]:
    """A probability for each of some names: one number for all, or a mapping, in which others have 1."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, share_of(argument, value))
    unknown = [name for name in value if name not in names]
    if unknown:
        raise ArgumentError(argument, f"must have names of {', '.join(names)}", unknown[0])
    return {name: share_of(argument, value.get(name, 1.0)) for name in names}


def layer_of(argument: str, value: Any) -> keras.Layer:
    """A layer, or one made of its configuration."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if not isinstance(value, keras.Layer):
        raise ArgumentError(argument, "must be a layer", value)
    return value
