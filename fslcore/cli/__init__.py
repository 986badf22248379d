# SPDX-License-Identifier: MIT
"""The command line, and what it is made of.

commands    `fslcore train`, `evaluate`, `bench`, `doctor`
recipes     how each learner is trained by default
training    fit, with validation, Ctrl-C and exact resume
runs        the run folder: config, checkpoint, history, weights
results     metrics.json and the pictures of a run
console     progress and tables on the terminal
doctor      what works on this machine, and why not
"""

from fslcore.cli.commands import main

__all__ = ["main"]
