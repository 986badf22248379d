# SPDX-License-Identifier: MIT
"""Under every precision policy of Keras, layers, losses, metrics and encoders give the result of float32.

A step of `fit` is a graph or eager. Every case runs in both ways under some policy, and every policy in some
cases; float32, with which all are compared, is eager.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fslcore import encoders, layers, losses, metrics

# By policy: the precision of activations and that of weights, as the width of a rounding step.
POLICIES = {
    "mixed_float16": (2.0**-10, 2.0**-23),
    "mixed_bfloat16": (2.0**-7, 2.0**-23),
    "float64": (2.0**-22, 2.0**-22),  # our own arithmetic stays float32
    "float16": (2.0**-10, 2.0**-10),
    "bfloat16": (2.0**-7, 2.0**-7),
}
EAGER = {"run_eagerly": True}
ROUTES = ({}, EAGER, EAGER, {}, EAGER)
LABELS = np.array([0, 0, 1, 1, 2, 2])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
CROSS_ENTROPY = "sparse_categorical_crossentropy"


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((6, *shape), dtype=np.float32)


# Apart by class, so that rounding does not change which negative is semi-hard.
VECTORS = 0.3 * numbers(8) + np.repeat(0.7 * np.eye(3, 8, dtype=np.float32), 2, axis=0)
IMAGES = numbers(16, 16, 4)


def on_vectors(*stack):
    return keras.Sequential([keras.Input((8,)), *stack])


def on_images(layer):
    head = [keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    return keras.Sequential([keras.Input((16, 16, 4)), layer, *head])


def embeddings():
    return on_vectors(keras.layers.Dense(4))


def gram(kernel):
    return lambda: on_vectors(keras.layers.Dense(4), layers.GramMatrix(kernel))


def centroids():
    x, labels = keras.Input((8,)), keras.Input((3,))
    scores = layers.CentroidsMatrix("sqeuclidean", "softmax")([keras.layers.Dense(4)(x), labels])
    return keras.Model([x, labels], scores)


def head():
    sides = [keras.Input((8,)), keras.Input((8,))]
    return keras.Model(sides, layers.DenseSigmoid()(sides))


def scores_of_own(pairs):
    return keras.ops.sum(keras.ops.abs(pairs[0] - pairs[1]), axis=-1)


def classifier():
    return encoders.conv4_classifier(3, (16, 16, 4))


def head_layer(layer):
    return on_vectors(keras.layers.Dense(8), layer)


def flat_network(channels, width):
    layers = [keras.Input((16, 16, channels)), keras.layers.Flatten(), keras.layers.Dense(width)]
    return keras.Sequential(layers)


def headed():
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    return encoders.HeadedEncoder(flat_network(4, 8), head)


def pretrained():
    return encoders.pretrained(flat_network(3, 6), 16, preprocessing="tf", trainable=True)


LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
of_pairs, of_triplets = losses.BinaryCrossentropy, losses.TripletLoss
semihard = losses.TripletSemiHardLoss
# What is built, its inputs and targets, and the loss.
CASES = {
    "ConvBlock": (lambda: on_images(layers.ConvBlock(8, 1, 2)), IMAGES, LABELS, CROSS_ENTROPY),
    "ConvBlock, strides": (lambda: on_images(layers.ConvBlock(8)), IMAGES, LABELS, CROSS_ENTROPY),
    "FusedBatchNormalization": (
        lambda: on_images(layers.FusedBatchNormalization()), IMAGES, LABELS, CROSS_ENTROPY
    ),
    "DropBlock": (lambda: on_images(layers.DropBlock(0.2, 2, seed=1)), IMAGES, LABELS, CROSS_ENTROPY),
    "UpsampledConv2D": (lambda: on_images(layers.UpsampledConv2D(2, 3)), IMAGES, LABELS, CROSS_ENTROPY),
    "CentroidsMatrix": (centroids, [VECTORS, ONE_HOT], LABELS, CROSS_ENTROPY),
    "DenseSigmoid": (head, [VECTORS, VECTORS[::-1].copy()], numbers(1).round(), "binary_crossentropy"),
    "GramMatrix, pairs": (gram("DenseSigmoid"), VECTORS, LABELS, of_pairs),
    "GramMatrix, distances": (gram("euclidean"), VECTORS, LABELS, of_triplets),
    "GramMatrix, cosine": (gram("cosine"), VECTORS, LABELS, of_triplets),
    "GramMatrix, own": (
        lambda: gram(keras.layers.Lambda(scores_of_own))(), VECTORS, LABELS, of_triplets
    ),
    "LearntNorms": (gram("LearntNorms"), VECTORS, LABELS, of_pairs),
    "MixedNorms": (gram("MixedNorms"), VECTORS, LABELS, of_pairs),
    "MeanScoreClassificationLoss": (
        gram("DenseSigmoid"), VECTORS, LABELS, losses.MeanScoreClassificationLoss
    ),
    "InfoNCELoss": (embeddings, VECTORS, LABELS, losses.InfoNCELoss),
    "TripletSemiHardLoss": (embeddings, VECTORS, LABELS, semihard),
    "TripletHardLoss": (embeddings, VECTORS, LABELS, lambda: losses.TripletHardLoss(0.5, "squared-L2")),
    "TripletHardLoss, soft": (embeddings, VECTORS, LABELS, lambda: losses.TripletHardLoss(soft=True)),
    "TripletMiningLoss": (embeddings, VECTORS, LABELS, lambda: losses.TripletMiningLoss("easy_positive")),
    "BasicCNN": (lambda: encoders.BasicCNN((16, 16, 4), 3), IMAGES, LABELS, CROSS_ENTROPY),
    "VinyalsNet": (lambda: encoders.VinyalsNet((16, 16, 4)), IMAGES, LABELS, semihard),
    "conv4": (lambda: encoders.conv4((16, 16, 4)), IMAGES, LABELS, semihard),
    "conv4_classifier": (classifier, IMAGES, LABELS, LOGITS),
    "task_encoder": (
        lambda: encoders.adversarial.task_encoder((16, 16, 4), 8), IMAGES, LABELS, semihard
    ),
    "conditional_generator": (
        lambda: encoders.adversarial.conditional_generator((16, 16, 4), 8, 8),
        [VECTORS, VECTORS], IMAGES, "mse"
    ),
    # On noise its embeddings differ by less than half precision resolves, and so would those of triplets.
    "Standardization": (lambda: head_layer(layers.Standardization()), VECTORS, LABELS, semihard),
    "CentredPCA": (lambda: head_layer(layers.CentredPCA(4)), VECTORS, LABELS, semihard),
    "WithinClassWhitening": (lambda: head_layer(layers.WithinClassWhitening()), VECTORS, LABELS, semihard),
    "HeadedEncoder": (headed, IMAGES, numbers(4), "mse"),
    "PretrainedEncoder": (pretrained, numbers(16, 16, 3), numbers(6), "mse"),
    "resnet12": (lambda: encoders.resnet12((16, 16, 4)), IMAGES, LABELS, semihard),
    "KochNet": (lambda: encoders.KochNet((65, 65, 1)), numbers(65, 65, 1), numbers(4096), "mse"),
    "KochNet, paper": (
        lambda: encoders.KochNet((65, 65, 1), "paper"), numbers(65, 65, 1), numbers(4096), "mse"
    ),
}  # fmt: skip
MODULES = {"layers": layers, "losses": losses, "encoders": encoders, "adversarial": encoders.adversarial}


def test_every_layer_loss_and_encoder_is_a_case():
    public = {name for module in MODULES.values() for name in module.__all__ if name != "adversarial"}
    functions = {name for name in public if name in losses.__all__ and name.islower()}
    # They put together, name or call what is tested.
    functions |= {name for name in public if name.startswith(("build", "check_", "is_", "pretrained"))}
    functions |= {"embed_store", "linear_head", "pca_head", "whitening_head", "with_head"}
    # Made of Keras' own layers, and of those of resnet12 and KochNet.
    functions |= {
        "CifarCNN",
        "Darknet53",
        "Darknet7",
        "MnistCNN",
        "ReptileNet",
        "SingleConv2D",
        "wide_resnet",
    }
    # They share the checks and casts of those that are a case.
    functions |= set(losses.__all__) & {
        *("BatchContrastiveLoss", "CircleLoss", "LiftedStructLoss", "MultiSimilarityLoss"),
        *("SoftNearestNeighborLoss", "TripletBatchAllLoss", "ArcFace", "ProxyAnchor", "CrossBatchMemory"),
        "PairCrossentropy",
        *("ClassConsistencyLoss", "ClippedBinaryCrossentropy", "MaxBinaryCrossentropy", "Percentile"),
        *("PercentileBinaryCrossentropy", "StdBinaryCrossentropy", "ContrastiveLoss", "NpairsLoss"),
        "NpairsMultilabelLoss",
    }
    functions.add("PairFunction")  # a function of a user
    tested = {name.partition(",")[0] for name in CASES} | {"BinaryCrossentropy", "TripletLoss"}
    assert public - functions == tested


def values(tensors) -> list[np.ndarray]:
    return [np.asarray(tf.cast(tf.convert_to_tensor(tensor), tf.float64)) for tensor in tensors]


def trained(case: str, policy: str, weights, route: dict):
    """Outputs, results, weights before and change of the trained ones, of one step under a policy."""
    make, x, y, loss = CASES[case]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        model = make()
        # Keras' own starts so high that its first steps overflow, and are skipped.
        optimizer = keras.optimizers.SGD(0.1)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
        on_batches = [metrics.ActiveTriplets(), metrics.AnchorsWithoutPositive()]
        on_matrices = [metrics.classification_accuracy(), metrics.MinEigenvalue(), metrics.min_eigenvalue]
        of_case = {semihard: on_batches, of_pairs: on_matrices, of_triplets: on_matrices}
        model.compile(optimizer, loss() if callable(loss) and not isinstance(loss, keras.Loss) else loss,
                      metrics=of_case.get(loss) if callable(loss) else None, **route)  # fmt: skip
    finally:
        keras.config.set_dtype_policy(before)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # what it drops depends on the dtype
    model.set_weights(weights)
    start = values(model.trainable_variables)
    outputs = values([model(x)])[0]
    results = {k: v[0] for k, v in model.fit(x, y, batch_size=6, shuffle=False, verbose=0).history.items()}
    moved = [now - old for now, old in zip(values(model.trainable_variables), start, strict=True)]
    return outputs, results, start, moved


def flat(arrays) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize("case", CASES)
def test_each_policy_gives_the_result_of_float32(case):
    keras.utils.set_random_seed(0)
    weights = CASES[case][0]().get_weights()
    want, wanted, start, moved = trained(case, "float32", weights, EAGER)
    largest, step = np.abs(want).max(), np.linalg.norm(flat(moved))
    assert step > 0
    turn = list(CASES).index(case)
    for i, (policy, (of_activations, of_weights)) in enumerate(POLICIES.items()):
        got, results, _, moves = trained(case, policy, weights, ROUTES[(i + turn) % len(ROUTES)])
        # A handful of layers, each of which rounds its sums and outputs.
        np.testing.assert_allclose(got, want, rtol=0, atol=8 * of_activations * largest, err_msg=policy)
        for name, value in wanted.items():
            # Values that round alike may count for one sample or triplet more, or less.
            counted = name in ("classification_accuracy", "active_triplets", "anchors_without_positive")
            close = pytest.approx(value, rel=16 * of_activations, abs=0.5 if counted else 0.1)
            assert results[name] == close, (policy, name)
        # The change of a weight is rounded to the precision of the weight. A gradient passes through mining,
        # ReLU and max-pooling, which choose others among values that round alike.
        difference = np.linalg.norm(flat(moves) - flat(moved))
        roundings = 160 if case == "resnet12" else 64  # it has three times as many layers as the others
        assert difference <= roundings * of_activations * step + of_weights * np.linalg.norm(flat(start)), (
            policy
        )
