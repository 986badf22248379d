# SPDX-License-Identifier: MIT
"""MetaGAN (Zhang et al., "MetaGAN: An Adversarial Approach to Few-Shot Learning", 2018), around MAML.

            noise, support ──> generator ──> images of no class ──┐
    support, query, images without labels ──> classifier  <──────────┘

The classifier's logits say which class an image is of, and their log-sum-exp whether it is real.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fslcore.learners.adversary import Adversary
from fslcore.learners.inner import SGD, InnerOptimizer, Tensors
from fslcore.learners.maml import MAML
from fslcore.learners.tasks import accuracy, cross_entropy, flat_with_labels

# The published settings.
_INNER_OPTIMIZER, _ADAPT_STEPS = SGD(0.1), 5
# Added to the seed for the noise of training, so that no evaluation repeats it: no user's seed is as large.
_TRAINING_STREAM = 1 << 62


class WithoutLabels(NamedTuple):
    """What a task has beside labelled images: the `context` of `inner_loss`.

    Attributes:
        generated: images `[B, H, W, C]` of no class.
        unlabelled: images `[U, H, W, C]` of the task's classes, or None.
    """

    generated: tf.Tensor
    unlabelled: tf.Tensor | None = None


class Judgement(NamedTuple):
    """What the network makes of a set of images.

    Attributes:
        loss: of the discriminator.
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


@keras.saving.register_keras_serializable(package="fslcore")
class MetaGAN(MAML):
    """First-order MAML whose network must also tell images of the task from those of a generator.

    With Z the sum of the exponentials of the n_way logits, an image is real with the probability Z / (Z + 1):
    "generated" is one more class, whose logit is 0. The network descends on the cross-entropy of the labelled
    images, plus `adversary_weight` times the binary cross-entropies of real and of generated ones, in the
    inner steps on the support as in the outer step on the queries. Generator and task encoder descend on the
    distance of the features, the input of the network's last layer, between the means of real and of
    generated queries (feature matching). As many images are generated as a set has labelled ones, and no
    gradient goes through the inner steps. With unlabelled images, those are the real ones; else the labelled
    ones are.

    Real and generated images are normalised separately, each by their own statistics; labelled and unlabelled
    ones together. All images are 0 to 1, as those of an `ImageStore`, and so must be the generated ones.

    `generator=None` gives the same learner without adversary, which is first-order MAML.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`, Sequential or
            functional, whose last layer makes the logits.
        generator: (noise `[B, noise_dim]`, task `[B, width]`) -> images `[B, H, W, C]`, such as
            `fslcore.adversarial.conditional_generator()`, or None.
        task_encoder: images `[B, H, W, C]` -> `[B, width]`, such as `fslcore.adversarial.task_encoder()`; its
            mean over the support stands for the task. None without a generator.
        inner_optimizer: `learners.SGD` or `learners.Adam`.
        adapt_steps: inner steps on the support of a new task.
        inner_steps: inner steps of a training task; None: as many.
        meta_batch: tasks of a training step.
        adversary_weight: of the terms that tell real from generated images; the published one is 1. Smaller
            ones leave more of the inner steps to the classes.
        noise_dim: width of the noise, which is drawn from the standard normal distribution.
        n_unlabelled: images per class that a training task has without their labels beside its support, and
            beside its query set. With 0, the labelled images stand for them. A new task may have any number.
        adapt_batch: labelled images of an inner step, which sees all generated and unlabelled ones.
        normalization: as for `AdaptiveLearner`.
        seed: of the noise in training: that of a task is a function of the seed, the training step and the
            number of the task.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: as for `MAML`, or the networks do not go together.
    """

    def __init__(
        self,
        network: keras.Model,
        generator: keras.Model | None = None,
        task_encoder: keras.Model | None = None,
        inner_optimizer: InnerOptimizer = _INNER_OPTIMIZER,
        *,
        adapt_steps: int = _ADAPT_STEPS,
        inner_steps: int | None = None,
        meta_batch: int = 32,
        adversary_weight: float = 1.0,
        noise_dim: int = 100,
        n_unlabelled: int = 0,
        adapt_batch: int | None = None,
        normalization: str | None = "auto",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            network,
            inner_optimizer,
            adapt_steps=adapt_steps,
            inner_steps=inner_steps,
            meta_batch=meta_batch,
            adapt_batch=adapt_batch,
            normalization=normalization,
            seed=seed,
            **kwargs,
        )
        if generator is None and (task_encoder is not None or n_unlabelled):
            raise ValueError(
                "generator must be given with a task_encoder or n_unlabelled, received generator=None, "
                f"task_encoder={task_encoder!r}, n_unlabelled={n_unlabelled}"
            )
        if not adversary_weight > 0:
            raise ValueError(
                f"adversary_weight must be above 0, received adversary_weight={adversary_weight}"
            )
        if n_unlabelled < 0:
            raise ValueError(f"n_unlabelled must be at least 0, received n_unlabelled={n_unlabelled}")
        self.generator, self.task_encoder = generator, task_encoder
        self.adversary_weight = adversary_weight
        self.noise_dim, self._n_unlabelled = noise_dim, n_unlabelled
        self.generator_optimizer: keras.Optimizer | None = None
        self.adversary: Adversary | None = None
        if generator is not None:
            self.adversary = Adversary(generator, task_encoder, network.input_shape, noise_dim)
            # Keras tracks models, not their methods: this one has the layers of the network.
            self._logits_and_features = _with_features(network).stateless_call
            names = ("generator_loss", "real_probability", "fake_probability")
            self.adversary_trackers = [keras.metrics.Mean(name=name) for name in names]

    def compile(self, optimizer: Any, generator_optimizer: Any = None, **kwargs: Any) -> None:
        """Keras' `compile` with two optimizers; the losses need no argument.

        Args:
            optimizer: of the network.
            generator_optimizer: of the generator and the task encoder; None: one like that of the network.
            **kwargs: as for `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, **kwargs)
        if generator_optimizer is None:
            generator_optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        self.generator_optimizer = keras.optimizers.get(generator_optimizer)
        # Each knows the variables that it moves, and no others.
        for outer, variables in self.trained_parts():
            outer.build(variables)

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile_from_config` takes; None before `compile`."""
        if not self.compiled:
            return None
        optimizer = keras.saving.serialize_keras_object(self.generator_optimizer)
        return {**super().get_compile_config(), "generator_optimizer": optimizer}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        """That of the network, and that of the generator and the task encoder."""
        return [optimizer for optimizer, _ in self.trained_parts()]

    @property
    def metrics(self) -> list[keras.Metric]:
        """`loss` (of the discriminator) and `accuracy` on queries, and with a generator three more.

        `generator_loss`, and `real_probability` and `fake_probability`: the mean probabilities of being
        real that the adapted network gives real and generated queries.
        """
        return [*super().metrics, *([] if self.adversary is None else self.adversary_trackers)]

    @property
    def takes_unlabelled(self) -> bool:
        """Whether images without labels help it to adapt: with a generator."""
        return self.adversary is not None

    @property
    def n_unlabelled(self) -> int:
        """Images per class of a training task beside its support, and beside its query set."""
        return self._n_unlabelled

    def generate(self, support: Any, count: int, *, seed: int = 0) -> tf.Tensor:
        """Images that the generator takes for those of a task.

        Args:
            support: images of the task `[n_way, k_shot, H, W, C]`.
            count: how many to generate.
            seed: of the noise.

        Returns:
            Images `[count, H, W, C]`, 0 to 1.

        Raises:
            ValueError: there is no generator, `support` does not fit the network, or `count` is below 1.
        """
        if self.adversary is None:
            raise ValueError("generator must be given to generate images, received generator=None")
        if count < 1:
            raise ValueError(f"count must be at least 1, received count={count}")
        support = tf.convert_to_tensor(support, tf.float32)
        self._check_images("support", support)
        return self.adversary.generate(flat_with_labels(support)[0], count, tf.constant([seed, 0], tf.int64))

    def task_context(
        self, support: tf.Tensor, unlabelled: tf.Tensor | None, seed: tf.Tensor
    ) -> WithoutLabels | None:
        """Generated images, as many as the support has, and the unlabelled ones; see `AdaptiveLearner`."""
        if self.adversary is None:
            return None
        images, _ = flat_with_labels(support)
        generated = self.adversary.generate(images, tf.shape(images)[0], seed)
        return WithoutLabels(generated, None if unlabelled is None else flat_with_labels(unlabelled)[0])

    def real_images(self, images: tf.Tensor, context: WithoutLabels | None) -> tf.Tensor:
        """Labelled images and, after them, the unlabelled ones."""
        if context is None or context.unlabelled is None:
            return images
        return tf.concat([images, context.unlabelled], axis=0)

    def inner_loss(
        self,
        weights: Tensors,
        state: Tensors,
        images: tf.Tensor,
        labels: tf.Tensor,
        context: WithoutLabels | None,
    ) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
        """The loss of the discriminator; see `AdaptiveLearner`."""
        if context is None:
            return super().inner_loss(weights, state, images, labels, context)
        judged = self.judge(weights, state, images, labels, context)
        return judged.loss, judged.logits, judged.state

    def judge(
        self, weights: Tensors, state: Tensors, images: tf.Tensor, labels: tf.Tensor, context: WithoutLabels
    ) -> Judgement:
        """Losses of the discriminator and of the generator; arguments as for `inner_loss`."""
        training = self.normalization != "frozen"
        (logits, features), after = self._logits_and_features(
            weights, state, self.real_images(images, context), training=training
        )
        state = self._kept(state, after)
        (others, other_features), after = self._logits_and_features(
            weights, state, context.generated, training=training
        )
        # The averages are of real images alone; the seeds of random layers have gone on.
        state = [s if s.dtype.is_floating else a for s, a in zip(state, after, strict=True)]
        if context.unlabelled is None:
            labelled = real = logits
        else:
            labelled, real = logits[: tf.shape(images)[0]], logits[tf.shape(images)[0] :]
            features = features[tf.shape(images)[0] :]
        real, generated = (tf.reduce_logsumexp(z, axis=-1) for z in (real, others))
        # The binary cross-entropies of the label 1 and the label 0.
        adversarial = tf.reduce_mean(tf.math.softplus(-real)) + tf.reduce_mean(tf.math.softplus(generated))
        loss = cross_entropy(labels, labelled) + self.adversary_weight * adversarial
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

    def trained_parts(self) -> list[tuple[keras.Optimizer, list[keras.Variable]]]:
        """The optimizers of the outer step, each with the variables that it moves."""
        parts = super().trained_parts()
        if self.adversary is not None:
            parts.append((self.generator_optimizer, self.adversary.trainable_variables))
        return parts

    def state_variables(self) -> list[keras.Variable]:
        """Variables that a training step changes by other means than gradients."""
        return super().state_variables() + (self.adversary.non_trainable_variables if self.adversary else [])

    def training_noise(self, sets: list[tf.Tensor], task: tf.Tensor) -> tf.Tensor | None:
        """Noise for the support and then the queries of one task, `[images, noise_dim]`.

        Drawn here, outside what XLA may compile, for XLA draws other numbers.
        """
        if self.adversary is None:
            return None
        support, query = (part.shape[1] * part.shape[2] for part in sets[:2])
        seed = tf.stack([tf.constant(_TRAINING_STREAM + self.seed, tf.int64), task])
        return self.adversary.noise(support + query, seed)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("adversary_weight", "noise_dim", "n_unlabelled")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        del config["second_order"]
        networks = {"generator": self.generator, "task_encoder": self.task_encoder}
        serialize = keras.saving.serialize_keras_object
        return {**config, **{name: serialize(network) for name, network in networks.items()}}

    def _task(
        self,
        sets: list[tf.Tensor],
        order: tf.Tensor | None,
        noise: tf.Tensor | None,
        values: list[Tensors],
        state: Tensors,
    ) -> tuple[list[Tensors], Tensors, Tensors]:
        if self.adversary is None:
            return super()._task(sets, order, noise, values, state)
        weights, generating = values
        kept = len(self.network.non_trainable_variables)
        state, generating_state = state[:kept], state[kept:]
        (images, labels), (query, query_labels), *further = (flat_with_labels(part) for part in sets)
        unlabelled, unlabelled_query = (part for part, _ in further) if further else (None, None)
        support_noise, query_noise = tf.split(noise, [images.shape[0], query.shape[0]])
        with tf.GradientTape() as generator_tape:
            generator_tape.watch(generating)
            task, generating_state = self.adversary.task(generating, generating_state, images)
            generated_query, generating_state = self.adversary.images(
                generating, generating_state, task, query_noise
            )
        generated, generating_state = self.adversary.images(generating, generating_state, task, support_noise)
        adapted, state = self.fitted(
            weights, state, images, labels, order, WithoutLabels(generated, unlabelled)
        )
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([adapted, generated_query])
            judged = self.judge(
                adapted, state, query, query_labels, WithoutLabels(generated_query, unlabelled_query)
            )
        gradients = tape.gradient(judged.loss, adapted)
        # Back to the images first: the generator was recorded before the network was adapted.
        towards_real = tape.gradient(judged.feature_distance, generated_query)
        generator_gradients = generator_tape.gradient(
            generated_query, generating, output_gradients=towards_real
        )
        results = [judged.loss, accuracy(query_labels, judged.logits)]
        results += [judged.feature_distance, judged.real, judged.generated]
        return [gradients, generator_gradients], results, [*judged.state, *generating_state]


def _with_features(network: keras.Model) -> keras.Model:
    """The network with a second output, the input of its last layer; its variables are the network's."""
    features: list[Any] = []
    if getattr(network, "outputs", None):
        operation, node, _ = network.outputs[0]._keras_history
        features = operation._inbound_nodes[node].input_tensors
    if len(features) != 1:
        raise ValueError(
            "network must be Sequential or functional, with a last layer that makes the logits of one tensor "
            f"of features, received {network.name!r}"
        )
    return keras.Model(network.inputs[0], [network.outputs[0], features[0]])
