# SPDX-License-Identifier: MIT
"""95 % intervals of shares, such as rates of false acceptance, from images that come in groups.

Images of one label resemble each other: twenty of one label say less than twenty of twenty labels. So the
variance of a share is that of the sums over labels (the linearised variance of a ratio under cluster
sampling, Cochran 1977, section 9A), and its interval is Wilson's (1927) with the number of independent images
that would have the same variance (the effective sample size of Kish 1965; for this interval see Dean & Pagano
2015, J. Surv. Stat. Methodol. 3, 484-503). It stays within 0 and 1, and has a width where no image is
accepted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# The 97.5 % point of the normal distribution.
NORMAL = 1.959963984540054


class Estimate(NamedTuple):
    """A share with its 95 % interval.

    Attributes:
        value: 0 to 1.
        low: the lower end of the interval.
        high: the upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ({100 * self.low:.2f} to {100 * self.high:.2f})"


def share(hits: npt.ArrayLike, labels: npt.NDArray[np.intp] | None = None) -> Estimate:
    """The share of images that have a property.

    Args:
        hits: bool `[N]`, N at least 1.
        labels: `[N]` numbers of the labels of the images; None: each image stands for itself.

    Returns:
        The share. If all images or none have the property, those of a label count as one image: nothing is
        known about how they differ.
    """
    values = np.asarray(hits, np.float64)
    value = float(values.mean())
    if labels is None:
        return wilson(value, len(values))
    sums = grouped_sums(values - value, labels)
    return of_variance(value, _variance(sums / len(values)), len(values), len(sums))


def of_variance(value: float, variance: float, images: float, labels: int) -> Estimate:
    """The interval of a share whose variance is known, or 0 where it says nothing.

    Args:
        value: the share.
        variance: its variance, from sums over labels.
        images: how many independent images it may count for at most.
        labels: how many labels there are; a variance of 0 leaves as many independent images.
    """
    independent = float(labels) if variance <= 0 else min(images, value * (1 - value) / variance)
    return wilson(value, independent, student(labels - 1))


def wilson(value: float, images: float, quantile: float = NORMAL) -> Estimate:
    """Wilson's score interval: the p with |value - p| <= quantile * sqrt(p (1 - p) / images)."""
    ratio = quantile**2 / images
    centre = (value + ratio / 2) / (1 + ratio)
    half = math.sqrt(value * (1 - value) * ratio + ratio**2 / 4) / (1 + ratio)
    # Rounding must not leave the value outside.
    return Estimate(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)))


def difference(first: Estimate, second: Estimate) -> tuple[float, float, float]:
    """`first - second` of two independent samples, with its 95 % interval: (difference, low, high).

    From the intervals of the two (Newcombe 1998, Stat. Med. 17, 873-890, method 10).
    """
    between = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return between, between - down, between + up


def agree(first: Estimate, second: Estimate) -> bool:
    """Whether two independent samples may have the same true value: 0 is in the interval of `difference`."""
    _, low, high = difference(first, second)
    return low <= 0 <= high


def student(degrees: int) -> float:
    """The 97.5 % point of Student's t; of 1 degree of freedom for fewer.

    Exact for 1 and 2 degrees, else by the expansion around the normal quantile (Abramowitz & Stegun 26.7.5),
    which is within 0.2 %.
    """
    if degrees <= 1:
        return math.tan(0.475 * math.pi)
    if degrees == 2:
        return 0.95 / math.sqrt(2 * 0.975 * 0.025)
    z = NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))


def grouped_sums(values: npt.NDArray[np.float64], labels: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The sums `[C]` of the values of each of the C labels that occur."""
    _, index = np.unique(labels, return_inverse=True)
    return np.asarray(np.bincount(index, values), np.float64)


def _variance(sums: npt.NDArray[np.float64]) -> float:
    """The variance of a sum of independent terms whose mean is 0."""
    count = len(sums)
    return float(np.sum(sums**2)) * count / (count - 1) if count > 1 else 0.0
