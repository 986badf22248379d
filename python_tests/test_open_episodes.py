# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import numpy as np
import oracles_open_set as oracles
import pytest

from fslcore import PixelNearestNeighbour, kernels
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.evaluation import evaluate_open

SHAPE = (3, 3, 1)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Ten overlapping classes of nine images each."""
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 256, (10, 1, *SHAPE))
    images = np.clip(centres + rng.integers(-60, 61, (10, 9, *SHAPE)), 0, 255).astype(np.uint8)
    return ImageStore.from_arrays(images.reshape(-1, *SHAPE), np.repeat(np.arange(10), 9), name="blobs")


class Adapting:
    """The pixel baseline behind the interface of a learner that is fitted to each episode."""

    def __init__(self, n_way: int) -> None:
        self.n_way, self.seen = n_way, []

    def score_episodes(self, support, query, *, unlabelled=None, transductive=False, seed=0, first=0):
        assert unlabelled is None
        assert not transductive
        self.seen.append(first)
        pixels = PixelNearestNeighbour()
        return np.stack(
            [
                pixels.class_scores(s.reshape(*s.shape[:2], -1), q.reshape(-1, np.prod(SHAPE)))
                for s, q in zip(support, query, strict=True)
            ]
        )


class Scores(PixelNearestNeighbour):
    def __init__(self, function) -> None:
        self.function = function

    def class_scores(self, support, query, counts=None):
        return self.function(len(query), len(support))


def by_a_loop(store, n_way, k_shot, n_query, episodes, seed, rate):
    """The figures of each episode, query by query."""
    pixels = store.images.reshape(len(store), -1).astype(np.int64) / 255
    rows = []
    for table in kernels.sample_episodes(store.labels, 2 * n_way, k_shot, n_query, episodes, seed):
        best, right = {True: [], False: []}, []
        for number, row in enumerate(table):
            for query in row[k_shot:]:
                scores = [
                    max(-float(np.sum((pixels[query] - pixels[s]) ** 2)) for s in known[:k_shot])
                    for known in table[:n_way]
                ]
                best[number < n_way].append(max(scores))
                if number < n_way:
                    right.append(int(np.argmax(scores)) == number)
        half = n_way // 2 * n_query
        labels = [i // n_query for i in range(half)]
        taken = oracles.accepted_of_labels(best[False][:half], labels, rate)
        falling = sorted(best[False][:half], reverse=True)
        threshold = (falling[taken] + falling[taken - 1]) / 2
        if taken == 0:
            threshold = float(np.nextafter(np.float32(falling[0]), np.float32(np.inf)))
        rows.append(
            {
                "auroc": oracles.auroc(best[True], best[False]),
                "fpr_at_95_tpr": oracles.false_positives_at(best[True], best[False]),
                "accuracy": np.mean(right),
                "has_threshold": taken >= 0,
                "threshold": threshold,
                "known": best[True],
                "rest": best[False][half:],
                "right": right,
            }
        )
    return rows


@pytest.mark.parametrize("learner", [PixelNearestNeighbour(), Adapting(4)], ids=["embeds", "adapts"])
def test_the_figures_are_those_of_a_loop_over_episodes_and_queries(store, learner):
    done = []
    found = evaluate_open(
        learner, store, 4, 2, 5, episodes=6, seed=3, false_accept_rate=0.4, progress=done.append
    )
    rows = by_a_loop(store, 4, 2, 5, 6, 3, 0.4)
    for name in ("auroc", "fpr_at_95_tpr", "accuracy"):
        values = [row[name] for row in rows]
        assert getattr(found, name).value == pytest.approx(np.mean(values), rel=1e-12), name
        assert getattr(found, name).ci95 == pytest.approx(1.96 * np.std(values, ddof=1) / 6**0.5, rel=1e-12)
    rows = [row for row in rows if row["has_threshold"]]
    assert found.thresholds == len(rows) >= 3
    accepted = [np.array(row["known"]) >= row["threshold"] for row in rows]
    wrongly = [np.array(row["rest"]) >= row["threshold"] for row in rows]
    correct = [taken & row["right"] for taken, row in zip(accepted, rows, strict=True)]
    precision = [c.sum() / (a.sum() + w.sum()) for a, w, c in zip(accepted, wrongly, correct, strict=True)]
    assert found.accepted.value == pytest.approx(np.mean(accepted), rel=1e-12)
    assert found.false_accepts.value == pytest.approx(np.mean(wrongly), rel=1e-12)
    assert found.recall.value == pytest.approx(np.mean(correct), rel=1e-12)
    assert found.precision.value == pytest.approx(np.mean(precision), rel=1e-12)
    assert 0 < found.recall.value < found.accepted.value < 1
    assert 0 < found.kept <= 1
    assert done == [1, 2, 3, 4, 5, 6]
    assert (found.first.known, found.first.unknown) == (20, 20)
    assert (found.n_way, found.k_shot, found.n_query, found.episodes) == (4, 2, 5, 6)
    assert json.loads(json.dumps(found.to_dict()))["auroc"] == list(found.auroc)


def test_half_of_the_classes_are_known_by_default_or_those_of_the_network(store):
    assert evaluate_open(PixelNearestNeighbour(), store, n_query=3, episodes=1).n_way == 5
    learner = Adapting(3)
    assert evaluate_open(learner, store, n_query=3, episodes=4).n_way == 3
    assert learner.seen == [0]
    evaluate_open(learner, store, n_query=3, episodes=60)
    assert learner.seen == [0, 0, 50]


def test_without_enough_unknown_images_there_is_no_threshold(store):
    few = evaluate_open(PixelNearestNeighbour(), store, 4, 1, 5, 2, false_accept_rate=0.01)
    assert few.auroc.value > 0.5
    assert (few.accepted, few.false_accepts, few.recall, few.precision, few.kept) == (None,) * 5
    assert few.thresholds == 0
    enough = evaluate_open(PixelNearestNeighbour(), store, 4, 1, 5, 2, false_accept_rate=0.5)
    assert enough.false_accepts is not None
    assert enough.thresholds == 2


def test_one_episode_has_no_interval(store):
    found = evaluate_open(PixelNearestNeighbour(), store, 4, 1, 5, 1)
    assert np.isnan(found.auroc.ci95)
    assert found.to_dict()["auroc"][1] is None


def test_a_learner_that_sees_nothing_is_at_chance(store):
    found = evaluate_open(Scores(lambda q, w: np.zeros((q, w))), store, 4, 1, 5, 3, false_accept_rate=0.3)
    assert (found.auroc.value, found.fpr_at_95_tpr.value, found.accuracy.value) == (0.5, 1.0, 0.25)
    assert (found.false_accepts.value, found.accepted.value) == (0, 0)
    assert found.precision is None


@pytest.mark.parametrize(
    ("learner", "arguments", "message"),
    [
        (PixelNearestNeighbour(), {"n_way": 6}, "n_way must be at most 5, half of the 10 classes"),
        (PixelNearestNeighbour(), {"n_way": 1}, "n_way must be at least 2"),
        (PixelNearestNeighbour(), {"n_query": 9}, "k_shot"),
        (PixelNearestNeighbour(), {"false_accept_rate": 0}, "false_accept_rate must be above 0 and below 1"),
        (PixelNearestNeighbour(), {"episodes": 0}, "episodes must be at least 1"),
        (Adapting(3), {"n_way": 4}, "n_way must be 3, the classes of the learner's network"),
        (Scores(lambda q, w: np.zeros((q, w + 1))), {}, "learner must give one row of scores per query"),
        (Scores(lambda q, w: np.full((q, w), np.nan)), {}, "learner must give finite scores"),
        (object(), {}, "learner must have the methods"),
    ],
    ids=["way", "one", "query", "rate", "episodes", "network", "shape", "nan", "no-learner"],
)
def test_what_cannot_be_measured_is_refused(store, learner, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        evaluate_open(learner, store, **{"n_query": 3, "episodes": 2, **arguments})
