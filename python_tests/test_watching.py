# SPDX-License-Identifier: MIT
"""A loss of 0 is no success: batches, epochs and configurations that can teach nothing are told, once."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_embedding import EMBEDDINGS, GRAM, MATCHING, PAIRS, PROTOTYPICAL, encoder, store
from tiny_encoders import images

from fslcore import Siamese, losses

TRIPLETS = {"kernel": "sqeuclidean"}


def messages(learner: keras.Model, data, **options) -> tuple[list[str], dict[str, list[float]]]:
    """The warnings of a call of `fit`, and its history."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = learner.fit(data, shuffle=False, verbose=0, **options).history
    # Keras itself says when a dataset of unknown size has ended.
    return [text for each in caught if "ran out of data" not in (text := str(each.message))], history


def batches(labels) -> tf.data.Dataset:
    """Two batches of images with these labels."""
    return tf.data.Dataset.from_tensors((images(len(labels)), np.asarray(labels))).repeat(2)


@pytest.mark.parametrize("column", [GRAM, EMBEDDINGS], ids=lambda column: column.name)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [2, 2, 2, 2]], ids=["all different", "all equal"])
def test_batches_without_anything_to_compare(column, labels):
    learner = column.compiled()
    (message,), history = messages(learner, batches(labels), epochs=2)
    assert message.startswith("in 2 of the 2 batches of epoch 1 no image had both another of its class and")
    assert history["usable_anchors"] == [0, 0]
    # Of another call of fit one hears again.
    assert len(messages(learner, batches(labels))[0]) == 1


@pytest.mark.parametrize("column", [GRAM, EMBEDDINGS], ids=lambda column: column.name)
def test_some_of_the_batches_and_some_of_their_images(column):
    learner = column.compiled()
    data = batches([0, 0, 1, 2]).take(1).concatenate(batches([0, 1, 2, 3]).take(1))
    (message,), history = messages(learner, data)
    assert message.startswith("in 1 of the 2 batches of epoch 1 ")
    assert history["usable_anchors"] == [0.25]


@pytest.mark.parametrize("steps", [1, 2], ids=["step by step", "steps_per_execution"])
@pytest.mark.parametrize("output", ["gram", "embeddings"])
def test_triplets_that_are_all_far_apart_already(output, steps):
    loss = losses.TripletLoss(margin=-1e6) if output == "gram" else losses.TripletSemiHardLoss(margin=-1e6)
    learner = Siamese(encoder(), **TRIPLETS, output=output)
    learner.compile("sgd", loss=loss, steps_per_execution=steps)
    (message,), history = messages(learner, batches([0, 0, 1, 1]), epochs=2)
    assert message.startswith("the loss was 0 in all batches of epoch 1: no triplet violated the margin")
    assert history["loss"] == [0, 0]
    assert history["active_batches"] == [0, 0]
    assert history["usable_anchors"] == [1, 1]


@pytest.mark.parametrize("column", [PROTOTYPICAL, MATCHING], ids=lambda column: column.name)
def test_episodes_of_one_class(column):
    learner = column.compiled()
    data = store().episodes(1, 1, 2, episodes=3)
    for form, before in ((data, "x: "), (of_unknown_size(data), "in 3 of the 3 batches of epoch 1 ")):
        (message,), history = messages(learner, form, epochs=2)
        assert message.startswith(f"{before}there is one class to choose from (n_way=1), so that every")
        assert history["loss"] == [0, 0]


def of_unknown_size(data: tf.data.Dataset) -> tf.data.Dataset:
    """The episodes without the number of their classes in the shapes."""
    unknown = tuple(tf.TensorSpec([None, *spec.shape[1:]]) for spec in data.element_spec)
    return tf.data.Dataset.from_generator(lambda: iter(data), output_signature=unknown)


def test_episodes_of_one_class_are_told_before_training():
    told = []

    class Beginning(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            told.append(len(caught))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PROTOTYPICAL.compiled().fit(
            store().episodes(1, 1, 2, episodes=1), shuffle=False, verbose=0, callbacks=[Beginning()]
        )
    assert told == [1]


@pytest.mark.parametrize("argument", ["classes", "samples"])
def test_batches_of_one_class_or_one_image_are_told_before_training(argument):
    with pytest.warns(UserWarning, match=f"{argument}=1: no image has both another of its class and one of"):
        store().pk_batches(**{"classes": 2, "samples": 2, argument: 1})


@pytest.mark.parametrize("column", [GRAM, EMBEDDINGS, PAIRS, PROTOTYPICAL, MATCHING], ids=lambda c: c.name)
def test_what_can_be_learnt_from_is_not_told(column):
    learner = column.compiled()
    data = tf.data.Dataset.from_tensors(column.element(learner, 0))
    before = learner.evaluate(data, verbose=0)
    told, _ = messages(learner, data, epochs=2)
    assert told == []
    # The counters are no metrics: what other methods return has the same form.
    assert np.shape(learner.evaluate(data, verbose=0)) == np.shape(before)


def test_a_loss_that_has_become_zero_was_learnt():
    learner = Siamese(encoder(), **TRIPLETS, output="embeddings")
    learner.compile(keras.optimizers.SGD(0.0), loss=losses.TripletSemiHardLoss(margin=1.0))

    class Margin(keras.callbacks.Callback):
        """Moves the embeddings apart, as training would."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                learner.encoder.layers[-1].kernel.assign(1e3 * learner.encoder.layers[-1].kernel)

    x = np.repeat(images(2), 2, axis=0)
    data = tf.data.Dataset.from_tensors((x, np.array([0, 0, 1, 1])))
    told, history = messages(learner, data, epochs=2, callbacks=[Margin()])
    assert history["loss"][0] > 0 == history["loss"][1]
    assert told == []
