# SPDX-License-Identifier: MIT
"""What is in a support set, and how it changes: whole or not at all, before the eyes of readers."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float
from fslcore.classifier import answering
from fslcore.classifier.growing import Label
from fslcore.classifier.preparing import as_label, prepared_embeddings
from fslcore.classifier.rules import Rule
from fslcore.classifier.state import Examples, State, added, removed, replaced

_NAMED = 10  # labels in a message


class Changing:
    """The labels of a support set, and the calls that change them.

    Args:
        dim: D of the embeddings; 0 if it is not known yet.
        temperature: What scores are divided by before they become probabilities.
    """

    rule: Rule

    def __init__(self, dim: int, temperature: float) -> None:
        self._lock = threading.RLock()
        self._state = dataclasses.replace(State.empty(dim), temperature=temperature)
        self._before_publishing: Callable[[State], object] | None = None

    def __len__(self) -> int:
        return len(self._state)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels, in the order in which they were added."""
        return self._state.labels

    @property
    def counts(self) -> dict[Label, int]:
        """How many support images each label has."""
        state = self._state
        return dict(zip(state.labels, state.counts.tolist(), strict=True))

    @property
    def threshold(self) -> float | None:
        """Score below which the answer is None, "unknown"; None: every query gets a label."""
        return self._state.threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        number = None if value is None else answering.checked_threshold(self.rule, value)
        self._change(lambda state: dataclasses.replace(state, threshold=number, version=state.version + 1))

    @property
    def temperature(self) -> float:
        """What scores are divided by before they become probabilities, above 0."""
        return self._state.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        number = as_float("temperature", value)
        if number <= 0:
            raise ArgumentError("temperature", "must be above 0", value)
        self._change(lambda state: dataclasses.replace(state, temperature=number, version=state.version + 1))

    def snapshot(self) -> State:
        """The set at this moment, which later changes leave as it is."""
        return self._state

    def add(self, label: Label, images: Any) -> None:
        """Adds support images to a label; a new label comes after the others.

        Args:
            label: A string that is not empty or an integer; 1 and "1" are two labels.
            images: One or many: paths, bytes of image files, Pillow images, arrays [H, W] or [H, W, C] of any
                size, uint8 or floats of 0 to 1, or an array [N, H, W, C].

        Raises:
            ArgumentError: The label or an image cannot be used; the set is as it was.
        """
        self.update({as_label(label): images})

    def update(self, images_by_label: Mapping[Label, Any]) -> None:
        """Adds support images to many labels in one change, all or nothing.

        Args:
            images_by_label: Label -> images, both as for `add`.

        Raises:
            ArgumentError: As for `add`, or there is no label; the set is as it was.
        """
        examples = self._examples(images_by_label)
        self._change(lambda state: added(state, examples))

    def add_embeddings(self, label: Label, embeddings: npt.ArrayLike) -> None:
        """Adds support images that are embedded already.

        Args:
            label: As for `add`.
            embeddings: [n, D] or [D], as `embed` returns them.

        Raises:
            ArgumentError: They are not finite or not as wide as those of the encoder; the set is as it was.
        """
        example = Examples(as_label(label), prepared_embeddings(embeddings))
        self._change(lambda state: added(state, [example]))

    def replace(self, label: Label, images: Any) -> None:
        """Gives a label that is there other support images; it keeps its place among the labels.

        Args:
            label: One of `labels`.
            images: As for `add`.

        Raises:
            ArgumentError: As for `add`, or there is no such label; the set is as it was.
        """
        label = as_label(label)
        _check_there(self._state, label)
        (example,) = self._examples({label: images})

        def change(state: State) -> State:
            _check_there(state, label)
            return replaced(state, example)

        self._change(change)

    def remove(self, label: Label) -> None:
        """Removes a label and its support images.

        Args:
            label: One of `labels`.

        Raises:
            ArgumentError: There is no such label.
        """
        label = as_label(label)

        def change(state: State) -> State:
            _check_there(state, label)
            return removed(state, label)

        self._change(change)

    def _examples(self, images_by_label: Mapping[Label, Any]) -> list[Examples]:
        """The images of some labels, prepared and embedded, or an ArgumentError."""
        raise NotImplementedError

    def _change(self, change: Callable[[State], State]) -> None:
        """Publishes what `change` makes of the set; if anything fails, the set is as it was."""
        with self._lock:
            state = change(self._state)
            if self._before_publishing is not None:
                self._before_publishing(state)
            self._state = state


def _check_there(state: State, label: Label) -> None:
    if state.number(label) is None:
        known = ", ".join(repr(each) for each in state.labels[:_NAMED])
        more = len(state.labels) - _NAMED
        named = f"{known} and {more} more" if more > 0 else known or "it has none yet"
        raise ArgumentError("label", f"must be a label of this support set ({named})", label)
