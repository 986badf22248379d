# SPDX-License-Identifier: MIT
"""The layers of `keras_fsl.layers`: a kernel on a batch and a support set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.compat.adapted.heads import HEADS, compiled, head_of
from fslcore.layers.centroids import class_means
from fslcore.layers.pairwise import PairwiseLayer
from fslcore.losses import class_consistency_loss

Tensor = Any
Shape = tuple[int | None, ...]

PACKAGE = "keras_fsl"


class _Kernel(PairwiseLayer):
    """A layer whose kernel may be a mapping with functions, which is made when the layer is built."""

    def __init__(self, kernel: Any, **kwargs: Any) -> None:
        is_made = isinstance(kernel, (str, keras.Layer))
        super().__init__(compiled(kernel) if is_made else "dot", **kwargs)
        self._given = () if is_made else (kernel,)

    def build(self, input_shape: Any) -> None:
        """Makes the kernel and builds it for embeddings of this shape."""
        shape = _first_shape(input_shape)
        for given in self._given:
            is_head = isinstance(given, Mapping) and given.get("name") in HEADS
            made = head_of("kernel", given, shape[1:]) if is_head else PairwiseLayer(given).kernel
            self.kernel = compiled(made)
        self.build_kernel(shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, of a layer that has its kernel."""
        if self._given and not self.built:
            raise ArgumentError("kernel", "must be made before it is saved: build the layer", self._given[0])
        return super().get_config()


@keras.saving.register_keras_serializable(PACKAGE)
class SupportLayer(_Kernel):
    """The base of layers that compare a batch with a support set made of it.

    Derived layers define `build_support_set(inputs)`.

    Args:
        kernel: As for `fslcore.layers.GramMatrix`, a model of `keras_fsl.models.head_models`, or
            {"name": ..., "init": {...}} with the arguments of one. The function of a `Lambda` or the norms
            that are functions are not compiled, and a model with them is not loaded in Keras' safe mode.
        **kwargs: For `fslcore.layers.GramMatrix`.
    """

    def build_support_set(self, inputs: Any) -> Tensor:
        """The embeddings [n, dim] with which those of a batch are compared."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Scores [batch, n] of embeddings [batch, dim], or of a list of them and other inputs."""
        embeddings, support = _first(inputs), self.build_support_set(inputs)
        return self.pairwise(embeddings, None if support is embeddings else support, training)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(batch, None)."""
        return (_first_shape(input_shape)[0], None)


@keras.saving.register_keras_serializable(PACKAGE)
class GramMatrix(SupportLayer):
    """`fslcore.layers.GramMatrix`: the kernel on every pair of a batch, [batch, dim] to [batch, batch].

    Args:
        kernel: As for `SupportLayer`.
        **kwargs: For `fslcore.layers.GramMatrix`.
    """

    def build_support_set(self, inputs: Any) -> Tensor:
        """The batch itself."""
        return _first(inputs)


@keras.saving.register_keras_serializable(PACKAGE)
class CentroidsMatrix(SupportLayer):
    """`fslcore.layers.CentroidsMatrix`: the kernel on every sample and every class mean of a batch.

    Args:
        kernel: As for `SupportLayer`.
        activation: Applied to the matrix.
        **kwargs: For `fslcore.layers.CentroidsMatrix`.

    Raises:
        ValueError: If it is called on anything but a list [embeddings, labels_one_hot].
    """

    def __init__(self, kernel: Any, activation: Any = "linear", **kwargs: Any) -> None:
        super().__init__(kernel, **kwargs)
        self.activation = keras.activations.get(activation)

    def build_support_set(self, inputs: Any) -> Tensor:
        """The means of the classes, [classes, dim]."""
        if not isinstance(inputs, list) or len(inputs) != 2:
            raise ValueError(
                f"{type(self).__name__} should be called on a list of inputs [embeddings, labels_one_hot]"
            )
        return class_means(*inputs)

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Scores [batch, classes] of [embeddings, labels_one_hot]."""
        return self.activation(super().call(inputs, training))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


@keras.saving.register_keras_serializable(PACKAGE)
class CenterSlicing2D(keras.Layer):
    """The pixel in the middle of a map, [batch, height, width, channels] to [batch, channels].

    Of an even height or width the second of the two in the middle.
    """

    def call(self, maps: Tensor) -> Tensor:
        """The middle of each map."""
        return maps[:, maps.shape[1] // 2, maps.shape[2] // 2, :]


_TENSORS = tf.TensorSpec([None, None], tf.float32, name="support_tensors")
_LABELS = tf.TensorSpec([None], tf.string, name="support_labels_name")
# What a model keeps of its support set.
_NUMBERS = ("support_tensors", "support_labels_one_hot", "support_set_loss")
_STRINGS = ("support_labels_name", "columns")
_OVERWRITE = tf.TensorSpec([], tf.bool, name="overwrite")


@keras.saving.register_keras_serializable(PACKAGE)
class Classification(_Kernel):
    """The mean score of each embedding with the support set of every class: [batch, dim] to [batch, classes].

    `fsl.SupportSet` is what this package has for that: it holds images, adds and removes labels, and says
    "unknown".

    Args:
        kernel: As for `SupportLayer`.
        **kwargs: For `fslcore.layers.GramMatrix`.

    Attributes:
        support_tensors: Variable [n, dim], the embeddings.
        support_labels_name: Variable [n], the names of their labels.
        support_labels_one_hot: Variable [n, classes], one divided by the size of the class, or 0.
        columns: Variable [classes], the names of the classes, in order of appearance.
        support_set_loss: Variable, the class consistency loss of the support set.
    """

    def __init__(self, kernel: Any, **kwargs: Any) -> None:
        super().__init__(kernel, **kwargs)

        def state(value: Any, shape: Any, dtype: Any, name: str) -> tf.Variable:
            return tf.Variable(value, trainable=False, shape=shape, dtype=dtype, name=name)

        self.support_tensors = state(np.zeros((0, 0)), [None, None], tf.float32, "support_tensors")
        self.support_labels_name = state([], [None], tf.string, "support_labels_name")
        self.support_labels_one_hot = state(np.zeros((0, 0)), [None, None], tf.float32, "one_hot")
        self.columns = state([], [None], tf.string, "columns")
        self.support_set_loss = state(0.0, [], tf.float32, "support_set_loss")

    def build(self, input_shape: Any) -> None:
        """Makes the kernel for embeddings of this shape."""
        super().build(input_shape)
        self._shape = [None, _first_shape(input_shape)[1]]  # of embeddings; the variable does not say it

    def set_support_set(self, support_tensors: Tensor, support_labels_name: Tensor, overwrite: Any) -> Tensor:
        """Replaces the support set, or adds to it.

        Args:
            support_tensors: [n, dim], embeddings.
            support_labels_name: [n], strings.
            overwrite: Whether to replace what is there.

        Returns:
            The class consistency loss of the support set, [1].

        Raises:
            ArgumentError: There are not as many labels as embeddings.
        """
        tensors = tf.convert_to_tensor(support_tensors, tf.float32)
        names = tf.convert_to_tensor(support_labels_name, tf.string)
        rows, labels = tensors.shape[0], names.shape[0]
        if rows is not None and labels is not None and rows != labels:
            raise ArgumentError(
                "support_labels_name",
                f"must have a label for each of the {rows} embeddings",
                described=f"{labels} labels",
            )
        if not self.built:
            self.build(tuple(tensors.shape))
        return self._set(tensors, names, tf.convert_to_tensor(overwrite, tf.bool))

    @tf.function(input_signature=(_TENSORS, _LABELS, _OVERWRITE), autograph=False)
    def _set(self, tensors: Tensor, names: Tensor, overwrite: Tensor) -> Tensor:
        replaces = overwrite | tf.equal(tf.size(self.support_labels_name), 0)
        tensors = tf.cond(
            replaces, lambda: tensors, lambda: tf.concat([self.support_tensors, tensors], axis=0)
        )
        names = tf.cond(replaces, lambda: names, lambda: tf.concat([self.support_labels_name, names], axis=0))
        columns, codes = tf.unique(names)
        loss = class_consistency_loss(codes, self.pairwise(tf.ensure_shape(tensors, self._shape)))
        one_hot = tf.one_hot(codes, tf.size(columns))
        self.support_tensors.assign(tensors)
        self.support_labels_name.assign(names)
        self.support_labels_one_hot.assign(tf.math.divide_no_nan(one_hot, tf.reduce_sum(one_hot, axis=0)))
        self.columns.assign(columns)
        self.support_set_loss.assign(loss)
        return loss[None]

    @tf.function(input_signature=(), autograph=False)
    def get_support_set(self) -> tuple[Tensor, Tensor, Tensor]:
        """(support_tensors, support_labels_one_hot, support_set_loss)."""
        return (
            tf.identity(self.support_tensors),
            tf.identity(self.support_labels_one_hot),
            tf.identity(self.support_set_loss),
        )

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Mean scores [batch, classes] of embeddings [batch, dim]."""
        support = tf.ensure_shape(self.support_tensors, self._shape)
        return tf.matmul(self.pairwise(_first(inputs), support, training), self.support_labels_one_hot)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(batch, None): classes come and go."""
        return (_first_shape(input_shape)[0], None)

    def save_own_variables(self, store: Any) -> None:
        """Keeps the support set with the weights of a model."""
        super().save_own_variables(store)
        for name in _NUMBERS:
            store[name] = getattr(self, name).numpy()
        for name in _STRINGS:
            store[name] = np.frombuffer(tf.io.serialize_tensor(getattr(self, name)).numpy(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` keeps."""
        own = (*_NUMBERS, *_STRINGS)
        super().load_own_variables({key: store[key] for key in store.keys() if key not in own})  # noqa: SIM118
        for name in _NUMBERS:
            getattr(self, name).assign(np.asarray(store[name]))
        for name in _STRINGS:
            getattr(self, name).assign(tf.io.parse_tensor(np.asarray(store[name]).tobytes(), tf.string))


def _first(inputs: Any) -> Any:
    """The first of several inputs."""
    return inputs[0] if isinstance(inputs, list) else inputs


def _first_shape(shape: Any) -> Shape:
    """The shape of the first input; a saved model has it as a list."""
    return tuple(shape[0] if isinstance(shape[0], (tuple, list)) else shape)
