# SPDX-License-Identifier: MIT
"""Drawn photographs of articles: for each label an object, in other poses, light and surroundings each time.

Several labels have the same colours, and several the same outline: neither alone tells them apart.

    python photographs.py FOLDER LABELS IMAGES [FIRST]
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OBJECT, PHOTOGRAPH = 160, 224
PALETTES = [
    ((200, 40, 40), (245, 235, 210)),
    ((35, 80, 170), (240, 200, 60)),
    ((40, 130, 70), (235, 235, 235)),
    ((120, 70, 40), (250, 190, 140)),
    ((90, 40, 130), (180, 230, 230)),
    ((230, 130, 30), (50, 50, 60)),
    ((30, 150, 160), (250, 245, 160)),
    ((70, 75, 85), (220, 90, 130)),
]
OUTLINES = ("bottle", "box", "disc", "star", "leaf")
PATTERNS = ("stripes", "dots", "ring", "halves", "checks", "cross", "bars")


def draw_folder(folder: Path, labels: int, images: int, first: int = 0) -> Path:
    """Writes `images` photographs of each label into its sub-folder, as JPEG; others for another `first`."""
    for label in range(labels):
        place = folder / f"article{label:02}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + images):
            photograph(label, number).save(place / f"{number:03}.jpg", quality=88)
    return folder


def photograph(label: int, number: int) -> Image.Image:
    """A photograph of an article; a function of its two numbers."""
    rng = np.random.default_rng([7, label, number])
    picture = background(rng)
    item = posed(article(label), rng)
    left, top = (int(rng.integers(0, PHOTOGRAPH - side + 1)) for side in item.size)
    shadow = Image.new("RGBA", item.size, (0, 0, 0, 0))
    shadow.putalpha(item.getchannel("A").point(lambda a: a * 90 // 255))
    picture.paste(shadow, (left + 4, top + 5), shadow)
    picture.paste(item, (left, top), item)
    return developed(picture, rng)


def article(label: int) -> Image.Image:
    """The object of a label, as seen from the front, on a transparent ground."""
    rng = np.random.default_rng([11, label])
    outline, pattern = OUTLINES[label % len(OUTLINES)], PATTERNS[label % len(PATTERNS)]
    body, accent = PALETTES[label % len(PALETTES)]
    paint = Image.new("RGB", (OBJECT, OBJECT), body)
    draw = ImageDraw.Draw(paint)
    step = int(rng.integers(22, 34))
    grid = range(0, OBJECT, step)
    if pattern == "stripes":
        for x in grid:
            draw.polygon([(x, 0), (x + step // 2, 0), (x + 40, OBJECT), (x + 40 - step // 2, OBJECT)], accent)
    elif pattern == "dots":
        for x in grid:
            for y in grid:
                draw.ellipse([x, y, x + step // 2, y + step // 2], accent)
    elif pattern == "ring":
        draw.ellipse([35, 35, 125, 125], outline=accent, width=step // 2)
    elif pattern == "halves":
        draw.rectangle([0, OBJECT // 2, OBJECT, OBJECT], accent)
    elif pattern == "checks":
        for x in grid:
            for y in grid:
                if (x // step + y // step) % 2:
                    draw.rectangle([x, y, x + step, y + step], accent)
    elif pattern == "cross":
        draw.rectangle([68, 20, 92, 140], accent)
        draw.rectangle([20, 68, 140, 92], accent)
    else:
        for x in grid:
            draw.rectangle([x, 0, x + step // 3, OBJECT], accent)
    mask = Image.new("L", (OBJECT, OBJECT), 0)
    ImageDraw.Draw(mask).polygon(corners(outline), 255)
    paint.putalpha(mask.filter(ImageFilter.GaussianBlur(0.7)))
    return paint


def corners(outline: str) -> list[tuple[float, float]]:
    """The polygon of an outline, within OBJECT x OBJECT."""
    if outline == "box":
        return [(25, 15), (135, 15), (135, 145), (25, 145)]
    if outline == "bottle":
        return [(68, 5), (92, 5), (92, 45), (120, 70), (120, 155), (40, 155), (40, 70), (68, 45)]
    radii = {"disc": lambda t: 70.0, "star": lambda t: 52 + 20 * math.cos(5 * t)}
    leaf = lambda t: 70 * (0.55 + 0.45 * abs(math.cos(t)))  # noqa: E731
    angles = [2 * math.pi * i / 72 for i in range(72)]
    radius = radii.get(outline, leaf)
    return [(80 + radius(t) * math.cos(t), 80 + radius(t) * math.sin(t)) for t in angles]


def posed(item: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The object from another side: tilted, turned by up to 40 degrees, nearer or further."""
    tilt = rng.uniform(-0.18, 0.18, 2)
    wide, high = rng.uniform(0.8, 1.0, 2)
    middle = OBJECT / 2
    a, b, d, e = 1 / wide, tilt[0], tilt[1], 1 / high
    shift = (middle - a * middle - b * middle, middle - d * middle - e * middle)
    item = item.transform(item.size, Image.Transform.AFFINE, (a, b, shift[0], d, e, shift[1]), Image.BICUBIC)
    item = item.rotate(float(rng.uniform(-40, 40)), Image.BICUBIC, expand=True)
    side = int(rng.uniform(0.5, 0.85) * PHOTOGRAPH)
    return item.resize((side, side * item.height // item.width if item.height < item.width else side))


def background(rng: np.random.Generator) -> Image.Image:
    """A slope of two colours, coarse and fine texture, and things lying about."""
    ends = rng.integers(40, 230, (2, 3))
    slope = np.linspace(0, 1, PHOTOGRAPH)[:, None, None]
    plain = ends[0] * (1 - slope) + ends[1] * slope + np.zeros((1, PHOTOGRAPH, 1))
    for cells, strength in ((7, 25), (28, 18), (112, 10)):
        coarse = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        plain = (
            plain + np.asarray(Image.fromarray(coarse).resize((PHOTOGRAPH,) * 2, Image.BILINEAR))[..., None]
        )
    picture = Image.fromarray(plain.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 6))):
        x, y, w, h = (int(v) for v in rng.integers(5, PHOTOGRAPH - 5, 4))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape([x, y, x + w // 3, y + h // 3], tuple(int(v) for v in rng.integers(20, 240, 3)))
    return picture


def developed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side, its colour, a lens that is not sharp, and the noise of the sensor."""
    pixels = np.asarray(picture, np.float32) / 255
    across, down = np.meshgrid(np.linspace(-1, 1, PHOTOGRAPH), np.linspace(-1, 1, PHOTOGRAPH))
    angle = rng.uniform(0, 2 * math.pi)
    light = 1 + rng.uniform(0, 0.35) * (math.cos(angle) * across + math.sin(angle) * down)
    pixels = pixels * light[..., None] * rng.uniform(0.6, 1.25) * rng.uniform(0.88, 1.12, 3)
    pixels = pixels + rng.normal(0, rng.uniform(0.01, 0.05), pixels.shape)
    picture = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.4))))
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=int(rng.integers(60, 95)))
    return Image.open(stored).convert("RGB")


if __name__ == "__main__":
    draw_folder(Path(sys.argv[1]), *map(int, sys.argv[2:]))
