# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from contract_column import Column, assert_close, logs_of, trained, weights
from keras.optimizers import Adam
from tiny_networks import assert_same


def save_and_load(column: Column) -> None:
    learner = column.compiled(Adam(0.01))
    elements = column.elements(4)
    trained(learner, elements[:2])
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder) / "learner.keras")
        loaded = keras.models.load_model(Path(folder) / "learner.keras")
        learner.save_weights(Path(folder) / "learner.weights.h5")
        fresh = type(learner).from_config(learner.get_config())
        fresh.load_weights(Path(folder) / "learner.weights.h5")
    assert type(loaded) is type(learner)
    assert_same(weights(loaded), weights(learner))
    assert_same(weights(fresh), weights(learner))
    logs, loaded_logs = (logs_of(each, elements[2:]) for each in (learner, loaded))
    assert logs.keys() == loaded_logs.keys()
    # The steps of the optimizer, too, go on where they were.
    assert_close(weights(loaded), weights(learner))
    assert_close(list(loaded_logs.values()), list(logs.values()))


def export(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    trained(learner, [element])
    images = column.exported(element)
    expected = learner(images)
    with tempfile.TemporaryDirectory() as folder:
        learner.export(folder, verbose=False)
        loaded = tf.saved_model.load(folder)  # kept: its functions do not keep its variables
        got = loaded.serve(tf.constant(images))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


PROGRAMS = {
    "`save`, `load_model`, `save_weights`, `load_weights`": (save_and_load, "save"),
    "`export`": (export, "export"),
}
