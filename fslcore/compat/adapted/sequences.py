# SPDX-License-Identifier: MIT
"""The sequences of `keras_fsl.sequences`: those of `fslcore.data.sequences` with the arguments of keras-fsl.

Pictures are uint8 as there; batches are seeded, and no sequence changes the frame that it is given. An
argument `preprocessings` is a function of the images of a batch, an object with `augment_images` as imgaug
has them, or a list with one for each input; None leaves the images as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.compat.adapted.annotations import samples_of_frame
from fslcore.data import sequences
from fslcore.data.sequences.products import one_hot


class RandomPairsSequence(sequences.RandomPairs):
    """`fslcore.data.sequences.RandomPairs` of data frames.

    Args:
        annotations: A frame with image_name, label and, if there are crops, crop_coordinates (left, upper,
            right, lower); or a list of two, for queries and for supports.
        batch_size: Pairs of a batch.
        preprocessings: See the module.
        seed: Seed of the sequence.
        **load_img_kwargs: For `keras.utils.load_img`: target_size, color_mode, interpolation.
    """

    def __init__(
        self,
        annotations: Any,
        batch_size: int,
        preprocessings: Any = None,
        *,
        seed: int = 0,
        **load_img_kwargs: Any,
    ) -> None:
        source, options = _pairs(annotations, preprocessings, load_img_kwargs)
        super().__init__(source, batch_size, seed=seed, **options)


class RandomBalancedPairsSequence(sequences.RandomBalancedPairs):
    """`fslcore.data.sequences.RandomBalancedPairs` of data frames; arguments as for `RandomPairsSequence`."""

    def __init__(
        self,
        annotations: Any,
        batch_size: int,
        preprocessings: Any = None,
        *,
        seed: int = 0,
        **load_img_kwargs: Any,
    ) -> None:
        source, options = _pairs(annotations, preprocessings, load_img_kwargs)
        super().__init__(source, batch_size, seed=seed, **options)


class BalancedPairsSequence(sequences.BalancedPairs):
    """`fslcore.data.sequences.BalancedPairs` of data frames; arguments as for `RandomPairsSequence`.

    `pairs_per_query` is the number of pairs of each query in an epoch, even, and so is `batch_size`.
    """

    def __init__(
        self,
        annotations: Any,
        batch_size: int,
        preprocessings: Any = None,
        *,
        pairs_per_query: int = 2,
        seed: int = 0,
        **load_img_kwargs: Any,
    ) -> None:
        source, options = _pairs(annotations, preprocessings, load_img_kwargs)
        super().__init__(source, batch_size, pairs_per_query=pairs_per_query, seed=seed, **options)


class RandomProductSequence(sequences.RandomProduct):
    """`fslcore.data.sequences.RandomProduct` of an array.

    Args:
        images_array: [N, ...].
        labels: [N].
        batch_size: Pairs of a batch.
        seed: Seed of the sequence.
    """

    def __init__(self, images_array: Any, labels: Any, batch_size: int, *, seed: int = 0) -> None:
        super().__init__((np.asarray(images_array), labels), batch_size, seed=seed)


class ProductSequence(sequences.Product):
    """`fslcore.data.sequences.Product` of two arrays, without targets, for `predict`.

    Args:
        support_images_array: [M, ...].
        query_images_array: [N, ...].
        support_labels: [M].
        query_labels: [N], or None if they are not known.
        batch_size: Pairs of a batch.

    Attributes:
        pairs_indexes: A DataFrame with a row for each pair: query_index, support_index, query_label,
            support_label, target.
    """

    def __init__(
        self,
        support_images_array: Any,
        query_images_array: Any,
        support_labels: Any,
        query_labels: Any = None,
        batch_size: int = 16,
    ) -> None:
        import pandas as pd

        query, support = np.asarray(query_images_array), np.asarray(support_images_array)
        known = np.zeros(len(query), np.int64) if query_labels is None else query_labels
        super().__init__((query, known), batch_size, support=(support, support_labels), targets=False)
        pairs = pd.MultiIndex.from_product([range(len(query)), range(len(support))]).to_frame(index=False)
        frame = pairs.set_axis(["query_index", "support_index"], axis=1)
        first = np.full(len(query), np.nan) if query_labels is None else np.asarray(query_labels)
        frame["query_label"] = first[frame["query_index"]]
        frame["support_label"] = np.asarray(support_labels)[frame["support_index"]]
        self.pairs_indexes = frame.assign(target=frame["query_label"] == frame["support_label"])


class DeterministicSequence(sequences.Deterministic):
    """`fslcore.data.sequences.Deterministic` of a data frame, for training.

    Args:
        annotations: As for `RandomPairsSequence`, one frame.
        batch_size: Images of a batch.
        shuffle: Whether each epoch has another order.
        classes: Names of the classes in the order of their numbers.
        labels_in_input: Whether labels are an input.
        labels_in_output: Whether labels are targets.
        to_categorical: Labels as one-hot rows, not as numbers.
        preprocessings: See the module.
        seed: Seed of the order.
        **load_img_kwargs: For `keras.utils.load_img`.

    Attributes:
        classes: Names of the classes.
        targets: Labels of the frame in its order, float32 [N, classes] or [N].
    """

    def __init__(
        self,
        annotations: Any,
        batch_size: int,
        shuffle: bool = False,
        classes: Any = None,
        labels_in_input: bool = False,
        labels_in_output: bool = True,
        to_categorical: bool = True,
        preprocessings: Any = None,
        *,
        seed: int = 0,
        **load_img_kwargs: Any,
    ) -> None:
        super().__init__(
            samples_of_frame(_single(annotations), load_img_kwargs),
            batch_size,
            shuffle=shuffle,
            classes=classes,
            labels_in_input=labels_in_input,
            labels_in_output=labels_in_output,
            to_categorical=to_categorical,
            preprocessing=_function(_single(preprocessings)),
            seed=seed,
        )
        self.classes = list(self.samples.class_names)
        labels = self.samples.labels
        self.targets = one_hot(labels, len(self.classes)) if to_categorical else labels.astype(np.float32)


class PredictionSequence(sequences.Deterministic):
    """The images of a data frame in its order, without labels: `keras_fsl.sequences.prediction.single`.

    Args:
        annotations: As for `RandomPairsSequence`, one frame.
        batch_size: Images of a batch.
        preprocessings: See the module.
        **load_img_kwargs: For `keras.utils.load_img`.
    """

    def __init__(
        self, annotations: Any, batch_size: int, preprocessings: Any = None, **load_img_kwargs: Any
    ) -> None:
        super().__init__(
            samples_of_frame(_single(annotations), load_img_kwargs),
            batch_size,
            labels_in_output=False,
            preprocessing=_function(_single(preprocessings)),
        )


class KShotNWaySequence(sequences.KShotNWay):
    """`fslcore.data.sequences.KShotNWay` of a data frame.

    Args:
        annotations: As for `RandomPairsSequence`, one frame.
        batch_size: Ignored, with a warning unless it is `k_shot * n_way` or None.
        k_shot: Images of each class of a batch.
        n_way: Classes of a batch.
        classes: As for `DeterministicSequence`.
        to_categorical: Labels as one-hot rows, not as numbers.
        preprocessings: See the module.
        seed: Seed of the sequence.
        **load_img_kwargs: For `keras.utils.load_img`.
    """

    def __init__(
        self,
        annotations: Any,
        batch_size: int | None,
        k_shot: int,
        n_way: int,
        *,
        classes: Any = None,
        to_categorical: bool = True,
        preprocessings: Any = None,
        seed: int = 0,
        **load_img_kwargs: Any,
    ) -> None:
        for name, usual in (("shuffle", False), ("labels_in_input", False), ("labels_in_output", True)):
            if load_img_kwargs.pop(name, usual) is not usual:
                raise ArgumentError(
                    name, f"must be {usual}: batches are drawn anew, and are (images, labels)"
                )
        if batch_size is not None and batch_size != k_shot * n_way:
            warnings.warn(f"batch_size is k_shot * n_way = {k_shot * n_way}, not {batch_size}", stacklevel=2)
        super().__init__(
            samples_of_frame(_single(annotations), load_img_kwargs).ordered("classes", classes),
            k_shot,
            n_way,
            to_categorical=to_categorical,
            preprocessing=_function(_single(preprocessings)),
            seed=seed,
        )


def _pairs(annotations: Any, preprocessings: Any, load: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The source of queries, and the arguments `support` and `preprocessing`."""
    frames = annotations if isinstance(annotations, list) else [annotations]
    functions = preprocessings if isinstance(preprocessings, list) else [preprocessings]
    for name, given in (("annotations", frames), ("preprocessings", functions)):
        if len(given) not in (1, 2):
            raise ArgumentError(name, "must be one, or a list of one or two", described=f"{len(given)}")
    sources = [samples_of_frame(frame, load) for frame in frames]
    both = tuple(_function(functions[side]) for side in (0, -1))
    return sources[0], {"support": sources[1] if len(sources) == 2 else None, "preprocessing": both}


def _single(value: Any) -> Any:
    """One frame or function, which may stand in a list."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return value[0] if is_list and len(value) == 1 else value


def _function(preprocessing: Any) -> Any:
    augment = getattr(preprocessing, "augment_images", None)
    return preprocessing if augment is None else lambda images: np.stack(augment(list(images)))
