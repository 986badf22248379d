# SPDX-License-Identifier: MIT
"""A batch of requests -> their answers: one call of the encoder for all pictures, one state of the set."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.classifier import State, SupportSet, answering, explaining
from fslcore.serving.errors import Refused


@dataclass(frozen=True)
class Asked:
    """A request for predictions.

    Attributes:
        images: Opened pictures, not decoded yet, or prepared ones uint8 [S, S, C].
        top: Labels per picture.
        nearest: Support pictures to show.
        probabilities: Whether to say probabilities.
    """

    images: Sequence[Image.Image | npt.NDArray[np.uint8]]
    top: int = 1
    nearest: int = 0
    probabilities: bool = False


def predictions(support: SupportSet, asked: Sequence[Asked]) -> list[dict[str, Any] | BaseException]:
    """The answer to each request, or why it has none; that of one does not depend on the others."""
    answers: list[dict[str, Any] | BaseException] = []
    pictures: list[npt.NDArray[np.uint8]] = []
    for request in asked:
        try:
            pictures.append(prepared(support, request.images))
            answers.append({})
        except Exception as error:
            answers.append(error)
    good = [i for i, answer in enumerate(answers) if isinstance(answer, dict)]
    if not good:
        return answers
    try:
        state = support.snapshot()
        if not len(state):
            raise Refused(409, "the set must have a label before it predicts: add pictures to one", "images")
        embeddings = support.embed(np.concatenate(pictures))
        scores = support.scores(embeddings, state=state)
    except Exception as error:
        if len(good) == 1:
            answers[good[0]] = error
        else:  # an embedding that is not finite is the fault of one picture
            for i in good:
                [answers[i]] = predictions(support, [asked[i]])
        return answers
    start = 0
    for i, own in zip(good, pictures, strict=True):
        part = slice(start, start + len(own))
        start += len(own)
        try:
            answers[i] = _answer(support, state, asked[i], own, embeddings[part], scores[part])
        except Exception as error:
            answers[i] = error
    return answers


def prepared(
    support: SupportSet, images: Sequence[Image.Image | npt.NDArray[np.uint8]]
) -> npt.NDArray[np.uint8]:
    """Pictures as the encoder takes them, uint8 [n, S, S, C].

    Raises:
        ArgumentError: One cannot be read.
    """

    def one(place: int, image: Image.Image | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if isinstance(image, np.ndarray):
            return image
        try:
            return support.preparation.of_opened(image, f"a file of {image.format}")
        except ArgumentError as error:
            raise ArgumentError(f"images[{place}]", error.requirement, described=error.described) from error

    return np.stack([one(place, image) for place, image in enumerate(images)])


def as_png(picture: npt.NDArray[np.uint8]) -> str:
    """A prepared picture [S, S, C] as a data URI."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _answer(
    support: SupportSet,
    state: State,
    asked: Asked,
    pictures: npt.NDArray[np.uint8],
    embeddings: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
) -> dict[str, Any]:
    order = answering.ranked(scores, asked.top)
    values = np.take_along_axis(scores, order, 1).tolist()
    chances = None
    if asked.probabilities:
        of_all = answering.as_probabilities(scores, state.temperature)
        chances = np.take_along_axis(of_all, order, 1).tolist()
    labels = state.labels
    found: list[dict[str, Any]] = []
    for i, places in enumerate(order.tolist()):
        unknown = state.threshold is not None and values[i][0] < state.threshold
        found.append(
            {
                "label": None if unknown else labels[places[0]],
                "scores": [
                    {
                        "label": labels[place],
                        "score": values[i][j],
                        "probability": chances[i][j] if chances else None,
                    }
                    for j, place in enumerate(places)
                ],
                **_near(support, state, embeddings[i : i + 1], pictures[i], asked.nearest),
            }
        )
    return {"predictions": found, "version": state.version}


def _near(
    support: SupportSet,
    state: State,
    embedding: npt.NDArray[np.float32],
    picture: npt.NDArray[np.uint8],
    count: int,
) -> dict[str, Any]:
    """The support pictures that are nearest to one picture, and the picture itself."""
    if not count:
        return {"nearest": [], "measure": None, "is_distance": None, "picture": None}
    told = explaining.explained(support.rule, embedding, state, count, None, None)
    return {
        "nearest": [
            {
                "label": label,
                "number": int(number),
                "value": float(value),
                "picture": None if shown is None else as_png(shown),
            }
            for label, number, value, shown in zip(
                told.labels, told.numbers, told.values, told.pictures, strict=True
            )
        ],
        "measure": told.measure,
        "is_distance": told.is_distance,
        "picture": as_png(picture),
    }
