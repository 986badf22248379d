# SPDX-License-Identifier: MIT
"""Ways to break a training off, and what is compared of two."""

from __future__ import annotations

import signal

import keras
import numpy as np


class At(keras.callbacks.Callback):
    """Does something after a number of steps of this call, or of executions of several steps."""

    def __init__(self, step: int, action) -> None:
        super().__init__()
        self.step, self.action, self.count = step, action, 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == self.step:
            self.action()


class Killed(Exception):
    pass


def kill() -> None:
    raise Killed


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def state(model: keras.Model) -> list[bytes]:
    """All that training changes, of all outer optimizers."""
    optimizers = getattr(model, "optimizers", [model.optimizer])
    of_optimizers = [v for optimizer in optimizers for v in optimizer.variables]
    return [np.asarray(v).tobytes() for v in (*model.variables, *of_optimizers)]


def columns(history):
    """The history without its times."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]
