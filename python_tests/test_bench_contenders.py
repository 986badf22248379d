# SPDX-License-Identifier: MIT
"""The benchmark is honest: contenders compute the same, and each delivers what it is measured by."""

from collections import Counter

import numpy as np
import oracles
import oracles_convolution
import oracles_search
import pytest
import tensorflow as tf

from fslcore.bench import blocks, episodes, gram, losses, peers, search, triplets
from fslcore.bench.comparison import Work
from fslcore.bench.episode_problem import Shape
from fslcore.bench.gram_problem import HEAD, TITLES, Problem
from fslcore.bench.peers.search import PRODUCT
from fslcore.bench.search_problem import Search
from fslcore.bench.steps import networks
from fslcore.bench.triplet_problem import MARGIN, Batch

# A PyTorch built for GPUs says on its first gradient that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:CUDA initialization")


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("metric", TITLES)
def test_every_contender_computes_the_metric_and_its_gradients(metric, backward):
    problem = Problem(metric, 6, 5)
    arguments = {"weights": problem.weights, "activation": "sigmoid"} if metric == HEAD else {}
    wanted = [oracles.pairwise(problem.x, problem.y, metric, **arguments)]
    if backward:
        gradient = oracles.pairwise_grad(problem.x, problem.y, problem.upstream, metric, **arguments)
        wanted += list(gradient)[: 3 if metric == HEAD else 2]
    entries = gram.entries(problem, backward)
    assert any(not name.startswith("fslcore") for name in entries)
    for name, entry in entries.items():
        got = entry.call()
        assert len(got) == len(wanted), name
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5, err_msg=name)


def without_another_loss(entries):
    return {name: entry for name, entry in entries.items() if name != "PyTorch Metric Learning"}


@pytest.mark.parametrize("classes", [3, 8])
def test_every_contender_computes_the_triplet_loss_and_its_gradient(classes):
    batch = Batch(16, 5, classes)
    wanted = oracles.triplet_loss(batch.x, batch.labels, "semihard", MARGIN)
    for name, entry in without_another_loss(triplets.entries(batch)).items():
        loss, gradient = entry.call()
        np.testing.assert_allclose(loss, wanted.loss, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(gradient, wanted.grad, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("classes", [3, 8])
def test_every_contender_computes_the_hard_loss_and_its_gradient(classes):
    batch = Batch(16, 5, classes)
    wanted = oracles.triplet_loss(batch.x, batch.labels, "hard", MARGIN)
    for name, entry in triplets.entries(batch, "hard").items():
        loss, gradient = entry.call()
        np.testing.assert_allclose(loss, wanted.loss, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(gradient, wanted.grad, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", losses.ours())
def test_every_contender_computes_the_loss_over_pairs_and_its_gradient(name):
    batch = Batch(16, 5, 4)
    (loss, gradient), *others = [entry.call() for entry in losses.entries(name, batch).values()]
    assert len(others) == 3
    assert loss > 0.0
    for value, other in others:
        np.testing.assert_allclose(value, loss, rtol=1e-4)
        np.testing.assert_allclose(other, gradient, rtol=1e-3, atol=1e-5)
    halves = 2 if name in ("SigLIP", "N-pairs") else 1
    assert losses.work(name, Batch(256, 128, 64)).amount == halves * 256 * 256 * 128


def test_every_contender_computes_the_network_on_norms():
    first, *others = [entry.call() for entry in losses.norms_entries(5, 3).values()]
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def test_every_contender_finds_the_nearest_rows():
    problem = Search(5, 40, 6, 4)
    values, indices = oracles_search.nearest(problem.queries, problem.rows, 4)
    entries = search.entries(problem)
    np.testing.assert_allclose(*entries.pop(PRODUCT).call(), problem.queries @ problem.rows.T, rtol=1e-4)
    assert len(entries) >= 3
    for name, entry in entries.items():
        got = entry.call()
        np.testing.assert_allclose(got[0], values, rtol=1e-4, err_msg=name)
        np.testing.assert_array_equal(got[1], indices, err_msg=name)


def test_every_contender_computes_the_block_and_its_gradients():
    *sources, upstream = blocks.block_inputs(2, 4, 16)
    gradient = oracles_convolution.conv_block_grad(*sources, upstream, strides=1, pool_size=2)
    outputs = oracles_convolution.conv_block(*sources, strides=1, pool_size=2).outputs
    for contender in blocks.contenders(2, 4, 16):
        wanted = [outputs, *gradient[:4]]
        errors = [
            np.linalg.norm(one - other) / np.linalg.norm(other)
            for one, other in zip(contender.build()(), wanted, strict=True)
        ]
        # Both factors of a product in bfloat16 are rounded, each by at most 2^-8 of itself.
        in_bfloat16 = "bfloat16" in contender.name
        assert max(errors) <= (2**-7 if in_bfloat16 else 1e-5), contender.name
        assert (errors[0] > 2**-12) == in_bfloat16, contender.name


def test_a_pair_without_a_farther_negative_takes_the_farthest():
    batch = Batch(4, 2, 2)
    batch.__dict__["x"] = np.array([[0, 0], [1, 0], [5, 0], [2, 0]], np.float32)  # class 0 encloses class 1
    wanted = oracles.triplet_loss(batch.x, batch.labels, "semihard", MARGIN)
    for name, entry in without_another_loss(triplets.entries(batch)).items():
        assert entry.call()[0] == pytest.approx(wanted.loss), name


@pytest.mark.skipif(not peers.installed("pytorch_metric_learning"), reason="an optional peer")
def test_metric_learning_takes_every_semihard_negative():
    batch = Batch(12, 5, 3)
    distances = oracles.pairwise(batch.x)
    margins = [
        distances[a, n] - distances[a, p]
        for a in range(12)
        for p in range(12)
        for n in range(12)
        if a != p and batch.labels[a] == batch.labels[p] != batch.labels[n]
    ]
    terms = [MARGIN - margin for margin in margins if 0 < margin < MARGIN]
    loss, gradient = triplets.entries(batch)["PyTorch Metric Learning"].call()
    assert len(terms) > 3
    np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-4)
    assert gradient.shape == batch.x.shape


@pytest.mark.parametrize("shape", [Shape(5, 2, 3, 12), Shape(3, 1, 1, 2)])
def test_every_contender_delivers_episodes(shape):
    store = episodes.random_store(8)
    known = {
        np.rot90(image, turn).tobytes(): (int(label), turn, index)
        for index, (image, label) in enumerate(zip(store.images, store.labels, strict=True))
        for turn in range(4)
    }
    turns = Counter()
    entries = episodes.entries(store, shape)
    numbers = [name for name in entries if "two numbers" in name]
    assert [len(entries.pop(name).call()) for name in numbers] == [shape.episodes]  # the floor of tf.data
    for name, entry in entries.items():
        drawn = entry.call()
        if "one element" in name:
            drawn = list(zip(*drawn[0], strict=True))
        assert len(drawn) == shape.episodes, name
        for parts in drawn:  # an array, or the support and the query
            episode = np.concatenate(parts, axis=1) if isinstance(parts, tuple) else np.asarray(parts)
            assert (episode.shape, episode.dtype) == (
                (shape.n_way, shape.samples, 28, 28, 1),
                np.float32,
            ), name
            seen = [
                [known[np.rint(image * 255).astype(np.uint8).tobytes()] for image in way] for way in episode
            ]
            classes = [{(label, turn) for label, turn, _ in way} for way in seen]
            assert all(len(way) == 1 for way in classes), name  # one class, turned alike
            assert len(set.union(*classes)) == shape.n_way, name
            assert all(len({index for _, _, index in way}) == shape.samples for way in seen), name
            turns.update((name, turn) for way in classes for _, turn in way)
    # 60 turns of each contender, not all of them seeded: one of 10^7 runs would miss a direction.
    assert shape.images < 100 or len(turns) == 4 * len(entries)


def test_work_is_counted_exactly():
    assert gram.work(Problem("dot", 64, 128), backward=False).amount == 2 * 64 * 64 * 128
    assert gram.work(Problem("dot", 64, 128), backward=True).amount == 6 * 64 * 64 * 128
    assert triplets.work(Batch(256, 128, 64)).amount == 256 * 256 * 128
    work = episodes.work(episodes.random_store(2), Shape(5, 5, 15, 32))
    assert (work.amount, work.unit) == (32 * 5 * 20 * 28 * 28 * 4, "B")
    assert gram.work(Problem("dot", 64, 128), backward=False).unit == "FLOP"
    assert blocks.work(10, 14, 64) == Work(3 * 2 * 10 * 14 * 14 * 9 * 64 * 64, "FLOP")


def test_temporaries_are_those_of_the_formulations():
    entries = gram.entries(Problem(HEAD, 100, 10), backward=True)
    tensor = 4 * 100 * 100 * 10
    assert entries["fslcore, graph"].temporaries == 0
    assert entries["TensorFlow broadcast, graph"].temporaries == 3 * tensor
    assert entries["keras-fsl, graph"].temporaries == 2 * tensor
    batch = Batch(100, 8, 20)
    assert (batch.pairs, batch.triplets) == (100 * 4, 100 * 4 * 95)
    entries = triplets.entries(batch)
    assert entries["TensorFlow Addons, graph"].temporaries == 5 * 4 * 100**3
    assert entries["TensorFlow, sorted, graph"].temporaries == 6 * 4 * 100**2 + 4 * 4 * 400 * 8


@pytest.mark.parametrize("stride", [1, 2])
def test_the_work_of_a_step_is_that_of_the_convolutions_in_its_graph(stride):
    @tf.function
    def gradients(images):
        weights = [tf.constant(w) for w in networks.initial_weights(5 if stride == 2 else None)]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            network = networks.classifier if stride == 2 else networks.encoder
            loss = tf.reduce_sum(network(weights, images))
        return tape.gradient(loss, weights)

    kernel_and_maps = {
        "Conv2D": lambda op: (op.inputs[1], op.outputs[0]),
        "Conv2DBackpropFilter": lambda op: (op.outputs[0], op.inputs[2]),
        "Conv2DBackpropInput": lambda op: (op.inputs[1], op.inputs[2]),
    }
    graph = gradients.get_concrete_function(tf.TensorSpec([3, 28, 28, 1])).graph
    found = [
        kernel_and_maps[op.type](op)
        for op in graph.get_operations()
        if op.type in kernel_and_maps and op.outputs[0].consumers()  # others TensorFlow leaves out
    ]
    assert len(found) == 4 + 4 + 3
    amount = sum(2 * np.prod(maps.shape[:3]) * np.prod(kernel.shape) for kernel, maps in found)
    assert networks.convolution_work(3, stride) == Work(amount, "FLOP")
