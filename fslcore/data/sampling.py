# SPDX-License-Identifier: MIT
"""What the samplers have in common: plans of elements, and the datasets of them.

    in memory:  episode_dataset ────────────────────> float32 images
    elsewhere:  episode_dataset ─> tables of rows ──> map(gather) ─> prefetch ─> float32 images

An element is a pure function of (labels, plan, seed, its number), so a dataset can begin anywhere, take every
n-th element, and be resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.checks import cannot_be_turned, check_count
from fslcore.data.pixels import Pixels, constant, unconverted
from fslcore.ops.datasets import episode_dataset

if TYPE_CHECKING:
    from fslcore.augmentation import Augmentation

_NAMED = 4  # classes in a message
_PREFETCHED = 4  # elements: two would do for steps of a steady length


@dataclass(frozen=True)
class Plan:
    """What an element holds; `csrc/core/episodes/elements.h` says how it is drawn.

    Attributes:
        form: "episodes": images per class, in one or more sets. "batch": the images of an episode in a row,
            with labels. "minibatches": the images of each task shuffled and dealt out, with labels.
        ways: Least and largest number of classes of an episode.
        parts: Images per class of each set; of the first, the largest number.
        least_shot: Least number of images per class of the first set.
        tasks: Episodes of an element, on an axis of their own; None: one, without that axis.
        steps: Mini-batches of a task.
        batch: Images of a mini-batch.
        other_seed: Seed of sizes that vary, and of the order in mini-batches.
    """

    form: str
    ways: tuple[int, int]
    parts: tuple[int, ...]
    least_shot: int
    tasks: int | None = None
    steps: int = 0
    batch: int = 0
    other_seed: int = 0

    @property
    def images(self) -> int:
        """How many images an element has, at most."""
        of_task = self.steps * self.batch or self.ways[1] * sum(self.parts)
        return (self.tasks or 1) * of_task

    def shapes(self) -> tuple[list[tuple[list[int | None], list[int | None]]], list[int | None] | None]:
        """The shapes of the row numbers and the quarter turns of each set, and of the labels.

        A size that varies is None; so are the labels where there are none.
        """
        if self.form == "minibatches":
            dealt: list[int | None] = [self.tasks, self.steps, self.batch]
            return [(dealt, dealt)], dealt
        if self.form == "batch":
            row: list[int | None] = [self.ways[1] * self.parts[0]]
            return [(row, row)], row
        lines: list[int | None] = [] if self.tasks is None else [self.tasks]
        lines.append(self.ways[1] if self.ways[0] == self.ways[1] else None)
        sizes: list[int | None] = list(self.parts)
        if self.least_shot < self.parts[0]:
            sizes[0] = None
        return [([*lines, size], lines) for size in sizes], None


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

    def elements(
        self,
        plan: Plan,
        seed: int,
        first: int,
        step: int,
        count: int | None,
        rotations: bool,
        augment: Augmentation | None = None,
    ) -> tf.data.Dataset:
        """The elements of a plan as a dataset that is iterated by compiled code.

        Args:
            plan: What an element holds.
            seed: Seed of the sampler.
            first: Number of the episode that the first element begins with.
            step: From the beginning of one element to that of the next, in elements.
            count: Number of elements; without end if None.
            rotations: Count each class turned by 0, 90, 180 and 270 degrees as four classes.
            augment: What varies the images, as a function of its seed and the number of the episode that an
                element begins with.

        Returns:
            A dataset of (images, ...), with labels behind them if the plan has labels.
        """
        check_count("seed", seed, 0)
        check_count("step", step, 1)
        if augment is not None:
            from fslcore.data import varying  # with Keras, which nothing else here needs

            varying.check_augmentation(augment, self.pixels)
        direct = self.pixels.array is not None and augment is None
        tables, labels = plan.shapes()
        labels_spec = () if labels is None else tf.TensorSpec(labels, tf.int32)
        if direct:
            images = tuple(tf.TensorSpec([*rows, *self.image_shape], tf.float32) for rows, _ in tables)
            spec: Any = images if labels is None else (*images, labels_spec)
        else:
            found = tuple(tuple(tf.TensorSpec(shape, tf.int64) for shape in table) for table in tables)
            spec = (found, labels_spec)
        dataset = episode_dataset(
            self.pixels.array if direct else constant(np.zeros((0, 1, 1, 1), np.uint8)),
            self.pixels.rows,
            constant(self.labels.astype(np.int64)),
            spec,
            form=plan.form,
            ways=plan.ways,
            least_shot=plan.least_shot,
            parts=plan.parts,
            tasks=plan.tasks or 0,
            steps=plan.steps,
            batch=plan.batch,
            rotations=bool(rotations),
            gathers=direct,
            seed=seed,
            other_seed=plan.other_seed,
            first=first,
            step=step,
            count=-1 if count is None else count,
        )
        if self.pixels.is_large:
            dataset = _as_built(dataset)
        if direct:
            return untuned(dataset)
        tables_seen = self.pixels.watched(dataset, plan.images)
        if augment is None:
            return mapped(tables_seen, self._gathered)
        apart = step * (plan.tasks or 1)

        def varied(index: tf.Tensor, element: Any) -> tuple[tf.Tensor, ...]:
            found, labels = element
            number = (first + index * apart) * len(found)
            images = [
                varying.gather_varied(self.pixels, rows, turns, augment, number + part)
                for part, (rows, turns) in enumerate(found)
            ]
            return (*images, labels) if tf.is_tensor(labels) else tuple(images)

        return mapped(tables_seen.enumerate(), varied)

    def _gathered(self, tables: Any, labels: Any) -> tuple[tf.Tensor, ...]:
        """The images of tables, and the labels if there are any."""
        images = [
            tf.ensure_shape(self.pixels.gather(rows, turns), [*rows.shape, *self.image_shape])
            for rows, turns in tables
        ]
        return (*images, labels) if tf.is_tensor(labels) else tuple(images)


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
