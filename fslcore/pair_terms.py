# SPDX-License-Identifier: MIT
"""The terms of losses over pairs: what `pair_reductions` computes, for NumPy, TensorFlow and JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fslcore.arguments import ArgumentError, as_bool, check_metric, check_one_of

PAIR_METRICS = ("sqeuclidean", "euclidean", "cosine", "dot", "manhattan", "weighted_manhattan")
PAIR_GROUPS = ("positive", "negative", "all")
PAIR_FUNCTIONS = ("linear", "hinge", "squared_hinge", "softplus", "circle", "lifted")
PAIR_REDUCTIONS = ("sum", "logsumexp", "max", "min")

# The label of rows that belong to no pair, such as those of a memory that are not filled yet.
NO_LABEL = -(2**63)


class PairTerm(NamedTuple):
    """One number for each row, reduced from the pairs that it forms.

    With s the metric of a pair and t = scale * s + offset, the pairs that count are reduced to the sum, the
    logarithm of the sum of exponentials, the greatest or the least of function(t).

    Attributes:
        pairs: "positive", of one class; "negative", of two classes; or "all".
        function: "linear": t. "hinge": max(t, 0). "squared_hinge": its square. "softplus": log(1 + e^t).
            "circle": gain * max(t, 0) * (t - shift), whose first factor counts as a constant (Sun et al.,
            "Circle Loss", CVPR 2020, eq. 8). "lifted": max(t + log(e^u + e^v), 0)^2, u and v the levels of
            the two rows (Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR
            2016, eq. 4).
        reduction: "sum", 0 of no pairs; "logsumexp" or "max", -inf of no pairs; "min", inf of no pairs.
        scale: Factor of the metric; on TensorFlow or JAX it may be a scalar tensor, with a gradient.
        offset: Added to it; likewise.
        gain: Of "circle".
        shift: Of "circle".
    """

    pairs: str = "all"
    function: str = "linear"
    reduction: str = "sum"
    scale: Any = 1.0
    offset: Any = 0.0
    gain: float = 1.0
    shift: float = 0.0


class PairReductions(NamedTuple):
    """What `pair_reductions` returns.

    Attributes:
        values: float32 [terms, batch].
        indices: int32 [terms, batch], the rows of `y`, or of the batch, at the max or min, of equals the
            first; -1 for other reductions, and without pairs.
        counts: float32 [terms, batch], the number of pairs that count.
    """

    values: Any
    indices: Any
    counts: Any


class PairSums(NamedTuple):
    """What `pair_sums` returns.

    Attributes:
        total: float32 scalar.
        counts: float32 [terms], the number of pairs of each term, one for each row that forms it.
        slopes: float32 [levels, batch], for each level the sum of factor * derivative of the function by t.
        dx: float32 [batch, dim], the gradient of the total with respect to x.
        dy: float32 [m, dim], that with respect to y; [0, dim] without it.
    """

    total: Any
    counts: Any
    slopes: Any
    dx: Any
    dy: Any


def check_terms(
    terms: Sequence[PairTerm],
    metric: str,
    y_given: bool,
    y_labels_given: bool,
    weights_given: bool,
    leading: bool,
) -> tuple[PairTerm, ...]:
    """One or two terms, or an ArgumentError that names what is wrong with the call."""
    check_metric(metric, PAIR_METRICS)
    terms = (terms,) if isinstance(terms, PairTerm) else tuple(terms)
    if len(terms) not in (1, 2) or not all(isinstance(term, PairTerm) for term in terms):
        raise ArgumentError("terms", "must be one or two of PairTerm", terms)
    for term in terms:
        check_one_of("pairs", term.pairs, PAIR_GROUPS)
        check_one_of("function", term.function, PAIR_FUNCTIONS)
        check_one_of("reduction", term.reduction, PAIR_REDUCTIONS)
    if y_given != y_labels_given:
        raise ArgumentError("y_labels", "must be given with `y`, and only then", described="one of the two")
    if as_bool("leading", leading) and not y_given:
        raise ArgumentError("leading", "must be False without `y`", leading)
    if weights_given != (metric == "weighted_manhattan"):
        raise ArgumentError(
            "weights", "belong to the metric weighted_manhattan, which needs them", described=f"{metric=}"
        )
    return terms


def check_smooth(terms: Sequence[PairTerm]) -> None:
    """Refuses max and min, whose gradient is not that of all pairs."""
    for term in (terms,) if isinstance(terms, PairTerm) else terms:
        if term.reduction in ("max", "min"):
            requirement = "must be sum or logsumexp for pair_reductions_grad"
            raise ArgumentError("reduction", requirement, term.reduction)


def check_sums(terms: Sequence[PairTerm], factors: Any) -> tuple[Any, ...]:
    """The factors of the terms of `pair_sums`, or an ArgumentError that says what it does not add up."""
    terms = (terms,) if isinstance(terms, PairTerm) else tuple(terms)
    for term in terms:
        check_one_of("reduction", term.reduction, ("sum",))
        check_one_of("function", term.function, PAIR_FUNCTIONS[:-1])
    factors = (1.0,) * len(terms) if factors is None else tuple(factors)
    if len(factors) != len(terms):
        raise ArgumentError("factors", f"must hold one number per term ({len(terms)})", factors)
    return (*factors, 0.0)[:2]


def attributes_of(terms: Sequence[PairTerm], metric: str, y_given: bool, leading: bool) -> dict[str, str]:
    """The terms as attributes of the compiled ops."""
    attributes = {"metric": metric, "rows": ("leading" if leading else "apart") if y_given else "batch"}
    for name, term in zip(("first", "second"), (*terms, None), strict=False):
        attributes[f"{name}_pairs"] = term.pairs if term else "all"
        attributes[f"{name}_function"] = term.function if term else "linear"
        attributes[f"{name}_reduction"] = term.reduction if term else "none"
    return attributes


def parameters_of(terms: Sequence[PairTerm]) -> list[list[Any]]:
    """What multiplies and is added, [2, 4]."""
    rows = [[term.scale, term.offset, term.gain, term.shift] for term in terms]
    return [*rows, [1.0, 0.0, 1.0, 0.0]][:2]
