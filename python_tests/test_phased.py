# SPDX-License-Identifier: MIT
"""Which layers of a network are trained, and any Keras model trained in phases."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from breaking import At, Killed, kill
from tiny_encoders import tiny_pretrained

from fslcore.arguments import ArgumentError
from fslcore.experiments import Phase, fit_in_phases, phased, thaw
from fslcore.experiments.recipes import phases, thawing
from fslcore.layers import GramMatrix
from fslcore.losses import BinaryCrossentropy

# Ten layers with weights, five convolutions and the normalisation after each, within a model in a model.
SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def network():
    return tiny_pretrained("tiny", SHAPE, "imagenet")


@pytest.mark.parametrize(
    ("trained", "convolutions"),
    [
        ("frozen", []),
        ("top", [4]),
        ("top=20%", [4]),
        ("top=50%", [3, 4]),
        ("top=100%", [0, 1, 2, 3, 4]),
        ("top=4", [3, 4]),
        ("top=99", [0, 1, 2, 3, 4]),
        ("from=convolution2", [2, 3, 4]),
        ("from=convolution?", [0, 1, 2, 3, 4]),
        ("name=convolution1", [1]),
        ("name=convolution[02]+*4", [0, 2, 4]),
        ("all", [0, 1, 2, 3, 4]),
    ],
)
def test_these_layers_are_trained_and_no_normalisation(network, trained, convolutions):
    for before in ("all", "frozen"):
        thaw(network, before)
        thaw(network, trained)
        paths = [variable.path for variable in network.trainable_variables]
        assert ["convolution" in path for path in paths] == [True] * len(convolutions)
        assert [int(path.split("convolution")[1][0]) for path in paths] == convolutions
        normal = [each for each in network._flatten_layers() if type(each).__name__ == "BatchNormalization"]
        assert len(normal) == 5
        assert not any(layer.trainable for layer in normal)


def test_the_name_of_a_model_chooses_its_layers():
    images = keras.Input((4,))
    block = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)], name="block")
    outer = keras.Model(images, keras.layers.Dense(2, name="last")(block(images)))
    thaw(outer, "name=block")
    assert {id(v) for v in outer.trainable_variables} == {id(v) for v in block.variables}


@pytest.mark.parametrize("trained", ["name=convolution9", "name=convolution1+nothing", "from=lost", "top=1"])
def test_layers_that_do_not_exist_are_told(network, trained):
    message = "trained must choose layers of the network, such as convolution0, convolution1.*of which "
    with pytest.raises(ArgumentError, match=message + ("only batch" if trained == "top=1" else "none is")):
        thaw(network, trained)


@pytest.mark.parametrize("trained", ["bottom", "top=0", "top=-2", "top=0%", "top=120%", "top=x", "name=", 3])
def test_what_says_nothing_of_layers_is_refused(network, trained):
    assert not thawing.is_part(trained)
    with pytest.raises(ArgumentError, match="trained must be frozen, top, top=50%, top=12, from=NAME, name="):
        thaw(network, trained)


def test_phases_are_written_and_read():
    plan = [Phase("frozen", 3, 1e-4), Phase("top=20%", 7, 1e-5), Phase("name=a*+b", 2, 0.5)]
    assert phases.written(plan) == "frozen:3:0.0001,top=20%:7:1e-05,name=a*+b:2:0.5"
    assert phases.parsed(phases.written(plan)) == plan
    with pytest.raises(ArgumentError, match="phases must be a text, or a list of `Phase`"):
        phases.written(["frozen"])
    with pytest.raises(ArgumentError, match="phases must be one or more of frozen, top, all, each with"):
        phases.written([Phase("all", 0, 0.1)])


# ---- any model


IMAGES = np.random.default_rng(0).random((12, *SHAPE), dtype=np.float32)
LABELS = np.repeat(np.arange(3), 4)
PLAN = [Phase("frozen", 2, 1e-2), Phase("top=50%", 2, 1e-3), Phase("all", 1, 1e-3)]


def model_of():
    network = tiny_pretrained("tiny", SHAPE, "imagenet")
    keras.utils.set_random_seed(3)
    return network, keras.Sequential([network, keras.layers.Dense(4), GramMatrix("DenseSigmoid")])


@dataclasses.dataclass
class Scripted(keras.callbacks.Callback):
    """Gives the logs the values of a script, epoch by epoch, and keeps the weights that epochs begin with."""

    values: tuple[float, ...]

    def __post_init__(self):
        super().__init__()
        self.begun, self.ended = {}, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.begun[epoch] = [np.asarray(v).copy() for v in self.model.variables]

    def on_epoch_end(self, epoch, logs=None):
        self.ended[epoch] = [np.asarray(v).copy() for v in self.model.variables]


class Validated(keras.Sequential):
    """Its validation finds what a script says."""

    script = ()

    def evaluate(self, *args, **kwargs):
        found, type(self).script = type(self).script[0], type(self).script[1:]
        return {"loss": found}


def batches(epoch):
    """A batch of its own for each epoch, from this one on."""
    return tf.data.Dataset.range(epoch, 100).map(lambda number: (tf.roll(IMAGES, number, 0), LABELS))


def trained(folder=None, script=(0.5, 0.4, 0.6, 0.3, 0.7), plan=PLAN, callbacks=(), **more):
    network, plain = model_of()
    model = Validated(plain.layers)
    Validated.script = tuple(script)
    rows = fit_in_phases(
        model,
        plan,
        batches,
        network=network,
        folder=folder,
        compile_options={"loss": BinaryCrossentropy(balanced=True)},
        callbacks=lambda: callbacks,
        steps_per_epoch=1,
        validation_data=(IMAGES, LABELS),
        verbose=0,
        shuffle=False,
        **more,
    )
    return rows, [np.asarray(v) for v in model.variables], network


def same(some, others):
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.fixture(scope="module")
def whole():
    watch = Scripted(())
    return (*trained(callbacks=[watch]), watch)


def test_each_phase_begins_with_the_best_epoch_and_trains_its_part(whole):
    rows, variables, network, watch = whole
    assert [(row["epoch"], row["phase"], row["val_loss"]) for row in rows] == [
        *((1, 1, 0.5), (2, 1, 0.4), (3, 2, 0.6), (4, 2, 0.3), (5, 3, 0.7))
    ]
    assert same(watch.begun[2], watch.ended[1])
    assert same(watch.begun[4], watch.ended[3])
    assert same(variables, watch.ended[3])
    assert not same(watch.ended[4], watch.ended[3])
    names = [variable.path for variable in network.variables]
    starts = [np.asarray(v) for v in model_of()[0].variables]
    for epoch, moved in enumerate(("", "", "34", "34", "01234")):
        pairs = zip(names, watch.ended[epoch][: len(names)], starts, strict=True)
        changed = [name for name, now, before in pairs if not np.array_equal(now, before)]
        assert [name.split("convolution")[-1][0] for name in changed] == [*moved]
        # Its normalisation stays as it came, statistics too.
        assert all(name.endswith("kernel") for name in changed)


# Killed in the first step of an epoch: within the first phase, as the second begins, within the second.
@pytest.mark.parametrize("step", [2, 3, 4])
def test_it_goes_on_bit_for_bit_after_a_kill(tmp_path, whole, step):
    script = (0.5, 0.4, 0.6, 0.3, 0.7)
    with pytest.raises(Killed):
        trained(tmp_path, script, callbacks=[At(step, kill)])
    rows, variables, _ = trained(tmp_path, script[step - 1 :])
    assert rows == whole[0]
    assert same(variables, whole[1])
    # Again: nothing is left to train.
    rows, variables, _ = trained(tmp_path, ())
    assert rows == whole[0]
    assert same(variables, whole[1])


def test_a_callback_ends_its_phase_alone(tmp_path):
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1)
    plan = [Phase("frozen", 5, 1e-2), Phase("all", 1, 1e-3)]
    rows, _, _ = trained(tmp_path, (0.1, 0.2, 0.3), plan, [stop])
    assert [(row["epoch"], row["phase"]) for row in rows] == [(1, 1), (2, 1), (6, 2)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"plan": "all:1:0.1,name=lost:1:0.1"},
            "phases must choose layers of the network, such as",
        ),
        ({"plan": []}, "phases must be a text, or a list of `Phase`|phases must be one or more"),
        ({"mode": "most"}, "mode must be one of min, max"),
        (
            {"monitor": "val_accuracy"},
            "monitor must be a number in the logs, not val_accuracy",
        ),
        ({"epochs": 3}, "epochs must be left out: `data` and `phases` say it"),
    ],
    ids=["name", "none", "mode", "monitor", "epochs"],
)
def test_what_cannot_be_trained_is_refused(changed, message):
    with pytest.raises(ArgumentError, match=message):
        trained(**changed)


def test_a_part_that_the_model_does_not_have_is_refused():
    with pytest.raises(ArgumentError, match="network must be a part of the model"):
        fit_in_phases(model_of()[1], PLAN, IMAGES, network=model_of()[0])


def test_the_folder_of_another_training_is_refused(tmp_path):
    trained(tmp_path, (0.1,), "frozen:1:0.1")
    with pytest.raises(ArgumentError, match="folder must be new, or of a training with this `phases`"):
        trained(tmp_path, (0.1,), "all:1:0.1")
    (tmp_path / phased.CHECKPOINT).write_bytes(b"half")
    with pytest.raises(ArgumentError, match=r"folder must have a phases\.npz that can be read, or none"):
        trained(tmp_path, (0.1,), "frozen:1:0.1")
