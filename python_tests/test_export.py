# SPDX-License-Identifier: MIT
"""Exported classifiers answer as their support sets do: in plain TensorFlow, in LiteRT and in ONNX."""

import base64
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import plain_tensorflow
import pytest
import tensorflow as tf
from picture_files import FILES, noisy

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.classifier import export
from fslcore.classifier.encoding import Encoder
from fslcore.classifier.export import portable, scoring, writing
from fslcore.classifier.export.model import ExportedClassifier
from fslcore.data import Preparation

SIZE = 12


@keras.saving.register_keras_serializable(package="test_export")
class Product(keras.Layer):
    """A kernel of the user's, with a weight."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return tf.reduce_sum(inputs[0] * inputs[1], axis=1, keepdims=True) * tf.convert_to_tensor(self.scale)


def network(units=None):
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((SIZE, SIZE, 1)),
        keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
    ]
    return keras.Sequential(layers if units is None else [*layers, keras.layers.Dense(units)])


def filled(support, counts=(3, 1, 2)):
    noise = np.random.default_rng(5)
    for label, count in zip(("a", 7, "ü"), counts, strict=True):
        support.add(label, noise.integers(0, 256, (count, 17, 14, 1), dtype=np.uint8))
    support.add("a", noise.integers(0, 256, (9, 9, 3), dtype=np.uint8))  # not beside the others of its label
    return support


def reptile():
    return fsl.Reptile(
        network(3), fsl.learners.InnerSGD(0.1), inner_steps=2, inner_batch=3, adapt_steps=3, adapt_batch=3
    )


CASES = {
    "prototype": lambda: filled(fsl.SupportSet(network())),
    "cosine": lambda: filled(fsl.SupportSet(fsl.Prototypical(network(), metric="cosine"))),
    "nearest": lambda: filled(fsl.SupportSet(network(), "nearest")),
    "k-nearest": lambda: filled(fsl.SupportSet(network(), "k-nearest")),
    "class-mean": lambda: filled(fsl.SupportSet(network(), "class-mean")),
    "sigmoid": lambda: filled(fsl.SupportSet(fsl.Siamese(network()))),
    "best": lambda: filled(fsl.SupportSet(fsl.Siamese(network(), "manhattan", shots="best"))),
    "layer": lambda: filled(fsl.SupportSet(fsl.Siamese(network(), Product()))),
    "attention": lambda: filled(fsl.SupportSet(fsl.MatchingNetwork(network()))),
    "adapted": lambda: filled(fsl.SupportSet(reptile())),
    "balanced": lambda: filled(fsl.SupportSet(network(), "k-nearest"), (2, 3, 3)),
}


SERVED = ("prototype", "layer", "adapted")  # an export takes seconds


@pytest.fixture(scope="module")
def supports():
    made = {name: make() for name, make in CASES.items()}
    made["adapted"].refit()
    return made


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(8).integers(0, 256, (5, 20, 31, 1), dtype=np.uint8)


def as_text(content):
    return {"b64": base64.b64encode(content).decode()}


@pytest.fixture(scope="module")
def served(supports, pictures, tmp_path_factory):
    """The answers of all SavedModels in one process that has no fslcore."""
    folder = tmp_path_factory.mktemp("exported")
    ask = {}
    for name in SERVED:
        support = supports[name]
        written = support.export(folder / name)
        assert (written.format, written.labels) == ("saved_model", 3)
        assert written.difference <= 1e-5
        ask[name] = (str(folder / name), "serving_default", {"inputs": {"images": pictures.tolist()}})
    at = str(folder / "prototype")
    floats = (pictures[:2] / np.float32(255)).tolist()
    ask["floats"] = (at, "images_float", {"instances": floats})
    files = [{"image_bytes": as_text(FILES[name])} for name in FILES]
    ask["files"] = (at, "image_bytes", {"instances": files})
    ask["unnamed"] = (at, "image_bytes", {"instances": [as_text(FILES["jpeg"])]})
    windows = [[2, 3, 20, 25], [0, 0, 0, 0]]
    rows = [{"image_bytes": as_text(FILES["turned 6"]), "crop_window": window} for window in windows]
    ask["crops"] = (at, "image_bytes_crop", {"instances": rows})
    ask["support"] = (at, "support_set", {"inputs": {}})
    ask["no picture"] = (at, "image_bytes", {"instances": [as_text(b"GIF89a, or a text")]})
    ask["too bright"] = (at, "images_float", {"instances": [[[[1.5]]]]})
    ask["outside"] = (at, "image_bytes_crop", {"instances": [{**rows[0], "crop_window": [0, 0, 99, 5]}]})
    ask["channels"] = (at, "images", {"inputs": np.zeros((1, 3, 3, 2), int).tolist()})
    (folder / "ask.json").write_text(json.dumps(ask))
    program = pathlib.Path(plain_tensorflow.__file__)
    command = [sys.executable, program, folder / "ask.json", folder / "answer.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "answer.json").read_text())


def agrees(found, support, images):
    labels, scores = support.predict(images)
    _, chances = support.predict(images, probabilities=True)
    everything = support.scores(support.embed(images))
    tolerance = 1e-5 * max(1, np.abs(everything).max())
    assert [row for row in found["label"]] == [str(label) for label in labels]
    np.testing.assert_allclose(found["score"], scores, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found["scores"], everything, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found["probability"], chances, rtol=0, atol=1e-5)
    top, _ = support.predict(images, top=3)
    assert found["top_labels"] == [[str(label) for label in row] for row in top]
    assert all(found["known"])


@pytest.mark.parametrize("name", CASES)
def test_a_graph_of_plain_tensorflow_scores_as_the_rule(supports, pictures, name):
    support = supports[name]
    encoder = Encoder(support.encoder)
    model = ExportedClassifier(encoder, support.preparation, support.rule, support.snapshot())
    found = portable.traced(model)(images=tf.constant(support.prepare(pictures)))
    wanted = support.scores(support.embed(pictures))
    np.testing.assert_allclose(found["scores"], wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))
    chances = support.predict(pictures, top=3, probabilities=True)[1]
    np.testing.assert_allclose(-np.sort(-found["probabilities"].numpy(), axis=1), chances, rtol=0, atol=1e-5)
    assert found["number"].numpy().tolist() == wanted.argmax(axis=1).tolist()


@pytest.mark.parametrize("name", SERVED)
def test_plain_tensorflow_answers_as_the_support_set(served, supports, pictures, name):
    agrees(served[name]["outputs"], supports[name], pictures)
    assert served["modules"] == []


def columns(answer):
    return {name: [row[name] for row in answer["predictions"]] for name in answer["predictions"][0]}


def test_plain_tensorflow_takes_what_tensorflow_serving_sends(served, supports, pictures):
    support = supports["prototype"]
    agrees(columns(served["floats"]), support, pictures[:2])
    agrees(columns(served["files"]), support, list(FILES.values()))
    agrees(columns(served["unnamed"]), support, FILES["jpeg"])
    upright = np.rot90(np.asarray(plain_pixels("turned 6")), -1)
    agrees(columns(served["crops"]), support, [upright[2:22, 3:28], FILES["turned 6"]])


def plain_pixels(name):
    return tf.io.decode_jpeg(FILES[name], dct_method="INTEGER_ACCURATE").numpy()


def test_plain_tensorflow_names_the_labels(served, supports):
    found, state = served["support"]["outputs"], supports["prototype"].snapshot()
    assert found["labels"] == ["a", "7", "ü"]
    assert found["counts"] == [4, 1, 2]
    np.testing.assert_array_equal(np.float32(found["prototypes"]), state.prototypes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no picture", "image_bytes must be JPEG, PNG or BMP of 24 bits, received"),
        ("too bright", "images must have values from 0 to 1, received values from, to"),
        ("outside", "crop_window must be y, x, height and width inside the picture"),
        ("channels", "1, 3 or 4 channels, received"),
    ],
)
def test_wrong_inputs_are_refused(served, name, message):
    assert message in served[name]["error"]


@pytest.mark.parametrize("format", ["litert", "onnx"])
@pytest.mark.parametrize("name", ["prototype", "k-nearest", "attention", "adapted"])
def test_other_runtimes_answer_as_the_support_set(supports, tmp_path, name, format):
    if format == "onnx":
        pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    written = supports[name].export(tmp_path / "out", format)  # compares them
    assert written.difference <= 1e-5
    assert written.compared > 0
    described = json.loads((tmp_path / "out" / export.DESCRIPTION).read_text())
    assert described["labels"] == ["a", 7, "ü"]
    assert described["preparation"] == Preparation(SIZE, 1).to_config()


def test_what_does_not_fit_is_unknown():
    support = fsl.SupportSet(keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten()]))
    support.update({"dark": np.zeros((1, 1), np.uint8), "bright": np.full((1, 1), 255, np.uint8)})
    support.threshold = -0.01
    state = support.snapshot()
    model = ExportedClassifier(Encoder(support.encoder), support.preparation, support.rule, state)
    found = model.of_pixels(tf.constant([[[[0]]], [[[128]]], [[[250]]]], tf.uint8))
    assert found["label"].numpy().tolist() == [b"dark", b"", b"bright"]
    assert found["known"].numpy().tolist() == [True, False, True]
    assert found["top_labels"].numpy()[1].tolist() == [b"", b""]
    prepared = tf.constant([[[[0]]], [[[128]]], [[[250]]]], tf.uint8)
    assert portable.answers(model)(prepared)["number"].numpy().tolist() == [0, -1, 1]


def test_many_queries_are_compared_in_blocks(supports, monkeypatch):
    support = supports["nearest"]
    scorer = scoring.Scorer(support.rule, support.snapshot(), Encoder(support.encoder).model)
    queries = np.random.default_rng(2).normal(size=(7, support.snapshot().dim)).astype(np.float32)
    at_once = scorer(queries).numpy()
    monkeypatch.setattr(scoring, "_VALUES_AT_ONCE", 3 * scorer._values_of_a_query)
    found = tf.function(scorer.in_blocks, autograph=False)(queries)
    np.testing.assert_allclose(found, at_once, rtol=1e-6)


# ---- what is refused, and what stays


def refused(match, support, folder, format="saved_model"):
    with pytest.raises(ArgumentError, match=match):
        support.export(folder, format)
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_what_cannot_be_exported_is_refused(tmp_path):
    out = tmp_path / "out"
    refused("must have a label", fsl.SupportSet(network()), out)
    support = filled(fsl.SupportSet(network()))
    refused(
        "format must be one of saved_model, onnx, litert, received format='tflite'", support, out, "tflite"
    )
    support.add("7", np.zeros((9, 9), np.uint8))
    refused("must differ as strings to be exported, received 7 and '7'", support, out)
    own = filled(fsl.SupportSet(network(), _Own()))
    refused("rule must be one of prototype, .* to be exported", own, out)
    inputs = keras.Input((SIZE, SIZE, 1))
    rows = keras.layers.Flatten()(inputs)
    compiled = keras.Model(inputs, fsl.layers.GramMatrix("sqeuclidean")(rows)[:, :1])
    support = fsl.SupportSet(compiled)
    support.add("a", np.zeros((9, 9), np.uint8))
    refused("must consist of TensorFlow's own ops to be exported, received one with Fslcore", support, out)
    out.mkdir()
    (out / "thesis.txt").write_text("of years")
    refused("must be new, empty, or an earlier export", filled(fsl.SupportSet(network())), out)
    assert (out / "thesis.txt").read_text() == "of years"


class _Own:
    name = "mine"

    def __call__(self, queries, state):
        return np.zeros((len(queries), len(state.labels)), np.float32)


def test_an_export_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    support = filled(fsl.SupportSet(network()))
    support.export(tmp_path / "out", "litert")
    support.remove("ü")
    support.export(tmp_path / "out", "litert")
    assert json.loads((tmp_path / "out" / export.DESCRIPTION).read_text())["labels"] == ["a", 7]
    support.remove(7)
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    wrong = {"litert": lambda model, folder: lambda images: np.full((len(images), 1), 9.0)}
    monkeypatch.setattr(writing, "_WRITERS", wrong)
    with pytest.raises(export.Differs, match="does not score as the support set does"):
        support.export(tmp_path / "out", "litert")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before
    assert json.loads((tmp_path / "out" / export.DESCRIPTION).read_text())["labels"] == ["a", 7]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_are_of_all_kinds():
    assert len(FILES) > 20
    assert noisy(3, 4, 1).shape == (3, 4, 1)
