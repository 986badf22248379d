# SPDX-License-Identifier: MIT
"""Encoder and support as a LiteRT (TensorFlow Lite) file, by the converter of TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.classifier.export.model import ExportedClassifier
from fslcore.classifier.export.portable import traced

FILE = "classifier.tflite"


def write(model: ExportedClassifier, folder: Path) -> Callable[[Any], Any]:
    """Writes the file; returns what runs it: prepared images uint8 [n, S, S, C] -> scores float32 [n, C].

    Raises:
        ArgumentError: The encoder has ops that LiteRT does not have.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced(model)], model)
    try:
        content = converter.convert()
    except Exception as error:  # the converter raises its own kinds
        raise ArgumentError(
            "encoder",
            "must consist of ops that LiteRT has",
            described=(str(error).splitlines() or [""])[0][:200],
        ) from error
    (folder / FILE).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this interpreter has moved to the package ai-edge-litert
        interpreter = tf.lite.Interpreter(model_content=content)
    run = interpreter.get_signature_runner("serving_default")

    def scores(images: Any) -> Any:
        return np.concatenate([run(images=images[i : i + 1])["scores"] for i in range(len(images))])

    return scores
