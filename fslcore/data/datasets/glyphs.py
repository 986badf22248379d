# SPDX-License-Identifier: MIT
"""`glyphs`: the embedded dataset, drawn from the fonts that matplotlib ships.

Letters of real alphabets, 20 images each: the letter in up to 16 faces (sans, serif, mono, italic, bold),
each image turned, sheared, scaled, shifted and bent by a seeded random amount. Alphabets are the groups, so
that a model can be tested on alphabets that it has never seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

from fslcore.arguments import ArgumentError
from fslcore.data.datasets import drawing
from fslcore.data.datasets.dataset import Dataset, Progress, Request, split_by_named_groups
from fslcore.data.datasets.drawing import Face
from fslcore.data.store import ImageStore

_VERSION = 1  # in the file name of the cache: raise it whenever the images change
_LEAST_FACES = 2
_LETTERS_PER_ALPHABET = 100  # Latin and Canadian syllabics alone would otherwise be half of the set
_LEAST_LETTERS = 5  # the rules below leave one or two letters of some alphabets, too few for a group

# Whole alphabets, named rather than drawn: the test set then stays the same when other fonts add or lose an
# alphabet. All others are for training.
_HELD_OUT = {
    "val": ("Armenian", "Nko"),
    "test": ("Greek", "Hebrew", "Lao", "Old Italic", "Tifinagh"),
}


def load(request: Request) -> ImageStore:
    """The embedded dataset of letters, drawn on first use and then read from the cache.

    Args:
        request: The size of the images, the cache and the progress.

    Returns:
        A store of ink 255 on background 0, one channel, 20 images per class; groups are the alphabets. The
        images depend only on the shipped fonts and the font renderer (FreeType) inside Pillow.
    """
    return drawing.cached(f"glyphs-{request.image_size}-r{_VERSION}", build, request)


def build(paths: list[Path], image_size: int = 28, progress: Progress | None = None) -> ImageStore:
    """Draws the dataset.

    Args:
        paths: TrueType fonts. Letters are compared as the first font that has them draws them.
        image_size: Height and width of the images in pixels.
        progress: Called as `progress(done, total, what)`, where letters are counted.

    Returns:
        The store; classes sorted by alphabet in the order of Unicode, then by code point.

    Raises:
        ArgumentError: The fonts hold no alphabet.
    """
    faces = [drawing.open_face(path) for path in paths]
    classes = choose_letters(faces)
    if not classes:
        raise ArgumentError(
            "paths",
            "must be fonts that hold letters",
            paths,
            described=f"{len(paths)} fonts without an alphabet",
        )
    return drawing.draw("glyphs", classes, faces, image_size, progress)


def alphabet(letter: str) -> str | None:
    """The alphabet of a letter, from its Unicode name; None for anything but a plain letter.

    Letters that decompose (accented letters, ligatures, mathematical letters) are not plain.

    Example:
        >>> alphabet("я"), alphabet("é"), alphabet("7")
        ('Cyrillic', None, None)
    """
    if (
        unicodedata.category(letter) not in ("Lu", "Ll", "Lo")
        or unicodedata.normalize("NFKD", letter) != letter
    ):
        return None
    match = re.match(
        r"(.+?) (SMALL LETTER|CAPITAL LETTER|LETTER|SYLLABICS|SYLLABLE)\b", unicodedata.name(letter, "")
    )
    return match[1].title() if match else None


def choose_letters(faces: list[Face]) -> dict[str, str]:
    """The letters of the dataset and the alphabet of each, in order of alphabet, then code point.

    Leaves out letters that too few faces have, that are blank or only a dot, or that look like a letter
    already chosen.
    """
    taken = drawing.choose(faces, alphabet, _LEAST_FACES, _LETTERS_PER_ALPHABET)
    per_alphabet = Counter(taken.values())
    order = list(per_alphabet)
    kept = [letter for letter, name in taken.items() if per_alphabet[name] >= _LEAST_LETTERS]
    return {letter: taken[letter] for letter in sorted(kept, key=lambda x: (order.index(taken[x]), x))}


def split(store: ImageStore) -> dict[str, ImageStore]:
    """The official split, by alphabet: training has seen no letter of the other parts' alphabets."""
    return split_by_named_groups(store, _HELD_OUT)


DATASET = Dataset("glyphs", load, channels=(1,), grouped=True, split=split)
