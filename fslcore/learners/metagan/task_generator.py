# SPDX-License-Identifier: MIT
"""The two networks of `MetaGAN` beside its classifier, as pure functions: a support and noise -> images."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners.inner import Tensors
from fslcore.learners.networks import is_known


class TaskGenerator:
    """A generator of images for a task, which an encoder represents by a vector.

    Args:
        generator: (noise `[B, noise_dim]`, task `[B, width]`) -> images `[B, H, W, C]`.
        task_encoder: images `[B, H, W, C]` -> `[B, width]`; its mean over the support represents the task.
        image_shape: `(None, H, W, C)`.
        noise_dim: width of the noise.

    Raises:
        ArgumentError: one of the networks is missing or not built, or their shapes do not match.
    """

    def __init__(
        self, generator: Any, task_encoder: Any, image_shape: tuple[int | None, ...], noise_dim: int
    ) -> None:
        inputs, outputs = _shapes(task_encoder)
        if inputs != image_shape or not is_known(outputs, 2):
            raise ArgumentError(
                "task_encoder",
                f"must be a built Keras model from images {_text(image_shape)}, those of the network, to "
                f"[B, width], but maps {inputs} to {outputs}",
                task_encoder,
            )
        expected = [(None, noise_dim), (None, outputs[1])]
        inputs, outputs = _shapes(generator)
        if inputs != expected or outputs != image_shape:
            raise ArgumentError(
                "generator",
                f"must be a built Keras model from noise {_text(expected[0])} (noise_dim) and task "
                f"{_text(expected[1])} (of the task_encoder) to images {_text(image_shape)} of the network, "
                f"but maps {inputs} to {outputs}",
                generator,
            )
        self.generator, self.task_encoder, self.noise_dim = generator, task_encoder, noise_dim

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The variables that are trained, first those of the generator."""
        return self.generator.trainable_variables + self.task_encoder.trainable_variables

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """The other variables, first those of the generator."""
        return self.generator.non_trainable_variables + self.task_encoder.non_trainable_variables

    def task(
        self, weights: Tensors, state: Tensors, support: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, Tensors]:
        """The representation of a task.

        Args:
            weights: values of the trainable variables.
            state: values of the others.
            support: `[B, H, W, C]`.
            training: whether random layers are active.

        Returns:
            The task `[1, width]` and the new state.
        """
        first = len(self.generator.trainable_variables)
        kept = len(self.generator.non_trainable_variables)
        embeddings, after = self.task_encoder.stateless_call(
            weights[first:], state[kept:], support, training=training
        )
        task = tf.reduce_mean(tf.cast(embeddings, tf.float32), axis=0, keepdims=True)
        return task, [*state[:kept], *after]

    def images(
        self, weights: Tensors, state: Tensors, task: tf.Tensor, noise: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, Tensors]:
        """Generates images for a task.

        Args:
            weights: values of the trainable variables.
            state: values of the others.
            task: `[1, width]`.
            noise: `[B, noise_dim]`.
            training: whether random layers are active.

        Returns:
            Images `[B, H, W, C]` and the new state.
        """
        first = len(self.generator.trainable_variables)
        kept = len(self.generator.non_trainable_variables)
        inputs = [noise, tf.tile(task, [tf.shape(noise)[0], 1])]
        images, after = self.generator.stateless_call(
            weights[:first], state[:kept], inputs, training=training
        )
        return tf.cast(images, tf.float32), [*after, *state[kept:]]

    def generate(self, support: tf.Tensor, count: Any, seed: tf.Tensor) -> tf.Tensor:
        """Images `[count, H, W, C]` for the task of a support `[B, H, W, C]`; the seed is as for `noise`."""
        weights = [tf.convert_to_tensor(v) for v in self.trainable_variables]
        state = [tf.convert_to_tensor(v) for v in self.non_trainable_variables]
        task, _ = self.task(weights, state, support, training=False)
        return self.images(weights, state, task, self.noise(count, seed), training=False)[0]

    def noise(self, count: Any, seed: tf.Tensor) -> tf.Tensor:
        """Noise `[count, noise_dim]` from the standard normal distribution, for a seed int64 `[2]`."""
        return tf.random.stateless_normal([count, self.noise_dim], seed)


def _shapes(model: Any) -> tuple[Any, Any]:
    """Shapes of the inputs and outputs of a built model; None for anything else."""
    if not isinstance(model, keras.Model) or not model.built:
        return None, None
    return getattr(model, "input_shape", None), getattr(model, "output_shape", None)


def _text(shape: tuple[int | None, ...]) -> str:
    return f"[B, {', '.join(map(str, shape[1:]))}]"
