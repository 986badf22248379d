# SPDX-License-Identifier: MIT
"""The encoder of a support set as a file: a learner or a Keras model, as Keras saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.encoders.embedding import encoder_digest


def check(model: Any, digest: str) -> None:
    """Raises ArgumentError for what is no model, or no longer the one with a digest."""
    if not isinstance(model, keras.Model):
        raise ArgumentError("encoder", "must be a keras.Model to be saved", described=type(model).__name__)
    if encoder_digest(model) != digest:
        raise ArgumentError(
            "encoder",
            "must have the weights that its support images were embedded with: make a new SupportSet",
            described=f"{model.name!r}, whose weights have changed since",
        )


def write(path: Path, model: Any) -> None:
    """Saves a model.

    Raises:
        ArgumentError: It has parts that Keras cannot save.
        OSError: The file cannot be written.
    """

    def save(temporary: Path) -> None:
        try:
            model.save(temporary)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ArgumentError(
                "encoder", "must be a model that Keras can save", described=f"{model.name!r}: {error}"
            ) from error

    files.replace(path, save)


def read(path: Path, digest: Any) -> Any:
    """Opens a model, and checks that it is the one with a digest.

    Raises:
        ArgumentError: There is none, it is damaged, or it is another one.
    """
    if not path.is_file():
        raise ArgumentError("folder", f"must hold a {path.name}", described=str(path.parent))
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # zipfile, h5py and Keras raise many kinds for damaged files
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ArgumentError(
            "folder", f"must hold a {path.name} that Keras can open", described=f"{path}: {first}"
        ) from error
    if encoder_digest(model) != digest:
        raise ArgumentError(
            "folder",
            f"must hold the {path.name} whose embeddings its support set has",
            described=f"another encoder in {path.parent}",
        )
    return model
