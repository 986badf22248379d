# SPDX-License-Identifier: MIT
"""Writes a support set in one of the formats, and compares what was written with the support set."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import __version__
from fslcore.arguments import check_one_of
from fslcore.classifier import answering
from fslcore.classifier.encoding import Encoder
from fslcore.classifier.export import folder as folders
from fslcore.classifier.export import litert, onnx_file
from fslcore.classifier.export.model import ExportedClassifier
from fslcore.classifier.rules import Rule, config_of
from fslcore.classifier.state import State
from fslcore.data import Preparation

FloatArray = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]
# Prepared images uint8 [n, S, S, C] -> scores float32 [n, C], by the runtime of the format.
Run = Callable[[Images], FloatArray]

DESCRIPTION = "classifier.json"
FORMATS = ("saved_model", "onnx", "litert")

_WRITERS = {"onnx": onnx_file.write, "litert": litert.write}
_MOST_COMPARED = 16
_TOLERANCE = 1e-5  # of scores, relative to the largest beyond 1


class SupportSet(Protocol):
    """What is asked of a `fslcore.SupportSet`."""

    @property
    def encoder(self) -> Any:
        """The learner or the Keras model."""

    preparation: Preparation
    rule: Rule

    def snapshot(self) -> State:
        """The set as it is now."""

    def embed(self, images: Any) -> FloatArray:
        """Embeddings of images."""

    def scores(self, embeddings: Any, *, state: State | None = None) -> FloatArray:
        """Scores of embeddings."""


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: Where.
        format: One of `FORMATS`.
        labels: How many labels.
        compared: On how many images the scores of what was written were compared with the support set's.
        difference: The largest difference of a score, relative to the largest score beyond 1.
    """

    folder: Path
    format: str
    labels: int
    compared: int
    difference: float


class Differs(RuntimeError):
    """What was written does not score as the support set does, and is removed."""


def write(support: SupportSet, folder: str | os.PathLike[str], format: str = "saved_model") -> Export:
    """Exports a support set as it is now, and compares what was written with it.

    Args:
        support: The set, not empty.
        folder: A new or empty folder, or an earlier export, which is replaced.
        format: "saved_model": preparation, encoder, support and labels in one graph of plain TensorFlow.
            "onnx" and "litert": encoder and support, for prepared images.

    Returns:
        What was written.

    Raises:
        ArgumentError: The format is unknown, the set is empty or cannot be exported, or the folder holds
            something else.
        ImportError: The converter of the format is not installed.
        Differs: The scores differ by more than 1e-5.
        OSError: The folder cannot be written; what was there stays.
    """
    check_one_of("format", format, FORMATS)
    folder = Path(folder)
    state = support.snapshot()
    answering.check_not_empty(state)
    folders.check(folder, DESCRIPTION)
    model = ExportedClassifier(Encoder(support.encoder), support.preparation, support.rule, state)
    images = _to_compare(state, support.preparation.image_size, support.preparation.channels)
    found: list[float] = []

    def write_and_compare(new: Path) -> None:
        run = _saved_model(model, new) if format == "saved_model" else _WRITERS[format](model, new)
        found.append(_difference(run(images), support, images, state))
        description = {
            "format": format,
            "fslcore": __version__,
            "labels": list(state.labels),
            "counts": state.counts.tolist(),
            "rule": config_of(support.rule),
            "threshold": state.threshold,
            "temperature": state.temperature,
            "preparation": support.preparation.to_config(),
        }
        (new / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    folders.replace(folder, DESCRIPTION, write_and_compare)
    return Export(folder, format, len(state.labels), len(images), found[0])


def _saved_model(model: ExportedClassifier, folder: Path) -> Run:
    tf.saved_model.save(model, str(folder), signatures=model.signatures())
    serve = tf.saved_model.load(str(folder)).signatures["images"]
    return lambda images: serve(images=tf.constant(images))["scores"].numpy()


def _to_compare(state: State, size: int, channels: int) -> Images:
    """Support images, those of different labels first, or noise where they are not known."""
    if state.pictures is not None and state.pictured.any():
        rows = np.flatnonzero(state.pictured)
        return state.pictures[rows[:: math.ceil(len(rows) / _MOST_COMPARED)]]
    noise = np.random.default_rng(0)
    return noise.integers(0, 256, (_MOST_COMPARED, size, size, channels), dtype=np.uint8)


def _difference(scores: FloatArray, support: SupportSet, images: Images, state: State) -> float:
    wanted: Any = support.scores(support.embed(images), state=state)
    largest = max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(scores - wanted).max()) / largest
    ties = np.take_along_axis(wanted, scores.argmax(axis=1)[:, None], 1)[:, 0]
    same = wanted.max(axis=1) - ties <= _TOLERANCE * largest
    if not difference <= _TOLERANCE or not same.all():
        raise Differs(
            f"the exported classifier does not score as the support set does: the largest difference is "
            f"{difference:.3g}, and must be at most {_TOLERANCE:g}"
        )
    return difference
