# SPDX-License-Identifier: MIT
"""A trained run as a classifier: its learner, and images prepared as those of its training were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fslcore.data.preparation import Preparation
from fslcore.experiments.opening import OpenedRun, open_run

if TYPE_CHECKING:
    from fslcore.classifier import SupportSet


def support_set(run: str | os.PathLike[str] | OpenedRun, rule: Any = None) -> SupportSet:
    """An empty support set of the learner of a run.

    Args:
        run: The run folder, or an opened run.
        rule: As for `SupportSet`.

    Returns:
        The set. New images are prepared as the run says; for data that says nothing, as the embedded glyphs
        and Omniglot, they are stretched to the size of the encoder's input.

    Raises:
        ArgumentError: As for `open_run` and `SupportSet`.

    Example:
        >>> support = fsl.experiments.support_set("runs/mine")  # doctest: +SKIP
        >>> support.add("cat", ["cat1.jpg", "cat2.jpg"])  # doctest: +SKIP
    """
    from fslcore.classifier import SupportSet

    opened = run if isinstance(run, OpenedRun) else open_run(run)
    config = opened.config.get("preparation")
    preparation = None if config is None else Preparation.from_config(config)
    return SupportSet(opened.learner, rule, preparation=preparation)
