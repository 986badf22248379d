# SPDX-License-Identifier: MIT
"""Layers, heads, losses and metrics under the names of keras-fsl: values as literal loops have them."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fslcore import compat
from fslcore.arguments import ArgumentError

RANDOM = np.random.default_rng(0)
LABELS = np.array([0, 0, 2, 2, 1, 1, 2, 0])
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]  # a class without samples
SCORES = RANDOM.uniform(0.05, 0.95, (8, 8)).astype(np.float32)
EMBEDDINGS = RANDOM.normal(size=(8, 6)).astype(np.float32)
SAME = LABELS[:, None] == LABELS
PAIRS = (np.repeat(EMBEDDINGS, 8, axis=0), np.tile(EMBEDDINGS, (8, 1)))


@pytest.fixture(scope="module", autouse=True)
def keras_fsl():
    compat.install()
    yield
    compat.uninstall()


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


def test_losses_are_literal_calculations():
    from keras_fsl import losses

    every = -np.where(SAME, np.log(SCORES), np.log(1 - SCORES))
    close(losses.BinaryCrossentropy()(ONE_HOT, SCORES), every.mean())
    off = np.abs(SAME - SCORES)
    for lower, upper in ((0.3, 1.0), (0.0, 0.75), (0.2, 0.6)):
        kept = np.where((off > lower) & (off < upper), every, 0)
        close(losses.BinaryCrossentropy(lower, upper)(ONE_HOT, SCORES), kept.mean())
    close(losses.max_crossentropy(ONE_HOT, SCORES), every.max())
    close(losses.std_crossentropy(ONE_HOT, SCORES), every.std())
    means = np.stack([SCORES[:, c == LABELS].mean(1) for c in range(3)], 1)
    shares = means / means.sum(1, keepdims=True)
    close(
        losses.MeanScoreClassificationLoss()(ONE_HOT, SCORES),
        -np.log(shares[np.arange(8), LABELS]).mean(),
    )
    classes = np.stack([means[c == LABELS].mean(0) for c in range(3)])
    expected = -np.where(np.eye(3) > 0, np.log(classes), np.log(1 - classes)).mean()
    close(losses.ClassConsistencyLoss()(ONE_HOT, SCORES), expected)
    close(losses.class_consistency_loss(ONE_HOT, SCORES), expected)
    found = []
    for a, p in np.argwhere(SAME & ~np.eye(8, dtype=bool)):
        negatives = SCORES[a][~SAME[a]]
        farther = negatives[negatives > SCORES[a, p]]
        found.append(max(SCORES[a, p] - (farther.min() if farther.size else negatives.max()) + 0.2, 0))
    close(losses.TripletLoss(0.2)(ONE_HOT, SCORES), np.mean(found))


def test_metrics_are_one_number_for_a_batch(tmp_path):
    from keras_fsl import metrics

    for predicted, accuracy in (
        ([0, 0, 2, 2, 1, 1], 1),
        ([0, 0, 2, 1, 2, 1], 1 / 3),
        ([0, 1, 0, 1, 0, 1], 0),
    ):
        one_hot = np.eye(5, dtype=np.float32)[predicted]
        found = metrics.classification_accuracy()(
            np.eye(5, dtype=np.float32)[[0, 0, 2, 2, 1, 1]], one_hot @ one_hot.T
        )
        assert found.shape == ()
        close(found, accuracy)
    others = np.where(np.eye(8) > 0, np.inf, SCORES)
    close(
        metrics.classification_accuracy(ascending=True)(ONE_HOT, SCORES),
        (LABELS[others.argmin(1)] == LABELS).mean(),
    )
    means = [[np.delete(SCORES[i], i)[np.delete(LABELS, i) == c].mean() for c in range(3)] for i in range(8)]
    close(
        metrics.mean_score_classification_accuracy(ONE_HOT, SCORES),
        (np.argmax(means, 1) == LABELS).mean(),
    )
    close(metrics.same_image_score(ONE_HOT, SCORES), np.diag(SCORES).mean())
    off = (np.abs(SAME - SCORES) < 0.3)[~np.eye(8, dtype=bool)]
    close(metrics.accuracy(0.3)(ONE_HOT, SCORES), off.mean())
    close(metrics.min_eigenvalue(ONE_HOT, SCORES), np.linalg.eigvalsh((SCORES + SCORES.T) / 2).min())


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
def test_the_quickstart_trains_and_is_saved_with_its_metrics(tmp_path):
    from keras_fsl.layers import GramMatrix
    from keras_fsl.losses.gram_matrix_losses import BinaryCrossentropy
    from keras_fsl.metrics.gram_matrix_metrics import accuracy, classification_accuracy, min_eigenvalue
    from keras_fsl.models.encoders import BasicCNN
    from keras_fsl.utils.tensors import get_dummies

    images = RANDOM.random((16, 4, 4, 1), dtype=np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(16) % 3)).batch(8)
    dataset = dataset.map(lambda x, y: (x, get_dummies(y)[0]))
    model = keras.Sequential([BasicCNN(input_shape=(4, 4, 1)), GramMatrix(kernel="DenseSigmoid")])
    metrics = [classification_accuracy(), accuracy(0.5), min_eigenvalue]
    model.compile(optimizer="Adam", loss=BinaryCrossentropy(), metrics=metrics, jit_compile=False)
    history = model.fit(dataset, epochs=1, verbose=0).history
    assert {"loss", "top_score_classification_accuracy", "_accuracy", "min_eigenvalue"} == set(history)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    script = (
        "import sys, fslcore.compat.keras_fsl, keras; print(keras.models.load_model(sys.argv[1]).layers[-1])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model.keras")]
    assert "GramMatrix" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, after = (each.evaluate(dataset, verbose=0, return_dict=True) for each in (model, loaded))
    assert before == after


def head_case(name):
    from keras_fsl.models import head_models

    functions = [
        lambda x: x[0] * x[1],
        lambda x: x[0] + x[1],
        lambda x: abs(x[0] - x[1]),
        lambda x: (x[0] - x[1]) ** 2,
    ]
    return {
        "DenseSigmoid": lambda: (head_models.DenseSigmoid((6,)), 7, True),
        "DenseSigmoid without bias": lambda: (head_models.DenseSigmoid((6,), use_bias=False), 6, True),
        "LearntNorms": lambda: (head_models.LearntNorms((6,)), 4 * 32 + 6 + 2, True),
        "LearntNorms without bias": lambda: (head_models.LearntNorms((6,), False), 3 * 32 + 6, False),
        "MixedNorms": lambda: (head_models.MixedNorms((6,)), 6 * 32 + 6 + 2, True),
        "MixedNorms of functions": lambda: (head_models.MixedNorms((6,), functions), 6 * 32 + 6 + 2, False),
        "MixedNorms without bias": lambda: (
            head_models.MixedNorms((6,), ["squared"], use_bias=False, activation="relu"), 2 * 32 + 6, False),
    }[name]()  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "DenseSigmoid", "DenseSigmoid without bias", "LearntNorms", "LearntNorms without bias", "MixedNorms",
        "MixedNorms of functions", "MixedNorms without bias",
    ],
)  # fmt: skip
def test_heads_are_models_of_pairs_and_kernels_of_a_matrix(name):
    from keras_fsl.layers import GramMatrix

    head, weights, is_compiled = head_case(name)
    assert isinstance(head, keras.Model)
    assert (len(head.inputs), head.output_shape) == (2, (None, 1))
    assert head.count_params() == weights
    expected = np.asarray(head(PAIRS)).reshape(8, 8)
    layer = GramMatrix(kernel=head)
    close(layer(EMBEDDINGS), expected)
    assert isinstance(layer.kernel, keras.Model) != is_compiled
    close(layer.build_support_set(EMBEDDINGS), EMBEDDINGS)


def test_functions_as_norms_are_the_norms_by_name():
    named, by_functions = head_case("MixedNorms")[0], head_case("MixedNorms of functions")[0]
    hidden, hidden_bias, mixing, mixing_bias, kernel, bias = named.get_weights()
    by_functions.set_weights(
        [
            hidden.T[:, None, None],
            hidden_bias,
            mixing[None, None, :, None],
            mixing_bias[None],
            kernel[:, None],
            bias[None],
        ]
    )
    by_functions.set_weights([weight + 0.01 for weight in by_functions.get_weights()])
    named.set_weights([weight + np.float32(0.01) for weight in named.get_weights()])
    close(by_functions(PAIRS), named(PAIRS))
    maps = [RANDOM.random((3, 2, 2, 6), dtype=np.float32) for _ in range(2)]
    from keras_fsl.models.head_models import LearntNorms, MixedNorms

    of_maps = MixedNorms((2, 2, 6), [lambda x: x[0] * x[1], "sum", "absolute", "squared"])
    of_maps.set_weights(by_functions.get_weights())
    close(of_maps(maps), named([each.mean((1, 2)) for each in maps]))
    assert LearntNorms((2, 2, 6), use_bias=False)(maps).shape == (3, 1)
    with pytest.raises(ArgumentError, match="norms must be functions of two embeddings, or first"):
        MixedNorms((6,), ["cube"], use_bias=False)


def test_kernels_are_mappings_lambdas_and_registered_functions():
    from keras_fsl.layers import CentroidsMatrix, Classification, GramMatrix
    from keras_fsl.layers.support_layer import SupportLayer

    from fslcore import layers

    squares = ((EMBEDDINGS[:, None] - EMBEDDINGS) ** 2).sum(-1)
    distance = keras.layers.Lambda(lambda x: tf.reduce_sum(tf.square(x[0] - x[1]), axis=1))
    close(GramMatrix(kernel=distance)(EMBEDDINGS), squares)
    close(GramMatrix(kernel="sqeuclidean")([EMBEDDINGS]), squares)
    classification = Classification(distance)
    classification.set_support_set(EMBEDDINGS[:2], ["a", "b"], overwrite=True)
    close(classification(EMBEDDINGS), squares[:, :2])
    layer = GramMatrix(
        {"name": "MixedNorms", "init": {"activation": "relu", "norms": [lambda x: x[0] - x[1]]}}
    )
    assert layer(EMBEDDINGS).shape == (8, 8)
    assert layer.kernel.count_params() == 3 * 32 + 6 + 2
    given = {"name": "LearntNorms", "init": {"activation": "relu"}}
    layer = GramMatrix(given)
    with pytest.raises(ArgumentError, match="kernel must be made before it is saved"):
        layer.get_config()
    layer(EMBEDDINGS)
    close(GramMatrix.from_config(layer.get_config())(EMBEDDINGS).shape, (8, 8))
    assert isinstance(layer.kernel, layers.LearntNorms)
    assert given == {"name": "LearntNorms", "init": {"activation": "relu"}}
    with pytest.raises(ArgumentError, match="kernel must be one of"):
        GramMatrix({"name": "Norms"})(EMBEDDINGS)
    with pytest.raises(ArgumentError, match="kernel must be one of"):
        GramMatrix("Norms")

    class First(SupportLayer):
        def build_support_set(self, inputs):
            return inputs[:1]

    close(First("sqeuclidean")(EMBEDDINGS), squares[:, :1])
    ours = layers.CentroidsMatrix("sqeuclidean", activation="softmax")
    layer = CentroidsMatrix("sqeuclidean", activation="softmax")
    close(layer([EMBEDDINGS, ONE_HOT]), ours([EMBEDDINGS, ONE_HOT]))
    again = CentroidsMatrix.from_config(layer.get_config())
    close(again([EMBEDDINGS, ONE_HOT]), ours([EMBEDDINGS, ONE_HOT]))
    for wrong in (EMBEDDINGS, [EMBEDDINGS]):
        with pytest.raises(ValueError, match="CentroidsMatrix should be called on a list of inputs"):
            layer.build_support_set(wrong)


def test_siamese_nets_is_a_model_of_pairs(tmp_path):
    from keras_fsl.layers import CenterSlicing2D, GramMatrix
    from keras_fsl.models import SiameseNets

    images = RANDOM.random((2, 5, 4, 4, 3), dtype=np.float32)
    model = SiameseNets({"name": "SingleConv2D", "init": {"input_shape": (4, 4, 3)}}, name="pairs")
    assert [tensor.name for tensor in model.inputs] == ["input_0", "input_1"]
    encoder, head = model.get_layer("encoder"), model.get_layer("head_model")
    embedded = [encoder(each) for each in images]
    close(model(list(images)), head(embedded))
    matrix = keras.Sequential([encoder, GramMatrix(kernel=head)])
    close(tf.linalg.diag_part(matrix(images[0])), head([embedded[0]] * 2)[:, 0])
    model.save_weights(tmp_path / "a.weights.h5")
    own = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(10, 3), CenterSlicing2D()])
    again = SiameseNets(
        own, {"name": "DenseSigmoid", "init": {"use_bias": True}}, weights=tmp_path / "a.weights.h5"
    )
    close(own(images[0]), own.layers[0](images[0])[:, 1, 1])
    close(again.get_layer("head_model")(embedded), head(embedded))
    for wrong, said in (
        ({"encoder": "MobileNet"}, "encoder must be one of BasicCNN"),
        ({"encoder": own, "head_model": "Norms"}, "head_model must be one of DenseSigmoid"),
        ({"branch_model": own}, "branch_model is called encoder"),
    ):
        with pytest.raises(ArgumentError, match=said):
            SiameseNets(**wrong)


def test_classification_holds_a_support_set(tmp_path):
    from keras_fsl.layers import Classification, GramMatrix

    from fslcore import losses

    gram = GramMatrix("DenseSigmoid")
    scores = np.asarray(gram(EMBEDDINGS))
    names = np.array(["b", "a", "b", "c", "a", "b"])
    model = keras.Sequential([keras.Input((6,)), Classification(gram.kernel)])
    layer = model.layers[0]
    loss = layer.set_support_set(EMBEDDINGS[:3], names[:3], overwrite=False)  # the first one, of nothing
    assert loss.shape == (1,)
    assert layer.columns.numpy().tolist() == [b"b", b"a"]
    close(model(EMBEDDINGS), np.stack([scores[:, [0, 2]].mean(1), scores[:, 1]], 1))
    loss = layer.set_support_set(EMBEDDINGS[3:6], names[3:], overwrite=False)
    expected = np.stack([scores[:, np.flatnonzero(names == name)].mean(1) for name in "bac"], 1)
    close(model(EMBEDDINGS), expected)
    close(loss[0], losses.class_consistency_loss(np.unique(names, return_inverse=True)[1], scores[:6, :6]))
    tensors, one_hot, kept = layer.get_support_set()
    close(tensors, EMBEDDINGS[:6])
    close(np.asarray(one_hot).sum(0), np.ones(3))
    assert kept == loss[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    close(loaded(EMBEDDINGS), expected)
    assert loaded.layers[0].columns.numpy().tolist() == [b"b", b"a", b"c"]
    serve = tf.function(lambda x: {"scores": model(x)}, input_signature=[tf.TensorSpec([None, 6])])
    signatures = {"serving_default": serve, "get_support_set": layer.get_support_set}
    tf.saved_model.save(model, str(tmp_path / "saved"), signatures)
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures
    close(served["serving_default"](tf.constant(EMBEDDINGS))["scores"], expected)
    close(served["get_support_set"]()["output_0"], EMBEDDINGS[:6])
    layer.set_support_set(EMBEDDINGS[:1], ["z"], overwrite=True)
    close(model(EMBEDDINGS), scores[:, :1])
    with pytest.raises(
        ArgumentError, match="must have a label for each of the 8 embeddings, received 1 labels"
    ):
        layer.set_support_set(EMBEDDINGS, ["z"], overwrite=True)
