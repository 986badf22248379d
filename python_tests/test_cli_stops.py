# SPDX-License-Identifier: MIT
"""Training from the command line that diverges or is interrupted, and its curves for TensorBoard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from breaking import At, ctrl_c
from commandline import REPTILE, SHORT

from fslcore import experiments
from fslcore.experiments import checkpoints, runs


@pytest.fixture
def at(monkeypatch) -> Callable[[keras.callbacks.Callback], None]:
    """Adds a callback to the training that the command line starts next."""

    def add(callback: keras.callbacks.Callback) -> None:
        monkeypatch.setattr(experiments, "train", functools.partial(experiments.train, callbacks=[callback]))

    return add


# ---- training that diverges


def test_divergence_stops_with_the_step_and_the_last_good_checkpoint(in_process, folder):
    sizes = ("--epochs", 2, "--steps-per-epoch", 3, "--inner-learning-rate", 1e38)
    code, _, err = in_process(*REPTILE, *sizes, "--out", "wild")
    assert code == 1
    assert "training has diverged in step 1 of 6: the loss was nan" in err or "the loss was inf" in err
    assert "there was no checkpoint yet" in err
    assert "a smaller --inner-learning-rate (it was 1e+38) or --meta-step (it was 1)" in err
    assert {path.name for path in (folder / "wild").iterdir()} == {runs.CONFIG}


def test_divergence_after_a_checkpoint_leaves_it_and_its_weights(in_process, folder, at):
    run = folder / "later"
    kept: dict[str, bytes] = {}

    def spoil() -> None:
        kept.update({path.name: path.read_bytes() for path in run.iterdir()})
        kernel = callback.model.network.trainable_variables[0]
        kernel.assign(np.full(kernel.shape, np.nan))

    callback = At(5, spoil)
    at(callback)
    code, _, err = in_process(*REPTILE, *SHORT, "--out", "later")
    assert code == 1
    assert "training has diverged in step 6 of 8: the loss was nan" in err
    assert "the last good checkpoint is that of step 4, in later, as it was" in err
    assert {name: (run / name).read_bytes() for name in kept} == kept
    assert {path.name for path in run.iterdir()} - set(kept) == {checkpoints.WEIGHTS, "training.png"}
    assert in_process("evaluate", "later", "--episodes", 3)[0] == 0


# ---- TensorBoard


def scalars(folder: Path) -> dict[str, list[int]]:
    """The steps at which each tag was written."""
    from tensorflow.core.util.event_pb2 import Event

    steps: dict[str, list[int]] = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    return steps


def test_the_curves_for_tensorboard_go_on_after_ctrl_c(in_process, folder, at):
    pytest.importorskip("tensorboard")
    options = (*REPTILE, "--epochs", 3, "--steps-per-epoch", 4, "--tensorboard", "--out", "curves")
    at(At(6, ctrl_c))
    code, out, _ = in_process(*options)
    assert code == 130
    assert "interrupted after 7 of 12 steps" in out
    assert in_process("train", "--resume", "curves")[0] == 0
    assert in_process.layouts == ["ops", "ops"]
    training, validation = (
        scalars(folder / "curves" / "tensorboard" / part) for part in ("train", "validation")
    )
    assert training["epoch_loss"] == training["epoch_learning_rate"] == [0, 1, 2]
    assert validation["epoch_accuracy"] == [0, 1, 2]
