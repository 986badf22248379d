# SPDX-License-Identifier: MIT
"""Icons of a set as pictures, and thumbnails of them that tell which are alike."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_LARGE = 256  # pixels; drawn so, and averaged to the size of the data set
_SMALL = 16
_WHITE = 250  # a picture that is nowhere darker is blank
# Mean difference of two thumbnails, of 255, below which they count as the same picture.
_ALIKE = 4.0


def renderer() -> tuple[Callable[..., Any], str]:
    """The function that draws SVG, and its version, on which pixels may depend.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError("emoji are drawn by resvg-py: pip install 'fslcore[emoji]'") from error
    return resvg_py.svg_to_bytes, str(resvg_py.__version__)


def draw(
    icons: Mapping[str, Any], names: Sequence[str], size: int, done: Callable[[], object]
) -> tuple[Pixels, Floats]:
    """Icons on white.

    Args:
        icons: A set of iconify.
        names: Which icons.
        size: Height and width of the pictures.
        done: Called after each picture.

    Returns:
        The pictures uint8 [N, size, size, 3], and thumbnails float32 [N, 768] that do not depend on `size`.
    """
    svg_to_bytes, _ = renderer()

    def one(name: str) -> tuple[Pixels, Floats]:
        large = _rendered(svg_to_bytes, icons, name, _LARGE)
        if _LARGE % size == 0:
            picture = large.reduce(_LARGE // size)
        else:
            picture = _rendered(svg_to_bytes, icons, name, 2 * size).reduce(2)
        return np.asarray(picture), np.asarray(large.reduce(_LARGE // _SMALL), np.float32).ravel()

    pictures = np.empty((len(names), size, size, 3), np.uint8)
    thumbnails = np.empty((len(names), 3 * _SMALL**2), np.float32)
    with ThreadPoolExecutor() as pool:
        try:
            for i, (picture, thumbnail) in enumerate(pool.map(one, names)):
                pictures[i], thumbnails[i] = picture, thumbnail
                done()
        finally:
            pool.shutdown(cancel_futures=True)
    return pictures, thumbnails


def is_blank(thumbnail: Floats) -> bool:
    """Whether there is nothing but white."""
    return bool(thumbnail.min() >= _WHITE)


def doubles(thumbnails: Mapping[str, Mapping[str, Floats]]) -> dict[str, str]:
    """Classes that designers draw as another class.

    Args:
        thumbnails: By class, then by designer.

    Returns:
        For each class to leave out the one that it is like: alike in at least half of the designs that both
        have. Of two, the first in the order of `thumbnails` stays.
    """
    alike: Counter[tuple[str, str]] = Counter()
    for style in sorted({style for drawn in thumbnails.values() for style in drawn}):
        keys = [key for key, drawn in thumbnails.items() if style in drawn]
        rows = np.stack([thumbnails[key][style] for key in keys])
        for i, row in enumerate(rows):
            near = np.flatnonzero(np.abs(rows[i + 1 :] - row).mean(axis=1) < _ALIKE) + i + 1
            alike.update((keys[i], keys[j]) for j in near)
    found: dict[str, str] = {}
    for (first, second), times in sorted(alike.items()):
        both = thumbnails[first].keys() & thumbnails[second].keys()
        if first not in found and second not in found and 2 * times >= len(both):
            found[second] = first
    return found


def _rendered(
    svg_to_bytes: Callable[..., Any], icons: Mapping[str, Any], name: str, side: int
) -> Image.Image:
    icon = icons["icons"][name]
    width, height = (icon.get(edge, icons.get(edge, 16)) for edge in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{side}" height="{side}" viewBox="{box}">{icon["body"]}</svg>'
    )
    png = svg_to_bytes(svg_string=svg, skip_system_fonts=True, width=side, height=side)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
