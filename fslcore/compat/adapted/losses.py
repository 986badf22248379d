# SPDX-License-Identifier: MIT
"""The losses of keras-fsl that are functions there and classes here."""

from __future__ import annotations

from typing import Any

from fslcore import losses

Tensor = Any


def max_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`fslcore.losses.MaxBinaryCrossentropy` of a batch, a scalar."""
    return losses.MaxBinaryCrossentropy()(y_true, y_pred)


def std_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`fslcore.losses.StdBinaryCrossentropy` of a batch, a scalar."""
    return losses.StdBinaryCrossentropy()(y_true, y_pred)
