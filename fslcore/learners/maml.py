# SPDX-License-Identifier: MIT
"""MAML (Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.learners.episodic import EpisodicLearner, TaskResult, TrainingTask
from fslcore.learners.inner import InnerAdam, InnerOptimizer, all_gradients
from fslcore.learners.networks import check_twice_differentiable
from fslcore.learners.tasks import accuracy, flat_with_labels


@keras.saving.register_keras_serializable(package="fslcore")
class MAML(EpisodicLearner):
    """Learns weights from which a few gradient steps on a support set classify its queries well.

    One training step is algorithm 2 of the paper, as `EpisodicLearner` describes it.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.InnerSGD` or `learners.InnerAdam`.
        second_order: `False`: the gradient with respect to the adapted weights is taken as the one with
            respect to the meta-weights (FOMAML, section 5.2 of the paper), at two thirds of the cost. `True`:
            the gradient through the inner steps, for which every layer must be twice differentiable.
        **options: `adapt_steps` (required), `inner_steps`, `meta_batch`, `adapt_batch`, `normalization` and
            `seed` (of the order of the images in the inner steps, while training), as for `EpisodicLearner`,
            and arguments of `keras.Model`.

    Raises:
        ArgumentError: as for `EpisodicLearner`, or `second_order` is combined with `learners.InnerAdam`,
            whose steps have no derivative where a gradient is 0, or with a layer whose second derivative is
            wrong in TensorFlow.
    """

    def __init__(
        self,
        network: keras.Model,
        inner_optimizer: InnerOptimizer,
        *,
        second_order: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(network, inner_optimizer, **options)
        self.second_order = as_bool("second_order", second_order)
        if second_order and isinstance(inner_optimizer, InnerAdam):
            raise ArgumentError(
                "inner_optimizer", "must be learners.InnerSGD for second_order=True", inner_optimizer
            )
        if second_order:
            check_twice_differentiable(network, frozen=self.normalization == "frozen")

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {**super().get_config(), "second_order": self.second_order}

    def task_step(self, task: TrainingTask) -> TaskResult:
        """The work on one task, as for `EpisodicLearner`, with a gradient of second order if asked for."""
        if not self.second_order:
            return super().task_step(task)
        (weights,) = task.values
        (support, labels), (query, query_labels) = map(flat_with_labels, task.sets)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            adapted, state = self.fitted(weights, task.state, support, labels, task.order)
            loss, logits, state = self.inner_loss(adapted, state, query, query_labels, None)
            scaled = self.optimizer.scale_loss(loss)
        try:
            gradients = all_gradients(tape, scaled, weights, self.network.trainable_variables)
        except LookupError as error:
            raise ArgumentError(
                "second_order",
                f"must be False for the network {self.network.name!r}, which has a layer that TensorFlow "
                f"cannot differentiate twice ({error})",
                True,
            ) from error
        return TaskResult([gradients], [loss, accuracy(query_labels, logits)], state, logits)
