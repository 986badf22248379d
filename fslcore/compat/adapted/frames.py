# SPDX-License-Identifier: MIT
"""The operators of `keras_fsl.dataframe.operators`, with the arguments of keras-fsl."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from fslcore.arguments import ArgumentError, check_one_of
from fslcore.compat.adapted.annotations import with_filename
from fslcore.data import frames

_MODES = ("with_tf_record", "with_cache", "raw")


class AbstractOperator(ABC):
    """The base of operators for `DataFrame.pipe`."""

    @abstractmethod
    def __call__(self, input_dataframe: Any) -> Any:
        """What the operator makes of a frame."""


class ToKShotDataset(frames.ToKShotDataset, AbstractOperator):
    """`fslcore.data.frames.ToKShotDataset`; the column with the files may be called image_name, too.

    Args:
        k_shot: Pictures of each class that follow each other.
        preprocessing: A function of a picture.
        label_column: "label_one_hot" or a column of numbers.
        cache: Ignored, with a warning: pictures are decoded from their files, ahead and on all cores.
            `fslcore.data.frames.ToKShotDataset(image_size=, cache=)` keeps resized pictures.
        reset_cache: Ignored: there is no cache.
        max_shuffle_buffer_size: Ignored: every picture of a class is equally likely.
        dataset_mode: "with_tf_record", "with_cache" or "raw", which are the same here.
        seed: Seed of the order.
    """

    def __init__(
        self,
        k_shot: int,
        preprocessing: Callable[[Any], Any] | None = None,
        label_column: str = "label_one_hot",
        cache: Any = None,
        reset_cache: bool = False,  # noqa: ARG002
        max_shuffle_buffer_size: int = 100,  # noqa: ARG002
        dataset_mode: str = "with_tf_record",
        *,
        seed: int = 0,
    ) -> None:
        check_one_of("dataset_mode", dataset_mode, _MODES)
        if cache is not None:
            warnings.warn(
                f"cache={str(cache)!r} is not used: pictures are decoded from their files, on all cores; "
                "fslcore.data.frames.ToKShotDataset(image_size=, cache=) keeps resized ones",
                stacklevel=2,
            )
        super().__init__(k_shot, preprocessing, label_column=label_column, seed=seed)

    def __call__(self, input_dataframe: Any) -> Any:
        """The dataset of a frame."""
        return super().__call__(with_filename(input_dataframe))


class NaiveMaxProba(frames.NaiveMaxProba):
    """`fslcore.data.frames.NaiveMaxProba`.

    Args:
        **histogram_kwargs: Of `numpy.histogram`: bins and range; density, which must be True.
    """

    def __init__(self, **histogram_kwargs: Any) -> None:
        if not histogram_kwargs.pop("density", True):
            raise ArgumentError("density", "must be True: confidences are of shares", False)
        if others := sorted(set(histogram_kwargs) - {"bins", "range"}):
            raise ArgumentError(others[0], "must be left out; bins and range are used")
        super().__init__(**histogram_kwargs)


class RandomAssignment(frames.RandomAssignment):
    """`fslcore.data.frames.RandomAssignment`.

    Args:
        by: The column that names the groups, or several.
        choices: The parts; None for train, val and test.
        p: How likely each part is; None: as there.
        column_name: Name of the new column.
        seed: Seed; keras-fsl takes NumPy's global generator.
    """

    def __init__(
        self,
        by: str | Sequence[str],
        choices: Sequence[Any] | None = None,
        p: Sequence[float] | None = None,
        column_name: str = "random_split",
        *,
        seed: int = 0,
    ) -> None:
        parts = ("train", "val", "test") if choices is None else choices
        super().__init__(by, parts, p, column_name, seed)
