# SPDX-License-Identifier: MIT
"""Programs of the table of Keras' features: data in all forms, and what is done with it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from contract_column import Column, assert_close, changes, dataset, logs_of, moved, plain, trained, weights
from keras.optimizers import SGD
from tiny_networks import assert_same


def finite_datasets(column: Column) -> None:
    learner = column.compiled()
    elements = column.elements(3)
    learner.fit(dataset(elements), epochs=2, shuffle=False, verbose=0)
    stepwise = column.compiled()
    for element in [*elements, *elements]:
        stepwise.train_on_batch(*element)
    assert_close(weights(learner), weights(stepwise))
    assert moved(weights(learner), column.start())


def generators(column: Column) -> None:
    learner = column.compiled()
    elements = column.elements(3)
    learner.fit((element for element in elements), steps_per_epoch=3, shuffle=False, verbose=0)
    assert_close(weights(learner), plain(column, elements)[-1])


def py_datasets(column: Column) -> None:
    learner = column.compiled()
    elements = column.elements(3)

    class Elements(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(elements)

        def __getitem__(self, index: int) -> Any:
            return elements[index]

    learner.fit(Elements(), shuffle=False, verbose=0)
    assert_close(weights(learner), plain(column, elements)[-1])


def numpy_arrays(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    x, y = element
    learner.fit(x, y, batch_size=1024, shuffle=False, verbose=0)
    assert_close(weights(learner), plain(column, [element])[-1])


def on_batch(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    tested = learner.test_on_batch(*element, return_dict=True)
    evaluated = learner.evaluate(dataset([element]), verbose=0, return_dict=True)
    assert_close([tested["loss"]], [evaluated["loss"]])
    inputs = column.inputs(element)
    expected = column.called(learner, inputs)
    assert_close([learner.predict_on_batch(inputs)], [expected])
    learner.train_on_batch(*element)
    assert_close(weights(learner), trained(column.compiled(), [element]))


# ---- fit, evaluate, predict


def validation_data(column: Column) -> None:
    learner = column.compiled()
    elements, held_out = column.elements(2), column.elements(2, seed=50)
    logs = logs_of(learner, elements, validation_data=dataset(held_out))
    evaluated = learner.evaluate(dataset(held_out), verbose=0, return_dict=True)
    assert_close([logs[f"val_{name}"] for name in evaluated], list(evaluated.values()))
    assert {f"val_{name}" for name in evaluated} == {name for name in logs if name.startswith("val_")}


def evaluate(column: Column) -> None:
    learner = column.compiled(loss=column.loss())
    elements = column.elements(3)
    before = weights(learner)
    loss = learner.evaluate(dataset(elements), verbose=0, return_dict=True)["loss"]
    assert_same(weights(learner), before)
    expected = [float(column.loss()(*column.outputs(learner, element))) for element in elements]
    assert_close([loss], [np.mean(expected)])
    assert loss > 0


def predict(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    inputs = column.inputs(element)
    expected = column.called(learner, inputs)
    assert_close([learner.predict(inputs, batch_size=1024, verbose=0)], [expected])


def predict_in_batches(column: Column) -> None:
    learner = column.compiled()
    (element,) = column.elements(1)
    inputs = column.inputs(element)
    expected = column.called(learner, inputs)
    assert_close([learner.predict(inputs, batch_size=4, verbose=0)], [expected])


def class_weight(column: Column) -> None:
    learner = column.compiled(SGD(0.01))
    (element,) = column.elements(1)
    before = weights(learner)
    factors = dict.fromkeys(range(column.classes), 3.0)
    after = trained(learner, [element], class_weight=factors)
    once = plain(column, [element], 0.01)[-1]
    assert moved(once, before)
    assert_close(changes(after, before), [3 * change for change in changes(once, before)])


def sample_weight(column: Column) -> None:
    (element,) = column.elements(1)
    before = column.start()
    learner = column.compiled(SGD(0.01))

    def step(element: Any) -> list[np.ndarray]:
        learner.set_weights(before)
        return changes(trained(learner, [element]), before)

    once = changes(plain(column, [element], 0.01)[-1], before)
    thrice, uneven = step(column.weighted(element, 3.0)), step(column.weighted(element, None))
    assert moved(once, [0 * change for change in once])
    assert_close(thrice, [3 * change for change in once])
    # Each sample has its own weight: the step has another direction, not only another length.
    flat, other = (np.concatenate([change.ravel() for change in each]) for each in (once, uneven))
    assert flat @ other < 0.999 * np.linalg.norm(flat) * np.linalg.norm(other)
    weighted = column.weighted(element, None)
    logs = column.compiled(loss=column.loss()).test_on_batch(*weighted, return_dict=True)
    expected = column.loss()(*column.outputs(column.make(), element), weighted[-1])
    assert_close([logs["loss"]], [float(expected)])


PROGRAMS = {
    "finite datasets without `steps_per_epoch`": (finite_datasets, "x"),
    "generators": (generators, "x"),
    "`PyDataset`": (py_datasets, "x"),
    "NumPy arrays": (numpy_arrays, "x"),
    "`train_on_batch`, `test_on_batch`, `predict_on_batch`": (on_batch, "x"),
    "`validation_data`": (validation_data, "validation_data"),
    "`evaluate`": (evaluate, "evaluate"),
    "`predict` on one batch": (predict, "predict"),
    "`predict` on several batches": (predict_in_batches, "batch_size"),
    "`class_weight`": (class_weight, "class_weight"),
    "`sample_weight`": (sample_weight, "sample_weight"),
}
