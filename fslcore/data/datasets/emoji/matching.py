# SPDX-License-Identifier: MIT
"""Which icon of a set is which emoji: by its code points or, in sets without them, by its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Icons whose names mean another emoji: the flag of Turkey, a musical keyboard, a window on a screen, the
# faces of animals.
_WRONG = {
    "streamline": {"turkey"},
    "emojione-v1": {"keyboard", "window"},
    "fxemoji": {"keyboard", "window", "kiss", "cat", "dog", "mouse", "pig", "tiger"},
}
_CLOCKS = re.compile("o\N{RIGHT SINGLE QUOTATION MARK}clock|-thirty$")
_SIZES = re.compile(r"^(black|white) (small|medium|medium-small|large) square$|^small .* diamond$")

# An icon set of iconify: `icons` by their names, `chars` from code points to names.
IconSet = tuple[Mapping[str, Any], Mapping[str, str]]


@dataclass(frozen=True)
class Emoji:
    """An emoji of the Unicode standard.

    Attributes:
        key: its code points, hexadecimal, joined by hyphens, without the selector of a coloured picture.
        name: its name.
        category: the group of the standard that it is in.
    """

    key: str
    name: str
    category: str

    @property
    def folder(self) -> str:
        """The name of its folder, such as 1f600_grinning-face."""
        return f"{self.key}_{re.sub('[^a-z0-9]+', '-', _ascii(self.name.lower())).strip('-')}"


def wanted(listed: Mapping[str, Mapping[str, str]]) -> dict[str, Emoji]:
    """The emoji of the data set, by their code points.

    Left out are flags, clock faces, shapes that differ in size alone, and people who are joined with a
    gender, a profession or a family, whose pictures differ in small signs.

    Args:
        listed: For each emoji, as text, at least its "name" and "group".
    """
    found = {}
    for text, value in listed.items():
        emoji = Emoji(_plain("-".join(f"{ord(sign):x}" for sign in text)), value["name"], value["group"])
        joined = "200d" in emoji.key.split("-") and emoji.category == "People & Body"
        alike = _CLOCKS.search(emoji.name) or _SIZES.search(emoji.name)
        if not (emoji.category == "Flags" or joined or alike):
            found[emoji.key] = emoji
    return found


def matched(emoji: Mapping[str, Emoji], sets: Mapping[str, IconSet]) -> dict[str, dict[str, str]]:
    """For each emoji and designer the name of the icon.

    Args:
        emoji: By their code points.
        sets: By designer.
    """
    names: dict[str, set[str]] = {}
    old: dict[str, set[str]] = {}  # those of single characters in the standard, which older sets go by
    for key, value in emoji.items():
        names.setdefault(_squashed(value.name), set()).add(key)
        if "-" not in key:
            old.setdefault(_squashed(unicodedata.name(chr(int(key, 16)), "?")), set()).add(key)
    by_code = {
        style: {_plain(code): name for code, name in chars.items()} for style, (_, chars) in sets.items()
    }
    for codes in by_code.values():  # what sets with code points call an emoji helps those without
        for key, name in codes.items():
            if key in emoji:
                names.setdefault(_squashed(name), set()).add(key)
    found: dict[str, dict[str, str]] = {key: {} for key in sorted(emoji)}
    for style, (icons, _) in sets.items():
        for key, name in by_code[style].items():
            if key in emoji and name in icons["icons"]:
                found[key][style] = name
        for name in [] if by_code[style] else sorted(icons["icons"].keys() - _WRONG.get(style, set())):
            candidates = names.get(_squashed(name)) or old.get(_squashed(name)) or set()
            if len(candidates) == 1:
                found[next(iter(candidates))].setdefault(style, name)
    return found


def _plain(code: str) -> str:
    return "-".join(part for part in code.split("-") if part != "fe0f")


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _squashed(name: str) -> str:
    return re.sub("[^a-z0-9]", "", _ascii(name.lower().replace("&", "and")))
