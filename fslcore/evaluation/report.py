# SPDX-License-Identifier: MIT
"""The result of an evaluation, and the difference of two results on the same episodes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError

# 95 % of a normal distribution lie within 1.96 standard errors of its mean.
_NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
        accuracy: mean over the episodes, 0 to 1.
        ci95: half the width of its 95 % confidence interval, `1.96 * sd / sqrt(episodes)` with the sample
            standard deviation of the episodes' accuracies; NaN for a single episode.
        n_way: classes of an episode.
        k_shot: labelled examples per class.
        n_query: queries per class.
        episodes: number of episodes.
        seed: seed of the episodes; the same seed on the same images gives the same episodes to every learner.
        transductive: whether the images of an episode were normalised together.
        split_hash: hash of the images and labels evaluated on.
        dataset: their name.
        learner: the name of the learner.
        episode_accuracies: float64 `[episodes]`, 0 to 1, for paired comparisons.
        n_unlabelled: images per class that the learner was given without their labels.
        support_hash: hash of the images and labels that the examples were drawn from; None if from those that
            `split_hash` is of.
    """

    accuracy: float
    ci95: float
    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    seed: int
    transductive: bool
    split_hash: str
    dataset: str
    learner: str
    episode_accuracies: npt.NDArray[np.float64] = dataclasses.field(repr=False, compare=False)
    n_unlabelled: int = 0
    support_hash: str | None = None

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / self.n_way

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON: without `episode_accuracies`, and with None for a `ci95` that is NaN."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["episode_accuracies"]
        if self.support_hash is None:
            del fields["support_hash"]
        return {**fields, "ci95": None if math.isnan(self.ci95) else self.ci95, "chance": self.chance}

    def __str__(self) -> str:
        protocol = "transductive" if self.transductive else "non-transductive"
        return (
            f"{self.n_way}-way {self.k_shot}-shot: {100 * self.accuracy:.2f} % ± {100 * self.ci95:.2f} "
            f"({self.episodes:,} episodes, {protocol})"
        )


def paired_difference(report: Report, baseline: Report) -> tuple[float, float]:
    """The difference of two learners' accuracies on the same episodes.

    Args:
        report: the report of the one learner.
        baseline: the report of the other, with the same store, protocol and seed.

    Returns:
        The mean of (accuracy of `report` - accuracy of `baseline`), and half the width of its 95 % confidence
        interval. This interval is narrower than those of the two reports, because easy and hard episodes are
        so for both.

    Raises:
        ArgumentError: the reports are not about the same episodes.
    """
    protocols = [
        (r.split_hash, r.support_hash, r.n_way, r.k_shot, r.n_query, r.episodes, r.seed)
        for r in (report, baseline)
    ]
    if protocols[0] != protocols[1]:
        raise ArgumentError("baseline", f"must be about the same episodes as `report` {report}", baseline)
    return mean_and_ci95(report.episode_accuracies - baseline.episode_accuracies)


def mean_and_ci95(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % confidence interval; NaN for a single value."""
    if len(values) == 1:
        return float(values[0]), math.nan
    return float(values.mean()), float(_NORMAL_95 * values.std(ddof=1) / math.sqrt(len(values)))
