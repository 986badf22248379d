# SPDX-License-Identifier: MIT
"""What the learners that compare embeddings share: an encoder, and an `embed` that never changes it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import xla
from fslcore.arguments import ArgumentError
from fslcore.encoders.imagenet import PretrainedEncoder, warn_of_xla
from fslcore.learners.fitting import bound, takes_arguments_of
from fslcore.learners.image_learner import ImageLearner
from fslcore.learners.inference import GraphEncoder, images_at_a_time
from fslcore.learners.networks import random_variables
from fslcore.learners.watching import Watch
from fslcore.replicas import count_replicas


class EmbeddingLearner(ImageLearner):
    """A `keras.Model` around an encoder of images; a new class is compared with, not trained on.

    A learner is trained with Keras' own `compile` and `fit`. `jit_compile="auto"` keeps Keras' meaning,
    which is also the fastest measured choice: XLA on a GPU, and a plain graph on a CPU, where XLA makes a
    convolutional net 3 to 4 times slower.

    Args:
        encoder: a built Keras model or layer, images `[B, H, W, C]` -> anything with batch axis `B`.
        **kwargs: passed to `keras.Model` (`name`, `dtype`).

    Raises:
        ArgumentError: `encoder` is not a Keras layer, or has no weights yet because its input shape is
            unknown.
    """

    def __init__(self, encoder: keras.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(encoder, keras.Layer):
            raise ArgumentError("encoder", "must be a Keras model or layer", encoder)
        if not encoder.built:
            raise ArgumentError(
                "encoder",
                "must be built, so that its weights exist before training: give it a keras.Input or call "
                "encoder.build((None, height, width, channels))",
                encoder,
            )
        self.encoder = encoder
        self._graph = GraphEncoder()
        self._watch: Watch | None = None
        self._trained: tuple[int, ...] = ()
        self.supports_jit = xla.has_kernels()

    @takes_arguments_of(keras.Model.compile)
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Keras' `compile`, with a default for `loss`."""
        options = self.compile_options(bound(keras.Model.compile, args, kwargs))
        if any(isinstance(layer, PretrainedEncoder) for layer in self.encoder._flatten_layers()):
            warn_of_xla(options.get("jit_compile"))
        if options.get("loss") is None:
            if options.get("loss_weights") is not None:
                raise ArgumentError("loss_weights", "must be None without a `loss`", options["loss_weights"])
            self.loss = None  # Keras would keep the loss of an earlier call
        super().compile(**options)

    def compile_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments with which Keras compiles the learner, for those that `compile` was given."""
        return options

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the learner as the one that was saved, and makes the variables of its optimizer."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    @takes_arguments_of(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `fit`, with a warning if batches can teach nothing."""
        arguments = bound(keras.Model.fit, args, kwargs)
        watch = self._begun_watch()
        watch.begin()
        self.check_fit(arguments, watch)
        callbacks = arguments.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            # The last: the logs of the others are as they were.
            callbacks = [*tf.nest.flatten([] if callbacks is None else callbacks), watch]
        return super().fit(**{**arguments, "callbacks": callbacks})

    def check_fit(self, arguments: dict[str, Any], watch: Watch) -> None:
        """Raises ArgumentError for an argument of `fit` that the learner does not support."""

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' `make_train_function`, which layers that were frozen since the last one make anew."""
        self._begun_watch()
        trained = tuple(map(id, self.trainable_variables))
        force, self._trained = force or trained != self._trained, trained
        return super().make_train_function(force)

    def new_watch(self) -> Watch:
        """What counts the training batches that can teach nothing."""
        raise NotImplementedError

    def count(self, watch: Watch, x: Any, y: Any, y_pred: Any, loss: tf.Tensor | None) -> None:
        """Counts a training batch; `loss` is None where layers add to it."""

    def encode(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Runs the encoder as Keras does in training, including updates of the moving averages.

        Args:
            images: float `[B, H, W, C]`.
            training: whether layers such as BatchNormalization and Dropout are in their training mode.

        Returns:
            `[B, D]` embeddings; more axes are flattened.
        """
        return _flatten(self.encoder(images, training=training))

    def embed(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds images without changing anything in the learner.

        Args:
            images: float `[B, H, W, C]`, with the scale used in training (0 to 1 from an `ImageStore`).
            training: `False` normalises with the moving averages, so that an image's embedding depends on
                that image alone. `True` normalises with the statistics of this batch (a *transductive*
                embedding); the updates of the moving averages are discarded.

        Returns:
            `[B, D]` embeddings.

        Raises:
            ArgumentError: `training=True` with an encoder that draws random numbers (Dropout, noise, random
                augmentation), whose batch statistics depend on them.
        """
        images = tf.convert_to_tensor(images)
        if not training:
            return self._embed_alone(images)
        if random_variables(self.encoder):
            raise ArgumentError(
                "training",
                f"must be False for the encoder {self.encoder.name!r}: only encoders without random layers "
                "(Dropout, noise, augmentation) have embeddings that depend on the batch alone",
                training,
            )
        return self._as_graph(self._embed_together, images, "together")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The compiled loss, or the default loss of the learner, plus the regularisation losses."""
        if self.loss is not None:
            loss = total = super().compute_loss(x, y, y_pred, sample_weight, training)
        else:
            loss = self.default_loss(x, y, y_pred, sample_weight)
            # As Keras does: the replicas of a strategy add up what each of them adds.
            share = [tf.reduce_sum(tf.cast(each, loss.dtype)) / count_replicas() for each in self.losses]
            total = tf.add_n([loss, *share])
        if training and self._watch is not None:
            # After the loss: where shapes are known, a step for which there are no data would count too.
            with tf.control_dependencies([total]):
                self.count(self._watch, x, y, y_pred, loss if not self.losses else None)
        return total

    def default_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        """The loss of a learner that was compiled without one; arguments as for `compute_loss`.

        Under a strategy it is scaled as a `keras.losses.Loss` scales it, so that the sum over the replicas is
        the loss of the batch.
        """
        raise NotImplementedError

    @property
    def of_images(self) -> keras.Layer:
        """The encoder."""
        return self.encoder

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    def _begun_watch(self) -> Watch:
        """The counters of training batches, made before a step is traced that updates them."""
        if self._watch is None:
            with self.distribute_strategy.scope():
                self._watch = self.new_watch()
        return self._watch

    def _embed_alone(self, images: tf.Tensor) -> tf.Tensor:
        if not tf.executing_eagerly():
            return self.encode(images)
        count = images_at_a_time(images.shape[1:], self.encoder)
        starts = range(0, max(1, len(images)), count)
        parts = [self._as_graph(self.encode, images[i : i + count], "alone") for i in starts]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)

    def _embed_together(self, images: tf.Tensor) -> tf.Tensor:
        embeddings, _discarded_updates = self.encoder.stateless_call(
            self.encoder.trainable_variables,
            self.encoder.non_trainable_variables,
            images,
            training=True,
        )
        return _flatten(embeddings)

    def _as_graph(self, function: Any, images: tf.Tensor, name: str) -> tf.Tensor:
        if not tf.executing_eagerly() or (self.compiled and self.run_eagerly):
            return function(images)
        return self._graph(self.encoder, function, images, name)


def _flatten(embeddings: tf.Tensor) -> tf.Tensor:
    if embeddings.shape.rank == 2:
        return embeddings
    # The static shape keeps the width known in a graph whose batch size is unknown.
    width = -1 if None in embeddings.shape[1:] else embeddings.shape[1:].num_elements()
    return tf.reshape(embeddings, (tf.shape(embeddings)[0], width))
