# SPDX-License-Identifier: MIT
"""Datasets of signs drawn from the fonts that matplotlib ships: 20 images of each, in up to 16 faces.

Each image is turned, sheared, scaled, shifted and bent by a seeded random amount. The images depend only on
the shipped fonts and the font renderer (FreeType) inside Pillow.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont, features

from fslcore.data import cache, memory
from fslcore.data.datasets.dataset import Progress, Request, watched
from fslcore.data.datasets.distortion import distort
from fslcore.data.store import ImageStore

SAMPLES_PER_CLASS = 20

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
# Two letters whose blurred images have a larger cosine count as one. Homoglyphs (Latin A and Cyrillic A, c
# and C) have 0.98 and more, pairs such as Hebrew vav and final nun 0.96, and pairs that one can tell apart
# 0.93.
_SAME_LETTER = 0.95
_FONT_PIXELS = 64
_LEAST_INK = 0.25  # of the font's size: dots and small raised signs have less, and would become blots
_LOOK_PIXELS = 32

# A font, and the signs it has.
Face = tuple[ImageFont.FreeTypeFont, frozenset[str]]
_Image = npt.NDArray[np.float64]


def cached(
    key: str, build: Callable[[list[Path], int, Progress | None], ImageStore], request: Request
) -> ImageStore:
    """A drawn dataset, from the cache unless the fonts or their renderer have changed.

    Args:
        key: Name of the file in the cache; it holds the size of the images and a version of the drawing.
        build: Draws the dataset, called as `build(paths of the fonts, image_size, progress)`.
        request: The size of the images, the cache and the progress.
    """
    paths = font_paths()
    fonts = [(path.name, cache.content_digest(path)) for path in paths]
    source = cache.digest([fonts, features.version("freetype2")])
    return cache.load_or_build(
        key,
        source,
        lambda: build(paths, request.image_size, request.progress),
        request.cache_dir,
        storage=request.storage,
        progress=request.progress,
    )


def font_paths() -> list[Path]:
    """The fonts of the datasets that the installed matplotlib has."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for face in _FACES if (path := folder / f"{face}.ttf").exists()]


def open_face(path: Path) -> Face:
    """Opens a font; returns it with the signs it has."""
    # The basic layout draws the nominal glyph of one code point. Not every Pillow has the shaping layout.
    font = ImageFont.truetype(str(path), _FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    return font, frozenset(map(chr, FT2Font(str(path)).get_charmap()))


def draw(
    name: str,
    classes: Mapping[str, str],
    faces: Sequence[Face],
    image_size: int,
    progress: Progress | None,
) -> ImageStore:
    """Draws a dataset.

    Args:
        name: Name of the dataset.
        classes: Each sign with its group, group by group.
        faces: The fonts, of which at least one has each sign.
        image_size: Height and width of the images in pixels.
        progress: Called as `progress(done, total, what)`, where signs are counted.

    Returns:
        The store; classes and groups in their order in `classes`, each class with the Unicode name of its
        sign.

    Raises:
        ArgumentError: The images would not fit into memory.
    """
    memory.check_fits(image_size, SAMPLES_PER_CLASS * len(classes), 1)
    images = [
        draw_class(sign, [font for font, signs in faces if sign in signs], image_size)
        for sign in watched(classes, len(classes), f"drawing {name}", progress)
    ]
    groups = list(dict.fromkeys(classes.values()))
    of_classes = [groups.index(group) for group in classes.values()]
    return ImageStore(
        np.concatenate(images)[..., np.newaxis],
        np.repeat(np.arange(len(classes), dtype=np.int32), SAMPLES_PER_CLASS),
        np.repeat(np.array(of_classes, np.int32), SAMPLES_PER_CLASS),
        [unicodedata.name(sign) for sign in classes],
        groups,
        name,
    )


def draw_class(sign: str, fonts: list[ImageFont.FreeTypeFont], image_size: int) -> npt.NDArray[np.uint8]:
    """Draws the images of one sign, uint8 [SAMPLES_PER_CLASS, image_size, image_size].

    The random numbers depend on the sign alone, so its images stay the same when other signs are added
    or removed.
    """
    # Drawn at twice the size and averaged, so that strokes bent by the distortion keep smooth edges.
    glyphs = [glyph for font in fonts if (glyph := render(font, sign, 2 * image_size)) is not None]
    samples = np.stack([glyphs[i % len(glyphs)] for i in range(SAMPLES_PER_CLASS)])
    generator = np.random.Generator(np.random.Philox(key=ord(sign)))
    bent = distort(samples, generator)
    small = bent.reshape(SAMPLES_PER_CLASS, image_size, 2, image_size, 2).mean(axis=(2, 4))
    return np.rint(small).astype(np.uint8)


def render(font: ImageFont.FreeTypeFont, sign: str, pixels: int, widen: float = 1.0) -> _Image | None:
    """Draws a sign so that the longer side of its ink fills half of the image, centred.

    Args:
        font: Font that has the sign.
        sign: The sign.
        pixels: Height and width of the image.
        widen: The shorter side is stretched by this factor, but not beyond the longer one.

    Returns:
        float64 [pixels, pixels], 0..255; None if the sign is blank or only a dot.
    """
    left, top, right, bottom = map(round, font.getbbox(sign))
    canvas = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), sign, font=font, fill=255)
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


class Looks:
    """What signs look like, to find those that look like another.

    Args:
        most: The greatest number of signs.
    """

    def __init__(self, most: int) -> None:
        self._looks, self._count = np.empty((most, _LOOK_PIXELS**2)), 0

    def is_new(self, font: ImageFont.FreeTypeFont, sign: str) -> bool:
        """Whether a sign is neither blank nor a dot, and looks like none that was new before it."""
        look = _look(font, sign)
        if look is None or _seen(self._looks[: self._count], look):
            return False
        self._looks[self._count] = look
        self._count += 1
        return True


def choose(
    faces: list[Face], group_of: Callable[[str], str | None], least_faces: int, most: int
) -> dict[str, str]:
    """The signs that become classes, and the group of each, in order of their code points.

    Leaves out signs that too few faces have, that are blank or only a dot, or that look like a sign already
    chosen.

    Args:
        faces: The fonts and the signs they have.
        group_of: The group of a sign; None if it is not wanted.
        least_faces: How many faces must have a sign.
        most: Signs of a group; the others are left out.
    """
    count = Counter(sign for _, signs in faces for sign in signs)
    taken: dict[str, str] = {}
    looks = Looks(len(count))
    per_group: Counter[str] = Counter()
    for sign in sorted(count):
        group = group_of(sign)
        if group is None or count[sign] < least_faces or per_group[group] == most:
            continue
        if looks.is_new(next(font for font, signs in faces if sign in signs), sign):
            taken[sign] = group
            per_group[group] += 1
    return taken


def _look(font: ImageFont.FreeTypeFont, sign: str) -> _Image | None:
    """The sign as a blurred unit vector, which a shift of a stroke by a pixel changes only a little."""
    # Widened, as the distortion may do it: otherwise a narrow n and a wide n would be two letters.
    image: Any = render(font, sign, _LOOK_PIXELS, widen=1.5)
    if image is None:
        return None
    for axis in (0, 1):
        image = np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)
    return image.ravel() / np.linalg.norm(image)


def _seen(looks: _Image, look: _Image) -> bool:
    # einsum, not @: thousands of products this small spend their time waking the threads of the BLAS
    # (measured on two busy cores: 6 s instead of 0.5 s), and its rounding is the same on every machine.
    return bool(np.any(np.einsum("ij,j->i", looks, look) > _SAME_LETTER))
