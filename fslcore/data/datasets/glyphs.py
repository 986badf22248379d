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
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont, features

from fslcore.arguments import ArgumentError
from fslcore.data import cache
from fslcore.data.datasets.dataset import Dataset, Progress, Request, watched
from fslcore.data.datasets.distortion import distort
from fslcore.data.store import ImageStore

SAMPLES_PER_CLASS = 20

_VERSION = 1  # in the file name of the cache: raise it whenever the images change
_FACES = (
    "DejaVuSans",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "DejaVuSans-Oblique",
    "DejaVuSerif-Italic",
    "DejaVuSansMono-Oblique",
    "STIXGeneralItalic",
    "DejaVuSans-Bold",
    "DejaVuSerif-Bold",
    "DejaVuSansMono-Bold",
    "STIXGeneralBol",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono-BoldOblique",
    "STIXGeneralBolIta",
)
_LEAST_FACES = 2
_LETTERS_PER_ALPHABET = 100  # Latin and Canadian syllabics alone would otherwise be half of the set
_LEAST_LETTERS = 5  # the rules below leave one or two letters of some alphabets, too few for a group
# Two letters whose blurred images have a larger cosine count as one. Homoglyphs (Latin A and Cyrillic A, c
# and C) have 0.98 and more, pairs such as Hebrew vav and final nun 0.96, and pairs that one can tell apart
# 0.93.
_SAME_LETTER = 0.95
_FONT_PIXELS = 64
_LEAST_INK = 0.25  # of the font's size: dots and small raised signs have less, and would become blots
_LOOK_PIXELS = 32

# Whole alphabets, named rather than drawn: the test set then stays the same when other fonts add or lose an
# alphabet. All others are for training.
_HELD_OUT = {
    "val": ("Armenian", "Nko"),
    "test": ("Greek", "Hebrew", "Lao", "Old Italic", "Tifinagh"),
}

_Image = npt.NDArray[np.float64]


def load(request: Request) -> ImageStore:
    """The embedded dataset of letters, drawn on first use and then read from the cache.

    Args:
        request: The size of the images, the cache and the progress.

    Returns:
        A store of ink 255 on background 0, one channel, 20 images per class; groups are the alphabets. The
        images depend only on the shipped fonts and the font renderer (FreeType) inside Pillow.
    """
    paths = font_paths()
    fonts = [(path.name, cache.content_digest(path)) for path in paths]
    source = cache.digest([fonts, features.version("freetype2")])
    key = f"glyphs-{request.image_size}-r{_VERSION}"
    return cache.load_or_build(
        key, source, lambda: build(paths, request.image_size, request.progress), request.cache_dir
    )


def font_paths() -> list[Path]:
    """The fonts of the dataset that the installed matplotlib has."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for face in _FACES if (path := folder / f"{face}.ttf").exists()]


def open_face(path: Path) -> tuple[ImageFont.FreeTypeFont, frozenset[str]]:
    """Opens a font; returns it with the letters it has."""
    # The basic layout draws the nominal glyph of one code point. Not every Pillow has the shaping layout.
    font = ImageFont.truetype(str(path), _FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    return font, frozenset(map(chr, FT2Font(str(path)).get_charmap()))


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
    faces = [open_face(path) for path in paths]
    classes = choose_letters(faces)
    if not classes:
        raise ArgumentError(
            "paths",
            "must be fonts that hold letters",
            paths,
            described=f"{len(paths)} fonts without an alphabet",
        )
    images = [
        draw_class(letter, [font for font, letters in faces if letter in letters], image_size)
        for letter in watched(classes, len(classes), "drawing glyphs", progress)
    ]
    alphabets = list(dict.fromkeys(classes.values()))
    groups = [alphabets.index(alphabet) for alphabet in classes.values()]
    return ImageStore(
        np.concatenate(images)[..., np.newaxis],
        np.repeat(np.arange(len(classes), dtype=np.int32), SAMPLES_PER_CLASS),
        np.repeat(np.array(groups, np.int32), SAMPLES_PER_CLASS),
        [unicodedata.name(letter) for letter in classes],
        alphabets,
        "glyphs",
    )


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


def choose_letters(faces: list[tuple[ImageFont.FreeTypeFont, frozenset[str]]]) -> dict[str, str]:
    """The letters of the dataset and the alphabet of each, in order of alphabet, then code point.

    Leaves out letters that too few faces have, that are blank or only a dot, or that look like a letter
    already chosen.
    """
    count = Counter(letter for _, letters in faces for letter in letters)
    taken: dict[str, str] = {}
    looks = np.empty((len(count), _LOOK_PIXELS**2))
    per_alphabet: Counter[str] = Counter()
    for letter in sorted(count):
        name = alphabet(letter)
        if name is None or count[letter] < _LEAST_FACES or per_alphabet[name] == _LETTERS_PER_ALPHABET:
            continue
        look = _look(next(font for font, letters in faces if letter in letters), letter)
        if look is None or _seen(looks[: len(taken)], look):
            continue
        looks[len(taken)] = look
        taken[letter] = name
        per_alphabet[name] += 1
    order = list(per_alphabet)
    kept = [letter for letter, name in taken.items() if per_alphabet[name] >= _LEAST_LETTERS]
    return {letter: taken[letter] for letter in sorted(kept, key=lambda x: (order.index(taken[x]), x))}


def draw_class(letter: str, fonts: list[ImageFont.FreeTypeFont], image_size: int) -> npt.NDArray[np.uint8]:
    """Draws the images of one letter, uint8 [SAMPLES_PER_CLASS, image_size, image_size].

    The random numbers depend on the letter alone, so its images stay the same when other letters are added
    or removed.
    """
    # Drawn at twice the size and averaged, so that strokes bent by the distortion keep smooth edges.
    glyphs = [glyph for font in fonts if (glyph := render(font, letter, 2 * image_size)) is not None]
    samples = np.stack([glyphs[i % len(glyphs)] for i in range(SAMPLES_PER_CLASS)])
    generator = np.random.Generator(np.random.Philox(key=ord(letter)))
    bent = distort(samples, generator)
    small = bent.reshape(SAMPLES_PER_CLASS, image_size, 2, image_size, 2).mean(axis=(2, 4))
    return np.rint(small).astype(np.uint8)


def render(font: ImageFont.FreeTypeFont, letter: str, pixels: int, widen: float = 1.0) -> _Image | None:
    """Draws a letter so that the longer side of its ink fills half of the image, centred.

    Args:
        font: Font that has the letter.
        letter: The letter.
        pixels: Height and width of the image.
        widen: The shorter side is stretched by this factor, but not beyond the longer one.

    Returns:
        float64 [pixels, pixels], 0..255; None if the letter is blank or only a dot.
    """
    left, top, right, bottom = map(round, font.getbbox(letter))
    canvas = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), letter, font=font, fill=255)
    box = canvas.getbbox()
    if box is None or max(box[2] - box[0], box[3] - box[1]) < _LEAST_INK * _FONT_PIXELS:
        return None
    sides = np.array([box[2] - box[0], box[3] - box[1]]) / max(box[2] - box[0], box[3] - box[1])
    sides[sides < 1] = np.minimum(1, widen * sides[sides < 1])
    width, height = (max(1, round(side * pixels / 2)) for side in sides)
    ink = canvas.crop(box).resize((width, height), Image.Resampling.BILINEAR)
    image = Image.new("L", (pixels, pixels))
    image.paste(ink, ((pixels - width) // 2, (pixels - height) // 2))
    return np.asarray(image, dtype=np.float64)


def _look(font: ImageFont.FreeTypeFont, letter: str) -> _Image | None:
    """The letter as a blurred unit vector, which a shift of a stroke by a pixel changes only a little."""
    # Widened, as the distortion may do it: otherwise a narrow n and a wide n would be two letters.
    image: Any = render(font, letter, _LOOK_PIXELS, widen=1.5)
    if image is None:
        return None
    for axis in (0, 1):
        image = np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)
    return image.ravel() / np.linalg.norm(image)


def _seen(looks: _Image, look: _Image) -> bool:
    # einsum, not @: thousands of products this small spend their time waking the threads of the BLAS
    # (measured on two busy cores: 6 s instead of 0.5 s), and its rounding is the same on every machine.
    return bool(np.any(np.einsum("ij,j->i", looks, look) > _SAME_LETTER))


def split(store: ImageStore) -> dict[str, ImageStore]:
    """The official split, by alphabet: training has seen no letter of the other parts' alphabets."""
    held_out = {name for names in _HELD_OUT.values() for name in names}
    parts = {"train": tuple(name for name in store.group_names if name not in held_out), **_HELD_OUT}
    alphabets = np.array(store.group_names)[store.groups]
    return {
        part: store.take(np.isin(alphabets, names), f"{store.name}/{part}") for part, names in parts.items()
    }


DATASET = Dataset("glyphs", load, channels=(1,), grouped=True, split=split)
