# SPDX-License-Identifier: MIT
"""The encoders: the published numbers of parameters, shapes, and what tells the variants apart."""

import re
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from inputs import normal

from fslcore.arguments import ArgumentError
from fslcore.encoders import (
    BasicCNN,
    CifarCNN,
    Darknet7,
    Darknet53,
    KochNet,
    MnistCNN,
    ReptileNet,
    SingleConv2D,
    VinyalsNet,
    build,
    build_classifier,
    check_name,
    conv4,
    conv4_classifier,
    is_pretrained,
    resnet12,
    wide_resnet,
)
from fslcore.experiments.recipes import networks
from fslcore.layers import DropBlock

SMALL = {
    "BasicCNN": (lambda: BasicCNN((28, 28, 1)), 3_221_344, 512),
    "BasicCNN, 20 classes": (lambda: BasicCNN((28, 28, 1), classes=20), 3_221_344 + 513 * 20, 20),
    "VinyalsNet": (VinyalsNet, 113_600, 64),
    "VinyalsNet, grey": (lambda: VinyalsNet((28, 28, 1)), 113_600 - 2 * 9 * 64, 64),
    "conv4": (conv4, 113_600 - 2 * 9 * 64 - 4 * 64, 64),
    "conv4, 84 pixels": (lambda: conv4((84, 84, 1)), 112_192, 1600),
    "SingleConv2D": (SingleConv2D, 280, 10),
    "CifarCNN": (CifarCNN, 388_416, 256),
    "CifarCNN, normalised": (lambda: CifarCNN(normalize=True), 388_416, 256),
    "MnistCNN": (MnistCNN, 410_208, 256),
    "ReptileNet": (ReptileNet, 113_733, 5),
    "Darknet7": (lambda: Darknet7((32, 32, 3), "max"), 6_298_480, 1024),
    "wide_resnet, small": (lambda: wide_resnet((20, 20, 3), 10, 2), 303_344, 128),
}


@pytest.mark.parametrize(("build", "parameters", "dim"), SMALL.values(), ids=SMALL.keys())
def test_parameters_and_embeddings(build, parameters, dim):
    encoder = build()
    assert encoder.count_params() == parameters
    x = normal(0, 2, *encoder.input_shape[1:])
    embeddings = encoder(x)
    assert embeddings.shape == (2, dim) == (2, encoder.output_shape[1])
    assert np.isfinite(embeddings).all()


def test_the_large_networks_have_their_published_sizes():
    darknet53, wrn = Darknet53(), wide_resnet()
    assert darknet53.count_params() == 40_620_640
    assert darknet53.output_shape == Darknet7().output_shape == (None, 7, 7, 1024)
    assert len(darknet53.losses) == 52 == sum(isinstance(x, keras.layers.Conv2D) for x in darknet53.layers)
    # With the linear layer of 10 classes, the 36.5 million of the paper's table 4.
    assert sum(int(np.prod(v.shape)) for v in wrn.trainable_variables) == 36_479_194 - (640 * 10 + 10)
    assert wrn.output_shape == (None, 640)
    assert len([x for x in wrn.layers if isinstance(x, keras.layers.Conv2D)]) == 25 + 3
    assert ReptileNet().count_params() - 2 * 4 * 64 == 113_221  # trainable
    assert build("MobileNet", (224, 224, 3), weights=None).count_params() == 3_228_864


def test_a_wide_block_is_that_of_the_paper():
    """One group halves an odd image, with the shortcut in the middle of what the convolution sees."""
    encoder = wide_resnet((9, 9, 1), 10, 1)
    for variable in encoder.weights:
        name = variable.path.rpartition("/")[2]
        variable.assign(
            tf.ones_like(variable) if name in ("gamma", "moving_variance") else tf.zeros_like(variable)
        )
    kernels = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer in kernels:
        value = np.zeros(layer.kernel.shape, np.float32)
        if layer.kernel_size == (1, 1):
            value[0, 0, 0, 0] = 1
        elif layer is kernels[0]:
            value[1, 1, 0, 0] = 1
        layer.kernel.assign(value)
    image = np.arange(81, dtype=np.float32).reshape(1, 9, 9, 1)
    # Of the residual branches all are 0; the shortcuts take every second pixel, twice. Three batch
    # normalisations with the variance 1 are on the way.
    shrunk = image[0, ::2, ::2, 0][::2, ::2] / np.sqrt(1 + 1e-3) ** 3
    np.testing.assert_allclose(encoder(image)[0, 0], shrunk.mean(), rtol=1e-5)


def test_koch_net_has_39_million_parameters():
    encoder = KochNet()
    assert encoder.count_params() == 38_960_448
    assert encoder.input_shape == (None, 105, 105, 3)
    assert encoder.output_shape == (None, 4096)
    # With one channel, the form of the paper: 2 * 10 * 10 * 64 weights fewer in the first convolution. Its
    # dense unit on the distances, 4096 weights and a bias, makes it the 38,951,745 that are published.
    first = encoder.layers[0].count_params()
    assert first == 10 * 10 * 3 * 64 + 64
    assert encoder.count_params() - 2 * 10 * 10 * 64 + 4097 == 38_951_745


def koch_on_the_smallest_image(variant):
    """2.2 million parameters: after the last convolution one pixel is left."""
    keras.utils.set_random_seed(0)
    encoder = KochNet((65, 65, 1), variant=variant)
    return (
        encoder,
        [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)],
        encoder.layers[-1],
    )


VARIANTS = {
    # Activation of the first convolution, spread of the dense weights, l2 of convolutions and dense layer.
    "keras-fsl": ("linear", 0.2, 0.01, None),
    "paper": ("relu", 0.01, 2e-4, 1e-3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_koch_net(variant):
    activation, spread, l2, dense_l2 = VARIANTS[variant]
    encoder, convolutions, dense = koch_on_the_smallest_image(variant)
    assert [c.activation.__name__ for c in convolutions] == [activation, "relu", "relu", "relu"]
    assert dense.activation.__name__ == "sigmoid"
    for i, layer in enumerate([*convolutions, dense]):
        kernel, bias = layer.get_weights()
        deviation = spread if layer is dense else 0.01
        # Of 6,400 weights or more, the standard deviation is within 5 of its own: 5 / sqrt(2 * 6400) < 5 %.
        assert np.std(kernel) == pytest.approx(deviation, rel=0.05)
        if variant == "paper" and i == 0:
            assert not bias.any()
        else:
            assert np.mean(bias) == pytest.approx(0.5, abs=5 * 0.01 / np.sqrt(64))
    regularisers = [c.kernel_regularizer for c in convolutions]
    assert [float(r.l2) for r in regularisers] == pytest.approx([l2] * 4)
    assert (dense.kernel_regularizer is None) == (dense_l2 is None)
    if dense_l2 is not None:
        assert float(dense.kernel_regularizer.l2) == pytest.approx(dense_l2)
    assert len(encoder.losses) == 4 + (dense_l2 is not None)
    assert encoder(normal(0, 2, 65, 65, 1)).shape == (2, 4096)


def residual_blocks_by_loops(image, weights, filters):
    """ResNet-12 on one image: convolutions pixel by pixel, batch normalisation with given statistics."""
    weights = iter(weights)

    def normalised(x, width):
        kernel = next(weights)
        gamma, beta, mean, variance = (next(weights) for _ in range(4))
        reach = kernel.shape[0] // 2
        padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        out = np.zeros((*x.shape[:2], width))
        for row, column in np.ndindex(*x.shape[:2]):
            window = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
            out[row, column] = np.tensordot(window, kernel, 3)
        return (out - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def leaky(x):
        return np.where(x > 0, x, 0.1 * x)

    for width in filters:
        shortcut = normalised(image, width)
        inner = normalised(leaky(normalised(leaky(normalised(image, width)), width)), width)
        whole = leaky(inner + shortcut)
        high, wide = whole.shape[0] // 2, whole.shape[1] // 2
        image = whole[: 2 * high, : 2 * wide].reshape(high, 2, wide, 2, width).max((1, 3))
    return image.mean((0, 1))


def test_resnet12_is_that_of_the_papers():
    filters = (2, 3, 2, 4)
    encoder = resnet12((18, 16, 3), filters)
    assert encoder.output_shape == (None, 4)
    for i, variable in enumerate(encoder.weights):
        values = normal(i, *variable.shape)
        variable.assign(np.abs(values) + 0.5 if variable.path.endswith(("variance", "gamma")) else values)
    # In the order of the computation; Keras lists the layers of a functional model by their depth.
    names = {layer.name: layer for layer in encoder.layers if layer.weights}
    order = sorted(names, key=lambda name: int((re.findall(r"_(\d+)$", name) or [0])[0]))
    pairs = zip([n for n in order if "conv" in n], [n for n in order if "norm" in n], strict=True)
    weights = [np.asarray(v, np.float64) for pair in pairs for name in pair for v in names[name].weights]
    x = normal(99, 2, 18, 16, 3)
    want = [residual_blocks_by_loops(image, weights, filters) for image in x.astype(np.float64)]
    np.testing.assert_allclose(encoder(x), want, rtol=2e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    ("make", "arguments", "argument"),
    [
        (resnet12, {"filters": (1, 2, 3)}, "filters"),
        (resnet12, {"dropout": 1.0}, "dropout"),
        (resnet12, {"drop_block": -0.1}, "drop_block"),
        (wide_resnet, {"depth": 27}, "depth"),
        (wide_resnet, {"width": 0}, "width"),
        (wide_resnet, {"dropout": 1}, "dropout"),
        (Darknet7, {"pooling": "mean"}, "pooling"),
        (ReptileNet, {"classes": 0}, "classes"),
        (CifarCNN, {"normalize": "no"}, "normalize"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_other_forms_are_refused(make, arguments, argument):
    with pytest.raises(ArgumentError, match=f"{argument} must be"):
        make(**arguments)


def test_drop_block_follows_the_last_two_blocks():
    encoder = resnet12((16, 16, 3), (2, 2, 2, 2), drop_block=0.1)
    assert [layer.get_config()["rate"] for layer in encoder.layers if isinstance(layer, DropBlock)] == [
        0.1
    ] * 2


@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("conv4", 32, 256),
        ("resnet12", 16, 640),
        ("koch", 65, 4096),
        ("wrn-28-10", 4, 640),
        ("basic-cnn", 2, 512),
        ("darknet7", 32, 1024),
    ],
)
def test_networks_have_names(name, size, dim):
    if name != "wrn-28-10":  # building it takes seconds
        assert build(name, (size, size, 3)).output_shape == (None, dim)
    assert build_classifier(name, 7, (size, size, 1)).output_shape == (None, 7)
    assert networks.sizes(name).least == size or name == "conv4"
    assert not networks.is_pretrained(name)
    assert not is_pretrained(name)
    with (
        pytest.raises(ArgumentError, match=f"precision must be float32 for the network {name}")
        if (name != "conv4")
        else nullcontext()
    ):
        build(name, (size, size, 3), precision="bfloat16")


def test_a_name_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match=r"encoder must be one of conv4, .*\(did you mean conv4\?\)"):
        check_name("Conv4")
    check_name("mobilenet-v2")
    assert is_pretrained("mobilenet-v2")


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="variant must be 'keras-fsl' or 'paper', received variant='koch'"):
        KochNet(variant="koch")


def test_conv4_is_vinyals_net_without_the_biases():
    wide, narrow = VinyalsNet((28, 28, 1)), conv4()
    for variable in wide.weights:
        if variable.name == "bias":
            variable.assign(normal(1, *variable.shape))
    without = [variable for variable in wide.weights if variable.name != "bias"]
    assert len(without) == len(wide.weights) - 4
    for ours, theirs in zip(narrow.weights, without, strict=True):
        ours.assign(theirs)
    x = normal(0, 8, 28, 28, 1)
    want = wide(x, training=True)  # which the biases do not change
    # Four blocks of 576 products and 6,272 positions; normalisation keeps what it passes on near 1.
    np.testing.assert_allclose(narrow(x, training=True), want, rtol=0, atol=4 * 6848 * 2.0**-24)


def test_an_encoder_is_saved(tmp_path):
    encoder = conv4()
    encoder.save(tmp_path / "encoder.keras")
    x = normal(0, 2, 28, 28, 1)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "encoder.keras")(x), encoder(x))


@pytest.mark.parametrize(
    ("build", "least"),
    [
        (VinyalsNet, 16),
        (conv4, 16),
        (BasicCNN, 2),
        (KochNet, 65),
        (resnet12, 16),
        (lambda shape: conv4_classifier(5, shape), 1),
        (SingleConv2D, 3),
        (CifarCNN, 16),
        (MnistCNN, 4),
        (lambda shape: ReptileNet(5, shape), 1),
        (Darknet7, 32),
        (lambda shape: wide_resnet(shape, 10, 1), 4),
    ],
    ids=[
        *("VinyalsNet", "conv4", "BasicCNN", "KochNet", "resnet12", "conv4_classifier", "SingleConv2D"),
        *("CifarCNN", "MnistCNN", "ReptileNet", "Darknet7", "wide_resnet"),
    ],
)
def test_images_too_small_to_embed_are_refused_and_the_least_are_not(build, least):
    for shape in ((least - 1, 2 * least, 1), (2 * least, least - 1, 3)):
        with pytest.raises(ArgumentError, match=f"input_shape must be .* of at least {least} pixels"):
            build(shape)
    for shape in (28, (28, 28), (28, 28, 1, 1), (28, 28, None), (28, 28, 0), (28.0, 28, 1), "abc", None):
        with pytest.raises(ArgumentError, match=r"input_shape must be \(height, width, channels\)"):
            build(shape)
    assert build((least, least, 1)).output_shape[-1] >= 1
