# SPDX-License-Identifier: MIT
"""Embeddings made comparable by what those of other classes have in common; nothing is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float, as_matrix, check_at_least

# Below this share of the largest variance a direction is rounding.
_LEAST_SHARE = 1e-10


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

    Before `adapt` nothing is centred, and the first coordinates are taken as they are. Called on `[B, D]` or on `[B, 1, 1, D]`, it returns float32 `[B, components]`, rows of length 1; an
    embedding that equals the mean gives zeros.

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

    def adapt(self, embeddings: npt.ArrayLike) -> CentredPCA:
        """Takes the mean and the directions of embeddings `[N, D]`; returns the layer.

        Args:
            embeddings: of the training classes, at least two; an `EmbeddingStore`'s `embeddings`.

        Raises:
            ArgumentError: they are no matrix of finite numbers, or all the same.
        """
        x = as_matrix("embeddings", getattr(embeddings, "embeddings", embeddings)).astype(np.float64)
        if len(x) < 2 or not np.isfinite(x).all():
            raise ArgumentError(
                "embeddings", "must be two or more rows of finite numbers", described=f"{list(x.shape)}"
            )
        if not self.built:
            self.build((None, x.shape[1]))
            self.built = True
        if x.shape[1] != self.mean.shape[0]:
            raise ArgumentError(
                "embeddings", f"must be [N, {self.mean.shape[0]}]", described=f"{list(x.shape)}"
            )
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
        if len(embeddings.shape) == 4:
            embeddings = keras.ops.reshape(embeddings, (-1, embeddings.shape[-1]))
        projected = keras.ops.matmul(embeddings - self.mean, self.projection)
        return keras.ops.normalize(projected, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """(B, components)."""
        return input_shape[0], input_shape[-1] if self.components is None else self.components

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "components": self.components, "power": self.power}
