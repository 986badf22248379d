# SPDX-License-Identifier: MIT
"""Published settings of Reptile on Omniglot, by name. Nothing here imports TensorFlow.

"5w1s", "5w5s", "20w1s" and "20w5s" are the authors' (supervised-reptile, README and defaults): Adam without
momentum whose second moment is never reset, one shuffled pass of 10 images per class in training, 50 steps on
a new task, a meta-step that falls linearly from 1 to 0. The 1-shot and 5-shot settings of 5 ways have the
same training and differ only in the task that they are measured on.

"keras-example" is the setting of the Reptile example in the Keras documentation, with three corrections to
what keeps it from learning well: its gradients are sums over a batch of 25 and ours are means, so our rate is
25 times as large; its batch normalisation never uses the statistics of a batch, ours does; its episodes are
drawn with replacement, ours without.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReptilePreset:
    """One setting.

    Attributes:
        n_way: classes of a task.
        k_shot: support images per class of a test task.
        train_shots: images per class of a training task.
        inner_optimizer: "adam" or "sgd".
        inner_learning_rate: its learning rate.
        inner_steps: mini-batches of a training task.
        inner_batch: images of a mini-batch.
        meta_batch: tasks of a training step.
        meta_step: fraction of the way that the meta-weights move at the start; it falls to 0 linearly.
        meta_iterations: training steps.
        adapt_steps: inner steps on a test task.
        adapt_batch: images of such a step.
        rotations: whether classes turned by quarter turns count as further classes in training.
    """

    n_way: int
    k_shot: int
    train_shots: int
    inner_optimizer: str
    inner_learning_rate: float
    inner_steps: int
    inner_batch: int
    meta_batch: int
    meta_step: float
    meta_iterations: int
    adapt_steps: int
    adapt_batch: int
    rotations: bool


_FIVE_WAY = ReptilePreset(
    n_way=5,
    k_shot=1,
    train_shots=10,
    inner_optimizer="adam",
    inner_learning_rate=1e-3,
    inner_steps=5,
    inner_batch=10,
    meta_batch=5,
    meta_step=1.0,
    meta_iterations=100_000,
    adapt_steps=50,
    adapt_batch=5,
    rotations=True,
)
_TWENTY_WAY = dataclasses.replace(
    _FIVE_WAY,
    n_way=20,
    inner_learning_rate=5e-4,
    inner_steps=10,
    inner_batch=20,
    meta_iterations=200_000,
    adapt_batch=10,
)

REPTILE_PRESETS = {
    "5w1s": _FIVE_WAY,
    "5w5s": dataclasses.replace(_FIVE_WAY, k_shot=5),
    "20w1s": _TWENTY_WAY,
    "20w5s": dataclasses.replace(_TWENTY_WAY, k_shot=5),
    "keras-example": ReptilePreset(
        n_way=5,
        k_shot=5,
        train_shots=20,
        inner_optimizer="sgd",
        inner_learning_rate=25 * 0.003,
        inner_steps=16,
        inner_batch=25,
        meta_batch=1,
        meta_step=0.25,
        meta_iterations=2_000,
        adapt_steps=5,
        adapt_batch=25,
        rotations=False,
    ),
}
