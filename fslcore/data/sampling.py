# SPDX-License-Identifier: MIT
"""What the samplers have in common: from labels to tables of row numbers, and from those to images.

    counter ──────> sample_episodes ──> unbatch ──> gather_images ──> prefetch
    first, +64, ...   64 tables         one table   float32 images

A table is a pure function of (labels, seed, index), so a dataset can begin anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.checks import cannot_be_turned, check_count
from fslcore.data.pixels import Pixels, constant, unconverted

# Tables drawn per call of the sampler, which must sort the labels into classes each time (4N of them with
# rotations): 64 tables share that cost, and 64 tables of 5 x 20 indices are only 26 kB.
_CHUNK = 64
_NAMED = 4  # classes in a message
_PREFETCHED = 4  # elements: two would do for steps of a steady length


@dataclass(frozen=True, eq=False)
class Source:
    """The arrays that a sampler draws from, and their names for error messages.

    Attributes:
        pixels: The images uint8 [N, H, W, C], wherever they are kept.
        labels: int32 [N], 0 to n_classes - 1, no class empty.
        class_names: One name per class.
        name: Name of the whole.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int32]
    class_names: Sequence[str]
    name: str

    @property
    def image_shape(self) -> list[int]:
        """[height, width, channels] of every image."""
        return self.pixels.image_shape

    def check(self, way: str, n_way: int, each: str, n_images: int, rotations: bool) -> None:
        """Checks that there are enough classes, and enough images of each.

        Args:
            way: Name of the argument `n_way`.
            n_way: Number of classes to draw.
            each: Name of the argument, or the sum of arguments, that `n_images` is.
            n_images: Number of images to draw per class.
            rotations: Whether each class counts as four.

        Raises:
            ArgumentError: There are not, or the images are not square and cannot be turned.
        """
        check_count(way, n_way, 1)
        if as_bool("rotations", rotations) and not self.pixels.can_be_turned:
            raise cannot_be_turned(rotations)
        n_classes = len(self.class_names) * (4 if rotations else 1)
        if n_way > n_classes:
            turned = " in 4 rotations" if rotations else ""
            raise ArgumentError(
                way, f"must be at most {n_classes}, the number of classes of {self.name}{turned}", n_way
            )
        sizes = np.bincount(self.labels)
        small = np.flatnonzero(sizes < n_images)
        if small.size:
            raise self._too_few(each, n_images, sizes, small)
        height, width, _ = self.image_shape
        if rotations and height != width:
            raise ArgumentError(
                "rotations",
                "must be False for images that are not square",
                rotations,
                described=f"{height}x{width}",
            )

    def _too_few(
        self, each: str, n_images: int, sizes: npt.NDArray[Any], small: npt.NDArray[Any]
    ) -> ArgumentError:
        """The error for classes with fewer images than a draw needs, the smallest first."""
        first, *others = small[np.argsort(sizes[small], kind="stable")].tolist()
        named = ", ".join(f"{self.class_names[i]!r} {sizes[i]}" for i in others[:_NAMED])
        also = f" (also {named}{', ...' if len(others) > _NAMED else ''})" if others else ""
        enough = int(np.count_nonzero(sizes >= n_images))
        if enough:
            remedy = f"Leave them out with .with_min_images({n_images}), or choose fewer"
        else:
            most = sizes.max()
            remedy = f"Choose at most {sizes[first]}"
            remedy += f", or up to {most} after .with_min_images({most})" if most > sizes[first] else ""
        return ArgumentError(
            each,
            "must be at most the number of images of each class",
            n_images,
            described=f"{each} = {n_images}: class {self.class_names[first]!r} of {self.name} has "
            f"{sizes[first]}; {small.size} of {len(sizes)} classes have too few{also}. {remedy}",
        )

    def tables(
        self, n_way: int, n_images: int, seed: int, first: int, count: int | None, rotations: bool
    ) -> tf.data.Dataset:
        """Which images to gather for the draws first, first + 1, ...

        Args:
            n_way: Number of distinct classes of a draw.
            n_images: Number of distinct images of each class.
            seed: Seed of the sampler.
            first: Index of the first draw.
            count: Number of draws; without end if None.
            rotations: Count each class turned by 0, 90, 180 and 270 degrees as four classes.

        Returns:
            A dataset of (rows int64 [n_way, n_images], quarter turns int64 [n_way]).
        """
        check_count("seed", seed, 0)
        # With rotations the sampler sees 4N virtual images: image v is row v % N after v // N quarter turns.
        n_classes, n_rows = len(self.class_names), len(self.labels)
        turned = [self.labels + np.int64(turn * n_classes) for turn in range(4 if rotations else 1)]
        labels = constant(np.concatenate(turned))

        def chunk(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = ops.sample_episodes(labels, n_way, n_images, 0, _CHUNK, seed, first_episode=start)
            drawn = tf.ensure_shape(tf.cast(drawn, tf.int64), [_CHUNK, n_way, n_images])
            return drawn % n_rows, drawn[:, :, 0] // n_rows

        # Chunks are counted from `first`, not from 0: any other beginning would need a part of a chunk.
        tables = tf.data.Dataset.counter(first, _CHUNK).map(unconverted(chunk)).unbatch()
        if self.pixels.is_large:
            tables = _as_built(tables)
        tables = self.pixels.watched(tables)
        return tables if count is None else tables.take(count)

    def gather(self, rows: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
        """Images float32 [*rows.shape, H, W, C] in [0, 1].

        Args:
            rows: Row numbers of the images.
            turns: Quarter turns, for the leading axes of `rows`.
        """
        images = self.pixels.gather(rows, turns)
        return tf.ensure_shape(images, [*rows.shape, *self.image_shape])


def mapped(tables: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    """The elements that a function makes of tables, in their order and ahead of their use."""
    elements = tables.map(unconverted(function), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return untuned(elements.prefetch(_PREFETCHED))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without the autotuner of tf.data; AUTOTUNE in it then means all threads.

    The autotuner sleeps for intervals that double up to a minute, and `fit` cannot end before it wakes: it
    takes up to twice as long as its steps.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _as_built(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without tf.data's rewriting, for which it would write all images into a graph first."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)
