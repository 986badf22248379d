# SPDX-License-Identifier: MIT
"""Text that is not ours, such as names of classes and folders, as matplotlib can draw it.

A dollar sign begins no formula, and a character that no font has is drawn as a box, without a warning.
"""

from __future__ import annotations

import functools
import textwrap
import unicodedata

import matplotlib
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.textpath import TextPath

_BOX = "□"
_LONGEST = 32  # characters of a name beside an axis
_MOST_LINES = 3


def drawable(text: object, weight: str = "normal") -> str:
    """The text without what no font has; line breaks stay.

    Args:
        text: Any text.
        weight: Weight of the font that it is drawn with.
    """
    known = _characters(tuple(matplotlib.rcParams["font.family"]), weight)
    return "".join(_drawable(sign, known) for sign in str(text))


def short(name: object) -> str:
    """A name as a short line that can be drawn."""
    text = " ".join(drawable(name).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2].rstrip() + " …"


def literal(text: Text) -> Text:
    """Lets matplotlib draw a text as it stands, without formulas."""
    text.set_parse_math(False)
    text.set_usetex(False)
    return text


def wrapped(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """The text in as many lines as a width needs, at most three.

    Args:
        text: Text that can be drawn.
        inches: The width.
        points: Size of the font.
        weight: Weight of the font.
    """
    lines = []
    for line in text.split("\n"):
        needed = _inches(line, points, weight)
        # By the average width of its characters, then less until each line fits.
        letters = len(line) if needed <= inches else max(1, int(len(line) * inches / needed))
        while letters > 1 and any(_inches(p, points, weight) > inches for p in textwrap.wrap(line, letters)):
            letters -= 1
        lines += [line] if needed <= inches else textwrap.wrap(line, letters)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [lines[_MOST_LINES - 1][:-2].rstrip() + " …"]
    return "\n".join(lines)


def _drawable(sign: str, known: frozenset[int]) -> str:
    if ord(sign) in known or sign == "\n":
        return sign
    kind = unicodedata.category(sign)
    if kind in ("Cf", "Mn", "Me"):  # joiners and accents: nothing to see by themselves
        return ""
    return " " if kind in ("Cc", "Zs", "Zl", "Zp") else _BOX


@functools.lru_cache(maxsize=8)
def _characters(families: tuple[str, ...], weight: str) -> frozenset[int]:
    """The code points that the fonts of a list of families have."""
    found: set[int] = set()
    for family in (*families, "DejaVu Sans"):
        try:
            path = findfont(FontProperties(family=family, weight=weight), fallback_to_default=False)
        except ValueError:  # no such font
            continue
        found |= FT2Font(path).get_charmap().keys()
        if family == families[-1]:
            break
    return frozenset(found)


def _inches(text: str, points: float, weight: str) -> float:
    if not text.strip():
        return 0.0
    font = FontProperties(weight=weight)
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=points, prop=font).get_extents().width / 72)
