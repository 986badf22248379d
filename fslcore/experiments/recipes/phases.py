# SPDX-License-Identifier: MIT
"""The phases of a training: what is trained, how long, at which rate.

`frozen:5:1e-3,top:5:1e-4,all:5:3e-5` are three phases of 5 epochs each; `thawing` says which layers a
phase can train.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.experiments.recipes.thawing import ALL, FROZEN, TOP, is_part

_PARTS = (FROZEN, TOP, ALL)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase of a training.

    Attributes:
        trained: "frozen": only what stands behind the network; "top": its last fifth too; "all": all of it;
            "top=50%", "top=12", "from=NAME" and "name=PATTERN" as in `thawing`.
        epochs: number of epochs.
        learning_rate: of Adam at the start of the phase; it falls to 0 along half a cosine. None: that of the
            recipe.
    """

    trained: str
    epochs: int
    learning_rate: float | None


def parsed(text: str) -> list[Phase]:
    """The phases of their text; none if it is empty.

    Raises:
        ArgumentError: it is none.
    """
    return [_phase(each, text) for each in text.split(",")] if text else []


def written(phases: Iterable[Phase]) -> str:
    """The text of some phases, of which `parsed` makes them again.

    Raises:
        ArgumentError: they are none, or a value of one is wrong.
    """
    given = list(phases) if isinstance(phases, Iterable) else []
    if not given or not all(isinstance(phase, Phase) for phase in given):
        raise ArgumentError("phases", "must be a text, or a list of `Phase`", phases)
    text = ",".join(f"{phase.trained}:{phase.epochs}:{phase.learning_rate}" for phase in given)
    parsed(text)
    return text


def adam(rate: float, steps: int, **moments: float) -> Any:
    """Adam whose rate falls to 0 along half a cosine."""
    import keras

    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps), **moments)


def _phase(each: str, text: str) -> Phase:
    try:
        trained, epochs, rate = each.strip().split(":")
        phase = Phase(trained, int(epochs), float(rate))
    except ValueError:
        raise _wrong(text) from None
    positive = phase.epochs > 0 and phase.learning_rate is not None and phase.learning_rate > 0
    if not is_part(trained) or not positive or not math.isfinite(float(rate)):
        raise _wrong(text)
    return phase


def _wrong(text: str) -> ArgumentError:
    return ArgumentError(
        "phases",
        f"must be one or more of {', '.join(_PARTS)}, each with its epochs and its rate, as in "
        "frozen:5:1e-3,top:5:1e-4,all:5:3e-5 (also top=50%, top=12, from=LAYER, name=LAYERS)",
        text,
    )
