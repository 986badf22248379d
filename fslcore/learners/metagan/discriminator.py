# SPDX-License-Identifier: MIT
"""The classifier of `MetaGAN` as a discriminator: the larger its logits, the more likely an image is real."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners.inner import Tensors
from fslcore.learners.normalization import kept
from fslcore.learners.tasks import added, at_least_float32, cross_entropy


class WithoutLabels(NamedTuple):
    """What a task has beside labelled images: the `context` of `inner_loss`.

    Attributes:
        generated: images `[B, H, W, C]` of no class.
        unlabelled: images `[U, H, W, C]` of the task's classes, or None.
    """

    generated: tf.Tensor
    unlabelled: tf.Tensor | None = None

    def real(self, labelled: tf.Tensor) -> tf.Tensor:
        """The labelled images and, after them, the unlabelled ones."""
        return labelled if self.unlabelled is None else tf.concat([labelled, self.unlabelled], axis=0)


class Judgement(NamedTuple):
    """The losses and outputs of the discriminator on a set of images.

    Attributes:
        loss: the loss of the discriminator.
        logits: `[B, n_way]` of the labelled images.
        state: the network's other variables afterwards.
        feature_distance: mean over the features of (mean of real images - mean of generated ones)^2.
        real, generated: mean probabilities of being real.
    """

    loss: tf.Tensor
    logits: tf.Tensor
    state: Tensors
    feature_distance: tf.Tensor
    real: tf.Tensor
    generated: tf.Tensor


class Discriminator:
    """The losses of a classifier that also tells real from generated images, as pure functions.

    Args:
        network: a built classifier, Sequential or functional, whose last layer makes the logits.
        normalization: the policy of `AdaptiveLearner`.
        adversary_weight: weight of the terms that tell real from generated images.

    Raises:
        ArgumentError: the network has another form.
    """

    def __init__(self, network: keras.Model, normalization: str | None, adversary_weight: float) -> None:
        self.normalization, self.adversary_weight = normalization, adversary_weight
        self.network = network
        # Keras tracks models, but not methods: this model consists of the layers of the network.
        self.logits_and_features = _with_features(network).stateless_call

    def judge(
        self,
        weights: Tensors,
        state: Tensors,
        images: tf.Tensor,
        labels: tf.Tensor,
        context: WithoutLabels,
        label_loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = cross_entropy,
    ) -> Judgement:
        """Losses of the discriminator and of the generator.

        The first five arguments are those of `AdaptiveLearner.inner_loss`; the last one is its `label_loss`.
        """
        call = partial(self.logits_and_features, training=self.normalization != "frozen", return_losses=True)
        outputs, after, terms = call(weights, state, context.real(images))
        logits, features = map(at_least_float32, outputs)
        state = kept(self.normalization, state, after)
        outputs, after, further_terms = call(weights, state, context.generated)
        others, other_features = map(at_least_float32, outputs)
        # The weights are the same in both calls, and their regularizers come last.
        of_weights = sum(v.regularizer is not None for v in self.network.trainable_variables)
        terms = [*terms, *further_terms[: len(further_terms) - of_weights]]
        # Averages are of real images alone; the seeds of random layers are those after both calls.
        state = [s if s.dtype.is_floating else a for s, a in zip(state, after, strict=True)]
        if context.unlabelled is None:
            labelled = real = logits
        else:
            labelled, real = logits[: tf.shape(images)[0]], logits[tf.shape(images)[0] :]
            features = features[tf.shape(images)[0] :]
        real, generated = (tf.reduce_logsumexp(z, axis=-1) for z in (real, others))
        # The binary cross-entropies of the label 1 and the label 0.
        adversarial = tf.reduce_mean(tf.math.softplus(-real)) + tf.reduce_mean(tf.math.softplus(generated))
        loss = label_loss(labels, labelled) + self.adversary_weight * adversarial
        if terms:
            loss += tf.cast(added(terms), loss.dtype)
        real_features = tf.stop_gradient(tf.reduce_mean(features, axis=0))
        distance = tf.reduce_mean(tf.square(real_features - tf.reduce_mean(other_features, axis=0)))
        return Judgement(
            loss,
            labelled,
            state,
            distance,
            tf.reduce_mean(tf.sigmoid(real)),
            tf.reduce_mean(tf.sigmoid(generated)),
        )


def _with_features(network: keras.Model) -> keras.Model:
    """The network with a second output, the input of its last layer; it shares the network's variables."""
    features: list[Any] = []
    if getattr(network, "outputs", None):
        operation, node, _ = network.outputs[0]._keras_history
        features = operation._inbound_nodes[node].input_tensors
    if len(features) != 1:
        raise ArgumentError(
            "network",
            "must be Sequential or functional, with a last layer that makes the logits of one tensor of "
            "features",
            network,
        )
    return keras.Model(network.inputs[0], [network.outputs[0], features[0]])
