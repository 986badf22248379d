# SPDX-License-Identifier: MIT
"""Measure a trained learner on tasks of 16 new classes with 4 examples: evaluate.py of keras-fsl.

--model is a learner that was saved, such as by proto_nets.py. All images are embedded once; then each of the
100 tasks takes milliseconds. The same tasks are given to nearest neighbours on pixels: the interval of the
difference is narrower than those of both figures.
"""

from __future__ import annotations

import keras
from example import begin

import fslcore as fsl
from fslcore.evaluation import paired_difference

example = begin(__doc__, dataset="omniglot", model="runs/examples/proto_nets/learner.keras")
test = example.parts()["test"].with_min_images(5)
learner = keras.models.load_model(example.options.model)
pixels = fsl.PixelNearestNeighbour()

protocol = {"n_way": 16, "k_shot": 4, "episodes": example.choose(100, 10), "seed": example.options.seed}
report, baseline = (fsl.evaluate(each, test, **protocol) for each in (learner, pixels))
difference, ci95 = paired_difference(report, baseline)

curves = fsl.accuracy_versus_way(
    {"the learner": learner, "pixels": pixels},
    test,
    ways=example.choose([2, 5, 10, 20, 40, 60], [2, 5]),
    episodes=example.choose(200, 10),
)
example.save(accuracy_versus_way=fsl.plots.accuracy_versus_way(curves))
example.finish(accuracy=report, pixels=baseline, difference=[difference, ci95])
