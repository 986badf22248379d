# SPDX-License-Identifier: MIT
"""The fields of a recipe: each carries its help text, its range and the heading that it is listed under."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

from fslcore.arguments import ArgumentError

# The headings of the help.
TASKS, NETWORK, TRAINING = "Classes and images", "Network", "Training"
INNER_LOOP, GENERATOR = "Inner loop", "Generator"

_ABOUT = "about"
_KINDS = {
    "int": (numbers.Integral, "an integer"),
    "float": (numbers.Real, "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "a string"),
}


@dataclasses.dataclass(frozen=True)
class About:
    """What a field of a recipe means and which values it takes.

    Attributes:
        help: one or two sentences.
        panel: the heading that the help lists it under; None: it is not for the user to choose.
        above: the value must be above this number.
        least: the value must be at least this number.
        choices: the value must be one of these.
        form: what the value must be, in words, where the recipe checks it.
    """

    help: str
    panel: str | None
    above: float | None = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    form: str = ""

    @property
    def requirement(self) -> str:
        """Which values are allowed, as in "above 0"; empty for all."""
        if self.form:
            return self.form
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.above is not None:
            return f"above {self.above:g}"
        return "" if self.least is None else f"at least {self.least:g}"

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is in the range."""
        if self.choices:
            return value in self.choices
        return (self.above is None or value > self.above) and (self.least is None or value >= self.least)


def field(
    help: str,
    panel: str | None,
    *,
    default: Any = dataclasses.MISSING,
    above: float | None = None,
    least: float | None = None,
    choices: tuple[str, ...] = (),
    form: str = "",
) -> Any:
    """A dataclass field with an `About`."""
    about = About(help, panel, above, least, choices, form)
    return dataclasses.field(default=default, metadata={_ABOUT: about})


def described(recipe: Any) -> dict[str, tuple[dataclasses.Field[Any], About]]:
    """The fields of a recipe, or of its class: name -> field and `About`."""
    return {field.name: (field, field.metadata[_ABOUT]) for field in dataclasses.fields(recipe)}


def options(recipe: Any) -> dict[str, tuple[dataclasses.Field[Any], About]]:
    """The fields that a user may choose, as `described`."""
    return {name: entry for name, entry in described(recipe).items() if entry[1].panel is not None}


def check(recipe: Any) -> None:
    """Checks the type and the range of every field.

    Raises:
        ArgumentError: a value is of another type or out of range.
    """
    for name, (field, about) in described(recipe).items():
        value = getattr(recipe, name)
        type_name, _, optional = str(field.type).partition(" | ")
        if value is None and optional:
            continue
        kind, expected = _KINDS[type_name]
        # To Python, True is an integer.
        if not isinstance(value, kind) or (isinstance(value, bool) and type_name != "bool"):
            raise ArgumentError(name, f"must be {expected}", value)
        if not about.allows(value):
            raise ArgumentError(name, f"must be {about.requirement}", value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError(name, "must be a finite number", value)
