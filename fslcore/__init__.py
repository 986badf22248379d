# SPDX-License-Identifier: MIT
"""Few-shot learning for TensorFlow / Keras 3 with a compiled core.

    kernels                NumPy functions on the compiled core; needs no TensorFlow
    ops                    the same functions as differentiable TensorFlow ops, inside XLA too
    twins                  the ops in plain TensorFlow; needs no compiled library
    jax                    the same functions on JAX arrays, differentiable; needs no TensorFlow
    layers losses metrics  Keras: Gram matrices, losses and metrics on them, the triplet loss
    encoders               BasicCNN, VinyalsNet, conv4, KochNet
    adversarial            the other two networks of MetaGAN
    augmentation           layers that vary images: affine, crops, colour, noise; published ones
    data                   image stores (glyphs, Omniglot, your folder), episodes and batches as tf.data
    Siamese Prototypical   learners: keras.Models to compile and fit
    MatchingNetwork        the same, with attention to the examples
    Reptile MAML MetaGAN   learners that adapt to a task by gradient steps
    callbacks              pictures of a model in training, for TensorBoard and as files
    evaluate               accuracy over episodes, with its confidence interval
    SupportSet             classifies by a few support images per label, which can change at any time
    experiments            a run from its recipe to its results, in a folder

Everything is imported on first use, so that `import fslcore.kernels` stays light. Once the process has
imported Keras or TensorFlow too, saved models with layers, losses, learners or ops of the package can be
loaded: see `registration`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fslcore import registration

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fslcore import (
        augmentation,
        callbacks,
        classifier,
        data,
        encoders,
        evaluation,
        experiments,
        kernels,
        layers,
        learners,
        losses,
        metrics,
        ops,
        plots,
        twins,
    )
    from fslcore.classifier import SupportSet
    from fslcore.data import ImageStore
    from fslcore.encoders import adversarial
    from fslcore.evaluation import PixelNearestNeighbour, Report, accuracy_versus_way, evaluate
    from fslcore.learners import MAML, MatchingNetwork, MetaGAN, Prototypical, Reptile, Siamese
    from fslcore.threads import set_threads

__all__ = [
    "MAML",
    "ImageStore",
    "MatchingNetwork",
    "MetaGAN",
    "PixelNearestNeighbour",
    "Prototypical",
    "Report",
    "Reptile",
    "Siamese",
    "SupportSet",
    "accuracy_versus_way",
    "adversarial",
    "augmentation",
    "callbacks",
    "classifier",
    "data",
    "encoders",
    "evaluate",
    "evaluation",
    "experiments",
    "kernels",
    "layers",
    "learners",
    "losses",
    "metrics",
    "ops",
    "plots",
    "set_threads",
    "twins",
]

# Where the names come from that are not modules themselves.
_HOMES = {
    "ImageStore": "data",
    "MAML": "learners",
    "MatchingNetwork": "learners",
    "MetaGAN": "learners",
    "PixelNearestNeighbour": "evaluation",
    "Prototypical": "learners",
    "Report": "evaluation",
    "Reptile": "learners",
    "Siamese": "learners",
    "SupportSet": "classifier",
    "accuracy_versus_way": "evaluation",
    "adversarial": "encoders",
    "evaluate": "evaluation",
    "set_threads": "threads",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"fslcore.{_HOMES[name]}"), name)
    if name in __all__ or name == "jax":  # not for `import *`, which must work without JAX
        return importlib.import_module(f"fslcore.{name}")
    raise AttributeError(f"module 'fslcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "jax"])


registration.watch()
