# SPDX-License-Identifier: MIT
"""MetaGAN (Zhang et al., "MetaGAN: An Adversarial Approach to Few-Shot Learning", 2018), around MAML.

            noise, support ──> generator ──> images of no class ──┐
    support, query, images without labels ──> classifier  <──────────┘

The classifier's logits say which class an image is of, and their log-sum-exp whether it is real.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore import random
from fslcore.arguments import ArgumentError
from fslcore.learners.compiling import check_rate
from fslcore.learners.episodic import EpisodicLearner, TaskResult, TrainingTask
from fslcore.learners.inner import InnerOptimizer, InnerSGD, Tensors, all_gradients
from fslcore.learners.metagan.discriminator import Discriminator, WithoutLabels
from fslcore.learners.metagan.task_generator import TaskGenerator
from fslcore.learners.networks import check_at_least, check_images, check_weights
from fslcore.learners.task_model import Reported
from fslcore.learners.tasks import accuracy, flat_with_labels

# The published settings.
_INNER_OPTIMIZER, _ADAPT_STEPS = InnerSGD(0.1), 5


@keras.saving.register_keras_serializable(package="fslcore")
class MetaGAN(EpisodicLearner):
    """First-order MAML whose network must also tell images of the task from those of a generator.

    With Z the sum of the exponentials of the n_way logits, an image is real with the probability Z / (Z + 1):
    "generated" is one more class, whose logit is 0. The network descends on the cross-entropy of the labelled
    images, plus `adversary_weight` times the binary cross-entropies of real and of generated ones, in the
    inner steps on the support and in the outer step on the queries. Generator and task encoder descend on the
    squared distance between the mean features of real and of generated queries (feature matching); features
    are the input of the network's last layer. As many images are generated as a set has labelled ones, and no
    gradient passes through the inner steps. The real images are the unlabelled ones if there are any, or else
    the labelled ones.

    Real and generated images are normalised separately, each by their own statistics; labelled and unlabelled
    ones are normalised together. All images are in [0, 1], as those of an `ImageStore`; the generated ones
    must be too.

    With `generator=None` there is no adversary, and the learner is first-order MAML.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`, Sequential or
            functional, whose last layer makes the logits.
        generator: (noise `[B, noise_dim]`, task `[B, width]`) -> images `[B, H, W, C]`, such as
            `fslcore.adversarial.conditional_generator()`, or None.
        task_encoder: images `[B, H, W, C]` -> `[B, width]`, such as `fslcore.adversarial.task_encoder()`; its
            mean over the support represents the task. None without a generator.
        inner_optimizer: `learners.InnerSGD` or `learners.InnerAdam`.
        adapt_steps: inner steps on the support of a new task.
        adversary_weight: weight of the terms that tell real from generated images; the published one is 1.
            With a smaller weight the inner steps do more for the classes.
        noise_dim: width of the noise, which is drawn from the standard normal distribution.
        n_unlabelled: images per class without labels that a training task has beside its support, and beside
            its query set. With 0, the labelled images replace them. A new task may have any number.
        **options: `inner_steps`, `meta_batch`, `adapt_batch` (of labelled images; an inner step sees all
            generated and unlabelled ones), `normalization` and `seed` (of the noise in training, a function
            of the seed, the training step and the number of the task), as for `EpisodicLearner`, and
            arguments of `keras.Model`.

    Raises:
        ArgumentError: as for `EpisodicLearner`, or the networks do not match.
    """

    def __init__(
        self,
        network: keras.Model,
        generator: keras.Model | None = None,
        task_encoder: keras.Model | None = None,
        inner_optimizer: InnerOptimizer = _INNER_OPTIMIZER,
        *,
        adapt_steps: int = _ADAPT_STEPS,
        adversary_weight: float = 1.0,
        noise_dim: int = 100,
        n_unlabelled: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(network, inner_optimizer, adapt_steps=adapt_steps, **options)
        if generator is None and (task_encoder is not None or n_unlabelled):
            raise ArgumentError(
                "generator",
                "must be given with a task_encoder or n_unlabelled, but "
                f"task_encoder={task_encoder!r}, n_unlabelled={n_unlabelled}",
                None,
            )
        if not adversary_weight > 0:
            raise ArgumentError("adversary_weight", "must be above 0", adversary_weight)
        if not math.isfinite(adversary_weight):
            raise ArgumentError("adversary_weight", "must be finite", adversary_weight)
        check_at_least(0, n_unlabelled=n_unlabelled)
        self.generator, self.task_encoder = generator, task_encoder
        self.adversary_weight = adversary_weight
        self.noise_dim, self._n_unlabelled = noise_dim, n_unlabelled
        self.generator_optimizer: Any = None  # made by `compile`
        self.task_generator: TaskGenerator | None = None
        if generator is not None:
            self.task_generator = TaskGenerator(generator, task_encoder, network.input_shape, noise_dim)
            check_weights("generator", generator)
            check_weights("task_encoder", task_encoder)
            self.discriminator = Discriminator(network, self.normalization, adversary_weight)
            self.adversary_trackers = [
                Reported("generator_loss", "down"),
                Reported("real_probability", None),
                Reported("fake_probability", None),
            ]

    def compile(  # type: ignore[override]
        self, optimizer: Any = "rmsprop", generator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Keras' `compile` with two optimizers; the adversary's losses need no argument.

        Args:
            optimizer: the optimizer of the network.
            generator_optimizer: the optimizer of the generator and the task encoder; None: one like that of
                the network.
            **kwargs: as for `AdaptiveLearner.compile`.

        Raises:
            ArgumentError: as for `AdaptiveLearner.compile`, or an optimizer has `use_ema`, which Keras
                finishes for the one optimizer of a model.
            NotImplementedError: there are several replicas.
        """
        super().compile(optimizer=optimizer, **kwargs)
        if generator_optimizer is None:
            generator_optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        self.generator_optimizer = self._scaling(keras.optimizers.get(generator_optimizer))
        check_rate("generator_optimizer", self.generator_optimizer)
        for name in ("optimizer", "generator_optimizer") if self.task_generator is not None else ():
            given = getattr(self, name)
            if getattr(given, "inner_optimizer", given).use_ema:
                raise ArgumentError(name, "must not have use_ema for a MetaGAN with a generator", True)
        # Each is built for the variables that it updates, and no others.
        for outer, variables in self.trained_parts():
            outer.build(variables)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the configuration that `compile_from_config` takes; None before `compile`."""
        config = super().get_compile_config()
        if config is None:
            return None
        optimizer = keras.saving.serialize_keras_object(self.generator_optimizer)
        return {**config, "generator_optimizer": optimizer}

    def _scaling(self, optimizer: keras.Optimizer) -> keras.Optimizer:
        """An optimizer that scales its loss as Keras made the one of the network do, under mixed_float16."""
        scaling = keras.optimizers.LossScaleOptimizer
        if isinstance(self.optimizer, scaling) and not isinstance(optimizer, scaling):
            return scaling(optimizer)
        return optimizer

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        """The optimizer of the network, and the one of the generator and the task encoder."""
        return [optimizer for optimizer, _ in self.trained_parts()]

    @property
    def trackers(self) -> list[keras.Metric]:
        """`loss` (of the discriminator) and `accuracy` on queries, and with a generator three more.

        These are `generator_loss`, and the mean probabilities of being real that the adapted network gives
        real queries, `real_probability`, and generated ones, `fake_probability`.
        """
        return [*super().trackers, *([] if self.task_generator is None else self.adversary_trackers)]

    @property
    def takes_unlabelled(self) -> bool:
        """Whether the learner adapts to images without labels too: with a generator."""
        return self.task_generator is not None

    @property
    def n_unlabelled(self) -> int:
        """Unlabelled images per class beside the support of a training task, and beside its queries."""
        return self._n_unlabelled

    def generate(self, support: Any, count: int, *, seed: int = 0) -> tf.Tensor:
        """Generates images for a task.

        Args:
            support: images of the task `[n_way, k_shot, H, W, C]`.
            count: how many to generate.
            seed: seed of the noise.

        Returns:
            Images `[count, H, W, C]` in [0, 1].

        Raises:
            ArgumentError: there is no generator, `support` does not fit the network, or `count` is below 1.
        """
        if self.task_generator is None:
            raise ArgumentError("generator", "must be given to generate images", None)
        check_at_least(1, count=count)
        support = tf.convert_to_tensor(support, tf.float32)
        check_images("support", support, self.network)
        images, _ = flat_with_labels(support)
        return self.task_generator.generate(
            images, count, tf.constant([random.key("noise", seed), 0], tf.int64)
        )

    def task_context(
        self, support: tf.Tensor, unlabelled: tf.Tensor | None, seed: tf.Tensor
    ) -> WithoutLabels | None:
        """As many generated images as the support has, and the unlabelled ones; see `AdaptiveLearner`."""
        if self.task_generator is None:
            return None
        images, _ = flat_with_labels(support)
        generated = self.task_generator.generate(images, tf.shape(images)[0], seed)
        return WithoutLabels(generated, None if unlabelled is None else flat_with_labels(unlabelled)[0])

    def real_images(self, images: tf.Tensor, context: WithoutLabels | None) -> tf.Tensor:
        """Labelled images and, after them, the unlabelled ones."""
        return images if context is None else context.real(images)

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
        judged = self.discriminator.judge(weights, state, images, labels, context, self.label_loss)
        return judged.loss, judged.logits, judged.state

    def trained_parts(self) -> list[tuple[keras.Optimizer, list[keras.Variable]]]:
        """The optimizers of the outer step, each with the variables that it updates."""
        parts = super().trained_parts()
        if self.task_generator is not None:
            parts.append((self.generator_optimizer, self.task_generator.trainable_variables))
        return parts

    def state_variables(self) -> list[keras.Variable]:
        """Variables that a training step changes in other ways than by gradients."""
        variables = super().state_variables()
        if self.task_generator is not None:
            variables = variables + self.task_generator.non_trainable_variables
        return variables

    def training_noise(self, sets: list[tf.Tensor], task: tf.Tensor) -> tf.Tensor | None:
        """Noise for the support and then the queries of one task, `[images, noise_dim]`.

        It is drawn outside the function that XLA may compile, because XLA draws other numbers.
        """
        if self.task_generator is None:
            return None
        support, query = (part.shape[1] * part.shape[2] for part in sets[:2])
        seed = tf.stack([tf.constant(random.key("training noise", self.seed), tf.int64), task])
        return self.task_generator.noise(support + query, seed)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("adversary_weight", "noise_dim", "n_unlabelled")
        networks = {"generator": self.generator, "task_encoder": self.task_encoder}
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            **{name: serialize(network) for name, network in networks.items()},
        }

    def task_attributes(self) -> dict[str, bool] | None:
        """Keeps TensorFlow from inlining `task_step` where it would be in a loop over training steps.

        TensorFlow adds the sums over the tasks to the sums of two gradients in place, in a temporary
        variable, of which there must be only one; but several training steps, and tasks of each, run side by
        side.
        """
        return {"_noinline": True} if self.steps_per_execution > 1 else None

    def task_step(self, task: TrainingTask) -> TaskResult:
        """The work on one task, as for `EpisodicLearner`, with gradients for the generator."""
        if self.task_generator is None:
            return super().task_step(task)
        weights, generating = task.values
        kept = len(self.network.non_trainable_variables)
        state, generating_state = task.state[:kept], task.state[kept:]
        (images, labels), (query, query_labels), *further = map(flat_with_labels, task.sets)
        unlabelled, unlabelled_query = (part for part, _ in further) if further else (None, None)
        support_noise, query_noise = tf.split(task.noise, [images.shape[0], query.shape[0]])
        with tf.GradientTape() as generator_tape:
            generator_tape.watch(generating)
            code, generating_state = self.task_generator.task(generating, generating_state, images)
            generated_query, generating_state = self.task_generator.images(
                generating, generating_state, code, query_noise
            )
        generated, generating_state = self.task_generator.images(
            generating, generating_state, code, support_noise
        )
        adapted, state = self.fitted(
            weights, state, images, labels, task.order, WithoutLabels(generated, unlabelled)
        )
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([adapted, generated_query])
            judged = self.discriminator.judge(
                adapted,
                state,
                query,
                query_labels,
                WithoutLabels(generated_query, unlabelled_query),
                self.label_loss,
            )
            scaled = self.optimizer.scale_loss(judged.loss)
            scaled_distance = self.generator_optimizer.scale_loss(judged.feature_distance)
        gradients = all_gradients(tape, scaled, adapted, self.network.trainable_variables)
        # In two parts, first back to the images: the generator was recorded before the network was adapted.
        towards_real = tape.gradient(scaled_distance, generated_query)
        generator_gradients = generator_tape.gradient(
            generated_query, generating, output_gradients=towards_real
        )
        results = [judged.loss, accuracy(query_labels, judged.logits)]
        results += [judged.feature_distance, judged.real, judged.generated]
        state = [*judged.state, *generating_state]
        return TaskResult([gradients, generator_gradients], results, state, judged.logits)
