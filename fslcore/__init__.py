# SPDX-License-Identifier: MIT
"""Few-shot learning for TensorFlow / Keras 3 with a compiled core.

    kernels                NumPy functions over the compiled core; needs no TensorFlow
    ops                    the same functions as differentiable TensorFlow ops, inside XLA too
    layers losses metrics  Keras: Gram matrices, losses and metrics on them, the triplet loss
    encoders               BasicCNN, VinyalsNet, conv4, KochNet
    data                   image stores (glyphs, Omniglot, your folder), episodes and batches as tf.data
    Siamese Prototypical   learners: keras.Models to compile and fit
    evaluate               accuracy over episodes, with its confidence interval

Everything is imported on first use, so that `import fslcore.kernels` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fslcore import data, encoders, evaluation, kernels, layers, learners, losses, metrics, ops, plots
    from fslcore.data import ImageStore
    from fslcore.evaluation import PixelNearestNeighbour, Report, accuracy_versus_way, evaluate
    from fslcore.learners import Prototypical, Siamese

__all__ = [
    "ImageStore",
    "PixelNearestNeighbour",
    "Prototypical",
    "Report",
    "Siamese",
    "accuracy_versus_way",
    "data",
    "encoders",
    "evaluate",
    "evaluation",
    "kernels",
    "layers",
    "learners",
    "losses",
    "metrics",
    "ops",
    "plots",
]

# Where the names come from that are not modules themselves.
_HOMES = {
    "ImageStore": "data",
    "PixelNearestNeighbour": "evaluation",
    "Prototypical": "learners",
    "Report": "evaluation",
    "Siamese": "learners",
    "accuracy_versus_way": "evaluation",
    "evaluate": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"fslcore.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"fslcore.{name}")
    raise AttributeError(f"module 'fslcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
