# SPDX-License-Identifier: MIT
"""A program of a user who checks types: mypy reads this file with the package, and nothing runs it."""

from __future__ import annotations

import fslcore as fsl

learner = fsl.Siamese(fsl.encoders.conv4(), kernel="DenseSigmoid")
learner.compile("adam", jit_compile=False)
learner.fit([1], [2], epochs=3)
learner.predict([1])
learner.train_on_batch([1], [2])

of_episodes = fsl.Prototypical(fsl.encoders.conv4())
of_episodes.compile("adam")
of_episodes.evaluate([1])
of_episodes.test_on_batch([1])
