# SPDX-License-Identifier: MIT
"""One convolution block of conv4, forward and backward, beside TensorFlow's convolution and normalisation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import ops
from fslcore.bench.comparison import Comparison, Work, compared
from fslcore.bench.steps import networks
from fslcore.bench.workers import Contender, Workers

Tensor = Any
_CHANNELS, _SIDES, _BATCHES = 64, (14, 28), (10, 50)
_IN_A_ROW = 20


def cases(quick: bool) -> Iterator[Comparison]:
    """The sides of the images of conv4's first two blocks, where most of its time goes.

    Many calls in a row, as in training, where one block follows another.
    """
    channels, sides, batches = (16, (6,), (2,)) if quick else (_CHANNELS, _SIDES, _BATCHES)
    with Workers() as workers:
        for side, batch in itertools.product(sides, batches):
            yield compared(
                f"convolution block, {batch} images {side} x {side} of {channels} channels, pooled, "
                "outputs + gradients",
                partial(workers.compare, contenders(batch, side, channels), rounds=2 if quick else 9),
                work(batch, side, channels),
            )


def contenders(batch: int, side: int, channels: int) -> list[Contender]:
    """Ours first; each returns the outputs and the gradients of images, kernel, gamma and beta."""
    builder = partial(_calls, batch, side, channels)
    in_bfloat16 = partial(_ours, precision="bfloat16")
    return [
        Contender("fslcore, graph", partial(builder, _ours), "ops", _IN_A_ROW),
        Contender("fslcore, graph, bfloat16", partial(builder, in_bfloat16), "ops", _IN_A_ROW),
        Contender("fslcore, XLA", partial(builder, _ours, jit=True), "ops", _IN_A_ROW),
        Contender("TensorFlow, graph", partial(builder, networks.block), steps=_IN_A_ROW),
        Contender("TensorFlow, XLA", partial(builder, networks.block, jit=True), steps=_IN_A_ROW),
    ]


def work(batch: int, side: int, channels: int) -> Work:
    """The convolution and its two gradients: every position meets all 9 taps, those in the padding too."""
    return Work(3 * 2 * batch * side**2 * 9 * channels**2, "FLOP")


def block_inputs(batch: int, side: int, channels: int) -> list[np.ndarray[Any, Any]]:
    """Images, kernel, gamma, beta, and the gradient of the outputs, normally distributed, in float32."""
    generator = np.random.default_rng(0)
    shapes = [
        (batch, side, side, channels),
        (3, 3, channels, channels),
        (channels,),
        (channels,),
        (batch, side // 2, side // 2, channels),
    ]
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def _ours(*sources: Tensor, precision: str = "float32") -> Tensor:
    return ops.conv_block(*sources, strides=1, pool_size=2, precision=precision).outputs


def _calls(
    batch: int, side: int, channels: int, block: Callable[..., Tensor], *, jit: bool = False
) -> Callable[[], list[Tensor]]:
    *sources, upstream = (tf.constant(array) for array in block_inputs(batch, side, channels))

    @tf.function(jit_compile=jit, autograph=False)
    def both(sources: list[Tensor], upstream: Tensor) -> list[Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = block(*sources)
        return [outputs, *tape.gradient(outputs, sources, output_gradients=upstream)]

    def call() -> list[Tensor]:
        for _ in range(_IN_A_ROW):
            results = both(sources, upstream)
        return results

    return call
