# SPDX-License-Identifier: MIT
"""sample_episodes: bit for bit the specified draw, a function of (labels, seed, episode), and uniform."""

import collections
import importlib
import itertools

import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical
from hypothesis import given
from hypothesis import strategies as st

# Five classes of 4 to 9 members, unsorted, with labels far apart and of either sign.
UNSORTED = np.random.default_rng(0).permutation(np.repeat([-7, 0, 3, 40, 2**40], [4, 9, 5, 4, 6]))
# 964 classes of 20, sorted: the background set of Omniglot.
OMNIGLOT = np.repeat(np.arange(964, dtype=np.int32), 20)


def assert_specified(got, *args, **kwargs):
    want = oracles.sample_episodes(*args, **kwargs).astype(np.int32)
    np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize(
    ("labels", "args"),
    [
        pytest.param(UNSORTED, (3, 1, 2, 5, 7), id="unsorted"),
        pytest.param(UNSORTED, (5, 2, 2, 4, 0), id="every class and, of two of them, every member"),
        pytest.param(UNSORTED, (1, 1, 0, 3, 1), id="one-way one-shot without a query"),
        pytest.param(OMNIGLOT, (20, 1, 15, 3, 12), id="20-way of 964"),
        pytest.param(np.zeros(1, np.int32), (1, 1, 0, 3, 0), id="one image"),
    ],
)
def test_every_backend_draws_what_is_specified(backend, labels, args):
    assert_specified(backend.sample_episodes(labels, *args), labels, *args)


@pytest.mark.each_level
@given(
    sizes=st.lists(st.integers(3, 8), min_size=1, max_size=9),
    n_query=st.integers(0, 2),
    episodes=st.integers(0, 130),
    seed=st.integers(0, 2**63 - 1),
    first_episode=st.integers(0, 2**62),
    data=st.data(),
)
def test_any_labels_draw_what_is_specified(sizes, n_query, episodes, seed, first_episode, data):
    from fslcore import kernels

    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    args = (labels, data.draw(st.integers(1, len(sizes))), 1, n_query, episodes, seed, first_episode)
    assert_specified(kernels.sample_episodes(*args), *args)


@pytest.mark.each_level
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1])
@pytest.mark.parametrize("first_episode", [0, 2**32 - 2, 2**40])
def test_both_halves_of_the_seed_and_of_the_episode_count(numpy_backend, seed, first_episode):
    args = (UNSORTED, 3, 2, 1, 4, seed, first_episode)
    assert_specified(numpy_backend.sample_episodes(*args), *args)


@pytest.mark.parametrize(("seed", "first_episode"), [(2**40 + 3, 0), (0, 2**40 + 3)])
def test_every_backend_takes_64_bits(backend, seed, first_episode):
    args = (UNSORTED, 2, 1, 1, 2, seed, first_episode)
    assert_specified(backend.sample_episodes(*args), *args)


@pytest.mark.each_level
def test_a_word_that_would_bias_the_draw_is_rejected(numpy_backend):
    # Of 2^20 + 1 images one word in 4112 is rejected; with seed 0, the first of episode 7099 is.
    size, episode = 2**20 + 1, 7099
    first_word = next(oracles.random_words(0, episode, 1))
    assert first_word * size % 2**32 < 2**32 % size
    drawn = numpy_backend.sample_episodes(np.zeros(size, np.int32), 1, 1, 0, 3, 0, episode - 1)
    want = [oracles.below(size, oracles.random_words(0, e, 1)) for e in range(episode - 1, episode + 2)]
    np.testing.assert_array_equal(drawn.ravel(), want)


def test_an_episode_drawn_alone_is_that_of_the_batch(backend):
    batch = backend.sample_episodes(UNSORTED, 3, 1, 2, 6, 5)
    for e in range(6):
        assert_bit_identical(backend.sample_episodes(UNSORTED, 3, 1, 2, 1, 5, e), batch[e : e + 1])


@pytest.mark.parametrize("labels", [UNSORTED, OMNIGLOT], ids=["unsorted", "sorted"])
def test_grouped_labels_draw_the_same(numpy_backend, labels):
    from fslcore import kernels

    given = labels.copy()
    classes = kernels.group_labels(given)
    given[:] = 0  # what was grouped stays
    assert classes.count == len(np.unique(labels))
    args = (3, 1, 2, 4, 5)
    assert_bit_identical(
        numpy_backend.sample_episodes(classes, *args), numpy_backend.sample_episodes(labels, *args)
    )


def test_seeds_and_episodes_differ(numpy_backend):
    by_seed = [numpy_backend.sample_episodes(OMNIGLOT, 20, 1, 1, 1, seed).tobytes() for seed in range(50)]
    by_episode = [episode.tobytes() for episode in numpy_backend.sample_episodes(OMNIGLOT, 20, 1, 1, 50, 0)]
    # Two draws collide with probability below 964^-20; the first of both lists is the same draw.
    assert len({*by_seed, *by_episode}) == 99


def test_classes_are_distinct_and_images_disjoint(numpy_backend):
    drawn = numpy_backend.sample_episodes(UNSORTED, 4, 1, 3, 500, 3)
    assert drawn.shape == (500, 4, 4)
    for episode in drawn:
        classes = UNSORTED[episode]
        assert np.all(classes == classes[:, :1])
        assert len(set(classes[:, 0].tolist())) == 4
        assert len(set(episode.ravel().tolist())) == 16


def assert_uniform(cells, expected_cells, threshold):
    """Pearson's chi-square of how often each of the equally likely cells came up."""
    counted = collections.Counter(cells)
    assert counted.keys() <= set(expected_cells)
    counts = np.array([counted[cell] for cell in expected_cells])
    expected = len(cells) / len(expected_cells)
    assert np.sum((counts - expected) ** 2) / expected < threshold


# The thresholds are the upper 1e-6 quantiles of the chi-square distribution with cells - 1 degrees of
# freedom: 63.7 for 19, 42.7 for 8, 48.9 for 11. A right sampler fails for one seed in a million.
def test_ordered_pairs_of_classes_are_uniform(numpy_backend):
    drawn = numpy_backend.sample_episodes(np.arange(5), 2, 1, 0, 4000, 11)
    pairs = [tuple(classes) for classes in drawn[:, :, 0].tolist()]
    assert_uniform(pairs, [*itertools.permutations(range(5), 2)], 63.7)


def test_ordered_pairs_of_images_are_uniform(numpy_backend):
    drawn = numpy_backend.sample_episodes(np.zeros(4, int), 1, 1, 1, 4000, 11)
    pairs = [tuple(images) for images in drawn[:, 0].tolist()]
    assert_uniform(pairs, [*itertools.permutations(range(4), 2)], 48.9)


def test_the_images_of_two_classes_are_independent(numpy_backend):
    drawn = numpy_backend.sample_episodes(np.repeat([0, 1], 3), 2, 1, 0, 4000, 11)
    # Both classes always come: sorted, the pair is (image of class 0, image of class 1).
    pairs = [tuple(sorted(images)) for images in drawn[:, :, 0].tolist()]
    assert_uniform(pairs, [*itertools.product(range(3), range(3, 6))], 42.7)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_label_width_does_not_matter(backend, dtype):
    labels = np.repeat([4, 1, 9], 5)
    want = oracles.sample_episodes(labels, 2, 1, 2, 3, 8).astype(np.int32)
    np.testing.assert_array_equal(
        backend.sample_episodes(labels.astype(dtype), 2, 1, 2, 3, 8), want, strict=True
    )


def test_no_episodes_are_an_empty_array(backend):
    got = backend.sample_episodes(UNSORTED, 2, 1, 1, 0, 0)
    np.testing.assert_array_equal(got, np.zeros((0, 2, 2), np.int32), strict=True)


FIVE_CLASSES = np.repeat(np.arange(5), 4)


@pytest.mark.parametrize(
    ("labels", "args", "match"),
    [
        pytest.param(
            FIVE_CLASSES,
            (7, 1, 1, 1, 0),
            r"n_way must be.*the number of classes \(5\), received 7",
            id="too few classes",
        ),
        pytest.param(FIVE_CLASSES, (0, 1, 1, 1, 0), "n_way.*received n_way=0", id="no classes asked for"),
        pytest.param(FIVE_CLASSES, (2, 0, 1, 1, 0), "k_shot.*received k_shot=0", id="no shots"),
        pytest.param(FIVE_CLASSES, (2, 1, -1, 1, 0), "n_query.*received n_query=-1", id="negative n_query"),
        pytest.param(
            FIVE_CLASSES, (2, 1, 1, -1, 0), "episodes.*received episodes=-1", id="negative episodes"
        ),
        pytest.param(FIVE_CLASSES, (2, 1, 1, 1, -1), "seed.*received -1", id="negative seed"),
        pytest.param(
            FIVE_CLASSES, (2, 1, 1, 1, 0, -1), "first_episode.*received -1", id="negative first_episode"
        ),
        pytest.param(
            FIVE_CLASSES, (2, 2, 3, 1, 0), r"k_shot \+ n_query.*received 2 \+ 3", id="classes too small"
        ),
        pytest.param(
            np.repeat([8, 9, 5], [9, 2, 9]),
            (2, 1, 2, 1, 0),
            r"k_shot \+ n_query.*1 of 3",
            id="one class too small",
        ),
        pytest.param(np.zeros(0, np.int32), (1, 1, 1, 1, 0), "n_way.*received 1", id="no labels"),
        pytest.param(FIVE_CLASSES[None], (2, 1, 1, 1, 0), "labels must.*received", id="labels are a matrix"),
    ],
)
def test_bad_arguments_are_rejected_with_one_message(backend, reject, labels, args, match):
    reject(backend, match, "sample_episodes", labels, *args)


@pytest.mark.parametrize("module", ["kernels", "ops"])
@pytest.mark.parametrize("seed", [2**63, 2**64, 1.5, "7"])
def test_a_seed_that_is_no_63_bit_integer_is_rejected(module, seed):
    sample = importlib.import_module(f"fslcore.{module}").sample_episodes
    with pytest.raises(ValueError, match=f"seed.*received.*{seed}"):
        sample(FIVE_CLASSES, 2, 1, 1, 1, seed)


@pytest.mark.parametrize("module", ["kernels", "ops"])
@pytest.mark.parametrize("name", ["n_way", "k_shot", "n_query", "episodes"])
def test_a_count_that_is_no_integer_is_rejected(module, name):
    sample = importlib.import_module(f"fslcore.{module}").sample_episodes
    counts = {"n_way": 2, "k_shot": 1, "n_query": 1, "episodes": 1} | {name: 1.0}
    with pytest.raises(ValueError, match=rf"{name}.*received.*1\.0"):
        sample(FIVE_CLASSES, **counts, seed=0)


def test_python_and_numpy_integers_seed_the_ops_alike():
    from fslcore import ops

    for seed in (2**40 + 3, np.int64(2**40 + 3)):
        args = (UNSORTED, 2, 1, 1, 2, seed, 2**40)
        assert_specified(ops.sample_episodes(*args).numpy(), *(int(a) if a is seed else a for a in args))
