# SPDX-License-Identifier: MIT
"""`symbols`: signs that are no letters, drawn from the fonts that matplotlib ships.

Arrows, operators, shapes, chess pieces, tiles ..., 20 images each, drawn and distorted as the letters of
`glyphs` are. Blocks of Unicode are the groups, so that a model can be tested on kinds of signs that it has
never seen.
"""

from __future__ import annotations

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
_SYMBOLS_PER_BLOCK = 100
_LEAST_SYMBOLS = 5  # fewer are too few for a group
_CATEGORIES = ("Sm", "Sc", "So")  # of Unicode: mathematical, currency and other symbols
# First and last code point of each block. Python does not know them.
_BLOCKS = {
    "Currency Symbols": (0x20A0, 0x20CF),
    "Arrows": (0x2190, 0x21FF),
    "Mathematical Operators": (0x2200, 0x22FF),
    "Miscellaneous Technical": (0x2300, 0x23FF),
    "Box Drawing": (0x2500, 0x257F),
    "Block Elements": (0x2580, 0x259F),
    "Geometric Shapes": (0x25A0, 0x25FF),
    "Miscellaneous Symbols": (0x2600, 0x26FF),
    "Dingbats": (0x2700, 0x27BF),
    "Miscellaneous Mathematical Symbols-A": (0x27C0, 0x27EF),
    "Supplemental Arrows-A": (0x27F0, 0x27FF),
    "Braille Patterns": (0x2800, 0x28FF),
    "Supplemental Arrows-B": (0x2900, 0x297F),
    "Miscellaneous Mathematical Symbols-B": (0x2980, 0x29FF),
    "Supplemental Mathematical Operators": (0x2A00, 0x2AFF),
    "Miscellaneous Symbols and Arrows": (0x2B00, 0x2BFF),
    "Yijing Hexagram Symbols": (0x4DC0, 0x4DFF),
    "Tai Xuan Jing Symbols": (0x1D300, 0x1D35F),
    "Domino Tiles": (0x1F030, 0x1F09F),
    "Playing Cards": (0x1F0A0, 0x1F0FF),
    "Emoticons": (0x1F600, 0x1F64F),
}

# Whole blocks. All those with arrows and with operators are for training: they are like each other.
_HELD_OUT = {
    "val": ("Block Elements", "Geometric Shapes"),
    "test": ("Box Drawing", "Currency Symbols", "Domino Tiles", "Emoticons", "Tai Xuan Jing Symbols"),
}


def load(request: Request) -> ImageStore:
    """The dataset of symbols, drawn on first use and then read from the cache.

    Args:
        request: The size of the images, the cache and the progress.

    Returns:
        A store of ink 255 on background 0, one channel, 20 images per class; groups are the blocks of
        Unicode. The images depend only on the shipped fonts and the font renderer (FreeType) inside Pillow.
    """
    return drawing.cached(f"symbols-{request.image_size}-r{_VERSION}", build, request)


def build(paths: list[Path], image_size: int = 28, progress: Progress | None = None) -> ImageStore:
    """Draws the dataset.

    Args:
        paths: TrueType fonts. Symbols are compared as the first font that has them draws them.
        image_size: Height and width of the images in pixels.
        progress: Called as `progress(done, total, what)`, where symbols are counted.

    Returns:
        The store; classes sorted by code point, and so by block.

    Raises:
        ArgumentError: The fonts hold no symbols.
    """
    faces = [drawing.open_face(path) for path in paths]
    classes = choose_symbols(faces)
    if not classes:
        raise ArgumentError(
            "paths",
            "must be fonts that hold symbols",
            paths,
            described=f"{len(paths)} fonts without a block of symbols",
        )
    return drawing.draw("symbols", classes, faces, image_size, progress)


def block(sign: str) -> str | None:
    """The block of Unicode that a symbol is in; None for a sign of no listed block, or that is no symbol.

    Signs that stand for others (circled letters, double integrals) are no symbols of their own.

    Example:
        >>> block("→"), block("♞"), block("x"), block("∬")
        ('Arrows', 'Miscellaneous Symbols', None, None)
    """
    if unicodedata.category(sign) not in _CATEGORIES or unicodedata.decomposition(sign).startswith("<"):
        return None
    return next((name for name, (first, last) in _BLOCKS.items() if first <= ord(sign) <= last), None)


def choose_symbols(faces: list[Face]) -> dict[str, str]:
    """The symbols of the dataset and the block of each, in order of their code points.

    Leaves out symbols that too few faces have, that are blank or only a dot, or that look like a symbol
    already chosen.
    """
    taken = drawing.choose(faces, block, _LEAST_FACES, _SYMBOLS_PER_BLOCK)
    per_block = Counter(taken.values())
    return {sign: name for sign, name in taken.items() if per_block[name] >= _LEAST_SYMBOLS}


def split(store: ImageStore) -> dict[str, ImageStore]:
    """The official split, by block: training has seen no symbol of the other parts' blocks."""
    return split_by_named_groups(store, _HELD_OUT)


DATASET = Dataset("symbols", load, channels=(1,), grouped=True, split=split)
