# SPDX-License-Identifier: MIT
"""Checks for people's data: near-duplicates, queries that are support images, labels that are confused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, counted
from fslcore.classifier import duplicates
from fslcore.classifier.answering import check_not_empty
from fslcore.classifier.confusion import Confusion
from fslcore.classifier.growing import Label
from fslcore.classifier.rules import Rule
from fslcore.classifier.state import FloatArray, Pictures, State
from fslcore.classifier.trials import (
    IMAGES,
    SUPPORT,
    Answered,
    Index,
    answered,
    answered_by_the_rest,
    places_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of 6,000 drawings of each of glyphs, symbols and Omniglot, no two of different classes reach 0.94; a drawing
# that is saved as JPEG of quality 30 stays above 0.97 of itself.
SIMILARITY = 0.96
_NAMED = 5  # pairs in a summary


class Duplicate(NamedTuple):
    """Two pictures that are nearly the same.

    Attributes:
        first: The number of a support image, its row in the set.
        second: The number of another one after it; or of a query.
        labels: Their labels.
        similarity: Their correlation.
    """

    first: int
    second: int
    labels: tuple[Label, Label]
    similarity: float

    @property
    def across(self) -> bool:
        """Whether their labels differ: one of the two is probably wrong."""
        return self.labels[0] != self.labels[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Checks:
    """What the checks of a support set found.

    Attributes:
        duplicates: Near-duplicates among the support images, those across labels first, then the most alike.
        repeated: Queries that are nearly support images: they say nothing about new images.
        confusion: Which labels are taken for which, at the threshold of the set.
        asked: Where the images behind `confusion` come from.
        alone: Labels with a single image, which cannot be left out.
        compared: How many support images have a picture that could be compared with the others.
        images: How many support images there are.
        similarity: Which correlation makes near-duplicates.
    """

    duplicates: list[Duplicate]
    repeated: list[Duplicate]
    confusion: Confusion
    asked: str
    alone: tuple[Label, ...]
    compared: int
    images: int
    similarity: float
    _state: State = dataclasses.field(repr=False)
    _queries: Pictures | None = dataclasses.field(repr=False)
    _rows: Index = dataclasses.field(repr=False)

    @property
    def problems(self) -> list[str]:
        """One sentence for each kind of fault; none if nothing was found."""
        across = [pair for pair in self.duplicates if pair.across]
        within = [pair for pair in self.duplicates if not pair.across]
        found = []
        if across:
            found.append(
                f"{len(across)} near-duplicates have different labels: "
                + _named(f"{a!r} and {b!r}" for *_, (a, b), _ in across)
            )
        if within:
            found.append(
                f"{len(within)} support images are near-duplicates of others of their label: "
                + _named(repr(pair.labels[0]) for pair in within)
            )
        if self.repeated:
            found.append(
                f"{len(self.repeated)} of the images are near-duplicates of support images, and say nothing "
                "about new ones: "
                + _named(f"number {pair.second} of {pair.labels[1]!r}" for pair in self.repeated)
            )
        mistakes = self.confusion.mistakes()
        if mistakes:
            found.append(
                f"{sum(m.times for m in mistakes)} of {len(self.confusion.true)} images are taken for "
                "another label: " + _named(f"{m.label!r} for {m.answer!r} ({m.times})" for m in mistakes)
            )
        return found

    @property
    def notes(self) -> list[str]:
        """What could not be checked, a sentence each."""
        found = []
        if self.compared < self.images:
            found.append(
                f"{self.images - self.compared} of {self.images} support images have no picture, and are not "
                "compared with the others"
            )
        if self.alone:
            found.append(
                f"{counted(len(self.alone), 'label has', 'labels have')} a single support image, which "
                "cannot be left out: " + _named(map(repr, self.alone))
            )
        return found

    def __str__(self) -> str:
        return "\n".join([*self.problems, *self.notes]) or "nothing was found"

    def to_dict(self) -> dict[str, Any]:
        """The checks for JSON; a rate that is not defined is None."""
        rates = {name: getattr(self.confusion, name) for name in ("precision", "recall", "f1")}
        return {
            "duplicates": [{**pair._asdict(), "across": pair.across} for pair in self.duplicates],
            "repeated": [pair._asdict() for pair in self.repeated],
            "labels": [
                {
                    "label": label,
                    **{n: None if np.isnan(v[i]) else float(v[i]) for n, v in rates.items()},
                }
                for i, label in enumerate(self.confusion.labels)
            ],
            "mistakes": [mistake._asdict() for mistake in self.confusion.mistakes()],
            "accuracy": None if np.isnan(self.confusion.accuracy) else self.confusion.accuracy,
            "asked": self.asked,
            "problems": self.problems,
            "notes": self.notes,
        }

    def confusion_figure(self) -> Figure:
        """The confusion matrix, or the part of it with the most mistakes."""
        from fslcore import plots

        return plots.confusion_matrix(self.confusion.matrix, [str(label) for label in self.confusion.labels])

    def duplicates_figure(self, most: int = 12) -> Figure:
        """The first near-duplicates, side by side.

        Args:
            most: How many pairs at most.

        Raises:
            ArgumentError: There is none.
        """
        from fslcore import plots

        if not self.duplicates:
            raise ArgumentError("duplicates", "must hold a pair to draw", described="none")
        pictures = self._pictures
        pairs = [
            ((pictures[pair.first], str(pair.labels[0])), (pictures[pair.second], str(pair.labels[1])))
            for pair in self.duplicates[:most]
        ]
        notes = [f"{pair.similarity:.3f}" for pair in self.duplicates[:most]]
        return plots.picture_rows(pairs, notes, f"{len(self.duplicates)} near-duplicates")

    def mistakes_figure(self, most: int = 8) -> Figure:
        """The most confused labels: images, and the support of the label that they were taken for.

        Args:
            most: How many pairs of labels at most.

        Raises:
            ArgumentError: There is no mistake, or there are no pictures.
        """
        from fslcore import plots

        mistakes = [m for m in self.confusion.mistakes() if m.answer is not None][:most]
        if not mistakes or self._state.pictures is None:
            raise ArgumentError("mistakes", "must hold a mistake with pictures to draw", described="none")
        rows, notes = [], []
        for label, answer, times, share in mistakes:
            assert answer is not None
            place, other = self._state.number(label), self._state.number(answer)
            wrong = np.flatnonzero((self.confusion.true == place) & (self.confusion.answers == other))
            if self._queries is None:
                wrong = wrong[self._state.pictured[self._rows[wrong]]]
            support = np.flatnonzero((self._state.numbers == other) & self._state.pictured)
            asked = self._asked_pictures
            rows.append(
                [(asked[i], str(label)) for i in wrong[:2]]
                + [(self._pictures[i], str(answer)) for i in support[:2]]
            )
            notes.append(f"{times} of {label!r} ({100 * share:.0f} %) taken for {answer!r}")
        return plots.picture_rows(rows, notes, "The most confused labels")

    @property
    def _pictures(self) -> Pictures:
        assert self._state.pictures is not None
        return self._state.pictures

    @property
    def _asked_pictures(self) -> Pictures:
        """The pictures behind `confusion`, in its order."""
        return self._pictures[self._rows] if self._queries is None else self._queries


def checked(
    rule: Rule,
    state: State,
    pictures: Pictures | None,
    embeddings: FloatArray | None,
    labels: Sequence[Any],
    similarity: float,
) -> Checks:
    """Checks a support set, with other images of its labels or with its own.

    Args:
        rule: How the set scores.
        state: The set.
        pictures: The prepared images, uint8 [n, S, S, C]; None: the support images themselves.
        embeddings: Their embeddings; None without images.
        labels: Their labels [n].
        similarity: Which correlation makes near-duplicates.

    Raises:
        ArgumentError: The set is empty, a label is not in the set, or the similarity is out of range.
    """
    similarity = duplicates.check_similarity(similarity)
    check_not_empty(state)
    places, _ = places_of(state, labels)
    strange = np.flatnonzero(places < 0)
    if strange.size:
        raise ArgumentError(
            "labels",
            "must be labels of this support set",
            described=f"{labels[strange[0]]!r} at {strange[0]}",
        )
    if embeddings is None:
        rows, found = answered_by_the_rest(rule, state)
    else:
        rows, found = np.arange(len(labels)), answered(rule, state, embeddings, places)
    there = np.flatnonzero(~np.isnan(found.own_score))
    shown = np.flatnonzero(state.pictured) if state.pictures is not None else np.zeros(0, np.intp)
    kept = np.zeros((0, 1, 1, 1), np.uint8) if state.pictures is None else state.pictures[shown]
    repeated: list[Duplicate] = []
    if pictures is not None and len(shown):
        pairs = duplicates.between(pictures, kept, similarity)
        repeated = _duplicates(pairs.second, pairs.first, pairs.similarity, state, shown, places)
    pairs = duplicates.within(kept, state.numbers[shown].astype(np.intp), similarity)
    own = _duplicates(pairs.first, pairs.second, pairs.similarity, state, shown, None)
    return Checks(
        duplicates=sorted(own, key=lambda pair: (not pair.across, -pair.similarity)),
        repeated=repeated,
        confusion=Confusion(state.labels, found.own[there], _answers(found, state)[there]),
        asked=SUPPORT if embeddings is None else IMAGES,
        alone=tuple(state.labels[i] for i in np.flatnonzero(state.counts == 1)) if embeddings is None else (),
        compared=len(shown),
        images=len(state),
        similarity=similarity,
        _state=state,
        _queries=pictures,
        _rows=rows[there],
    )


def _answers(found: Answered, state: State) -> Index:
    """The places of the answers; that behind the last label is "unknown"."""
    if state.threshold is None:
        return found.answer
    return np.where(found.best < state.threshold, len(state.labels), found.answer)


def _duplicates(
    first: Index,
    second: Index,
    similarity: npt.NDArray[np.float32],
    state: State,
    shown: Index,
    places: Index | None,
) -> list[Duplicate]:
    """Pairs of numbers among the pictures that are shown; `second` are queries at `places`, if there are."""
    labels, numbers = state.labels, state.numbers
    found = []
    for a, b, value in zip(first, second, similarity, strict=True):
        row = int(shown[a])
        other = int(shown[b]) if places is None else int(b)
        place = numbers[other] if places is None else places[other]
        found.append(Duplicate(row, other, (labels[numbers[row]], labels[place]), float(value)))
    return found


def _named(names: Any) -> str:
    listed = list(dict.fromkeys(names))
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")
