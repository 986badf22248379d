# SPDX-License-Identifier: MIT
"""Operators on pandas DataFrames, for `DataFrame.pipe`; none changes the frame that it is given.

frame.pipe(RandomAssignment("day"))         a column with the part of each row, the same for all of a day
frame.pipe(ToKShotDataset(k_shot=4))        a tf.data.Dataset of pictures, k of a class in a row
scores.pipe(NaiveMaxProba())                how sure the best label of each picture is
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import random
from fslcore.arguments import ArgumentError, as_float
from fslcore.data.checks import check_count
from fslcore.data.datasets.listing import Listing
from fslcore.data.datasets.table import is_table, listing_of
from fslcore.data.draws import Draws
from fslcore.data.loading import load
from fslcore.data.samples import Samples, samples_of

_ONE_HOT = "label_one_hot"
_READ = ("filename", "label", "crop_y", "crop_x", "crop_height", "crop_width")
_ROUNDING = 1e-9
_NAMED = 5


class ToKShotDataset:
    """Makes a dataset of pictures of a frame: k of a class in a row, the classes in random order.

    An element is (picture, label). One pass over the dataset, an epoch, has `k_shot` pictures of every class;
    the next pass has others, so that after n / k passes all n pictures of a class have been there. Batches of
    `k_shot * n` elements have n classes, if n divides the number of classes.

    Args:
        k_shot: Pictures of each class of an epoch.
        preprocessing: A function of a picture, in the graph of the dataset.
        label_column: "label_one_hot", a row float32 [C] over the sorted labels of the frame; or a column of
            numbers, which become float32.
        image_size: Height and width to which pictures are resized, float32 in [0, 1]. None: they are uint8
            [height, width, channels] of any size, and `preprocessing` makes them equal, if they are batched.
        channels: 1 or 3.
        cache: A folder where the resized pictures are kept and read from, see `fslcore.data.load` with
            `storage="mapped"`; it needs `image_size`. None: they are in memory.
        data_dir: Where relative file names begin; the working folder if None.
        seed: Seed of the order.

    Raises:
        ArgumentError: An argument is not what it must be. When it is called: a column is not there, files
            are not there (their number and the first are named), a value is missing or of another kind (its
            row is named), or a class has fewer than `k_shot` pictures.
    """

    def __init__(
        self,
        k_shot: int,
        preprocessing: Callable[[Any], Any] | None = None,
        *,
        label_column: str = _ONE_HOT,
        image_size: int | None = None,
        channels: int = 3,
        cache: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_count("k_shot", k_shot, 1)
        random.key("pairs", seed)
        if preprocessing is not None and not callable(preprocessing):
            raise ArgumentError("preprocessing", "must be a function of a picture", preprocessing)
        if cache is not None and image_size is None:
            raise ArgumentError("image_size", "must be given where pictures are cached", None)
        if channels not in (1, 3):
            raise ArgumentError("channels", "must be 1 or 3", channels)
        self.k_shot, self.preprocessing, self.label_column = int(k_shot), preprocessing, label_column
        self.image_size, self.channels, self.cache, self.seed = image_size, channels, cache, seed
        self.root = Path.cwd() if data_dir is None else Path(data_dir).expanduser().resolve()

    def __call__(self, frame: Any) -> Any:
        """The dataset of a frame.

        Args:
            frame: Columns filename, label and, if there are crops, crop_y, crop_x, crop_height, crop_width.
        """
        import tensorflow as tf

        _check_frame(frame)
        listing, order = listing_of(_of_pictures(frame), self.root, "frame")
        labels = self._labels(frame, listing, order)
        sizes = np.bincount(listing.labels)
        if (small := np.flatnonzero(sizes < self.k_shot)).size:
            name = listing.class_names[small[0]]
            raise ArgumentError(
                "k_shot",
                "must be at most the number of pictures of each class",
                self.k_shot,
                described=f"k_shot = {self.k_shot}: class {name!r} has {sizes[small[0]]}; {small.size} of "
                f"{len(sizes)} classes have too few",
            )
        read = self._reader(frame, listing)
        epochs = itertools.count()

        def rows() -> Iterator[npt.NDArray[np.int64]]:
            yield rows_of_epoch(sizes, self.k_shot, self.seed, next(epochs))

        def element(row: Any) -> tuple[Any, Any]:
            picture = read(row)
            made = picture if self.preprocessing is None else self.preprocessing(picture)
            return made, tf.gather(labels, row)

        count = len(sizes) * self.k_shot
        dataset = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec([count], tf.int64))
        dataset = dataset.unbatch().map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)

    def _labels(self, frame: Any, listing: Listing, order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """A label for each picture of the listing: float32 [N, C], or [N] of a column."""
        if self.label_column == _ONE_HOT:
            return np.eye(len(listing.class_names), dtype=np.float32)[listing.labels]
        _check_columns(frame, [self.label_column])
        column = frame[self.label_column]
        _check_none_missing(frame, self.label_column)
        try:
            values = np.asarray(column.to_numpy(), np.float32)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                "label_column",
                "must be 'label_one_hot' or a column of numbers",
                self.label_column,
                described=f"{self.label_column!r} of type {column.dtype}",
            ) from error
        return values[order]

    def _reader(self, frame: Any, listing: Listing) -> Callable[[Any], Any]:
        """A function of the number of a picture in the listing, in a graph."""
        import tensorflow as tf

        if self.image_size is None:
            return _decoder(listing, self.channels)
        samples = self._resized(frame)
        shape = samples.shape

        def read(row: Any) -> Any:
            picture = tf.numpy_function(lambda one: samples.read(one[None])[0], [row], tf.float32)
            return tf.ensure_shape(picture, shape)

        return read

    def _resized(self, frame: Any) -> Samples:
        """The pictures in the order of the listing: sorted by class."""
        assert self.image_size is not None
        store = load(
            _of_pictures(frame),
            image_size=self.image_size,
            channels=self.channels,
            data_dir=self.root,
            cache_dir=self.cache,
            storage="memory" if self.cache is None else "mapped",
        )
        return samples_of("frame", store)


def rows_of_epoch(sizes: npt.NDArray[Any], k_shot: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The rows of an epoch, of classes that lie one after the other: k of each, the classes in random order.

    Each class is gone through in circles: k distinct rows from where the last epoch ended, in an order that
    is drawn anew when all rows have been there equally often.

    Args:
        sizes: [C], rows of each class, at least `k_shot`.
        k_shot: Rows of each class.
        seed: Seed.
        epoch: Number of the epoch.

    Returns:
        int64 [C * k_shot].
    """
    starts = np.cumsum(sizes) - sizes
    rows = np.empty((len(sizes), k_shot), np.int64)
    for i, size in enumerate(sizes.tolist()):
        circle, place = divmod(epoch, size // math.gcd(size, k_shot))
        order = Draws(seed, circle, i + 1).permutation(size)
        rows[i] = starts[i] + order[(place * k_shot + np.arange(k_shot)) % size]
    return rows[Draws(seed, epoch).permutation(len(sizes))].reshape(-1)


class NaiveMaxProba:
    """How likely each label has the highest score of a picture, as if its scores were independent draws.

    A picture has several scores per label, one for each reference picture. They are a histogram; the
    confidence of a label is sum_b p_b * prod_j F_j(b), with its own share p_b of scores in bin b, and the
    share F_j(b) of the scores of every other label j up to that bin: P(max_i X_i = X_label) where ties count
    for each. The confidences of a picture need not have the sum 1.

    Args:
        bins: Number of bins of equal width, or their edges, ascending.
        range: Least and largest score; for a number of bins.

    Raises:
        ArgumentError: The bins or the range cannot be used.
    """

    def __init__(self, bins: int | Sequence[float] = 25, range: tuple[float, float] = (0.0, 1.0)) -> None:
        if isinstance(bins, (int, np.integer)):
            check_count("bins", bins, 1)
            if len(range) != 2 or not as_float("range", range[0]) < as_float("range", range[1]):
                raise ArgumentError("range", "must be (least, largest)", range)
            self.edges = np.linspace(range[0], range[1], int(bins) + 1)
        else:
            self.edges = np.asarray(bins, np.float64)
            if self.edges.ndim != 1 or len(self.edges) < 2 or not np.all(np.diff(self.edges) > 0):
                raise ArgumentError("bins", "must be a number of bins, or two or more ascending edges", bins)

    def __call__(self, frame: Any) -> Any:
        """The confidences of a frame of scores.

        Args:
            frame: Columns image_name, label, score.

        Returns:
            A frame with one row per picture and label, sorted: image_name, label, score (a list), confidence.

        Raises:
            ArgumentError: A column is not there, a value is missing, or a score is no number within the bins.
        """
        _check_frame(frame)
        names = ["image_name", "label", "score"]
        _check_columns(frame, names)
        for name in names:
            _check_none_missing(frame, name)
        scores = frame["score"]
        least, largest = self.edges[0], self.edges[-1]
        try:
            values = np.asarray(scores.to_numpy(), np.float64)
        except (TypeError, ValueError) as error:
            raise _wrong_column("score", "must be numbers", f"score of type {scores.dtype}") from error
        if (beyond := np.flatnonzero(~((values >= least) & (values <= largest)))).size:
            said = f"{beyond.size} of {len(values)} beyond, the first {values[beyond[0]]:g} at index "
            raise _wrong_column(
                "score",
                f"must be from {least:g} to {largest:g}, the range of the bins",
                f"{said}{frame.index[beyond[0]]}",
            )
        found = frame[names].groupby(names[:2], observed=True)["score"].agg(list).reset_index()
        shares = np.stack([np.histogram(each, self.edges)[0] / len(each) for each in found["score"]])
        confidence = np.empty(len(found))
        for rows in found.groupby("image_name", observed=True).indices.values():
            below = np.cumsum(shares[rows], axis=1)
            for i, row in enumerate(rows):
                confidence[row] = np.sum(shares[row] * np.delete(below, i, axis=0).prod(axis=0))
        return found.assign(confidence=confidence)


class RandomAssignment:
    """Adds a column with a part for each row, the same for all rows of a group, so that no group is in two.

    The part of a group is a function of the seed and its value: it stays when rows are added or sorted.

    Args:
        by: The column that names the groups, or several.
        choices: The parts.
        p: How likely each part is, with the sum 1. None: 0.7, 0.1, 0.2 for the parts of the default,
            otherwise all alike.
        column_name: Name of the new column.
        seed: Seed.

    Raises:
        ArgumentError: There are no parts, or `p` does not fit them. When it is called: a column is not there,
            or a group has no value (its row is named).
    """

    def __init__(
        self,
        by: str | Sequence[str],
        choices: Sequence[Any] = ("train", "val", "test"),
        p: Sequence[float] | None = None,
        column_name: str = "random_split",
        seed: int = 0,
    ) -> None:
        self.by = [by] if isinstance(by, str) else list(by)
        self.choices = [choices] if isinstance(choices, str) else list(choices)
        if not self.by or not self.choices:
            raise ArgumentError("choices", "must have one part or more, and `by` a column", choices)
        if p is None:
            usual = self.choices == ["train", "val", "test"]
            p = [0.7, 0.1, 0.2] if usual else [1 / len(self.choices)] * len(self.choices)
        shares = [as_float("p", share) for share in p]
        fits = len(shares) == len(self.choices) and min(shares) >= 0 and abs(sum(shares) - 1) <= _ROUNDING
        if not fits:
            raise ArgumentError(
                "p", f"must be {len(self.choices)} shares with the sum 1, one for each of `choices`", p
            )
        random.key("pairs", seed)
        self.p, self.column_name, self.seed = shares, column_name, seed

    def __call__(self, frame: Any) -> Any:
        """A copy of the frame with the new column; its index and its order stay."""
        _check_frame(frame)
        _check_columns(frame, self.by)
        for name in self.by:
            _check_none_missing(frame, name)
        groups = zip(*(frame[name].astype(object).tolist() for name in self.by), strict=True)
        parts = {group: self._part_of(group) for group in dict.fromkeys(groups)}
        again = zip(*(frame[name].astype(object).tolist() for name in self.by), strict=True)
        return frame.assign(**{self.column_name: [parts[group] for group in again]})

    def _part_of(self, group: tuple[Any, ...]) -> Any:
        said = "\0".join([str(self.seed), *map(str, group)])
        drawn = int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "little") / 2**64
        ends = np.cumsum(self.p)
        possible = np.flatnonzero(np.asarray(self.p) > 0)
        at = int(np.searchsorted(ends, drawn, side="right"))
        return self.choices[min(at, int(possible[-1]))]


def _decoder(listing: Listing, channels: int) -> Callable[[Any], Any]:
    import tensorflow as tf

    from fslcore.data.tensors import read_decode_and_crop

    files = np.array([os.fsencode(file) for file in listing.files], object)
    boxes = listing.boxes
    whole = boxes is None or not boxes.any()

    def read(row: Any) -> Any:
        annotation = {"filename": tf.gather(files, row)}
        if whole:
            return read_decode_and_crop(annotation, channels)
        window = tf.gather(np.asarray(boxes), row)
        return tf.cond(
            tf.reduce_all(window == 0),
            lambda: read_decode_and_crop(annotation, channels),
            lambda: read_decode_and_crop({**annotation, "crop_window": window}, channels),
        )

    return read


def _check_frame(frame: Any) -> None:
    if isinstance(frame, (str, os.PathLike)) or not is_table(frame):
        described = f"frame of type {type(frame).__name__}"
        raise ArgumentError("frame", "must be a DataFrame", frame, described=described)
    if not len(frame):
        raise ArgumentError("frame", "must have rows", described="a frame without rows")


def _of_pictures(frame: Any) -> Any:
    """The columns that say where a picture is and what it shows."""
    return frame[[column for column in _READ if column in frame.columns]]


def _check_columns(frame: Any, names: Sequence[str]) -> None:
    if gone := [name for name in names if name not in frame.columns]:
        described = f"no column {gone[0]!r} among {', '.join(map(repr, frame.columns))}"
        raise ArgumentError("frame", f"must have the columns {', '.join(names)}", described=described)


def _check_none_missing(frame: Any, name: str) -> None:
    missing = np.flatnonzero(frame[name].isna().to_numpy())
    if missing.size:
        rows = ", ".join(str(frame.index[row]) for row in missing[:_NAMED])
        more = ", ..." if missing.size > _NAMED else ""
        raise _wrong_column(
            name, "must have a value in every row", f"{missing.size} without one (index {rows}{more})"
        )


def _wrong_column(name: str, requirement: str, described: str) -> ArgumentError:
    return ArgumentError(name, requirement, described=described)
