# SPDX-License-Identifier: MIT
"""Learners that adapt refuse several replicas: when they are compiled, or else when they are used."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf
import warm

MESSAGE = (
    "does not support a tf.distribute strategy with several replicas, received one with 2: use one device"
)


def test_several_replicas_are_refused_wherever_they_appear():
    """In a process of its own: the number of devices is set before TensorFlow starts."""
    found = warm.run([__file__])
    assert found.returncode == 0, found.stderr


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import tiny_metagan
    from tiny_networks import N_WAY, dense_network

    from fslcore import MAML, Reptile
    from fslcore.learners import InnerSGD

    def reptile() -> keras.Model:
        return Reptile(dense_network(), InnerSGD(0.1), inner_steps=2, inner_batch=2)

    def maml() -> keras.Model:
        return MAML(dense_network(), InnerSGD(0.1), adapt_steps=1)

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for make in (reptile, maml, tiny_metagan.learner):
        with strategy.scope():
            made_inside = make()
            with pytest.raises(NotImplementedError, match=MESSAGE):
                made_inside.compile("sgd")
        with pytest.raises(NotImplementedError, match=MESSAGE):
            made_inside.compile("sgd")
        learner = make()
        learner.compile("sgd")
        episodes = tiny_metagan.store().episodes(N_WAY, 1, 1, tasks=2).take(1)
        with strategy.scope(), pytest.raises(NotImplementedError, match=MESSAGE):
            learner.fit(episodes, shuffle=False, verbose=0)
        with strategy.scope(), pytest.raises(NotImplementedError, match=MESSAGE):
            learner.evaluate(episodes, verbose=0)
    single = tf.distribute.OneDeviceStrategy("CPU:0")
    with single.scope():
        maml().compile("sgd")


if __name__ == "__main__":
    main()
