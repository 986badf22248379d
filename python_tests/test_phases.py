# SPDX-License-Identifier: MIT
"""Training in phases with a pretrained network, and the best epoch: what is trained, kept and continued."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from breaking import At, Killed, columns, ctrl_c, kill, state
from noise import noise
from tiny_encoders import tiny_pretrained

from fslcore.arguments import ArgumentError
from fslcore.encoders import by_name
from fslcore.experiments import Interrupted, checkpoints, choices, runs, training
from fslcore.experiments.recipes import Recipe, phases
from fslcore.experiments.recipes.phases import Phase

PHASES = "frozen:2:0.01,top:1:0.003,all:2:0.001"
SIZES = {"way": 3, "shot": 2, "steps_per_epoch": 3, "encoder": "efficientnet-lite0", "head": 4, "seed": 5}


@pytest.fixture(autouse=True)
def without_a_package(monkeypatch, tmp_path):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(by_name, "pretrained_encoder", tiny_pretrained)


@pytest.fixture(scope="module")
def store():
    return noise(5, 4, size=32, channels=3)


def planned(learner="siamese", **chosen):
    return choices.planned_recipe(learner, "photos", **{**SIZES, "phases": PHASES, **chosen})


def falling(*accuracies):
    """A validation that finds these accuracies, one after the other."""
    left = list(accuracies)
    return lambda: SimpleNamespace(accuracy=left.pop(0), ci95=0.1)


def test_each_phase_trains_its_part_and_no_statistics_of_the_network_change(tmp_path, store):
    recipe = planned()
    learner = recipe.build((32, 32, 3))
    network = learner.encoder.network
    before = [np.asarray(variable).copy() for variable in network.variables]
    of_kernels = [v for v in network.variables if v.path.endswith("kernel")]
    assert ["convolution" in kernel.path for kernel in of_kernels] == [True] * 5
    (last,) = (kernel for kernel in of_kernels if "convolution4" in kernel.path)
    trained = {}
    for number, stage in enumerate(recipe.stages()):
        recipe.enter(learner, number)
        trained[stage.trained] = {id(v) for v in learner.encoder.trainable_variables}
    head = {id(v) for v in learner.encoder.head.trainable_variables}
    assert trained["frozen"] == head
    # The last fifth of the ten layers with weights: a convolution, and its normalisation, which stays frozen.
    assert trained["top"] == head | {id(last)}
    assert trained["all"] == head | {id(kernel) for kernel in of_kernels}
    run = runs.create(tmp_path / "run", {})
    training.train(learner, recipe, store, run)
    changed = [
        not np.array_equal(old, new)
        for old, new in zip(before, map(np.asarray, network.variables), strict=True)
    ]
    assert changed == [variable.path.endswith("kernel") for variable in network.variables]


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The history and the variables of an uninterrupted run with validations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_name, "pretrained_encoder", tiny_pretrained)
        return trained_in(tmp_path_factory.mktemp("whole") / "run", store)


def trained_in(run, store, done=0, callbacks=()):
    """Trains, after a number of complete epochs, and returns the history and all that training changes."""
    recipe = planned("prototypical", shot=1, query=1, augment="flip,crop")
    learner = recipe.build((32, 32, 3))
    if not run.exists():
        runs.create(run, {})
    validate = falling(*(0.3, 0.5, 0.4, 0.7, 0.6)[done:])
    return columns(training.train(learner, recipe, store, run, validate, callbacks)), state(learner)


# In the middle of an epoch, at the end of a phase, and in the middle of another phase.
@pytest.mark.parametrize(("step", "action"), [(2, ctrl_c), (6, ctrl_c), (8, kill)])
def test_a_run_in_phases_goes_on_bit_for_bit(tmp_path, store, whole, step, action):
    run = tmp_path / "run"
    with pytest.raises((Interrupted, Killed)):
        trained_in(run, store, callbacks=[At(step, action)])
    done = len(checkpoints.load_progress(run).history)
    assert trained_in(run, store, done) == whole


def test_the_best_epoch_is_kept_and_begins_the_next_phase(tmp_path, store):
    kept = []

    class Watching(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            kept.append([np.asarray(v).copy() for v in self.model.encoder.variables])

        def on_epoch_end(self, epoch, logs=None):
            kept.append([np.asarray(v).copy() for v in self.model.encoder.variables])

    recipe = planned(phases="frozen:2:0.01,all:2:0.01")
    learner = recipe.build((32, 32, 3))
    run = runs.create(tmp_path / "run", {})
    training.train(learner, recipe, store, run, falling(0.5, 0.4, 0.3, 0.3), [Watching()])
    _, first, second, begun, third, fourth = kept
    assert same(begun, first)
    assert not same(second, first)
    assert same(learner.encoder.variables, first)
    again = recipe.build((32, 32, 3))
    progress = checkpoints.continued(run, recipe, again)
    assert same(again.encoder.variables, fourth)
    assert not same(fourth, third)
    progress.restore_best(again)
    assert same(again.encoder.variables, first)


@pytest.mark.parametrize(("keep", "expected"), [("best", 0), ("last", 1)])
def test_the_last_epoch_is_kept_on_request(tmp_path, store, keep, expected):
    weights = []

    class Watching(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append([np.asarray(v).copy() for v in self.model.encoder.variables])

    recipe = choices.planned_recipe(
        "siamese", "photos", way=3, shot=2, epochs=2, steps_per_epoch=2, keep=keep
    )
    learner = recipe.build((32, 32, 3))
    run = runs.create(tmp_path / "run", {})
    training.train(learner, recipe, store, run, falling(0.6, 0.5), [Watching()])
    assert same(learner.encoder.variables, weights[expected])
    assert not same(weights[0], weights[1])
    with np.load(run / checkpoints.CHECKPOINT) as file:
        assert any(name.startswith("best-") for name in file.files) == (keep == "best")


def same(some, others):
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(some, others, strict=True))


def test_of_equal_epochs_the_last_is_best():
    history = [{"epoch": i, "val_accuracy": a} for i, a in enumerate((0.2, 0.7, 0.7, 0.6))]
    assert checkpoints.best_row(history)["epoch"] == 2
    assert checkpoints.best_row([{"epoch": 1, "loss": 0.5}]) is None


def test_a_run_is_opened_without_the_pretrained_weights(tmp_path, store, monkeypatch):
    recipe = planned()
    learner = recipe.build((32, 32, 3))
    recipe.enter(learner, 1)
    learner.optimizer.build(learner.trainable_variables)
    checkpoints.save_weights(tmp_path, learner, step=8)
    asked = []

    def watched(*sizes):
        asked.append(sizes)
        return tiny_pretrained(*sizes)

    monkeypatch.setattr(by_name, "pretrained_encoder", watched)
    opened = checkpoints.trained_learner(runs.Run(tmp_path, {}, recipe), (32, 32, 3))
    assert asked == [("efficientnet-lite0", (32, 32, 3), None, ())]
    assert same(opened.encoder.weights, learner.encoder.weights)


def test_a_frozen_phase_learns_from_embeddings_what_it_would_from_images(tmp_path, store, monkeypatch):
    recipe = planned(phases="frozen:1:0.01", augment="none")
    ends = []
    for name in ("embeddings", "images"):
        learner = recipe.build((32, 32, 3))
        if name == "images":
            monkeypatch.setattr(type(recipe), "data_of", Recipe.data_of)
        training.train(learner, recipe, store, runs.create(tmp_path / name, {}))
        ends.append([np.asarray(variable) for variable in learner.encoder.head.variables])
    start = recipe.build((32, 32, 3)).encoder.head.variables
    # Three steps of Adam, each of which moves a weight by up to 0.01; the embeddings differ by rounding.
    for one, other, before in zip(*ends, map(np.asarray, start), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        assert not np.array_equal(one, before)


def test_a_headed_encoder_takes_images_and_embeddings_and_is_saved(tmp_path):
    encoder = planned().build((32, 32, 3)).encoder
    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype=np.float32)
    expected = np.asarray(encoder(images))
    embeddings = np.asarray(encoder.network(images))
    np.testing.assert_allclose(encoder(embeddings[:, None, None]), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=0, atol=1e-6)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(again(images), expected)
    np.testing.assert_allclose(again(embeddings[:, None, None]), expected, rtol=0, atol=1e-6)


def test_phases_choose_layers_by_their_share_number_and_name():
    plan = [Phase("frozen", 1, 0.1), *(Phase(each, 1, 0.1) for each in ("top=50%", "top=3", "name=*n0+*n3"))]
    recipe = planned(phases=plan)
    assert recipe.phases == "frozen:1:0.1,top=50%:1:0.1,top=3:1:0.1,name=*n0+*n3:1:0.1"
    assert choices.recipe_from_json(recipe.to_json()) == recipe
    learner = recipe.build((32, 32, 3))
    trained = []
    for number in range(4):
        recipe.enter(learner, number)
        paths = [variable.path for variable in learner.encoder.network.trainable_variables]
        trained.append([path.split("convolution")[1][0] for path in paths])
    assert trained == [[], ["3", "4"], ["4"], ["0", "3"]]
    with pytest.raises(
        ArgumentError, match="phases must choose layers of the network, such as convolution0, "
    ):
        planned(phases="frozen:1:0.1,from=block7:1:0.1").build((32, 32, 3))


# ---- the arguments


def test_phases_are_read():
    assert phases.parsed("frozen:5:1e-3, all:2:0.5") == [Phase("frozen", 5, 1e-3), Phase("all", 2, 0.5)]
    assert planned().epochs == 5


@pytest.mark.parametrize(
    "text", ["frozen", "bottom:1:0.1", "all:0:0.1", "all:1:0", "all:1:nan", "all:x:1", ",", "top=0:1:0.1"]
)
def test_other_phases_are_refused(text):
    with pytest.raises(ArgumentError, match="phases must be one or more of frozen, top, all, each with"):
        phases.parsed(text)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"epochs": 3}, "epochs must be left out with `phases`"),
        ({"learning_rate": 0.1}, "learning_rate must be left out with `phases`"),
        (
            {"epochs": 3, "phases": None},
            "epochs must be left out with a pretrained network: `phases` has its",
        ),
        ({"encoder": "conv4"}, "phases must all be all for conv4, which begins with random weights"),
        ({"augment": "blur"}, "augment must be none, or one or more of"),
        ({"encoder": "MobileNetV2", "taps": "stages"}, "taps must be last for MobileNetV2, received"),
        ({"encoder": "conv4", "phases": None, "taps": "stages"}, "taps must be last for conv4"),
        ({"keep": "first"}, "keep must be one of best, last"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(chosen, message):
    with pytest.raises(ArgumentError, match=message):
        planned(**chosen)


@pytest.mark.parametrize("encoder", ["conv4", "MobileNetV2", "efficientnet-lite0", "EfficientNet_Lite0"])
@pytest.mark.parametrize("learner", ["siamese", "prototypical"])
def test_emoji_have_defaults_of_their_own_where_the_stages_can_be_seen(learner, encoder):
    emoji, others = (
        choices.planned_recipe(learner, data, encoder=encoder, quick=False) for data in ("emoji", "photos")
    )
    is_lite = "lite" in encoder.lower()
    assert (emoji.taps, others.taps) == ("stages" if is_lite else "last", "last")
    assert (emoji.phases != others.phases) == is_lite
    if is_lite:
        assert choices.planned_recipe(learner, "emoji", encoder=encoder, taps="last").taps == "last"


def test_a_network_that_does_not_exist_is_named():
    with pytest.raises(ArgumentError, match=r"encoder must be one of .*\(did you mean resnet12\?\)"):
        planned(encoder="resnet21").check_encoder()


def test_an_older_recipe_keeps_the_last_epoch():
    entries = planned(phases=None, encoder="conv4").to_json()
    for name in ("keep", "encoder", "encoder_weights", "augment", "phases", "head"):
        del entries[name]
    assert choices.recipe_from_json(entries).keep == "last"
