# SPDX-License-Identifier: MIT
"""A support set that many ask, and that is changed by one request at a time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from fslcore.classifier import State, SupportSet
from fslcore.cpus import available_cpus
from fslcore.serving import predicting
from fslcore.serving.errors import Refused
from fslcore.serving.predicting import Asked

Label = str | int


class Served:
    """A support set behind a service.

    Args:
        support: The set; `SupportSet.keep_in` lets it keep its changes. While it is served, nothing else may
            change it.
        read_only: Whether changes are refused.
    """

    def __init__(self, support: SupportSet, *, read_only: bool = False) -> None:
        self._support, self._read_only = support, read_only
        # One change after another; a change goes on if its sender hangs up.
        self._writer = ThreadPoolExecutor(1, "fslcore-changes")
        self._decoders = ThreadPoolExecutor(available_cpus(), "fslcore-pictures")

    @property
    def state(self) -> State:
        """The set as it is now."""
        return self._support.snapshot()

    def close(self) -> None:
        """Ends the threads once their work is done."""
        self._writer.shutdown()
        self._decoders.shutdown()

    def answer(self, asked: Sequence[Asked]) -> list[dict[str, Any] | BaseException]:
        """The answers to requests that are computed together."""
        return predicting.predictions(self._support, asked)

    async def prepared(self, images: Sequence[Image.Image]) -> list[Any]:
        """Large pictures, decoded beside the batches: [uint8 [S, S, C]]."""
        loop = asyncio.get_running_loop()
        work = functools.partial(predicting.prepared, self._support, images)
        return list(await loop.run_in_executor(self._decoders, work))

    def check_may_change(self) -> None:
        """Raises Refused for a set that is read only."""
        if self._read_only:
            raise Refused(403, "the set is read only: the service was started with --read-only")

    async def add(self, label: Label, images: Sequence[bytes]) -> dict[str, Any]:
        """Adds pictures to a label."""
        return await self._changed(label, lambda: self._support.add(label, list(images)))

    async def replace(self, label: Label, images: Sequence[bytes]) -> dict[str, Any]:
        """Replaces the pictures of a label."""
        return await self._changed(label, lambda: self._support.replace(label, list(images)), known=True)

    async def remove(self, label: Label) -> dict[str, Any]:
        """Removes a label."""
        return await self._changed(label, lambda: self._support.remove(label), known=True)

    async def update(self, images_by_label: Mapping[Label, Sequence[bytes]]) -> dict[str, Any]:
        """Adds pictures to several labels, all or nothing."""
        added = sum(map(len, images_by_label.values()))
        answer = await self._changed(None, lambda: self._support.update(images_by_label))
        return {**answer, "count": added}

    async def listed(self, pictures: int, start: int, limit: int, containing: str) -> dict[str, Any]:
        """The labels that contain a text, and some pictures of each."""
        work = functools.partial(_listed, self.state, pictures, start, limit, containing)
        # In another thread: pictures of a thousand labels take a while.
        listed = await asyncio.get_running_loop().run_in_executor(self._decoders, work)
        return {**listed, "read_only": self._read_only}

    async def _changed(
        self, label: Label | None, change: Callable[[], object], known: bool = False
    ) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            there = label is not None and self.state.number(label) is not None
            try:
                change()
            except ValueError as error:
                if known and not there:  # the same sentence, as what is not there
                    raise Refused(404, str(error), "label") from error
                raise
            state = self.state
            place = None if label is None else state.number(label)
            return {
                "label": label,
                "count": 0 if place is None else int(state.counts[place]),
                "total": len(state.labels),
                "pictures": len(state),
                "version": state.version,
            }

        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


def _listed(state: State, pictures: int, start: int, limit: int, containing: str) -> dict[str, Any]:
    wanted = containing.casefold()
    found = [i for i, label in enumerate(state.labels) if wanted in str(label).casefold()]
    shown = found[start : start + limit]
    rows = _first_rows(state, shown, pictures) if pictures else {}
    of_all = state.pictures
    labels = [
        {
            "label": state.labels[i],
            "count": int(state.counts[i]),
            "pictures": [] if of_all is None else [predicting.as_png(of_all[row]) for row in rows.get(i, ())],
        }
        for i in shown
    ]
    return {
        "labels": labels,
        "total": len(state.labels),
        "matching": len(found),
        "pictures": len(state),
        "threshold": state.threshold,
        "paper": _paper(state),
        "version": state.version,
    }


def _first_rows(state: State, labels: Sequence[int], count: int) -> dict[int, list[int]]:
    """The first rows of some labels that have a picture."""
    order, starts = state.by_label()
    pictured = state.pictured
    rows = {}
    for label in labels:
        places = np.arange(starts[label], starts[label] + state.counts[label])
        own = places if order is None else order[places]
        rows[label] = own[pictured[own]][:count].tolist()
    return rows


def _paper(state: State) -> str:
    """Whether most pictures are on black or on white, by their corners: a drawing should be as they are."""
    if state.pictures is None or not state.pictured.any():
        return "white"
    some = state.pictures[state.pictured][:64]
    corners = some[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    return "black" if np.median(corners) < 128 else "white"
