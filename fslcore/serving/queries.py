# SPDX-License-Identifier: MIT
"""The query of a URL: what it may hold, checked and described for OpenAPI in one place.

FastAPI could check it too; that takes as long as the rest of a prediction's way through the service, and its
errors are of another form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from fslcore.arguments import ArgumentError

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        description: What it is.
        default: Without it.
        least: Smallest value.
        most: Largest value.
    """

    description: str
    default: int
    least: int
    most: int

    def read(self, name: str, text: str) -> int:
        """The value, or an ArgumentError."""
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if not self.least <= value <= self.most:
            raise ArgumentError(name, f"must be a whole number from {self.least} to {self.most}", text)
        return value

    @property
    def schema(self) -> dict[str, Any]:
        """For OpenAPI."""
        return {"type": "integer", "default": self.default, "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Truth:
    """True or false.

    Attributes:
        description: What it is.
        default: Without it.
    """

    description: str
    default: bool = False

    def read(self, name: str, text: str) -> bool:
        """The value, or an ArgumentError."""
        if text.lower() not in _TRUTH:
            raise ArgumentError(name, "must be true or false", text)
        return _TRUTH[text.lower()]

    @property
    def schema(self) -> dict[str, Any]:
        """For OpenAPI."""
        return {"type": "boolean", "default": self.default}


@dataclass(frozen=True)
class Text:
    """Text, or nothing.

    Attributes:
        description: What it is.
        default: Without it.
        kind: Its type in OpenAPI.
    """

    description: str
    default: str | None = None
    kind: str = "string"

    def read(self, name: str, text: str) -> str:  # noqa: ARG002 (as the others have it)
        """The text."""
        return text

    @property
    def schema(self) -> dict[str, Any]:
        """For OpenAPI."""
        return {"type": self.kind}


Query = dict[str, Whole | Truth | Text]

PREDICT: Query = {
    "top": Whole("Labels per picture.", 1, 1, 1000),
    "nearest": Whole("Nearest support pictures to show.", 0, 0, 50),
    "probabilities": Truth("Probabilities beside the scores."),
}
LIST: Query = {
    "pictures": Whole("Pictures to show of each label.", 0, 0, 50),
    "start": Whole("Labels to leave out at the start.", 0, 0, 2**31),
    "limit": Whole("Labels to list.", 1000, 1, 10_000),
    "containing": Text("Text in the labels.", ""),
}
LABEL: Query = {
    "label": Text("A label that is text."),
    "number": Text("A label that is an integer.", kind="integer"),
}
NOTHING: Query = {}


def read(given: QueryParams, query: Query) -> dict[str, Any]:
    """The values of a query, by name.

    Raises:
        ArgumentError: One is out of range, not known, or given twice.
    """
    values = {name: parameter.default for name, parameter in query.items()}
    seen = set()
    for name, text in given.multi_items():
        if name not in query:
            raise ArgumentError("query", f"must be of {', '.join(query) or 'nothing'}", described=repr(name))
        if name in seen:
            raise ArgumentError(name, "must be given once", described="two of them")
        seen.add(name)
        values[name] = query[name].read(name, text)
    return values


def described(query: Query) -> dict[str, Any]:
    """The query for OpenAPI."""
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for name, parameter in query.items()
    ]
    return {"parameters": parameters} if parameters else {}
