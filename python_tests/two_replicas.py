# SPDX-License-Identifier: MIT
"""Run as a program, it trains on one device and on two replicas, and prints what differs, as JSON.

Devices can be split only before TensorFlow uses them, so this is a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore import losses, metrics
from fslcore.layers import GramMatrix

RANDOM = np.random.default_rng(0)
X, LABELS = RANDOM.normal(size=(15, 16)).astype(np.float32), RANDOM.integers(0, 4, 15)
BATCH = 8  # and a last one of 7, which the replicas share unequally


def manhattan(embeddings: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.abs(embeddings[:, None] - embeddings[None, :]), axis=2)


ON_EMBEDDINGS: dict[str, Callable[[], keras.Loss]] = {
    "semihard": losses.TripletSemiHardLoss,
    "semihard, sum": partial(losses.TripletSemiHardLoss, 0.5, "angular", reduction="sum"),
    "hard, none": partial(losses.TripletHardLoss, reduction="none"),
    "hard, soft": partial(losses.TripletHardLoss, soft=True),
    "mining": partial(losses.TripletMiningLoss, "easy_positive", 0.5, "squared-L2"),
    "InfoNCE": losses.InfoNCELoss,
    "circle": partial(losses.CircleLoss, gamma=8.0),
    "function of embeddings": partial(losses.TripletHardLoss, 0.5, manhattan),
}
# With metrics of batches. Keras tells the values of several losses only where each is one number.
ALONE = ("semihard", "hard, none")
ON_MATRICES: dict[str, Callable[[], Any]] = {
    "pairs": losses.BinaryCrossentropy,
    "pairs, balanced": partial(losses.BinaryCrossentropy, balanced=True),
    "pairs, sum": partial(losses.BinaryCrossentropy, reduction="sum"),
    "pairs, function": lambda: losses.binary_crossentropy,
    "triplets": losses.TripletLoss,
    "pairs, deviation": partial(losses.BinaryCrossentropy, reduction="std"),
    "N-pairs": losses.NpairsLoss,
    "classes": losses.ClassConsistencyLoss,
}
FUNCTIONS = {
    function.__name__: function
    for function in (
        losses.triplet_loss,
        losses.triplet_semihard_loss,
        losses.triplet_hard_loss,
        losses.triplet_mining_loss,
        losses.batch_contrastive_loss,
        losses.info_nce_loss,
        losses.soft_nearest_neighbor_loss,
        losses.lifted_struct_loss,
        losses.multi_similarity_loss,
        losses.circle_loss,
        losses.pair_crossentropy_loss,
        losses.npairs_loss,
        losses.class_consistency_loss,
    )
}
OF_MATRICES = ("triplet_loss", "npairs_loss", "class_consistency_loss")


def model(
    strategy: tf.distribute.Strategy, loss: Any, kernel: str | None = None, **options: Any
) -> keras.Model:
    with strategy.scope():
        dense = keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(1), name="dense")
        built = keras.Sequential([keras.Input((16,)), dense, *([GramMatrix(kernel)] if kernel else [])])
        options = {"optimizer": keras.optimizers.SGD(0.1), **options}
        built.compile(loss=loss, **options)
    return built


def heads(
    strategy: tf.distribute.Strategy, losses_of: dict[str, Any], kernels: dict[str, str] | None = None
) -> keras.Model:
    """A model with an output for each loss, with weights of its own: they share steps, and nothing else."""
    with strategy.scope():
        inputs, outputs = keras.Input((16,)), []
        for number, name in enumerate(losses_of):
            initial = keras.initializers.GlorotUniform(1)
            dense = keras.layers.Dense(4, kernel_initializer=initial, name=f"head{number}")(inputs)
            outputs.append(GramMatrix(kernels[name])(dense) if kernels else dense)
        built = keras.Model(inputs, outputs)
        built.compile(keras.optimizers.SGD(0.1), [make() for make in losses_of.values()])
    return built


def fitted(built: keras.Model, x: np.ndarray, labels: Any, batch: int) -> dict[str, np.ndarray]:
    """By name, the weights after two epochs, the history, and the results of `evaluate`."""
    history = built.fit(x, labels, batch_size=batch, shuffle=False, epochs=2, verbose=0).history
    scores = built.evaluate(x, labels, batch_size=batch, verbose=0, return_dict=True)
    return {
        **{f"{layer.name} {i}": w for layer in built.layers for i, w in enumerate(layer.get_weights())},
        **{f"fit {name}": np.asarray(values) for name, values in history.items()},
        **{f"evaluate {name}": np.asarray(value) for name, value in scores.items()},
    }


def difference(one: dict[str, np.ndarray], two: dict[str, np.ndarray], of: str = "") -> float:
    """The largest one, between what has a name that holds `of`."""
    names = [name for name in one if of in name]
    assert names, of
    return max(float(np.max(np.abs(one[name] - two[name]))) for name in names)


def largest_difference(one: list[Any], two: list[Any]) -> float:
    return max(float(np.max(np.abs(np.asarray(a) - b))) for a, b in zip(one, two, strict=True))


def of_embeddings(one: Any, two: Any) -> dict[str, float]:
    results = {}
    together = {name: loss for name, loss in ON_EMBEDDINGS.items() if name not in ALONE}
    targets = [LABELS] * len(together)
    scores = [fitted(heads(strategy, together), X, targets, BATCH) for strategy in (one, two)]
    for number, name in enumerate(together):
        # Its weights, and its values in the history and of `evaluate`.
        assert sum(f"head{number}" in key for key in scores[0]) == 4, scores[0].keys()
        results[name] = difference(*scores, of=f"head{number}")
    for name in ALONE:
        for options in ({}, {"run_eagerly": True}) if name == "semihard" else ({},):

            def run(strategy: Any, name: str = name, options: Any = options) -> dict[str, np.ndarray]:
                batch_metrics = [metrics.ActiveTriplets(), metrics.AnchorsWithoutPositive()]
                if name == "semihard" and not options:  # one of each kind
                    batch_metrics += [metrics.RecallAtK(2), metrics.RPrecision(), metrics.Silhouette()]
                    batch_metrics += [metrics.Collapse(), metrics.EffectiveDimensions()]
                made = model(strategy, ON_EMBEDDINGS[name](), metrics=batch_metrics, **options)
                return fitted(made, X, LABELS, BATCH)

            results[f"{name} {options}"] = difference(run(one), run(two))
    # Replicas that all have the same samples train as one device with these.
    tiled = fitted(model(two, losses.TripletHardLoss()), np.tile(X, (2, 1)), np.tile(LABELS, 2), 30)
    results["the same samples"] = difference(
        fitted(model(one, losses.TripletHardLoss()), X, LABELS, 15), tiled
    )
    return results


def of_matrices(one: Any, two: Any) -> dict[str, float]:
    """A replica compares its own samples: the step is that of the mean loss of both halves of a batch."""
    results = {}
    x, labels = X[:8], LABELS[:8]
    kernels = {name: "euclidean" if name == "triplets" else "cosine" for name in ON_MATRICES}
    made = heads(two, ON_MATRICES, kernels)
    start = {name: made.get_layer(f"head{i}").get_weights() for i, name in enumerate(ON_MATRICES)}
    made.fit(x, [labels] * len(ON_MATRICES), batch_size=8, shuffle=False, verbose=0)
    halves = [(x[:4], labels[:4]), (x[4:], labels[4:])]
    for number, (name, loss) in enumerate(ON_MATRICES.items()):
        alone = model(one, loss(), kernels[name])
        with tf.GradientTape() as tape:
            values = [alone.compute_loss(y=t, y_pred=alone(part)) for part, t in halves]
            # Keras adds up sums, and averages means.
            total = tf.add_n(values) / (1.0 if "sum" in name else 2.0)
        variables = alone.trainable_variables
        expected = [v - 0.1 * g for v, g in zip(variables, tape.gradient(total, variables), strict=True)]
        after = made.get_layer(f"head{number}").get_weights()
        assert largest_difference(start[name], after) > 1e-3, f"{name}: nothing was learnt"
        results[name] = largest_difference(expected, after)
    matrix_metrics = [metrics.MinEigenvalue(), metrics.classification_accuracy()]
    made = model(two, losses.BinaryCrossentropy(), "dot", metrics=matrix_metrics)
    got = made.evaluate(x, labels, batch_size=8, verbose=0, return_dict=True)
    least = [float(metrics.min_eigenvalue(None, made(half))) for half, _ in halves]
    nearest = [np.mean(metrics.classification_accuracy()(t, made(half))) for half, t in halves]
    results["least eigenvalue"] = abs(got["min_eigenvalue"] - min(least))
    results["nearest neighbours"] = abs(got["classification_accuracy"] - float(np.mean(nearest)))
    return results


def refusals(two: Any) -> dict[str, str]:
    """What functions say within the replicas' steps, one of them within that of `fit`."""
    messages = {}
    for name, function in FUNCTIONS.items():
        try:
            if name == "triplet_hard_loss":
                model(two, function).fit(X[:8], LABELS[:8], verbose=0)
            else:
                outputs = X[:4] @ X[:4].T if name in OF_MATRICES else X[:4]
                two.run(function, (tf.constant(LABELS[:4]), tf.constant(outputs)))
        except NotImplementedError as error:
            messages[name] = str(error)
    try:
        model(two, losses.BinaryCrossentropy(), "dot").predict(X[:8], verbose=0)
    except ValueError as error:
        messages["predict"] = str(error)
    return messages


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {
        "embeddings": of_embeddings(one, two),
        "matrices": of_matrices(one, two),
        "refused": refusals(two),
    }
    print(json.dumps(results))
