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
        dense = keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(1))
        built = keras.Sequential([keras.Input((16,)), dense, *([GramMatrix(kernel)] if kernel else [])])
        options = {"optimizer": keras.optimizers.SGD(0.1), **options}
        built.compile(loss=loss, **options)
    return built


def fitted(built: keras.Model, x: np.ndarray, labels: np.ndarray, batch: int) -> list[np.ndarray]:
    history = built.fit(x, labels, batch_size=batch, shuffle=False, epochs=2, verbose=0).history
    scores = built.evaluate(x, labels, batch_size=batch, verbose=0, return_dict=True)
    return [*built.get_weights(), *map(np.asarray, history.values()), *map(np.asarray, scores.values())]


def difference(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(one, two, strict=True))


def of_embeddings(one: Any, two: Any) -> dict[str, float]:
    results = {}
    for name, loss in ON_EMBEDDINGS.items():
        for options in ({}, {"run_eagerly": True}) if name == "semihard" else ({},):

            def run(
                strategy: Any, name: str = name, loss: Any = loss, options: Any = options
            ) -> list[np.ndarray]:
                batch_metrics = [metrics.ActiveTriplets(), metrics.AnchorsWithoutPositive()]
                if name == "semihard":  # one of each kind
                    batch_metrics += [metrics.RecallAtK(2), metrics.RPrecision(), metrics.Silhouette()]
                    batch_metrics += [metrics.Collapse(), metrics.EffectiveDimensions()]
                made = model(strategy, loss(), metrics=batch_metrics, **options)
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
    for name, loss in ON_MATRICES.items():
        kernel = "euclidean" if name == "triplets" else "cosine"
        made = model(two, loss(), kernel)
        before = made.get_weights()
        made.fit(x, labels, batch_size=8, shuffle=False, verbose=0)
        alone = model(one, loss(), kernel)
        halves = [(x[:4], labels[:4]), (x[4:], labels[4:])]
        with tf.GradientTape() as tape:
            values = [alone.compute_loss(y=t, y_pred=alone(part)) for part, t in halves]
            # Keras adds up sums, and averages means.
            total = tf.add_n(values) / (1.0 if "sum" in name else 2.0)
        variables = alone.trainable_variables
        expected = [v - 0.1 * g for v, g in zip(variables, tape.gradient(total, variables), strict=True)]
        assert difference(before, made.get_weights()) > 1e-3, f"{name}: nothing was learnt"
        results[name] = difference([np.asarray(v) for v in expected], made.get_weights())
    matrix_metrics = [metrics.MinEigenvalue(), metrics.classification_accuracy()]
    made = model(two, losses.BinaryCrossentropy(), "dot", metrics=matrix_metrics)
    got = made.evaluate(x, labels, batch_size=8, verbose=0, return_dict=True)
    least = [float(metrics.min_eigenvalue(None, made(half))) for half, _ in halves]
    nearest = [np.mean(metrics.classification_accuracy()(t, made(half))) for half, t in halves]
    results["least eigenvalue"] = abs(got["min_eigenvalue"] - min(least))
    results["nearest neighbours"] = abs(got["classification_accuracy"] - float(np.mean(nearest)))
    return results


def refusals(two: Any) -> dict[str, str]:
    messages = {}
    for name, function in FUNCTIONS.items():
        try:
            model(two, function, "cosine" if name in OF_MATRICES else None).fit(X[:8], LABELS[:8], verbose=0)
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
