# SPDX-License-Identifier: MIT
"""The networks of MetaGAN: the published sizes, dropout, and sizes that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from inputs import normal

from fslcore.encoders.adversarial import conditional_generator, task_encoder


def test_the_published_sizes():
    encoder, generator = task_encoder(), conditional_generator()
    assert encoder.count_params() == 2_193_088
    assert encoder.output_shape == (None, 256)
    assert generator.count_params() == 5_504_001
    kernels = [weight.shape for weight in generator.weights if len(weight.shape) == 4]
    assert kernels == [(5, 5, 256, 128), (5, 5, 128, 64), (5, 5, 64, 1)]
    images = generator([normal(0, 3, 100), normal(1, 3, 256)]).numpy()
    assert images.shape == (3, 28, 28, 1)
    assert 0 <= images.min() < images.max() <= 1


def test_other_sizes():
    encoder, generator = task_encoder((8, 12, 3), width=5), conditional_generator((8, 12, 3), 7, 5)
    task = encoder(normal(0, 2, 8, 12, 3)).numpy()
    assert task.shape == (2, 5)
    assert generator([normal(1, 2, 7), task]).shape == (2, 8, 12, 3)


def test_the_encoder_drops_out_only_while_training():
    encoder = task_encoder((4, 4, 1), width=64)
    x = normal(0, 1, 4, 4, 1)
    np.testing.assert_array_equal(encoder(x), encoder(x, training=False))
    # A LeakyReLU is 0 nowhere but by chance; of 64 outputs none is dropped with a probability of 0.8^64.
    assert (encoder(x).numpy() != 0).all()
    assert not (encoder(x, training=True).numpy() != 0).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: conditional_generator((28, 30, 1)), r"multiples of 4, received image_shape=\(28, 30, 1\)"),
        (lambda: conditional_generator((0, 4, 1)), "image_shape must be at least 1"),
        (lambda: conditional_generator(noise_dim=0), "noise_dim must be at least 1, received noise_dim=0"),
        (lambda: conditional_generator(task_width=0), "task_width must be at least 1"),
        (
            lambda: task_encoder((4, 0, 1)),
            r"input_shape must be at least 1, received input_shape=\(4, 0, 1\)",
        ),
        (lambda: task_encoder(width=0), "width must be at least 1, received width=0"),
    ],
    ids=["no multiple of 4", "no image", "noise_dim", "task_width", "input_shape", "width"],
)
def test_sizes_that_cannot_be_built_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
