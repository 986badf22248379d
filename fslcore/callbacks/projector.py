# SPDX-License-Identifier: MIT
"""Embeddings for TensorBoard's projector, and as tables that any program reads."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fslcore import files
from fslcore.arguments import ArgumentError, as_bool, as_numbers, check_at_least
from fslcore.callbacks.figures import PathLike
from fslcore.callbacks.values import embeddings_of, labelled

EMBEDDINGS, METADATA, SPRITE, CONFIG = "embeddings.tsv", "labels.tsv", "sprite.png", "projector_config.pbtxt"
# The largest picture that WebGL takes everywhere, and the largest picture of one embedding.
_MOST_PIXELS, _LARGEST = 8192, 64


def write_projector(
    folder: PathLike,
    embeddings: npt.ArrayLike,
    labels: Sequence[Any] | npt.NDArray[Any] | Mapping[str, Sequence[Any]],
    images: npt.ArrayLike | None = None,
    name: str = "embeddings",
) -> Path:
    """Writes embeddings with their labels and pictures, as TensorBoard's projector reads them.

    embeddings.tsv         a row of numbers for each image
    labels.tsv             its label; or several columns, with their names in the first row
    sprite.png             small pictures, row by row in one square
    projector_config.pbtxt what TensorBoard looks for

    The first two are what https://projector.tensorflow.org takes too. Each file is replaced at once, the last
    one in the end.

    Args:
        folder: a folder of TensorBoard; it is made.
        embeddings: [N, D], finite.
        labels: N labels; or several columns by their names, N values each.
        images: [N, H, W, C] with 1 or 3 channels, uint8 or float of 0 to 1; None: no pictures.
        name: of the embeddings in TensorBoard.

    Returns:
        The path of projector_config.pbtxt.

    Raises:
        ArgumentError: the numbers of rows differ, or the embeddings are not finite.
        OSError: a file cannot be written.
    """
    rows = as_numbers("embeddings", embeddings, 2).astype(np.float32)
    if not rows.size or not np.isfinite(rows).all():
        raise ArgumentError(
            "embeddings", "must be finite numbers [N, D]", described=f"others, shape {list(rows.shape)}"
        )
    columns = labels if isinstance(labels, Mapping) else {"label": labels}
    for column, values in columns.items():
        if len(values) != len(rows):
            raise ArgumentError(
                "labels",
                "must have a value for each embedding",
                described=f"{len(values)} of {column!r} for {len(rows)} embeddings",
            )
    if not columns:
        raise ArgumentError("labels", "must be labels, or columns by their names", labels)
    sprite = None if images is None else _sprite(images, len(rows))
    place = Path(os.fspath(folder))
    place.mkdir(parents=True, exist_ok=True)
    # 9 digits are what a float32 has.
    table = io.StringIO()
    np.savetxt(table, rows, fmt="%.9g", delimiter="\t")
    _write(place / EMBEDDINGS, table.getvalue())
    # TensorBoard takes the first row for names where there are several columns, and only there.
    lines = list(zip(*([_cell(value) for value in values] for values in columns.values()), strict=True))
    header = [tuple(map(_cell, columns))] if len(columns) > 1 else []
    _write(place / METADATA, "".join("\t".join(line) + "\n" for line in [*header, *lines]))
    entries = [
        f'tensor_name: "{_quoted(name)}"',
        f'tensor_path: "{EMBEDDINGS}"',
        f'metadata_path: "{METADATA}"',
    ]
    if sprite is not None:
        picture, (height, width) = sprite
        files.replace(place / SPRITE, picture.save)
        sizes = f"single_image_dim: {width} single_image_dim: {height}"
        entries.append(f'sprite {{ image_path: "{SPRITE}" {sizes} }}')
    body = "".join(f"  {entry}\n" for entry in entries)
    _write(place / CONFIG, f"embeddings {{\n{body}}}\n")
    return place / CONFIG


class EmbeddingProjector(keras.callbacks.Callback):
    """Writes embeddings for TensorBoard's projector at the end of a training, or of epochs.

    Args:
        data: an `ImageStore` or `(images, labels)`.
        log_dir: a folder of TensorBoard; the files are written as `write_projector` does, over those of an
            earlier epoch.
        every: write at the end of every so many epochs too; None: only at the end of the training.
        pictures: whether the projector shows the images, which then are float of 0 to 1, or uint8.
        encoder: a model whose outputs are the embeddings; None: `embed` of a learner, what stands before a
            last `GramMatrix`, or the outputs of the model.

    Raises:
        ArgumentError: an argument is wrong.
    """

    def __init__(
        self,
        data: Any,
        log_dir: PathLike,
        *,
        every: int | None = None,
        pictures: bool = True,
        encoder: keras.Layer | None = None,
    ) -> None:
        super().__init__()
        if every is not None:
            check_at_least("every", every, 1)
        self.data, self.log_dir, self.every = labelled("data", data), log_dir, every
        self.pictures, self.encoder = as_bool("pictures", pictures), encoder
        if self.pictures:
            _sprite(self.data.images[:1], 1)  # what cannot be drawn is told before the training

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Writes if it is the epoch's turn."""
        if self.every is not None and (epoch + 1) % self.every == 0:
            self.write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Writes the embeddings of the trained model."""
        self.write()

    def write(self) -> None:
        """Writes the embeddings of the model as it is."""
        rows = embeddings_of(self.model, self.data.images, self.encoder)
        names = [self.data.names[label] for label in self.data.labels]
        write_projector(self.log_dir, rows, names, self.data.images if self.pictures else None)


def _write(path: Path, text: str) -> None:
    files.replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _cell(value: Any) -> str:
    """A value in one cell of a table."""
    return " ".join(str(value).split()) or " "


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _sprite(images: npt.ArrayLike, count: int) -> tuple[Any, tuple[int, int]]:
    """All images as small pictures in one square, row by row, and the (height, width) of one."""
    from PIL import Image

    given = np.asarray(images)
    if given.ndim != 4 or given.shape[-1] not in (1, 3) or len(given) != count or not given.size:
        raise ArgumentError(
            "images", f"must be [{count}, H, W, 1 or 3]", described=f"shape {list(given.shape)}"
        )
    if given.dtype != np.uint8:
        if given.dtype.kind != "f" or not (np.nanmin(given) >= -0.5 and np.nanmax(given) <= 1.5):
            raise ArgumentError("images", "must be uint8 or float of 0 to 1", described=f"{given.dtype}")
        given = np.round(np.clip(np.nan_to_num(given), 0, 1) * 255).astype(np.uint8)
    side = math.isqrt(count - 1) + 1
    largest = min(_LARGEST, _MOST_PIXELS // side)
    if largest < 1:
        raise ArgumentError("images", f"must be at most {_MOST_PIXELS**2:,} for a sprite", count)
    factor = min(1.0, largest / max(given.shape[1:3]))
    height, width = (max(1, round(factor * edge)) for edge in given.shape[1:3])
    sheet = Image.new("RGB", (side * width, side * height), "white")
    for number, image in enumerate(given):
        picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)).copy())
        row, column = divmod(number, side)
        sheet.paste(picture.resize((width, height), Image.Resampling.BOX), (column * width, row * height))
    return sheet, (height, width)
