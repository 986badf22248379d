# SPDX-License-Identifier: MIT
"""Open sets: images of labels that a classifier does not know, which it should call "unknown".

A query is accepted if its best score reaches a threshold. Scores are larger for what is more alike, always.
A known query is one whose label the classifier has been shown; "true positives" are known queries that are
accepted, "false positives" unknown ones.

Plain NumPy, float64; no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_array, as_float
from fslcore.evaluation.intervals import Estimate, grouped_sums, of_variance, share

Scores = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# The share of known queries that are accepted where the false positives are read off the curve, as in
# Hendrycks & Gimpel (2017) and since.
_TRUE_POSITIVES = 0.95
_ROUNDING = 1e-9  # of a product such as 0.29 * 100


class Roc(NamedTuple):
    """The curve of true against false positives, from "nothing is accepted" to "everything is".

    Attributes:
        thresholds: float64 `[P]`, falling; the first is infinite, the others are the scores that occur.
        true_positives: `[P]`, the share of the known queries with a score of at least the threshold.
        false_positives: `[P]`, likewise of the unknown queries.
    """

    thresholds: Scores
    true_positives: Scores
    false_positives: Scores


class Threshold(NamedTuple):
    """A threshold, as a score, for a rate of false acceptance.

    Attributes:
        value: queries with a score of at least this are accepted.
        low: the lower end of the 95 % interval of the score that just this share of all unknown queries
            reach, which the images tell only so well (Woodruff 1952).
        high: the upper end; infinite if no score of the images is rare enough.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class OpenSetReport:
    """How well known queries are told from unknown ones. Intervals are over the labels.

    Attributes:
        auroc: the probability that a known query has a better score than an unknown one.
        fpr_at_95_tpr: the share of unknown queries that are accepted where 95 % of the known ones are.
        accuracy: the share of known queries whose best label is their own, without a threshold.
        threshold: the threshold of the figures below; None: there is none, and they are None, too.
        accepted: the share of known queries that are accepted.
        false_accepts: the share of unknown queries that are accepted.
        recall: the share of known queries that are accepted with their own label.
        precision: the share of accepted queries that are accepted with their own label. It depends on how
            many of the queries are unknown; None if nothing is accepted.
        known: the number of known queries.
        unknown: the number of unknown queries.
        known_labels: the number of labels of the known queries.
        unknown_labels: the number of labels of the unknown queries.
        roc: the whole curve.
    """

    auroc: Estimate
    fpr_at_95_tpr: Estimate
    accuracy: Estimate
    threshold: float | None
    accepted: Estimate | None
    false_accepts: Estimate | None
    recall: Estimate | None
    precision: Estimate | None
    known: int
    unknown: int
    known_labels: int
    unknown_labels: int
    roc: Roc = dataclasses.field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON, without the curve; an estimate is [value, low, high]."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "roc"]
        values = {name: getattr(self, name) for name in names}
        return {name: list(v) if isinstance(v, Estimate) else v for name, v in values.items()}

    def __str__(self) -> str:
        lines = [
            f"{self.known:,} images of {self.known_labels:,} known labels, {self.unknown:,} of "
            f"{self.unknown_labels:,} unknown ones; 95 % intervals over the labels",
            f"AUROC                      {self.auroc}",
            f"unknown accepted at 95 %   {self.fpr_at_95_tpr}",
            f"accuracy without unknown   {self.accuracy}",
        ]
        if self.threshold is not None:
            lines += [
                f"threshold                  {self.threshold:.6g}",
                f"unknown accepted           {self.false_accepts}",
                f"known accepted             {self.accepted}",
                f"recall                     {self.recall}",
                f"precision                  {self.precision or 'nothing is accepted'}",
            ]
        return "\n".join(lines)


def open_set_report(
    known: npt.ArrayLike,
    unknown: npt.ArrayLike,
    right: npt.ArrayLike,
    known_labels: npt.ArrayLike | None = None,
    unknown_labels: npt.ArrayLike | None = None,
    threshold: float | None = None,
) -> OpenSetReport:
    """Figures of an open set from the best scores of its queries.

    Args:
        known: the best score of each known query, `[N]`; larger = more alike.
        unknown: the best score of each unknown query, `[M]`.
        right: whether the label with that score is the query's own, bool `[N]`.
        known_labels: the label of each known query, integers `[N]`; None: each is of a label of its own.
        unknown_labels: the label of each unknown query, integers `[M]`, likewise. A number that occurs among
            both is one label.
        threshold: accept scores of at least this; None: no threshold.

    Raises:
        ArgumentError: there is no known or no unknown query, a score is not finite, or lengths differ.
    """
    ours, others = _scores("known", known), _scores("unknown", unknown)
    labels = _labels("known_labels", known_labels, len(ours))
    strange = _labels("unknown_labels", unknown_labels, len(others))
    if known_labels is None or unknown_labels is None:
        strange = strange - strange.min() + labels.max() + 1
    own = as_array("right", right)
    if own.dtype != np.bool_ or own.shape != ours.shape:
        raise ArgumentError(
            "right", f"must be bool [{len(ours)}]", described=f"{own.dtype} {list(own.shape)}"
        )
    figures: dict[str, Estimate | None] = dict.fromkeys(("accepted", "false_accepts", "recall", "precision"))
    if threshold is not None:
        threshold = as_float("threshold", threshold)
        figures = at_threshold(ours, others, own, labels, strange, threshold)
    return OpenSetReport(
        auroc=auroc(ours, others, labels, strange),
        fpr_at_95_tpr=fpr_at_tpr(ours, others, labels, strange),
        accuracy=share(own, labels),
        threshold=threshold,
        **figures,
        known=len(ours),
        unknown=len(others),
        known_labels=len(np.unique(labels)),
        unknown_labels=len(np.unique(strange)),
        roc=roc(ours, others),
    )


def roc(known: npt.ArrayLike, unknown: npt.ArrayLike) -> Roc:
    """The curve of true against false positives, one point for each score that occurs."""
    ours, others = np.sort(_scores("known", known)), np.sort(_scores("unknown", unknown))
    scores = np.unique(np.concatenate([ours, others]))[::-1]
    return Roc(
        np.concatenate([[math.inf], scores]),
        np.concatenate([[0.0], _at_least(ours, scores) / len(ours)]),
        np.concatenate([[0.0], _at_least(others, scores) / len(others)]),
    )


def auroc(known: Scores, unknown: Scores, known_labels: Index, unknown_labels: Index) -> Estimate:
    """The area under the curve, with the interval of Obuchowski (1997) for queries that come in groups.

    Args:
        known: the best score of each known query, `[N]`.
        unknown: the best score of each unknown query, `[M]`.
        known_labels: their labels, `[N]`.
        unknown_labels: `[M]`; a number that occurs in both is one label.
    """
    # Of each query the share of the others that it beats; half of those with the same score.
    wins, losses = _ranks(known, unknown), _ranks(unknown, known)
    area = float(wins.mean())
    groups, sums = np.unique(np.concatenate([known_labels, unknown_labels])), []
    for values, labels in ((wins - area, known_labels), (1 - losses - area, unknown_labels)):
        count = len(np.unique(labels))
        each = np.zeros(len(groups))
        each[np.isin(groups, labels)] = grouped_sums(values, labels) / len(values)
        sums.append(each * math.sqrt(count / max(count - 1, 1)))
    fewest = min(len(np.unique(known_labels)), len(np.unique(unknown_labels)))
    return of_variance(area, float(np.sum((sums[0] + sums[1]) ** 2)), math.inf, fewest)


def fpr_at_tpr(known: Scores, unknown: Scores, known_labels: Index, unknown_labels: Index) -> Estimate:
    """The share of unknown queries accepted by the highest threshold that accepts 95 % of the known.

    The interval covers both the threshold, which is made of some known queries, and the share: that of the
    true positives at 95 % gives a lowest and a highest threshold, the shares at these have intervals of their
    own. So it is wider than need be.

    Args:
        known: the best score of each known query, `[N]`.
        unknown: the best score of each unknown query, `[M]`.
        known_labels: their labels, `[N]`.
        unknown_labels: `[M]`.
    """
    threshold = _quantile(known, _TRUE_POSITIVES)
    accepted = share(known >= threshold, known_labels)
    lowest, middle, highest = (
        share(unknown >= _quantile(known, min(1.0, rate)), unknown_labels)
        for rate in (accepted.low, _TRUE_POSITIVES, accepted.high)
    )
    return Estimate(middle.value, lowest.low, highest.high)


def at_threshold(
    known: Scores,
    unknown: Scores,
    right: npt.NDArray[np.bool_],
    known_labels: Index,
    unknown_labels: Index,
    threshold: float,
) -> dict[str, Estimate | None]:
    """The figures of `OpenSetReport` that depend on the threshold."""
    taken, wrongly = known >= threshold, unknown >= threshold
    answered = np.concatenate([known_labels[taken], unknown_labels[wrongly]])
    correct = np.concatenate([right[taken], np.zeros(int(wrongly.sum()), np.bool_)])
    return {
        "accepted": share(taken, known_labels),
        "false_accepts": share(wrongly, unknown_labels),
        "recall": share(taken & right, known_labels),
        "precision": share(correct, answered) if len(answered) else None,
    }


def threshold_for(
    unknown: npt.ArrayLike, false_accept_rate: float, labels: npt.ArrayLike | None = None
) -> Threshold:
    """The threshold for a rate of false acceptance of unknown queries.

    Queries of one label resemble each other, and those to come are of other labels. So each label is tried
    with a threshold that accepts k queries of the other labels. The largest k is taken with which at most
    rate * (n + 1) of all n queries are accepted in this way: an estimate for new labels. If each query has a
    label of its own, that is k + 1 <= rate * (n + 1), and another query is accepted with at most this
    probability, whatever the distribution of the scores (Vovk, Gammerman & Shafer 2005, proposition 2.3). The
    threshold lies in the middle between two scores that occur, so that rounding does not change an answer.

    Args:
        unknown: the best score of each unknown query, `[M]`; larger = more alike.
        false_accept_rate: above 0 and below 1.
        labels: the label of each query, integers `[M]`; None: each has a label of its own.

    Raises:
        ArgumentError: the rate is out of range, or too small for so few queries or labels.
    """
    scores = _scores("unknown", unknown)
    groups = _labels("labels", labels, len(scores))
    order = np.argsort(-scores, kind="stable")
    scores, groups = scores[order], groups[order]
    rate = as_float("false_accept_rate", false_accept_rate)
    if not 0 < rate < 1:
        raise ArgumentError("false_accept_rate", "must be above 0 and below 1", false_accept_rate)
    count = len(scores)
    allowed = rate * (count + 1) + _ROUNDING
    least = _of_labels_left_out(scores, groups, 0)
    if least > allowed:
        few = f"a rate of {rate:g} needs {math.ceil(1 / rate - 1 - _ROUNDING):,}"
        if least > 1:
            few = f"{least} of one label have better scores than all others, so that more labels are needed"
        raise ArgumentError(
            "false_accept_rate",
            f"must be at least {least}/{count + 1} = {least / (count + 1):.2g} with {count} images of "
            f"unknown labels ({few})",
            false_accept_rate,
        )
    taken, too_many = 0, math.floor(allowed)
    while too_many - taken > 1:
        middle = (taken + too_many) // 2
        if _of_labels_left_out(scores, groups, middle) <= allowed:
            taken = middle
        else:
            too_many = middle
    value = _above(scores, taken)
    accepted = share(scores >= value, groups)
    high = -1 if accepted.low <= 0 else math.floor(accepted.low * count)
    low = min(count, math.ceil(accepted.high * count))
    return Threshold(
        value,
        min(value, float(scores[-1]) if low == count else _above(scores, low)),
        math.inf if high < 1 else max(value, _above(scores, high)),
    )


def _of_labels_left_out(scores: Scores, labels: Index, taken: int) -> int:
    """How many queries are accepted, of each label by a threshold that accepts `taken` of the others.

    Args:
        scores: `[M]`, falling.
        labels: `[M]`, the labels of the queries.
        taken: 0 and more.
    """
    first = slice(taken + 1 + int(np.unique(labels, return_counts=True)[1].max()))
    scores, labels = scores[first], labels[first]  # `taken + 1` of other labels than any are among these
    accepted = 0
    for label in np.unique(labels):
        own = labels == label
        others = scores[~own]
        refused = others[taken] if taken < len(others) else -math.inf
        accepted += int(np.count_nonzero(scores[own] > refused))
    return accepted


def _above(scores: Scores, taken: int) -> float:
    """A threshold that at most `taken` of the scores reach, which fall; as far from them as possible."""
    first = float(scores[taken])  # the best one that is refused
    better = scores[scores > first]
    if not len(better):
        return float(np.nextafter(np.float32(first), np.float32(math.inf)))
    # A float32, as which NumPy compares it with scores that are.
    middle = float(np.float32((first + float(better[-1])) / 2))
    return middle if first < middle <= better[-1] else float(better[-1])


def _quantile(scores: Scores, rate: float) -> float:
    """The highest threshold that at least a share `rate` of the scores reach."""
    needed = max(1, math.ceil(rate * len(scores) - _ROUNDING))
    return float(np.sort(scores)[len(scores) - needed])


def _ranks(scores: Scores, others: Scores) -> Scores:
    """Of each score the share of the others that it is above; half of those that equal it."""
    order = np.sort(others)
    below, not_above = np.searchsorted(order, scores, "left"), np.searchsorted(order, scores, "right")
    return (below + not_above) / (2 * len(others))


def _at_least(rising: Scores, thresholds: Scores) -> npt.NDArray[np.intp]:
    return len(rising) - np.searchsorted(rising, thresholds, "left")


def _scores(argument: str, scores: npt.ArrayLike) -> Scores:
    array = as_array(argument, scores)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "fiu":
        raise ArgumentError(
            argument, "must be scores [N] with N at least 1", described=f"{array.dtype} {list(array.shape)}"
        )
    values = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ArgumentError(argument, "must be finite scores", described=f"{values[wrong[0]]} at {wrong[0]}")
    return values


def _labels(argument: str, labels: npt.ArrayLike | None, count: int) -> Index:
    if labels is None:
        return np.arange(count)
    array = as_array(argument, labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ArgumentError(
            argument, f"must be integers [{count}]", described=f"{array.dtype} {list(array.shape)}"
        )
    return array.astype(np.intp)
