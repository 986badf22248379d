# SPDX-License-Identifier: MIT
"""`SupportSet`: labels, changes, images of all kinds and answers, with embeddings known in advance."""

import io
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.classifier import KNearest, Nearest
from fslcore.data import Preparation


@pytest.fixture(scope="module")
def encoder():
    """Embeds an image as its four pixels."""
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])


def image(*pixels):
    return np.array(pixels, np.uint8).reshape(2, 2)


DARK, BRIGHT, LEFT = image(0, 0, 0, 0), image(255, 255, 255, 255), image(255, 0, 255, 0)


def as_png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_the_nearest_prototype_answers(encoder):
    support = fsl.SupportSet(encoder)
    support.add("a", [DARK, image(0, 0, 0, 255)])
    support.add(1, BRIGHT)
    support.add("1", LEFT[..., np.newaxis])
    assert support.labels == ("a", 1, "1")
    assert support.counts == {"a": 2, 1: 1, "1": 1}
    assert len(support) == 4
    labels, scores = support.predict([DARK, LEFT])
    assert labels.tolist() == ["a", "1"]
    np.testing.assert_array_equal(scores, np.float32([-0.25, 0]))
    labels, scores = support.predict(LEFT, top=5)
    assert labels.tolist() == [["1", 1, "a"]]
    np.testing.assert_array_equal(scores, np.float32([[0, -2, -2.25]]))
    labels, shares = support.predict([LEFT, BRIGHT], top=3, probabilities=True)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(shares[0], np.exp(scores[0]) / np.exp(scores[0]).sum(), rtol=1e-6)
    assert repr(support) == "SupportSet(4 images of 3 labels, rule 'prototype')"


def test_labels_come_grow_and_go(encoder):
    support = fsl.SupportSet(encoder, "nearest")
    support.update({"dark": DARK, "bright": BRIGHT})
    before = support.snapshot()
    support.add("dark", BRIGHT)  # of equally near labels the first answers
    assert support.predict(BRIGHT)[0].tolist() == ["dark"]
    support.replace("dark", [LEFT])
    assert support.labels == ("dark", "bright")
    assert support.predict([BRIGHT, DARK, LEFT])[0].tolist() == ["bright", "dark", "dark"]
    support.remove("dark")
    assert support.predict([BRIGHT, DARK, LEFT])[0].tolist() == ["bright"] * 3
    support.add_embeddings(np.int64(7), [[0, 0, 0, 0], [0, 0, 0, 0.25]])
    assert support.labels == ("bright", 7)
    assert type(support.labels[1]) is int
    assert support.predict([BRIGHT, DARK])[0].tolist() == ["bright", 7]
    assert support.snapshot().pictured.tolist() == [True, False, False]
    assert before.labels == ("dark", "bright")
    assert support.predict_embeddings(support.embed(LEFT), state=before)[0].tolist() == ["dark"]
    support.remove("bright")
    support.remove(7)
    assert (len(support), support.labels, support.counts) == (0, (), {})


def test_below_the_threshold_the_answer_is_unknown(encoder):
    support = fsl.SupportSet(encoder, Nearest("euclidean"))
    support.update({"dark": DARK, "bright": BRIGHT})
    support.threshold = -1.0
    queries = [image(255, 0, 0, 0), LEFT, BRIGHT]  # at distance 1, at sqrt 2, and there
    assert support.predict(queries)[0].tolist() == ["dark", None, "bright"]
    labels, scores = support.predict(queries, top=2)
    assert labels.tolist() == [["dark", "bright"], [None, None], ["bright", "dark"]]
    np.testing.assert_allclose(scores[1], [-np.sqrt(2)] * 2, rtol=1e-6)
    support.threshold = None
    assert support.predict(queries)[0].tolist() == ["dark", "dark", "bright"]
    support.temperature = 0.5
    np.testing.assert_allclose(
        support.predict(queries[0], probabilities=True)[1], 1 / (1 + np.exp((1 - np.sqrt(3)) * 2)), rtol=1e-6
    )


def test_images_of_all_kinds_are_prepared_alike(encoder, tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 9), np.uint8)
    (tmp_path / "one.png").write_bytes(as_png(pixels))
    kinds = [
        pixels,
        pixels[..., np.newaxis],
        pixels / np.float32(255),
        tf.constant(pixels),
        tmp_path / "one.png",
        str(tmp_path / "one.png"),
        as_png(pixels),
        memoryview(as_png(pixels)),
        Image.fromarray(pixels),
        np.repeat(pixels[..., np.newaxis], 3, axis=2),
    ]
    preparation = Preparation(2, 1, resize="pad")
    support = fsl.SupportSet(encoder, preparation=preparation)
    right = preparation(pixels)
    for kind in kinds:
        np.testing.assert_array_equal(support.prepare(kind), right[np.newaxis])
    np.testing.assert_array_equal(support.prepare(kinds), [right] * len(kinds))
    np.testing.assert_array_equal(support.prepare(iter(kinds)), [right] * len(kinds))
    many = random.integers(0, 256, (3, 7, 7, 1), np.uint8)
    np.testing.assert_array_equal(support.prepare(many), [preparation(each) for each in many])
    fitting = random.integers(0, 256, (3, 2, 2, 1), np.uint8)
    np.testing.assert_array_equal(support.prepare(fitting), fitting)
    scale = np.float32(1 / 255)
    np.testing.assert_array_equal(support.embed(fitting), fitting.reshape(3, 4) * scale)
    support.add("a", fitting)
    fitting[:] = 0  # the set has its own
    assert support.snapshot().pictures.any()


WRONG = {
    "no label": (
        lambda s: s.add("", DARK),
        "label must be a string that is not empty, or an integer, received",
    ),
    "None": (lambda s: s.add(None, DARK), "label must be a string .* received label=None"),
    "truth": (lambda s: s.add(True, DARK), "label must be a string .* received label=True"),
    "number": (lambda s: s.add(1.0, DARK), "label must be a string .* received label=1.0"),
    "nan": (lambda s: s.add(float("nan"), DARK), "label must be a string .* received label=nan"),
    "large": (lambda s: s.add(2**63, DARK), "label must be below 2.63"),
    "labels": (lambda s: s.update({}), "images_by_label must map at least one label to images"),
    "a list": (lambda s: s.update([("b", DARK)]), "images_by_label must map .* received list"),
    "no image": (lambda s: s.add("b", []), "images of label 'b' must hold at least one image, received none"),
    "empty": (lambda s: s.add("b", np.zeros((0, 2, 2, 1), np.uint8)), "must hold at least one image"),
    "bytes": (
        lambda s: s.add("b", b"no image"),
        r"images of label 'b' must be a picture that can be read, .* 8 b",
    ),
    "cut": (
        lambda s: s.add("b", [DARK, as_png(DARK)[:-30]]),
        r"images\[1\] of label 'b' must be a picture that",
    ),
    "file": (
        lambda s: s.add("b", "nowhere.png"),
        r"images of label 'b' must be .* nowhere.png.*No such file",
    ),
    "channels": (
        lambda s: s.add("b", np.zeros((2, 2, 2), np.uint8)),
        r"1, 3 or 4 channels.*uint8 \[2, 2, 2\]",
    ),
    "first": (lambda s: s.add("b", np.zeros((3, 8, 8), np.uint8)), r"put its channels last"),
    "gray": (
        lambda s: s.add("b", np.zeros((9, 8, 8), np.uint8)),
        r"gray images have an axis for it, \[N, H, W, 1\]",
    ),
    "image nan": (
        lambda s: s.add("b", [DARK, [[np.nan, 0.0]]]),
        r"images\[1\] of label 'b' must have values from",
    ),
    "signed": (lambda s: s.add("b", np.zeros((2, 2), np.int64)), "of uint8, unsigned integers or floats"),
    "dict": (
        lambda s: s.add("b", {"x": DARK}),
        "images of label 'b' must be an image or a list .* received dict",
    ),
    "number of": (lambda s: s.add("b", 5), "images of label 'b' must be an image or a list .* received int"),
    "second": (lambda s: s.update({"b": DARK, "c": b"no"}), "images of label 'c' must be a picture"),
    "second label": (lambda s: s.update({"b": DARK, None: DARK}), "label must be a string"),
    "embedding": (
        lambda s: s.add_embeddings("b", [0, 0, np.inf, 0]),
        "embeddings must be finite, received NaN or",
    ),
    "overflow": (lambda s: s.add_embeddings("b", [[0, 0, 0, 1e39]]), "embeddings must be finite"),
    "width": (
        lambda s: s.add_embeddings("b", [[1.0, 2]]),
        "must be as wide as those .* 4 numbers each, received 2",
    ),
    "texts": (lambda s: s.add_embeddings("b", ["x"]), r"embeddings must be real numbers \[n, D\] or \[D\]"),
    "none": (
        lambda s: s.add_embeddings("b", np.zeros((0, 4))),
        r"must hold at least one row, received shape \[0",
    ),
    "remove": (
        lambda s: s.remove("b"),
        r"label must be a label of this support set \('a'\), received label='b'",
    ),
    "other": (lambda s: s.remove(1), r"label must be a label of this support set \('a'\), received label=1"),
    "replace": (lambda s: s.replace("b", DARK), r"label must be a label of this support set \('a'\)"),
    "replace by": (lambda s: s.replace("a", b"no"), "images of label 'a' must be a picture that can be read"),
    "threshold": (lambda s: setattr(s, "threshold", np.nan), "threshold must be a finite number"),
    "temperature": (lambda s: setattr(s, "temperature", 0), "temperature must be above 0"),
    "top": (lambda s: s.predict(DARK, top=0), "top must be at least 1"),
    "k": (lambda s: s.explain(DARK, k=0), "k must be at least 1"),
    "two": (lambda s: s.explain([DARK, DARK]), "image must be one image, received 2 images"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_refused_and_changes_nothing(encoder, wrong):
    call, message = WRONG[wrong]
    support = fsl.SupportSet(encoder)
    support.add("a", DARK)
    before = support.snapshot()
    with pytest.raises(ArgumentError, match=message) as raised:
        call(support)
    assert "\n" not in str(raised.value)
    assert support.snapshot() is before


def test_an_empty_set_answers_nothing(encoder):
    support = fsl.SupportSet(encoder)
    calls = [support.predict, support.explain, lambda x: support.scores(support.embed(x))]
    for call in calls:
        with pytest.raises(ArgumentError, match="must have a label before it predicts: call add"):
            call(DARK)
    with pytest.raises(ArgumentError, match=r"this support set .it has none yet., received"):
        support.remove("a")


def test_ten_thousand_labels_in_one_call_are_one_change(encoder):
    support = fsl.SupportSet(encoder)
    images = np.random.default_rng(0).integers(0, 256, (10_000, 2, 2), np.uint8)
    support.update(dict(enumerate(images)))
    assert support.snapshot().version == 1
    assert support.predict(list(images[::999]))[0].tolist() == list(range(0, 10_000, 999))
    with pytest.raises(ArgumentError, match=r"0, 1, 2, .* and 9990 more"):
        support.remove("0")


def layers_of(*layers):
    return keras.Sequential([keras.Input((2, 2, 1)), *layers])


def test_encoders_and_rules_that_do_not_fit_are_refused(encoder):
    wrong = [
        (lambda: fsl.SupportSet("conv4"), "encoder must be a learner, or a Keras model or layer"),
        (lambda: fsl.SupportSet(keras.Sequential([keras.layers.Dense(2)])), "encoder must be built"),
        (
            lambda: fsl.SupportSet(encoder, "nearest mean"),
            "rule must be one of prototype, nearest, k-nearest",
        ),
        (lambda: fsl.SupportSet(encoder, Nearest), "rule must be one of prototype, .* or a rule of"),
        (lambda: fsl.SupportSet(encoder, "kernel"), "rule must be one of .* without a kernel of its own"),
        (lambda: fsl.SupportSet(encoder, "adapted"), "rule must be another for this Sequential"),
        (lambda: KNearest(0), "k must be at least 1"),
        (lambda: Nearest("weighted_manhattan"), "metric must be one of"),
        (lambda: fsl.SupportSet(encoder, preparation=Preparation(3, 1)), r"must make images \[2, 2, 1\] for"),
        (lambda: fsl.SupportSet(encoder, preparation="stretch"), "preparation must be a fslcore.data.Prepar"),
        (
            lambda: fsl.SupportSet(keras.Sequential([keras.Input((2, 4, 1)), keras.layers.Flatten()])),
            "encoder must take square images with 1 or 3 channels",
        ),
        (
            lambda: fsl.SupportSet(
                keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)])
            ),
            "preparation must be given for the encoder",
        ),
    ]
    for make, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            make()
    broken = layers_of(keras.layers.Rescaling(np.inf), keras.layers.Flatten())
    with pytest.raises(ArgumentError, match="encoder must be finite, received NaN or infinity in row 0"):
        fsl.SupportSet(broken).add("a", DARK)


def test_an_encoder_of_any_size_and_of_maps_takes_prepared_images():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.AveragePooling2D(2)])
    support = fsl.SupportSet(model, preparation=Preparation(4, 3))
    support.add("a", [np.zeros((7, 5), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    np.testing.assert_allclose(support.snapshot().rows, [[0] * 12, [1] * 12], rtol=1e-6)


def test_an_answer_is_explained_by_the_nearest_images(encoder, tmp_path):
    support = fsl.SupportSet(encoder, Nearest("euclidean"))
    support.update({"dark": [DARK, LEFT], "bright": BRIGHT})
    support.add_embeddings("dark", [0, 0, 0, 0.5])
    found = support.explain(image(0, 0, 0, 255), k=3)
    assert (found.label, found.labels, found.numbers.tolist()) == (
        "dark",
        ("dark", "dark", "dark"),
        [3, 0, 1],
    )
    assert (found.measure, found.is_distance) == ("euclidean", True)
    np.testing.assert_allclose(found.values, [0.5, 1, np.sqrt(3)], rtol=1e-6)
    assert found.pictures[0] is None
    np.testing.assert_array_equal(found.pictures[2][..., 0], LEFT)
    found.figure().savefig(tmp_path / "explained.png")
    assert (tmp_path / "explained.png").stat().st_size > 1000
    assert support.explain(BRIGHT, k=9).labels[0] == "bright"


def test_a_run_folder_is_named_in_one_sentence(tmp_path):
    with pytest.raises(ArgumentError, match="run must be a folder that a training has written"):
        fsl.experiments.support_set(pathlib.Path(tmp_path))
