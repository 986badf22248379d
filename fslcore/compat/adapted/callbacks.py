# SPDX-License-Identifier: MIT
"""The callbacks of `keras_fsl.callbacks`, with the arguments of keras-fsl."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from fslcore import callbacks
from fslcore.arguments import ArgumentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]


class TensorBoardSaveFigures(callbacks.SaveFigures):
    """`fslcore.callbacks.SaveFigures` for TensorBoard.

    Args:
        logdir: Folder of TensorBoard's files.
        figure_producers: name -> function of (model, epoch) that returns a figure; epochs count from 0.
    """

    def __init__(
        self, logdir: PathLike, figure_producers: Mapping[str, Callable[[keras.Model, int], Figure]]
    ) -> None:
        super().__init__({name: _from_zero(make) for name, make in figure_producers.items()}, logdir)


class BinaryStatistics(callbacks.SaveFigures):
    """Box plots of the outputs of a model where they should be 1, and where they should be 0.

    `fslcore.callbacks.BinaryStatistics` takes labelled images.

    Args:
        validation_data: (X, y): inputs of the model, and truth values in the shape of its outputs.
        log_dir: Folder of TensorBoard's files.
    """

    def __init__(self, validation_data: tuple[Any, Any], log_dir: PathLike) -> None:
        super().__init__({"BinaryStatistics": self._figure}, log_dir)
        self.X, y = validation_data
        self.y = np.asarray(y).astype(bool)

    def _figure(self, model: keras.Model, epoch: int) -> Figure:
        from fslcore import plots

        scores = np.asarray(model(self.X))
        if scores.size != self.y.size:
            raise ArgumentError(
                "validation_data",
                "must have a truth value for each output of the model",
                described=f"{list(self.y.shape)} for outputs {list(scores.shape)}",
            )
        alike = self.y.reshape(scores.shape)
        groups = {"matching": scores[alike], "non-matching": scores[~alike]}
        return plots.boxes(groups, "score", f"Scores of pairs after epoch {epoch}")


def _from_zero(make: Callable[[keras.Model, int], Figure]) -> Callable[[keras.Model, int], Figure]:
    if not callable(make):
        raise ArgumentError("figure_producers", "must be functions of (model, epoch)", make)
    return lambda model, epoch: make(model, epoch - 1)
