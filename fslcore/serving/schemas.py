# SPDX-License-Identifier: MIT
"""The answers of the service, for its OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

Label = str | int


class Score(BaseModel):
    """A label and how near it is."""

    label: Label
    score: float = Field(description="Larger is nearer.")
    probability: float | None = Field(None, description="Of all labels together 1; on request.")


class Support(BaseModel):
    """A support picture that is near."""

    label: Label
    number: int = Field(description="Its place among all support pictures.")
    value: float = Field(description="How far it is, or how alike.")
    picture: str | None = Field(description="A PNG as data URI, as the network sees it.")


class Prediction(BaseModel):
    """What one picture shows."""

    label: Label | None = Field(description="null: unknown, nothing in the set is near enough.")
    scores: list[Score] = Field(description="The nearest labels, the nearest first.")
    nearest: list[Support] = Field(description="The nearest support pictures, on request.")
    measure: str | None = Field(description="What the values of `nearest` are, such as sqeuclidean.")
    is_distance: bool | None = Field(description="Whether a smaller one is nearer.")
    picture: str | None = Field(description="The picture as the network sees it, with `nearest`.")


class Predictions(BaseModel):
    """What each picture of a request shows."""

    predictions: list[Prediction]
    version: int = Field(description="Of the set that answered: it counts the changes.")


class OneLabel(BaseModel):
    """A label of the set."""

    label: Label
    count: int = Field(description="Its support pictures.")
    pictures: list[str] = Field(description="Some of them, as data URIs, on request.")


class Labels(BaseModel):
    """The set, or a part of it."""

    labels: list[OneLabel]
    total: int = Field(description="Labels of the set.")
    matching: int = Field(description="Labels that contain the text asked for.")
    pictures: int = Field(description="Support pictures of the set.")
    threshold: float | None = Field(description="Score below which the answer is unknown.")
    paper: str = Field(description="'black' or 'white', the ground of most support pictures.")
    read_only: bool
    version: int


class Changed(BaseModel):
    """The set after a change that is on the disk."""

    label: Label | None = Field(description="The label that was changed; null for several.")
    count: int = Field(description="Its support pictures now; of several, all that were added.")
    total: int
    pictures: int
    version: int


class Health(BaseModel):
    """Whether the service works."""

    status: str
    labels: int
    pictures: int
    version: int


class Failure(BaseModel):
    """Every error has this form."""

    status: int
    error: str = Field(description="One sentence: what was wrong, what was received, what is expected.")
    argument: str | None = Field(description="The part of the request.")


FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failure, "description": "The request cannot be answered; nothing was changed."},
    "5XX": {
        "model": Failure,
        "description": "The service is busy, or its disk is full; nothing was changed.",
    },
}

_LABEL = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
_BASE64 = {"type": "array", "items": {"type": "string", "format": "byte"}}
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}


def _bodies(form: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"images": _FILES, **form}}},
        "application/json": {"schema": {"type": "object", "properties": {"images": _BASE64, **fields}}},
        "image/*": {"schema": {"type": "string", "format": "binary"}},
    }


_ONE = {"type": "object", "properties": {"label": _LABEL, "images": _BASE64}}
_SEVERAL = {"type": "object", "properties": {"labels": {"type": "array", "items": _ONE}}}

# The forms in which pictures come: alone, with a label, and of several labels.
BODIES: dict[str, dict[str, Any]] = {
    "images": _bodies({}, {}),
    "label": _bodies({"label": {"type": "string"}, "number": {"type": "integer"}}, {"label": _LABEL}),
    "labels": {"application/json": {"schema": _SEVERAL}},
}
