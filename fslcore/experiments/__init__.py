# SPDX-License-Identifier: MIT
"""Experiments: a run from its recipe to its results, in a folder.

    run = fsl.experiments.train("siamese", "glyphs", quick=True)
    fsl.experiments.resume(run)                         after Ctrl-C, or with the path of its folder
    fsl.experiments.evaluate(run, way=10, shot=1)
    fsl.experiments.evaluate_unknown(run)               half of the test classes are unknown
    learner = fsl.experiments.open_run("runs/mine").learner      in another process
    support = fsl.experiments.support_set("runs/mine")           a classifier of new images
    fsl.experiments.fit_in_phases(model, phases, ...)            any Keras model, frozen and then thawed

Nothing here prints: an `Observer` is told what happens. Importing this does not import TensorFlow.
"""

from fslcore.experiments import recipes
from fslcore.experiments.checkpoints import trained_learner
from fslcore.experiments.choices import planned_recipe
from fslcore.experiments.course import evaluate, resume, train
from fslcore.experiments.failures import NotSaved
from fslcore.experiments.open_sets import evaluate_unknown
from fslcore.experiments.opening import OpenedRun, open_run
from fslcore.experiments.phased import fit_in_phases
from fslcore.experiments.recipes import *  # noqa: F403 (each is listed there)
from fslcore.experiments.recipes.phases import Phase
from fslcore.experiments.recipes.thawing import thaw
from fslcore.experiments.reporting import Diverged, Interrupted, Observer
from fslcore.experiments.runs import Run
from fslcore.experiments.supporting import support_set

__all__ = [
    "Diverged",
    "Interrupted",
    "NotSaved",
    "Observer",
    "OpenedRun",
    "Phase",
    "Run",
    "evaluate",
    "evaluate_unknown",
    "fit_in_phases",
    "open_run",
    "planned_recipe",
    "resume",
    "support_set",
    "thaw",
    "train",
    "trained_learner",
]
__all__ += recipes.__all__
