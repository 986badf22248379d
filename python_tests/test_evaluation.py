# SPDX-License-Identifier: MIT
from __future__ import annotations

import inspect
import json
import math

import keras
import numpy as np
import pytest

from fslcore import PixelNearestNeighbour, Prototypical, Siamese, accuracy_versus_way, evaluate, kernels
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.evaluation import Adapter, Report, episodes, paired_difference, protocol
from fslcore.learners import AdaptiveLearner

SHAPE = (3, 3, 1)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Eight overlapping classes of seven images each: neither hopeless nor easy."""
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 256, (8, 1, *SHAPE))
    images = np.clip(centres + rng.integers(-90, 91, (8, 7, *SHAPE)), 0, 255).astype(np.uint8)
    return ImageStore.from_arrays(images.reshape(-1, *SHAPE), np.repeat(np.arange(8), 7), name="blobs")


def flat(batch_norm: bool = False) -> keras.Model:
    layers = [keras.Input(SHAPE), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.BatchNormalization()] if batch_norm else layers)


class Scores:
    """A learner whose scores are given by a function of (query labels, n_way)."""

    def __init__(self, scores):
        self.scores = scores

    def embed(self, images, training=False):
        return np.zeros((len(images), 1), np.float32)

    def class_scores(self, support, query):
        n_way = len(support)
        truth = np.repeat(np.arange(n_way), len(query) // n_way)
        return self.scores(truth, n_way)


# ---- the protocol


@pytest.mark.parametrize("k_shot", [1, 3])
def test_accuracy_is_that_of_a_loop_over_episodes_and_queries(store, k_shot):
    report = evaluate(PixelNearestNeighbour(), store, 4, k_shot, 2, episodes=25, seed=3)
    pixels = store.images.reshape(len(store), -1).astype(np.int64)
    accuracies = []
    for table in kernels.sample_episodes(store.labels, 4, k_shot, 2, 25, 3):
        correct = 0
        for way in range(4):
            for query in table[way, k_shot:]:
                nearest = [
                    min(np.sum((pixels[query] - pixels[s]) ** 2) for s in row[:k_shot]) for row in table
                ]
                correct += int(np.argmin(nearest) == way)
        accuracies.append(correct / 8)
    np.testing.assert_allclose(report.episode_accuracies, accuracies, rtol=1e-15)
    assert report.accuracy == pytest.approx(np.mean(accuracies), rel=1e-15)
    assert 0.3 < report.accuracy < 1  # neither chance (0.25) nor perfect: the comparison could fail


def test_prototypical_of_one_shot_and_siamese_agree_with_nearest_neighbours(store):
    """With one example per class and no learning, all three are the nearest neighbour in pixels."""
    reports = [
        evaluate(learner, store, 5, 1, 3, episodes=40)
        for learner in (PixelNearestNeighbour(), Prototypical(flat()), Siamese(flat(), "sqeuclidean"))
    ]
    for report in reports[1:]:
        np.testing.assert_array_equal(report.episode_accuracies, reports[0].episode_accuracies)
    assert [report.learner for report in reports] == ["PixelNearestNeighbour", "Prototypical", "Siamese"]


def test_the_confidence_interval_is_196_standard_errors(store):
    report = evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=50)
    values = report.episode_accuracies
    variance = sum((value - report.accuracy) ** 2 for value in values) / 49
    assert report.ci95 == pytest.approx(1.96 * math.sqrt(variance) / math.sqrt(50), rel=1e-12)


def test_every_image_is_embedded_once(store):
    counts = []

    class Counting(PixelNearestNeighbour):
        def embed(self, images, training=False):
            counts.append(len(images))
            return super().embed(images, training)

    whole = evaluate(Counting(), store, 5, 1, 2, episodes=30)
    batched = evaluate(Counting(), store, 5, 1, 2, episodes=30, batch_size=25)
    assert counts == [56, 25, 25, 6]
    assert whole == batched


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (lambda truth, n_way: np.eye(n_way)[truth], 1.0),
        (lambda truth, n_way: -np.eye(n_way)[truth], 0.0),
        (lambda truth, n_way: np.zeros((len(truth), n_way)), 1 / 4),
        (lambda truth, n_way: np.full((len(truth), n_way), np.nan), 0.0),
        (lambda truth, n_way: np.where(np.eye(n_way)[truth] > 0, 1.0, np.nan), 0.0),
        (lambda truth, n_way: np.where(np.arange(n_way) < 2, 1.0, 0.0)[None].repeat(len(truth), 0), 1 / 4),
        (lambda truth, n_way: np.where(np.eye(n_way)[truth] > 0, np.inf, 0.0), 1.0),
        (lambda truth, n_way: np.full((len(truth), n_way), -np.inf), 1 / 4),
    ],
    ids=["right", "wrong", "constant", "all-nan", "nan-beside", "two-tied", "infinite", "all-minus-infinite"],
)
def test_ties_share_and_nan_is_wrong(store, scores, expected):
    assert evaluate(Scores(scores), store, 4, 1, 3, episodes=5).accuracy == expected


def test_scores_of_another_shape_are_refused(store):
    with pytest.raises(ValueError, match=r"class_scores must return one row per query and 4 columns"):
        evaluate(Scores(lambda truth, n_way: np.zeros((len(truth), n_way + 1))), store, 4, 1, 3, episodes=1)


def test_the_same_seed_gives_the_same_report_and_another_one_another(store):
    first, again, other = (
        evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=30, seed=s) for s in (5, 5, 6)
    )
    assert first == again
    np.testing.assert_array_equal(first.episode_accuracies, again.episode_accuracies)
    assert not np.array_equal(first.episode_accuracies, other.episode_accuracies)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_way": 9}, "n_way"),
        ({"k_shot": 6, "n_query": 2}, "k_shot"),
        ({"k_shot": 0}, "k_shot"),
        ({"n_query": 0}, "n_query must be at least 1, received n_query=0"),
        ({"episodes": 0}, "episodes must be at least 1, received episodes=0"),
        ({"batch_size": 0}, "batch_size must be at least 1, received batch_size=0"),
        ({"seed": -1}, "seed"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_protocols_that_are_impossible_are_refused(store, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        evaluate(PixelNearestNeighbour(), store, **{"n_way": 4, "n_query": 2, "episodes": 3} | arguments)


@pytest.mark.parametrize(
    "argument", ["n_way", "k_shot", "n_query", "n_unlabelled", "episodes", "seed", "batch_size"]
)
@pytest.mark.parametrize("value", [1.5, "3", None, True, np.nan, 2**70, -1], ids=repr)
def test_counts_are_whole_numbers(store, argument, value):
    with pytest.raises(ArgumentError, match=f"^{argument} must be [^\n]*, received {argument}=[^\n]*$"):
        evaluate(
            PixelNearestNeighbour(), store, **{"n_way": 4, "n_query": 2, "episodes": 3} | {argument: value}
        )


def test_one_class_to_choose_from_is_refused(store):
    with pytest.raises(ArgumentError, match="n_way must be at least 2, received n_way=1"):
        evaluate(PixelNearestNeighbour(), store, 1, 1, 2, episodes=2)


@pytest.mark.parametrize(
    "learner", [Prototypical, object(), flat(), None], ids=["class", "object", "net", "None"]
)
def test_what_is_no_learner_is_refused(store, learner):
    with pytest.raises(ArgumentError, match="learner must have the methods `embed` and `class_scores`, or"):
        evaluate(learner, store, 4, 1, 2, episodes=2)
    with pytest.raises(ArgumentError, match="learner must have the methods `embed` and `class_scores`, or"):
        accuracy_versus_way({"it": learner}, store, episodes=2)


def test_what_is_no_store_is_refused(store):
    with pytest.raises(ArgumentError, match="store must be an ImageStore, received ndarray"):
        evaluate(PixelNearestNeighbour(), store.images, 4, 1, 2, episodes=2)


def test_images_of_another_shape_are_refused(store):
    other = keras.Sequential([keras.Input((5, 3, 1)), keras.layers.Flatten()])
    with pytest.raises(ArgumentError, match=r"store must hold images \[5, 3, 1\] for this learner, received"):
        evaluate(Prototypical(other), store, 4, 1, 2, episodes=2)
    any_size = keras.Sequential([keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D()])
    assert evaluate(Prototypical(any_size), store, 4, 1, 2, episodes=2).accuracy > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("transductive", [False, True])
def test_embeddings_that_are_no_numbers_are_refused(store, value, transductive):
    class Broken(Prototypical):
        """Right but for a few images."""

        def embed(self, images, training=False):
            embeddings = np.array(super().embed(images, training))
            embeddings[::5, 1] = value
            return embeddings

    with pytest.raises(ArgumentError, match="learner must embed every image as finite numbers, received NaN"):
        evaluate(Broken(flat()), store, 4, 1, 2, episodes=2, transductive=transductive)


def test_embeddings_of_another_shape_are_refused(store):
    class Maps(PixelNearestNeighbour):
        def embed(self, images, training=False):
            return np.asarray(images)

    with pytest.raises(
        ArgumentError, match=r"learner must embed 56 images as \[56, D\], received shape \[56"
    ):
        evaluate(Maps(), store, 4, 1, 2, episodes=2)


def test_a_kernel_without_weights_yet_is_refused(store):
    class Flat(keras.layers.Layer):
        def call(self, x):
            return keras.ops.reshape(x, (-1, 9))

    encoder = Flat()
    encoder.build((None, *SHAPE))
    learner = Siamese(encoder)
    with pytest.raises(ArgumentError, match="kernel must have weights before it compares: train the"):
        evaluate(learner, store, 4, 1, 2, episodes=2)
    learner(store.images[:2] / np.float32(255))
    assert evaluate(learner, store, 4, 1, 2, episodes=2).accuracy >= 0


def test_more_episodes_than_are_drawn_at_a_time(store, monkeypatch):
    whole = evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=30)
    monkeypatch.setattr(episodes, "_CHUNK", 7)
    again = evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=30)
    np.testing.assert_array_equal(again.episode_accuracies, whole.episode_accuracies)


def test_adapters_get_no_more_images_at_a_time_than_fit(store, monkeypatch):
    """However they are divided, the episodes are the same, and each has its number."""
    counts = []

    class Adapting:
        n_way = 4

        def score_episodes(self, support, query, *, unlabelled=None, transductive=False, seed=0, first=0):
            counts.append((first, len(support)))
            first_pixels = query.reshape(len(query), 8, -1)[..., :4]
            return first_pixels + first

    monkeypatch.setattr(protocol, "_ADAPTED_BYTES", 4 * 4 * 3 * 9 * 3 + 1)
    evaluate(Adapting(), store, 4, 1, 2, episodes=8)
    assert counts == [(0, 3), (3, 3), (6, 2)]


def test_adapters_take_all_that_evaluate_passes():
    wanted, offered = (
        list(inspect.signature(kind.score_episodes).parameters) for kind in (Adapter, AdaptiveLearner)
    )
    assert offered == wanted


# ---- transductive


def test_transductive_normalises_each_episode_and_changes_nothing(store):
    learner = Prototypical(flat(batch_norm=True))
    before = [variable.numpy() for variable in learner.variables]
    report = evaluate(learner, store, 4, 1, 3, episodes=6, transductive=True)
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    accuracies = []
    for table in kernels.sample_episodes(store.labels, 4, 1, 3, 6, 0):
        x = store.images[table.ravel()].reshape(16, -1) / 255
        x = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)).reshape(4, 4, -1)
        distances = ((x[:, 1:].reshape(12, 1, -1) - x[:, 0]) ** 2).sum(-1)
        accuracies.append(np.mean(distances.argmin(1) == np.repeat(np.arange(4), 3)))
    np.testing.assert_allclose(report.episode_accuracies, accuracies, rtol=1e-15)
    assert report.transductive
    assert "transductive)" in str(report)
    assert "non-transductive" not in str(report)


def test_what_has_no_batch_statistics_is_not_evaluated_transductively(store):
    dropout = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dropout(0.5)])
    with pytest.raises(ValueError, match="without random layers"):
        evaluate(Prototypical(dropout), store, 4, 1, 2, episodes=2, transductive=True)
    with pytest.raises(ValueError, match="transductive must be False for PixelNearestNeighbour"):
        evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=2, transductive=True)


# ---- reports


def report(values, **fields) -> Report:
    values = np.asarray(values, float)
    defaults = {"n_way": 5, "k_shot": 1, "n_query": 15, "episodes": len(values), "seed": 0}
    defaults |= {"transductive": False, "split_hash": "ab", "dataset": "d", "learner": "l"}
    return Report(accuracy=values.mean(), ci95=0.0021, episode_accuracies=values, **(defaults | fields))


def test_a_report_reads_as_a_sentence():
    assert str(report([0.9731] * 1000)) == "5-way 1-shot: 97.31 % ± 0.21 (1,000 episodes, non-transductive)"


def test_a_report_is_json(store):
    one = evaluate(PixelNearestNeighbour(), store, 4, 1, 2, episodes=1)
    assert math.isnan(one.ci95)
    content = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert content == {
        "accuracy": one.accuracy,
        "ci95": None,
        "n_way": 4,
        "k_shot": 1,
        "n_query": 2,
        "episodes": 1,
        "seed": 0,
        "transductive": False,
        "split_hash": store.content_hash,
        "dataset": "blobs",
        "learner": "PixelNearestNeighbour",
        "n_unlabelled": 0,
        "chance": 0.25,
    }


def test_paired_differences_are_narrower():
    easy = np.array([0.1, 0.9, 0.5, 0.3, 0.7])
    mean, ci95 = paired_difference(report(easy + 0.05), report(easy))
    assert mean == pytest.approx(0.05)
    assert ci95 == pytest.approx(0, abs=1e-15)
    with pytest.raises(ValueError, match="baseline must be about the same episodes"):
        paired_difference(report(easy), report(easy, seed=1))


# ---- accuracy versus N


def test_accuracy_versus_way_is_evaluate_for_every_way(store):
    learners = {"pixels": PixelNearestNeighbour(), "net": Prototypical(flat(batch_norm=True))}
    curves = accuracy_versus_way(learners, store, ways=(2, 4, 8, 9), n_query=2, episodes=20, seed=2)
    assert list(curves) == ["pixels", "net"]
    for name, learner in learners.items():
        assert curves[name] == [evaluate(learner, store, way, 1, 2, 20, 2) for way in (2, 4, 8)]


def test_accuracy_versus_way_needs_a_possible_way(store):
    with pytest.raises(ValueError, match="ways must hold a number up to the 8 classes"):
        accuracy_versus_way({"pixels": PixelNearestNeighbour()}, store, ways=(9, 20))


@pytest.mark.parametrize("k_shot", [1, 3])
@pytest.mark.parametrize("width", [8, 300])  # fewer numbers than images, and more
def test_images_that_are_compared_once_have_the_same_neighbours(k_shot, width):
    rng = np.random.default_rng(0)
    embeddings = rng.random((60, width), dtype=np.float32)
    tables = np.stack([rng.permutation(60)[:30].reshape(5, 6) for _ in range(20)]).astype(np.int32)
    baseline = PixelNearestNeighbour()
    for table, found in zip(tables, baseline.scores_of_tables(embeddings, tables, k_shot), strict=True):
        rows = embeddings[table]
        expected = baseline.class_scores(rows[:, :k_shot], rows[:, k_shot:].reshape(-1, width))
        np.testing.assert_array_equal(found, expected)
