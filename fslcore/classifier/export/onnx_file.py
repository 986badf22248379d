# SPDX-License-Identifier: MIT
"""Encoder and support as an ONNX file, by tf2onnx."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.classifier.export.model import ExportedClassifier
from fslcore.classifier.export.portable import answers, specification, traced

FILE = "classifier.onnx"

_OPSET = 18


def write(model: ExportedClassifier, folder: Path) -> Callable[[Any], Any]:
    """Writes the file; returns what runs it: prepared images uint8 [n, S, S, C] -> scores float32 [n, C].

    Raises:
        ImportError: tf2onnx or onnxruntime is not installed.
        ArgumentError: The encoder has ops that tf2onnx cannot convert.
    """
    tf2onnx, onnxruntime = _imported("tf2onnx"), _imported("onnxruntime")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    traced(model)  # refuses what plain TensorFlow does not have
    try:
        tf2onnx.convert.from_function(
            tf.function(answers(model), autograph=False),
            input_signature=[specification(model)],
            opset=_OPSET,
            output_path=str(folder / FILE),
        )
    except Exception as error:  # tf2onnx raises many kinds
        raise ArgumentError(
            "encoder",
            "must consist of ops that tf2onnx converts",
            described=(str(error).splitlines() or [""])[0][:200] or type(error).__name__,
        ) from error
    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["scores"], {"images": images})[0]


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"the format onnx needs {name}: pip install 'fslcore[onnx]' ({error})") from error
