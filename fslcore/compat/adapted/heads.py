# SPDX-License-Identifier: MIT
"""Heads as models of two inputs: `keras_fsl.models.head_models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers as keras_layers

from fslcore import layers
from fslcore.arguments import MIXED_NORMS, ArgumentError

Tensor = Any
Shape = tuple[int | None, ...]
Norm = Callable[[Sequence[Tensor]], Tensor]

_FILTERS = 32
_FUNCTIONS: dict[str, Norm] = {
    "first": lambda pair: pair[0],
    "second": lambda pair: pair[1],
    "product": lambda pair: pair[0] * pair[1],
    "sum": lambda pair: pair[0] + pair[1],
    "absolute": lambda pair: keras.ops.abs(pair[0] - pair[1]),
    "squared": lambda pair: keras.ops.square(pair[0] - pair[1]),
}


def DenseSigmoid(input_shape: Shape, use_bias: bool = True) -> keras.Model:
    """`fslcore.layers.DenseSigmoid` as a model of two embeddings.

    Args:
        input_shape: Shape of an embedding, (dim,).
        use_bias: Whether to add a bias.
    """
    return _model(layers.DenseSigmoid(use_bias), input_shape)


def LearntNorms(input_shape: Shape, use_bias: bool = True, activation: Any = "sigmoid") -> keras.Model:
    """`fslcore.layers.LearntNorms` as a model of two embeddings.

    Args:
        input_shape: Shape of an embedding.
        use_bias: Whether its convolutions and its dense unit have biases; without them it is not compiled.
        activation: As for `keras.layers.Activation`.
    """
    if use_bias:
        return _model(layers.LearntNorms(activation=activation), input_shape)
    return _of_functions(input_shape, ("first", "second"), False, activation, keras_layers.Flatten)


def MixedNorms(
    input_shape: Shape,
    norms: Sequence[str | Norm] | None = None,
    use_bias: bool = True,
    activation: Any = "sigmoid",
) -> keras.Model:
    """`fslcore.layers.MixedNorms` as a model of two embeddings.

    Args:
        input_shape: Shape of an embedding, (dim,) or (height, width, dim).
        norms: None for a b, a + b, |a - b| and (a - b)^2; names, as for `fslcore.layers.MixedNorms`; or
            functions of a list of two embeddings, which are not compiled, and under a `GramMatrix` see 4096
            pairs at a time.
        use_bias: Whether its convolutions and its dense unit have biases; without them it is not compiled.
        activation: As for `keras.layers.Activation`.
    """
    norms = MIXED_NORMS if norms is None else norms
    names = [norm for norm in norms if isinstance(norm, str)]
    if use_bias and len(names) == len(norms):
        return _model(layers.MixedNorms(names, activation=activation), input_shape)
    return _of_functions(input_shape, norms, use_bias, activation, keras_layers.GlobalAveragePooling2D)


HEADS: dict[str, Callable[..., keras.Model]] = {
    "DenseSigmoid": DenseSigmoid,
    "LearntNorms": LearntNorms,
    "MixedNorms": MixedNorms,
}


def head_of(argument: str, head: Any, input_shape: Shape) -> keras.Layer:
    """A head by its name, a mapping {"name", "init"} or as it is.

    Raises:
        ArgumentError: It is none of these, or has another name.
    """
    if isinstance(head, keras.Layer):
        return head
    given: Any = {"name": head} if isinstance(head, str) else head
    if not isinstance(given, Mapping) or given.get("name") not in HEADS:
        raise ArgumentError(
            argument, f"must be one of {', '.join(HEADS)}, {{'name': ..., 'init': {{...}}}}, or a layer", head
        )
    init = dict(given.get("init") or {})
    return HEADS[given["name"]](**{**init, "input_shape": tuple(input_shape)})


def compiled(kernel: keras.Layer) -> keras.Layer:
    """The layer of this package inside a head, which a matrix computes in compiled code; or the kernel."""
    if isinstance(kernel, keras.Model):
        inside = [layer for layer in kernel.layers if not isinstance(layer, keras_layers.InputLayer)]
        ours = (layers.DenseSigmoid, layers.LearntNorms, layers.MixedNorms)
        if len(inside) == 1 and type(inside[0]) in ours:
            return inside[0]
    return kernel


def _model(head: keras.Layer, input_shape: Shape) -> keras.Model:
    pair = [keras.Input(input_shape), keras.Input(input_shape)]
    return keras.Model(pair, head(pair))


def _of_functions(
    input_shape: Shape, norms: Sequence[str | Norm], use_bias: bool, activation: Any, flatten: Any
) -> keras.Model:
    """The same network layer by layer, on any functions."""
    unknown = [norm for norm in norms if not callable(norm) and norm not in _FUNCTIONS]
    if unknown or not norms:
        known = ", ".join(_FUNCTIONS)
        raise ArgumentError("norms", f"must be functions of two embeddings, or {known}", norms)
    pair = [keras.Input(input_shape), keras.Input(input_shape)]
    rows = [flatten()(side) for side in pair] if len(input_shape) > 1 else pair
    values = [keras_layers.Lambda(norm if callable(norm) else _FUNCTIONS[norm])(rows) for norm in norms]
    stack = keras.ops.expand_dims(keras.ops.stack(values, axis=1), -1)  # [pairs, norms, dim, 1]
    hidden = keras_layers.Conv2D(_FILTERS, (len(norms), 1), activation="relu", use_bias=use_bias)(stack)
    mixed = keras_layers.Flatten()(keras_layers.Conv2D(1, 1, use_bias=use_bias)(hidden))
    return keras.Model(pair, keras_layers.Dense(1, activation=activation, use_bias=use_bias)(mixed))
