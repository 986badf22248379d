# SPDX-License-Identifier: MIT
"""What a support set would answer to images whose label is known: its trials, for thresholds and checks.

A trial never sees itself: where the support images are their own queries, each is left out of its label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.classifier.answering import check_not_empty, scored
from fslcore.classifier.growing import Label
from fslcore.classifier.preparing import as_label
from fslcore.classifier.rules import OF_METRIC, Rule
from fslcore.classifier.state import Examples, FloatArray, State, added

Index = npt.NDArray[np.intp]

IMAGES, SUPPORT, LEFT_OUT = "images", "support images, each left out of its label", "labels left out"
VALUES_AT_ONCE = 1 << 24  # of queries x labels: 64 MB
_FOLDS = 10  # of a set that is fitted anew without some of its images
_MOST_LEFT_OUT = 10_000  # support images; more of them would take minutes
_ROWS_AT_ONCE = 4096  # of the sets from which one image of a label is left out


@dataclasses.dataclass(frozen=True)
class Trials:
    """Best scores of known and unknown queries.

    Attributes:
        known: float64 [N], of queries whose label is in the set.
        right: bool [N], whether the label with the best score is their own.
        known_labels: [N], the place of their label in `state.labels`.
        unknown: float64 [M], of queries whose label is not in the set.
        unknown_labels: [M], their labels as numbers, beyond those of the set unless these were left out.
        known_from: Where the known queries come from.
        unknown_from: Where the unknown queries come from.
    """

    known: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]
    known_labels: Index
    unknown: npt.NDArray[np.float64]
    unknown_labels: Index
    known_from: str
    unknown_from: str


class Answered(NamedTuple):
    """What the answer to each of N queries depends on.

    Attributes:
        own: [N], the place of its label in `state.labels`; -1: the set does not have it.
        own_score: [N], the score of that label; NaN: the query is its only image, or it is not there.
        other: [N], the place of the best other label; -1: there is none.
        other_score: [N], the score of that label; minus infinity: there is none.
    """

    own: Index
    own_score: npt.NDArray[np.float64]
    other: Index
    other_score: npt.NDArray[np.float64]

    @property
    def best(self) -> npt.NDArray[np.float64]:
        """The best score of each query."""
        return np.fmax(self.own_score, self.other_score)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the best label is the own one; of equal scores the label that was added first counts."""
        ahead = self.own_score > self.other_score
        return ahead | ((self.own_score == self.other_score) & (self.own < self.other))

    @property
    def answer(self) -> Index:
        """The place of the best label."""
        return np.where(self.right, self.own, self.other)


def trials(rule: Rule, state: State, embeddings: FloatArray | None, labels: Sequence[Any]) -> Trials:
    """Known and unknown queries of images, or of the support itself where there are none of a kind.

    Args:
        rule: How the set scores.
        state: The set.
        embeddings: Queries float32 [n, D]; None: none.
        labels: Their labels [n]; None, or a label that is not in the set: unknown.

    Returns:
        The trials. Without known queries, the support images are, each left out of its label. Without unknown
        ones, each known query is one too, with its own label left out.

    Raises:
        ArgumentError: The set is empty, has one label where one must be left out or a rule by which none can
            be, or no label with two images where an image must be left out.
    """
    check_not_empty(state)
    places, strangers = places_of(state, labels)
    found = answered(rule, state, embeddings, places)
    inside = places >= 0
    known_from, known = IMAGES, Answered._make(part[inside] for part in found)
    if not inside.any():
        known_from, (_, known) = SUPPORT, answered_by_the_rest(rule, state)
    if inside.all():
        if len(state.labels) < 2:
            raise ArgumentError(
                "images",
                "must hold images of labels that are not in this support set, which has a single label",
                described="none",
            )
        if not scores_labels_alone(rule):
            raise ArgumentError(
                "images",
                f"must hold images of labels that are not in this support set, since the scores of the rule "
                f"{rule.name} change with the number of labels, of which none can be left out",
                described="none",
            )
        unknown_from, unknown, groups = LEFT_OUT, known.other_score, known.own
    else:
        unknown_from, unknown, groups = IMAGES, found.other_score[~inside], strangers[~inside]
    there = ~np.isnan(known.own_score)
    if not there.any():
        raise ArgumentError(
            "images",
            "must hold images of labels of this support set, since none of its labels has two images, one of "
            "which could be left out",
            described="none",
        )
    return Trials(
        known.best[there], known.right[there], known.own[there], unknown, groups, known_from, unknown_from
    )


def places_of(state: State, labels: Sequence[Any]) -> tuple[Index, Index]:
    """The place of each label in the set, -1 for others; and numbers of these others, beyond the places.

    Raises:
        ArgumentError: A label is none.
    """
    count = len(state.labels)
    others: dict[Label, int] = {}
    places, numbers = np.full(len(labels), -1, np.intp), np.full(len(labels), -1, np.intp)
    for i, label in enumerate(labels):
        if label is None:
            numbers[i] = count + len(labels) + i  # of its own
            continue
        place = state.number(as_label(label))
        if place is None:
            numbers[i] = others.setdefault(as_label(label), count + len(others))
        else:
            places[i] = place
    return places, numbers


def answered(rule: Rule, state: State, embeddings: FloatArray | None, own: Index) -> Answered:
    """The answers to queries float32 [n, D] with labels at the places `own` [n]; -1: unknown."""
    parts = []
    for first in range(0, len(own), _at_once(state)):
        assert embeddings is not None
        scores = scored(rule, embeddings[first : first + _at_once(state)], state)
        parts.append(_answers(scores, own[first : first + len(scores)]))
    return _joined(parts)


def answered_by_the_rest(rule: Rule, state: State) -> tuple[Index, Answered]:
    """The answers to the support images, each by the set without it.

    Returns:
        Their rows, ascending: all, or 10,000 of more, as evenly over the labels as can be; and the answers.
    """
    check_not_empty(state)
    numbers = state.numbers.astype(np.intp)
    parts, order = [], []
    for chosen, scores in left_out(rule, state, evenly(state, _MOST_LEFT_OUT)):
        parts.append(_answers(scores, numbers[chosen]))
        order.append(chosen)
    rows = np.concatenate(order)
    back = np.argsort(rows)
    return rows[back], Answered._make(part[back] for part in _joined(parts))


def evenly(state: State, most: int) -> Index:
    """Rows of the support, label by label: all of them, or every second, third, ... if there are more."""
    order, _ = state.by_label()
    rows = np.arange(len(state)) if order is None else order
    return rows[:: max(1, -(-len(rows) // most))].astype(np.intp)


def scores_labels_alone(rule: Rule) -> bool:
    """Whether the score of a label depends on its own support images only."""
    if rule.name == "kernel":
        return getattr(rule, "shots", None) != "attention"
    return rule.name in OF_METRIC


def left_out(rule: Rule, state: State, chosen: Index) -> Iterator[tuple[Index, FloatArray]]:
    """Scores of support images by the set without each; NaN for a label of which one is all.

    By a rule that `scores_labels_alone`, only the own label of an image is scored anew. For another one the
    set is asked without up to a tenth of the images of each label at a time: it must be fitted each time.

    Args:
        rule: How the set scores.
        state: The set.
        chosen: [m], rows of the support.

    Yields:
        Some of the rows, and their scores [b, C].
    """
    parts = _by_labels(rule, state, chosen) if scores_labels_alone(rule) else _by_folds(rule, state, chosen)
    yield from parts


def _by_labels(rule: Rule, state: State, chosen: Index) -> Iterator[tuple[Index, FloatArray]]:
    numbers = state.numbers
    chosen = chosen[np.argsort(numbers[chosen], kind="stable")]
    for first in range(0, len(chosen), _at_once(state)):
        some = chosen[first : first + _at_once(state)]
        scores = scored(rule, state.rows[some], state).copy()
        for place in np.unique(numbers[some]):
            here, of_label = np.flatnonzero(numbers[some] == place), np.flatnonzero(numbers == place)
            if len(of_label) < 2:
                scores[here, place] = np.nan
            else:
                within = np.searchsorted(of_label, some[here])
                scores[here, place] = _own_scores(rule, state.rows[of_label], within)
        yield some, scores


def _own_scores(rule: Rule, rows: FloatArray, chosen: Index) -> FloatArray:
    """The score of each chosen row of a label by its other rows."""
    found = np.empty(len(chosen), np.float32)
    at_a_time = max(1, _ROWS_AT_ONCE // len(rows))
    for first in range(0, len(chosen), at_a_time):
        some = chosen[first : first + at_a_time]
        # One label for each image, which has all the others: the diagonal is what is asked for.
        rest = [Examples(i, np.delete(rows, row, axis=0)) for i, row in enumerate(some)]
        without = added(State.empty(rows.shape[1]), rest)
        found[first : first + at_a_time] = np.diagonal(rule(rows[some], without))
    return found


def _by_folds(rule: Rule, state: State, chosen: Index) -> Iterator[tuple[Index, FloatArray]]:
    numbers, at_once = state.numbers, _at_once(state)
    order, starts = state.by_label()
    rows = np.arange(len(state)) if order is None else order
    turn = np.empty(len(state), np.intp)  # of each image among those of its label
    turn[rows] = np.arange(len(state)) - np.repeat(starts, state.counts)
    alone = state.counts[numbers] == 1
    folds = int(min(_FOLDS, state.counts.max()))
    for fold in range(folds):
        out = (turn % folds == fold) & ~alone
        some = chosen[out[chosen]]
        if len(some):
            rest = _rest(rule, state, ~out)
            for first in range(0, len(some), at_once):
                part = some[first : first + at_once]
                yield part, scored(rule, state.rows[part], rest)
    some = chosen[alone[chosen]]
    for first in range(0, len(some), at_once):
        part = some[first : first + at_once]
        scores = scored(rule, state.rows[part], state).copy()
        scores[np.arange(len(part)), numbers[part]] = np.nan
        yield part, scores


def _rest(rule: Rule, state: State, kept: npt.NDArray[np.bool_]) -> State:
    """The state of some of the support images, with the rule fitted to it; labels without any are gone."""
    numbers = state.numbers
    examples = [
        Examples(label, state.rows[(numbers == place) & kept])
        for place, label in enumerate(state.labels)
        if np.any((numbers == place) & kept)
    ]
    rest = added(State.empty(state.dim), examples)
    fit = getattr(rule, "fitted", None)
    if fit is not None:  # here it is meant to: no warning
        fit(rest)
    return rest


def _at_once(state: State) -> int:
    return max(1, VALUES_AT_ONCE // len(state.labels))


def _answers(scores: FloatArray, own: Index) -> Answered:
    """The answers of scores [n, C], NaN where an image is the only one of its label."""
    values = scores.astype(np.float64)
    inside = np.flatnonzero(own >= 0)
    own_score = np.full(len(own), np.nan)
    own_score[inside] = values[inside, own[inside]]
    values[inside, own[inside]] = -np.inf
    other, best = values.argmax(axis=1), values.max(axis=1)
    return Answered(own, own_score, np.where(np.isneginf(best), -1, other), best)


def _joined(parts: Sequence[Answered]) -> Answered:
    if not parts:
        return Answered(np.zeros(0, np.intp), np.zeros(0), np.zeros(0, np.intp), np.zeros(0))
    return Answered._make(np.concatenate(part) for part in zip(*parts, strict=True))
