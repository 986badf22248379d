# SPDX-License-Identifier: MIT
"""Embeddings made comparable by what those of other classes have in common; nothing is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float, as_labels, as_matrix, check_at_least

# Below this share of the largest variance a direction is rounding.
_LEAST_SHARE = 1e-10
# Of the mean variance: a coordinate that hardly varies in training would be blown up where it does later.
_LEAST_VARIANCE = 1e-3


@keras.saving.register_keras_serializable(package="fslcore")
class Standardization(keras.Layer):
    """Subtracts from each coordinate its mean, and divides it by its standard deviation.

    Both are those of the embeddings that `adapt` is given, of the training classes alone; the deviation is at
    least 3 % of what coordinates have on average. So the layers of a network that `taps` puts side by side
    count alike. Before `adapt` nothing is changed. Called on `[B, D]` or `[B, 1, 1, D]`, it returns float32
    `[B, D]`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: Any) -> None:
        """Makes the weights for embeddings of this shape."""
        self.mean = self.add_weight((input_shape[-1],), "zeros", trainable=False, name="mean")
        self.factor = self.add_weight((input_shape[-1],), "ones", trainable=False, name="factor")

    def adapt(self, embeddings: Any) -> Standardization:
        """Takes mean and deviation of embeddings `[N, D]`; returns the layer.

        Args:
            embeddings: of the training classes, at least two; also an `EmbeddingStore`.

        Raises:
            ArgumentError: they are no matrix of finite numbers, or all the same.
        """
        x = _checked(embeddings)
        _build(self, x)
        variance = x.var(axis=0)
        least = _LEAST_VARIANCE * variance.mean()
        if least <= 0:
            raise ArgumentError("embeddings", "must differ", described=f"{len(x)} equal rows")
        self.mean.assign(x.mean(axis=0))
        self.factor.assign(np.maximum(variance, least) ** -0.5)
        return self

    def call(self, embeddings: Any) -> Any:
        """The embeddings `[B, D]`."""
        return (_flat(embeddings) - self.mean) * self.factor

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """(B, D)."""
        return input_shape[0], input_shape[-1]


@keras.saving.register_keras_serializable(package="fslcore")
class CentredPCA(keras.Layer):
    """Centres embeddings, projects them to their main directions, and divides them by their length.

        z = (x - mean) W diag(eigenvalue ^ -power),   y = z / |z|

    The mean, the directions W and the eigenvalues are those of the covariance of embeddings that `adapt` is
    given: of the training classes alone, never of the classes to be told apart. What all classes share (the
    mean) and what varies most over all images then counts less. Centring and normalising are those of Wang et
    al., "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning" (2019); `power`=0.5 is
    whitening (Jegou and Chum, "Negative evidences and co-occurences in image retrieval", 2012), and 0.25 lies
    between it and plain PCA.

    Before `adapt` nothing is centred, and the first coordinates are taken as they are. Called on `[B, D]` or
    on `[B, 1, 1, D]`, it returns float32 `[B, components]`, rows of length 1.

    Args:
        components: number of directions; None for all. Beyond the rank of the covariance directions are zero.
        power: of the eigenvalues: 0 for none, 0.5 for whitening.
        **kwargs: for `keras.Layer`.

    Raises:
        ArgumentError: `components` is below 1 or above D, or `power` is negative or no finite number.
    """

    def __init__(self, components: int | None = 256, power: float = 0.25, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if components is not None:
            check_at_least("components", components, 1)
        if as_float("power", power) < 0:
            raise ArgumentError("power", "must be at least 0", power)
        self.components, self.power = components, float(power)

    def build(self, input_shape: Any) -> None:
        """Makes the weights for embeddings of this shape."""
        dim = input_shape[-1]
        components = dim if self.components is None else self.components
        if components > dim:
            raise ArgumentError("components", f"must be at most {dim}, the width of embeddings", components)
        self.mean = self.add_weight((dim,), "zeros", trainable=False, name="mean")
        self.projection = self.add_weight(
            (dim, components), keras.initializers.Identity(), trainable=False, name="projection"
        )

    def adapt(self, embeddings: Any) -> CentredPCA:
        """Takes the mean and the directions of embeddings `[N, D]`; returns the layer.

        Args:
            embeddings: of the training classes, at least two; an `EmbeddingStore`'s `embeddings`.

        Raises:
            ArgumentError: they are no matrix of finite numbers, or all the same.
        """
        x = _checked(embeddings)
        _build(self, x)
        mean = x.mean(axis=0)
        x -= mean
        values, vectors = np.linalg.eigh(x.T @ x / (len(x) - 1))
        order = np.argsort(values)[::-1][: self.projection.shape[1]]
        values, vectors = values[order], vectors[:, order]
        if values[0] <= 0:
            raise ArgumentError("embeddings", "must differ", described=f"{len(x)} equal rows")
        # The sign of a direction is arbitrary: that of its largest entry makes it the same everywhere.
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(order))])
        kept = values > _LEAST_SHARE * values[0]
        factors = np.where(kept, np.maximum(values, _LEAST_SHARE * values[0]) ** -self.power, 0.0)
        self.mean.assign(mean)
        self.projection.assign(vectors * factors)
        return self

    def call(self, embeddings: Any) -> Any:
        """The embeddings `[B, components]`."""
        projected = keras.ops.matmul(_flat(embeddings) - self.mean, self.projection)
        return keras.ops.normalize(projected, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """(B, components)."""
        return input_shape[0], input_shape[-1] if self.components is None else self.components

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "components": self.components, "power": self.power}


@keras.saving.register_keras_serializable(package="fslcore")
class WithinClassWhitening(keras.Layer):
    """Centres embeddings, divides what varies within classes by its deviation, and rows by their length.

        z = (x - mean) (S + shrinkage * trace(S) / D * I)^(-1/2),   y = z / |z|

    S is the covariance of embeddings within their classes, and the mean that of all embeddings that `adapt`
    is given, of the training classes alone. What tells images of one class apart then counts little, for
    other classes too. Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based
    speaker recognition" (2006); the shrinkage, towards equal deviations, is that of Ledoit and Wolf (2004)
    with a weight that is chosen and not estimated.

    Before `adapt` nothing is changed but the length. Called on `[B, D]` or `[B, 1, 1, D]`, it returns float32
    `[B, D]`.

    Args:
        shrinkage: above 0; the larger, the more it resembles plain centring.
        **kwargs: for `keras.Layer`.

    Raises:
        ArgumentError: `shrinkage` is not a finite number above 0.
    """

    def __init__(self, shrinkage: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if as_float("shrinkage", shrinkage) <= 0:
            raise ArgumentError("shrinkage", "must be above 0", shrinkage)
        self.shrinkage = float(shrinkage)

    def build(self, input_shape: Any) -> None:
        """Makes the weights for embeddings of this shape."""
        dim = input_shape[-1]
        self.mean = self.add_weight((dim,), "zeros", trainable=False, name="mean")
        identity = keras.initializers.Identity()
        self.projection = self.add_weight((dim, dim), identity, trainable=False, name="projection")

    def adapt(self, embeddings: Any, labels: Any = None) -> WithinClassWhitening:
        """Takes the mean and the covariance within classes; returns the layer.

        Args:
            embeddings: `[N, D]` of the training classes; or an `EmbeddingStore`, which has the labels too.
            labels: integers `[N]`.

        Raises:
            ArgumentError: they are no matrix of finite numbers, the labels do not fit, or no class has two
                different embeddings.
        """
        given: Any = getattr(embeddings, "labels", None) if labels is None else labels
        if given is None:
            raise ArgumentError("labels", "must be given for embeddings without them", None)
        labels = as_labels(given)
        x = _checked(embeddings)
        _build(self, x)
        if len(labels) != len(x):
            raise ArgumentError("labels", f"must be [{len(x)}]", described=f"[{len(labels)}]")
        mean = x.mean(axis=0)
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        means = np.zeros((len(counts), x.shape[1]))
        np.add.at(means, classes, x)
        x -= (means / counts[:, None])[classes]
        values, vectors = np.linalg.eigh(x.T @ x / max(1, len(x) - len(counts)))
        # What is left within a class of one embedding is rounding.
        if values.mean() <= _LEAST_SHARE * np.square(mean).mean() or len(counts) == len(x):
            raise ArgumentError(
                "labels",
                "must have classes with two or more different embeddings",
                described=f"{len(counts)} classes of {len(x)} embeddings",
            )
        values = np.maximum(values, 0.0) + self.shrinkage * values.mean()
        self.mean.assign(mean)
        self.projection.assign((vectors * values**-0.5) @ vectors.T)
        return self

    def call(self, embeddings: Any) -> Any:
        """The embeddings `[B, D]`."""
        whitened = keras.ops.matmul(_flat(embeddings) - self.mean, self.projection)
        return keras.ops.normalize(whitened, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """(B, D)."""
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "shrinkage": self.shrinkage}


def _checked(embeddings: Any) -> npt.NDArray[np.float64]:
    """Embeddings of an array or an `EmbeddingStore` as float64 [N, D], a copy."""
    x = as_matrix("embeddings", getattr(embeddings, "embeddings", embeddings)).astype(np.float64)
    if len(x) < 2 or not np.isfinite(x).all():
        raise ArgumentError(
            "embeddings", "must be two or more rows of finite numbers", described=f"shape {list(x.shape)}"
        )
    return x


def _build(layer: Any, x: npt.NDArray[np.float64]) -> None:
    """Builds a layer for embeddings, or raises ArgumentError if it was built for others."""
    if not layer.built:
        layer.build((None, x.shape[1]))
        layer.built = True
    if x.shape[1] != layer.mean.shape[0]:
        raise ArgumentError(
            "embeddings", f"must be [N, {layer.mean.shape[0]}]", described=f"shape {list(x.shape)}"
        )


def _flat(embeddings: Any) -> Any:
    """Embeddings [B, D] of [B, D] or of images of one pixel."""
    if len(embeddings.shape) == 2:
        return embeddings
    return keras.ops.reshape(embeddings, (-1, embeddings.shape[-1]))
