# SPDX-License-Identifier: MIT
"""How a support set scores queries, in NumPy: a function (queries [n, D], state) -> scores float32 [n, C].

A larger score always means nearer, for distances too: these are negated.

Prototype    minus the distance to the mean of a label's embeddings (Snell et al., 2017)
Nearest      minus the distance to the nearest support image of a label
KNearest     minus the mean distance to the k nearest support images of a label
ClassMean    minus the mean distance to all support images of a label
Kernel       what the learner was trained with, such as the kernel of `Siamese`
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, check_at_least, check_one_of
from fslcore.classifier.comparing import PLAIN_METRICS, alike, alike_supports
from fslcore.classifier.state import FloatArray, State

_FEW_EACH = 16  # images of each label
_VALUES_AT_ONCE = 1 << 24  # of queries x supports: 64 MB


class Rule(Protocol):
    """What scores queries against a support set.

    Attributes:
        name: As `SupportSet(rule=...)` takes it.
    """

    name: str

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """Scores float32 [n, C] of queries float32 [n, D]; C is at least 1."""
        ...


@dataclasses.dataclass(frozen=True)
class Prototype:
    """The nearest mean of a label's embeddings.

    Attributes:
        metric: A distance, or "dot".
    """

    metric: str = "sqeuclidean"
    name = "prototype"

    def __post_init__(self) -> None:
        check_one_of("metric", self.metric, PLAIN_METRICS)

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """Minus the distance to each prototype."""
        return alike(queries, state.prototypes, self.metric)


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The label of the nearest support image.

    Attributes:
        metric: A distance, or "dot".
    """

    metric: str = "sqeuclidean"
    name = "nearest"

    def __post_init__(self) -> None:
        check_one_of("metric", self.metric, PLAIN_METRICS)

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """Minus the distance to the nearest support image of each label."""
        return combined(queries, state, lambda q: alike_supports(q, state, self.metric), best)


@dataclasses.dataclass(frozen=True)
class KNearest:
    """The label whose k nearest support images are nearest in the mean.

    A label with fewer images has the mean of all of them: labels with many images have no advantage, as they
    would have if the nearest images of all labels voted. With k = 1 it is `Nearest`.

    Attributes:
        k: How many support images of each label count.
        metric: A distance, or "dot".
    """

    k: int = 3
    metric: str = "sqeuclidean"
    name = "k-nearest"

    def __post_init__(self) -> None:
        check_at_least("k", self.k, 1)
        check_one_of("metric", self.metric, PLAIN_METRICS)

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """Minus the mean distance to the k nearest support images of each label."""
        return combined(queries, state, lambda q: alike_supports(q, state, self.metric), self._mean_of_best)

    def _mean_of_best(self, values: FloatArray, starts: npt.NDArray[np.int64]) -> FloatArray:
        counts = np.diff(np.append(starts, values.shape[1]))
        out = np.empty((len(values), len(starts)), np.float32)
        for count in np.unique(counts):  # labels with the same number of images together
            which = np.flatnonzero(counts == count)
            of_labels = values[:, starts[which, np.newaxis] + np.arange(count)]
            if count > self.k:
                of_labels = np.partition(of_labels, count - self.k, axis=2)[:, :, -self.k :]
            out[:, which] = of_labels.mean(axis=2, dtype=np.float64)
        return out


@dataclasses.dataclass(frozen=True)
class ClassMean:
    """The label whose support images are nearest in the mean.

    Attributes:
        metric: A distance, or "dot".
    """

    metric: str = "sqeuclidean"
    name = "class-mean"

    def __post_init__(self) -> None:
        check_one_of("metric", self.metric, PLAIN_METRICS)

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """Minus the mean distance to the support images of each label."""
        return combined(queries, state, lambda q: alike_supports(q, state, self.metric), mean)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The comparison that a learner was trained with, such as the kernel of `Siamese`.

    Attributes:
        shots: How the values of a label's support images become its score: "mean", "best", or "attention",
            the logarithm of its share in the softmax over all support images (`MatchingNetwork`).
        compare: Queries float32 [n, D] and rows [m, D] -> float32 [n, m], larger is nearer.
        measure: What `compare` returns, in words.
    """

    shots: str
    compare: Callable[[FloatArray, FloatArray], FloatArray] = dataclasses.field(repr=False)
    measure: str = dataclasses.field(repr=False)
    name = "kernel"

    def __post_init__(self) -> None:
        check_one_of("shots", self.shots, tuple(_SHOTS))

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """The values of the kernel, combined by label."""
        return combined(queries, state, lambda q: self.compare(q, state.rows), _SHOTS[self.shots])


OF_METRIC: dict[str, Callable[..., Rule]] = {
    "prototype": Prototype,
    "nearest": Nearest,
    "k-nearest": KNearest,
    "class-mean": ClassMean,
}
# The others need the encoder.
NAMES = (*OF_METRIC, "kernel", "svc", "adapted")


def check_rule(rule: Any) -> None:
    """Raises ArgumentError for what is neither the name of a rule nor a rule."""
    if isinstance(rule, str) and rule in NAMES:
        return
    if (
        isinstance(rule, (str, type))
        or not callable(rule)
        or not isinstance(getattr(rule, "name", None), str)
    ):
        raise ArgumentError(
            "rule", f"must be one of {', '.join(NAMES)}, or a rule of fslcore.classifier", rule
        )


def config_of(rule: Rule) -> dict[str, Any]:
    """The name of a rule and its arguments, as JSON takes them.

    Raises:
        ArgumentError: It is a function of the user's, which no file can hold.
    """
    if rule.name not in NAMES or not dataclasses.is_dataclass(rule):
        raise ArgumentError("rule", f"must be one of {', '.join(NAMES)} to be saved", described=repr(rule))
    fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule) if field.repr}
    return {"name": rule.name, **fields}


def values_of(rule: Rule, queries: FloatArray, state: State) -> tuple[FloatArray, str]:
    """How near each support image is to each query, as the rule compares them.

    Args:
        rule: The rule; one that does not compare with support images has the squared Euclidean distance.
        queries: float32 [n, D].
        state: The support set.

    Returns:
        float32 [n, supports], larger is nearer, and what they are. A distance is negated.
    """
    compare = getattr(rule, "compare", None)
    if compare is not None:
        return compare(queries, state.rows), str(getattr(rule, "measure", rule.name))
    metric = getattr(rule, "metric", "sqeuclidean")
    return alike_supports(queries, state, metric), metric


def combined(
    queries: FloatArray,
    state: State,
    compare: Callable[[FloatArray], FloatArray],
    combine: Callable[[FloatArray, npt.NDArray[np.int64]], FloatArray],
) -> FloatArray:
    """Scores by label from values by support image, some queries at a time.

    Args:
        queries: float32 [n, D].
        state: The support set.
        compare: Queries [m, D] -> values float32 [m, supports].
        combine: Values with those of a label side by side, and where each label begins, int64 [C] ->
            float32 [m, C].
    """
    order, starts = state.by_label()
    at_a_time = max(1, _VALUES_AT_ONCE // max(1, len(state)))
    scores = np.empty((len(queries), len(starts)), np.float32)
    for first in range(0, len(queries), at_a_time):
        values = compare(queries[first : first + at_a_time])
        scores[first : first + at_a_time] = combine(values if order is None else values[:, order], starts)
    return scores


def best(values: FloatArray, starts: npt.NDArray[np.int64]) -> FloatArray:
    """The largest value of each label."""
    return _reduced(np.maximum, values, starts)


def mean(values: FloatArray, starts: npt.NDArray[np.int64]) -> FloatArray:
    """The mean value of each label."""
    counts = np.diff(np.append(starts, values.shape[1]))
    return (_reduced(np.add, values, starts, np.float64) / counts).astype(np.float32)


def _reduced(ufunc: np.ufunc, values: Any, starts: npt.NDArray[np.int64], dtype: Any = None) -> Any:
    """`ufunc.reduceat` along the supports, in the order in which the values lie in memory."""
    supports, labels = values.shape[1], len(starts)
    each = supports // labels
    if each <= _FEW_EACH and each * labels == supports and np.array_equal(starts, np.arange(labels) * each):
        # `reduceat` takes longer per label than an operation per image.
        parts = values.reshape(len(values), labels, each).astype(dtype or values.dtype, copy=False)
        return functools.reduce(ufunc, (parts[:, :, i] for i in range(1, each)), parts[:, :, 0])
    if values.flags.c_contiguous:
        return ufunc.reduceat(values, starts, axis=1, dtype=dtype)
    return ufunc.reduceat(values.T, starts, axis=0, dtype=dtype).T


def attention(values: FloatArray, starts: npt.NDArray[np.int64]) -> FloatArray:
    """The logarithm of the sum of each label's share in the softmax over all values."""
    shifted = values.astype(np.float64) - values.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        sums = np.log(_reduced(np.add, np.exp(shifted), starts))
    # A share below the least double is that of the label's best value.
    sums = np.maximum(sums, _reduced(np.maximum, shifted, starts))
    return (sums - np.log(np.exp(sums).sum(axis=1, keepdims=True))).astype(np.float32)


_SHOTS = {"mean": mean, "best": best, "attention": attention}
