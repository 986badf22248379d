# SPDX-License-Identifier: MIT
"""`keras_fsl.models.SiameseNets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fslcore import encoders
from fslcore.arguments import ArgumentError
from fslcore.compat.adapted.heads import head_of

ENCODERS = ("BasicCNN", "Darknet7", "Darknet53", "KochNet", "SingleConv2D", "VinyalsNet")


def SiameseNets(
    encoder: Any = "KochNet", head_model: Any = "DenseSigmoid", *args: Any, weights: Any = None, **kwargs: Any
) -> keras.Model:
    """A model of pairs: both inputs through one encoder, then through a head.

    Args:
        encoder: A model, one of the names in `keras_fsl.models.encoders`, or {"name": ..., "init": {...}}.
        head_model: A model of two or more embeddings, a name in `keras_fsl.models.head_models`, or such a
            mapping.
        *args: For `keras.Model`.
        weights: A file with weights of the model.
        **kwargs: For `keras.Model`.

    Returns:
        A model with the inputs input_0, input_1, ... and the layers "encoder" and "head_model".

    Raises:
        ArgumentError: The encoder or the head is none of these.
    """
    if "branch_model" in kwargs:
        raise ArgumentError("branch_model", "is called encoder since version 0.2", kwargs["branch_model"])
    encoder = _encoder(encoder)
    if len(encoder.inputs) != 1 or len(encoder.outputs) != 1:
        raise ArgumentError("encoder", "must have one input and one output", encoder)
    encoder = keras.Model(encoder.inputs[0], encoder.outputs[0], name="encoder")
    head = head_of("head_model", head_model, encoder.output_shape[1:])
    if not isinstance(head, keras.Model):
        raise ArgumentError("head_model", "must be a Keras model, or the name of a head", head_model)
    head = keras.Model(head.inputs, head.outputs[0], name="head_model")
    inputs = [keras.Input(encoder.input_shape[1:], name=f"input_{i}") for i in range(len(head.inputs))]
    model = keras.Model(inputs, head([encoder(each) for each in inputs]), *args, **kwargs)
    if weights is not None:
        model.load_weights(weights)
    return model


def _encoder(encoder: Any) -> keras.Model:
    if isinstance(encoder, keras.Model):
        return encoder
    given: Any = {"name": encoder} if isinstance(encoder, str) else encoder
    if not isinstance(given, Mapping) or given.get("name") not in ENCODERS:
        raise ArgumentError(
            "encoder",
            f"must be one of {', '.join(ENCODERS)}, {{'name': ..., 'init': {{...}}}}, or a Keras model",
            encoder,
        )
    return getattr(encoders, given["name"])(**dict(given.get("init") or {}))
