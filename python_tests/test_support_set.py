# SPDX-License-Identifier: MIT
"""`SupportSet`: labels, changes and answers, with encoders whose embeddings can be told in advance."""

import keras
import numpy as np
import pytest

import fslcore as fsl
from fslcore.classifier import Nearest


@pytest.fixture
def encoder():
    """Embeds an image as its four pixels."""
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])


def image(*pixels):
    return np.array(pixels, np.uint8).reshape(2, 2)


def test_the_nearest_prototype_answers(encoder):
    support = fsl.SupportSet(encoder)
    support.add("a", [image(0, 0, 0, 0), image(0, 0, 0, 255)])
    support.add(1, image(255, 255, 255, 255))
    support.add("1", image(255, 255, 0, 0)[..., np.newaxis])
    assert support.labels == ("a", 1, "1")
    assert support.counts == {"a": 2, 1: 1, "1": 1}
    assert len(support) == 4
    labels, scores = support.predict([image(0, 0, 0, 0), image(255, 255, 0, 0)])
    assert labels.tolist() == ["a", "1"]
    np.testing.assert_array_equal(scores, np.float32([-0.25, 0]))
    labels, scores = support.predict(image(255, 255, 0, 0), top=5)
    assert labels.tolist() == [["1", 1, "a"]]
    np.testing.assert_array_equal(scores, np.float32([[0, -2, -2.25]]))


def test_the_nearest_image_answers(encoder):
    support = fsl.SupportSet(encoder, Nearest())
    support.update({"a": [image(0, 0, 0, 0), image(255, 255, 255, 255)], "b": image(255, 0, 0, 0)})
    labels, scores = support.predict([image(255, 255, 255, 255), image(0, 0, 0, 0)], probabilities=True)
    assert labels.tolist() == ["a", "a"]
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))], rtol=1e-6)


def test_a_saved_set_answers_the_same(encoder, tmp_path):
    support = fsl.SupportSet(encoder)
    support.save(tmp_path / "set")
    assert fsl.SupportSet.load(tmp_path / "set").labels == ()
    support.update({"a": [image(0, 0, 0, 0)], 7: image(255, 0, 0, 0)})
    support.threshold = -0.5
    support.save(tmp_path / "set")
    again = fsl.SupportSet.load(tmp_path / "set")
    queries = [image(0, 0, 0, 0), image(255, 0, 0, 9), image(255, 255, 255, 255)]
    for ours, theirs in zip(support.predict(queries), again.predict(queries), strict=True):
        assert ours.tolist() == theirs.tolist()
    assert again.predict(queries)[0].tolist() == ["a", 7, None]
    found = again.explain(queries[0], k=9)
    assert found.labels == ("a", 7)
    assert found.is_distance
    np.testing.assert_array_equal(found.values, np.float32([0, 1]))
    found.figure().savefig(tmp_path / "explained.png")
