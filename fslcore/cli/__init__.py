# SPDX-License-Identifier: MIT
"""The command line, and what it is made of.

commands    `fslcore train`, `evaluate`, `bench`, `doctor`
options     their options, and how the help groups them
recipes     what a training is described by, for each learner
defaults    how each learner is trained by default, and what may be chosen
builders    the learner and the batches that a recipe stands for
course      a run from its start to its pictures
training    fit, with validation, Ctrl-C, exact resume and a stop when it diverges
runs        the run folder: config, checkpoint, history, weights
parts       the classes for training, validation and test
results     accuracy beside the baselines, and metrics.json
pictures    the pictures of a run
console     progress and tables on the terminal
startup     TensorFlow, quietly, with its threads
exits       the exit codes
doctor      what works on this machine, and why not
"""

from fslcore.cli.commands import main

__all__ = ["main"]
