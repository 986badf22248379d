# SPDX-License-Identifier: MIT
"""Losses over pairs without their matrix beside their dense formulas, and networks on norms beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import losses, ops, twins
from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.peers.losses import DENSE
from fslcore.bench.triplet_problem import Batch, graph_call

Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]

_DIM = 128
_SIZES = (256, 1024, 4096, 32768)
# Arrays of all pairs, or of all triplets, that a dense formula and its gradient hold at a time, at least.
_ARRAYS = 6
NORMS = ("absolute", "squared", "product", "sum")
_FILTERS = 4


def ours() -> dict[str, Loss]:
    """The losses, of embeddings and labels."""
    of_labels_first: dict[str, Callable[..., Tensor]] = {
        "InfoNCE": losses.InfoNCELoss(0.1),
        "soft nearest neighbours": losses.SoftNearestNeighborLoss(20.0),
        "contrastive": losses.BatchContrastiveLoss(16.0),
        "pair cross-entropy": lambda labels, x: losses.pair_crossentropy_loss(labels, x, scale=0.1),
        "lifted structure": losses.LiftedStructLoss(1.0),
        "multi-similarity": losses.MultiSimilarityLoss(),
        "circle": losses.CircleLoss(),
        "all triplets of 3 positives": losses.TripletBatchAllLoss(3, 0.2, "angular"),
    }

    def labels_last(loss: Callable[..., Tensor]) -> Loss:
        return lambda x, labels: loss(labels, x)

    two_sides: dict[str, Loss] = {
        "SigLIP": lambda x, _: losses.siglip_loss(x, tf.reverse(x, [0])),
        "N-pairs": lambda x, _: losses.npairs_embeddings_loss(
            tf.range(tf.shape(x)[0]), x, tf.reverse(x, [0])
        ),
    }
    return {name: labels_last(loss) for name, loss in of_labels_first.items()} | two_sides


def cases(quick: bool) -> Iterator[Comparison]:
    """Each loss by size, with its gradient, four samples of a class; then the networks."""
    for name in ours():
        for size in (64,) if quick else _SIZES:
            batch = Batch(size, _DIM, size // 4)
            yield measure(
                f"{name} {size}, dim {_DIM}, {size // 4} classes, loss + gradient",
                entries(name, batch),
                work(name, batch),
                rounds=3 if quick else 5,
                series=f"{name}, dim {_DIM}, 4 per class, loss + gradient",
                batch=size,
            )
    for size in (16,) if quick else (64, 256):
        yield measure(
            f"network on {len(NORMS)} norms, {size} x {size}, dim {_DIM}, with gradients",
            norms_entries(size, _DIM),
            rounds=3 if quick else 5,
            series=f"network on norms, dim {_DIM}, with gradients",
            batch=size,
        )


def entries(name: str, batch: Batch) -> dict[str, Entry]:
    """All contenders of one loss, ours first."""
    loss = ours()[name]
    found = {
        "fslcore, graph": Entry(graph_call(loss, batch)),
        "fslcore, XLA": Entry(graph_call(loss, batch, jit=True)),
    }
    held = 4 * _ARRAYS * batch.size ** (3 if name.startswith("all triplets") else 2)
    found["TensorFlow, dense, graph"] = Entry(graph_call(DENSE[name], batch), held)
    found["TensorFlow, dense, XLA"] = Entry(graph_call(DENSE[name], batch, jit=True), held)
    return found


def work(name: str, batch: Batch) -> Work:
    """The metrics of all pairs, once: of one side each two rows, of two sides the square.

    The unit in which the floors of losses are counted: a gradient that reaches every pair, with memory that
    grows with the batch alone, takes four of them, as the metrics are made twice and multiplied with the rows
    of both sides; of a loss that is a sum over pairs three, as they are made once.
    """
    halves = 2 if name in ("SigLIP", "N-pairs") else 1
    return Work(halves * batch.size**2 * batch.dim, "FLOP")


def norms_entries(size: int, dim: int) -> dict[str, Entry]:
    """A network on the norms of all pairs, with the gradient of the sum of its scores.

    The dense one holds [size, size, dim, filters] floats several times.
    """
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Tensor:
        return tf.constant(random.normal(size=shape).astype(np.float32))

    x = normal(size, dim)
    network = {
        "hidden": normal(_FILTERS, len(NORMS)),
        "hidden_bias": normal(_FILTERS),
        "mixing": normal(_FILTERS),
        "weights": normal(dim),
    }

    def call(function: Callable[..., Tensor], *, jit: bool) -> Callable[[], list[Any]]:
        @tf.function(jit_compile=jit)
        def scores_and_gradients(x: Tensor, network: dict[str, Tensor]) -> Any:
            with tf.GradientTape() as tape:
                tape.watch((x, network))
                scores = function(x, norms=NORMS, **network)
            gradients = tape.gradient(scores, (x, network))
            return [scores, *tf.nest.flatten(gradients)]

        return lambda: [tensor.numpy() for tensor in scores_and_gradients(x, network)]

    held = 4 * 4 * size * size * dim * _FILTERS
    return {
        "fslcore, graph": Entry(call(ops.pairwise_norms, jit=False)),
        "fslcore, XLA": Entry(call(ops.pairwise_norms, jit=True)),
        "TensorFlow, dense, graph": Entry(call(twins.pairwise_norms, jit=False), held),
        "TensorFlow, dense, XLA": Entry(call(twins.pairwise_norms, jit=True), held),
    }
