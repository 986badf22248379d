# SPDX-License-Identifier: MIT
"""Figures of a model in training, for TensorBoard and as files."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from fslcore import files
from fslcore.arguments import ArgumentError, as_bool, check_at_least

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]
Draw = Callable[[keras.Model, int], "Figure"]

# Long tick labels beside an image of fixed aspect would be cut off otherwise.
_TIGHT: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15}


class SaveFigures(keras.callbacks.Callback):
    """Draws figures of a model at the end of epochs, into TensorBoard, into files, or both.

    Args:
        figures: name -> function of (model, epoch) that returns a matplotlib `Figure`. The epoch is the
            number of epochs that are complete. A figure is closed after it is written, also one of pyplot.
        log_dir: folder of TensorBoard's files; the figures are images by their names, their step the epoch.
        folder: where `<name>-<epoch>.png` is written, whole or not at all; it is made.
        every: draw at the end of every so many epochs, and of the last one.
        at_start: draw also before the first epoch; its number is that of the epochs before it, such as 0.

    Raises:
        ArgumentError: an argument is wrong, or neither `log_dir` nor `folder` is given.
        ImportError: `log_dir` without the package tensorboard.

    Example:
        >>> import fslcore as fsl
        >>> def weights(model, epoch):
        ...     return fsl.plots.boxes({v.path: v.numpy() for v in model.trainable_variables})
        >>> callback = fsl.callbacks.SaveFigures({"weights": weights}, folder="pictures")
    """

    def __init__(
        self,
        figures: Mapping[str, Draw],
        log_dir: PathLike | None = None,
        folder: PathLike | None = None,
        *,
        every: int = 1,
        at_start: bool = False,
    ) -> None:
        super().__init__()
        self.figures = checked_figures(figures)
        if log_dir is None and folder is None:
            raise ArgumentError("folder", "must be given, or `log_dir`", None)
        self.log_dir = None if log_dir is None else checked_log_dir(log_dir)
        self.folder = None if folder is None else Path(os.fspath(folder))
        check_at_least("every", every, 1)
        self.every, self.at_start = int(every), as_bool("at_start", at_start)
        self._writer: Any = None
        self._drawn = self._complete = -1

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Opens nothing yet: files appear with the first figure."""
        self._drawn = self._complete = -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Draws before the first epoch, if that was asked for."""
        if self.at_start and self._complete < 0:
            self.draw(epoch)
        self._complete = max(self._complete, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Draws if it is the epoch's turn."""
        self._complete = epoch + 1
        if self._complete % self.every == 0:
            self.draw(self._complete)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Draws after the last epoch, unless that has been done."""
        if self._complete > max(0, self._drawn):
            self.draw(self._complete)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def draw(self, epoch: int) -> None:
        """Draws all figures and writes them.

        Raises:
            ArgumentError: a function returns anything but a figure.
            OSError: a file cannot be written.
        """
        from matplotlib.figure import Figure

        self._drawn = epoch
        for name, function in self.figures.items():
            figure = function(self.model, epoch)
            if not isinstance(figure, Figure):
                raise ArgumentError(
                    "figures",
                    "must be functions that return a matplotlib Figure",
                    described=f"{type(figure).__name__} from {name!r}",
                )
            try:
                self._write(name, figure, epoch)
            finally:
                _close(figure)

    def _write(self, name: str, figure: Figure, epoch: int) -> None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png", **_TIGHT)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{name}-{epoch:04}.png"
            files.replace(path, lambda temporary: temporary.write_bytes(picture.getvalue()))
        if self.log_dir is not None:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self.log_dir))
            pixels = tf.io.decode_png(picture.getvalue(), channels=3)
            with self._writer.as_default(), tf.summary.record_if(True):
                tf.summary.image(name, pixels[None], step=epoch)
            self._writer.flush()


def checked_log_dir(log_dir: PathLike) -> Path:
    """The folder as a path.

    Raises:
        ImportError: the package that makes images for TensorBoard is missing.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("`log_dir` needs the package tensorboard: pip install 'fslcore[tensorboard]'")
    return Path(os.fspath(log_dir))


def checked_figures(figures: Any) -> dict[str, Draw]:
    """The functions by their names, which are names of files too.

    Raises:
        ArgumentError: they are none.
    """
    if not isinstance(figures, Mapping) or not figures or not all(map(callable, figures.values())):
        raise ArgumentError(
            "figures", "must be one or more functions of (model, epoch) by their names", figures
        )
    for name in figures:
        if not isinstance(name, str) or not name.strip(". ") or set(name) & set('/\\\0:*?"<>|'):
            raise ArgumentError("figures", "must have names that files can have", name)
    return dict(figures)


def _close(figure: Figure) -> None:
    """Lets pyplot forget a figure that it made; others need no closing."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)
