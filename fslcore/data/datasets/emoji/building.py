# SPDX-License-Identifier: MIT
"""Builds the data set: fetches the packages, draws the icons, leaves out what is alike, writes the files."""

from __future__ import annotations

import csv
import functools
import hashlib
import itertools
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fslcore import files
from fslcore.arguments import ArgumentError, check_at_least
from fslcore.data import cache
from fslcore.data.datasets.dataset import Progress
from fslcore.data.datasets.emoji import drawing, matching, packages
from fslcore.data.datasets.emoji.drawing import Floats, Pixels
from fslcore.data.datasets.emoji.pictures import MANIFEST

ATTRIBUTION = "ATTRIBUTION.txt"
# BLAKE2b of all pixels of 64 x 64 pixels with at least 4 designs, as resvg 0.5 draws them.
REFERENCE = "c70476251bb1f610"
_COLUMNS = ("file", "class", "style", "category", "package", "version", "licence", "icon")


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        folder: where.
        classes: number of classes.
        images: number of pictures.
        few: number of emoji that too few designers have drawn, and that are left out.
        alike: names of emoji that are left out, and of those that they are drawn like.
        digest: BLAKE2b of the pixels, 16 hex digits.
    """

    folder: Path
    classes: int
    images: int
    few: int
    alike: tuple[tuple[str, str], ...]
    digest: str


def build(
    out: Path,
    packages_dir: Path | None = None,
    size: int = 64,
    min_styles: int = 4,
    progress: Progress | None = None,
) -> Built:
    """Builds the data set in a folder.

        out/emoji/<code points>_<name>/<designer>.png    out/manifest.csv    out/ATTRIBUTION.txt

    A call after an interrupted one goes on with the packages that are fetched and the designers that are
    drawn. The folder gets its name when it is complete.

    Args:
        out: The folder: a new one, or one with an earlier data set, which is replaced.
        packages_dir: Where the archives of the packages are kept, and those that are missing are put; None:
            in the cache.
        size: Height and width of the pictures.
        min_styles: Designers that an emoji must have.
        progress: Called as `progress(done, total, what)`.

    Raises:
        ArgumentError: A number is out of range, `out` holds something else, or an archive is another one.
        FileNotFoundError: A package is missing and npm is not installed.
        ImportError: resvg-py is not installed.
        RuntimeError: npm could not fetch a package.
    """
    check_at_least("size", size, 8)
    check_at_least("min_styles", min_styles, 1)
    _, version = drawing.renderer()
    out = out.expanduser().absolute()
    _check_out(out)
    kept = packages_dir or cache.directory() / "emoji-packages"
    packages.fetch([packages.NAMES, *packages.STYLES.values()], kept, progress)
    emoji = matching.wanted(packages.content(packages.NAMES, kept, "data-by-emoji.json"))
    sets = {
        style: (packages.content(package, kept, "icons.json"), packages.content(package, kept, "chars.json"))
        for style, package in packages.STYLES.items()
    }
    icons = matching.matched(emoji, sets)
    work = out.with_name(f".{out.name}.building")
    out.parent.mkdir(parents=True, exist_ok=True)
    pictures, thumbnails = _drawn(sets, icons, size, version, work, progress)
    whole = {key: drawn for key, drawn in thumbnails.items() if len(drawn) >= min_styles}
    alike = drawing.doubles(whole)
    chosen = {key: pictures[key] for key in whole if key not in alike}
    if not chosen:
        raise ArgumentError("min_styles", "must leave some emoji", min_styles)
    _write(out, size, chosen, emoji, icons)
    shutil.rmtree(work, ignore_errors=True)
    digest = hashlib.blake2b(digest_size=8)
    for _, drawn in sorted(chosen.items()):
        for _, picture in sorted(drawn.items()):
            digest.update(np.ascontiguousarray(picture).data)
    return Built(
        out,
        len(chosen),
        sum(map(len, chosen.values())),
        len(thumbnails) - len(whole),
        tuple((emoji[a].name, emoji[b].name) for a, b in alike.items()),
        digest.hexdigest(),
    )


Drawn = tuple[dict[str, dict[str, Pixels]], dict[str, dict[str, Floats]]]


def _drawn(
    sets: Mapping[str, matching.IconSet],
    icons: Mapping[str, Mapping[str, str]],
    size: int,
    version: str,
    work: Path,
    progress: Progress | None,
) -> Drawn:
    """Pictures and thumbnails by class and designer; `work` keeps what is drawn, designer by designer."""
    total = sum(map(len, icons.values()))
    count = itertools.count(1)
    work.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, dict[str, Pixels]] = {key: {} for key in icons}
    thumbnails: dict[str, dict[str, Floats]] = {key: {} for key in icons}

    def tell() -> None:
        done = next(count)
        if progress is not None:
            progress(done, total, "drawing emoji")

    if progress is not None:
        progress(0, total, "drawing emoji")
    for style, (icon_set, _) in sets.items():
        keys = [key for key in icons if style in icons[key]]
        names = [icons[key][style] for key in keys]
        identity = cache.digest([packages.STYLES[style].sha256, names, size, version])
        drawn, small = _kept(
            work / f"{style}-{identity}.npz",
            functools.partial(drawing.draw, icon_set, names, size, tell),
            tell,
        )
        for key, picture, thumbnail in zip(keys, drawn, small, strict=True):
            if not drawing.is_blank(thumbnail):
                pictures[key][style], thumbnails[key][style] = picture, thumbnail
    return pictures, thumbnails


def _kept(
    path: Path, draw: Callable[[], tuple[Pixels, Floats]], tell: Callable[[], object]
) -> tuple[Pixels, Floats]:
    """What an interrupted call has drawn, or what is drawn now."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            drawn, small = arrays["pictures"], arrays["thumbnails"]
        for _ in drawn:
            tell()
        return drawn, small
    drawn, small = draw()

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, pictures=drawn, thumbnails=small)

    files.replace(path, save)
    return drawn, small


def _check_out(out: Path) -> None:
    """Raises ArgumentError for a folder that holds something else than a data set that was built before."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ArgumentError("out", "must be a folder", out, described=str(out))
    others = {path.name for path in out.iterdir()} - {"emoji", MANIFEST, ATTRIBUTION}
    if others or (any(out.iterdir()) and not (out / MANIFEST).is_file()):
        first = min(others) if others else "no manifest.csv"
        raise ArgumentError(
            "out",
            "must be a new folder, or one with a data set that was built before",
            out,
            described=f"{out} with {first}",
        )


def _write(
    out: Path,
    size: int,
    pictures: Mapping[str, Mapping[str, Pixels]],
    emoji: Mapping[str, matching.Emoji],
    icons: Mapping[str, Mapping[str, str]],
) -> None:
    """Writes everything beside `out`, and gives it its name when it is complete."""
    temporary = out.with_name(f".{secrets.token_hex(4)}.{out.name}")
    rows = []
    try:
        for key, drawn in sorted(pictures.items()):
            name = emoji[key].folder
            folder = temporary / "emoji" / name
            folder.mkdir(parents=True)
            for style in [style for style in packages.STYLES if style in drawn]:
                Image.fromarray(drawn[style]).save(folder / f"{style}.png", optimize=True)
                package = packages.STYLES[style]
                rows.append(
                    (
                        *(f"emoji/{name}/{style}.png", name, style, emoji[key].category),
                        *(package.name, package.version, package.licence, icons[key][style]),
                    )
                )
        with (temporary / MANIFEST).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
        (temporary / ATTRIBUTION).write_text(_attribution(size, rows), encoding="utf-8")
        old = None
        if out.exists():
            old = out.with_name(f".{secrets.token_hex(4)}.{out.name}.old")
            os.replace(out, old)
        os.replace(temporary, out)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _attribution(size: int, rows: Sequence[tuple[str, ...]]) -> str:
    """Whom the pictures are by, under which licence, and what was changed, as the licences ask."""
    counts = Counter(row[2] for row in rows)
    lines = [
        f"{package.authors}. Licence: {package.licence}. {counts[style]} pictures. "
        f"({package.name} {package.version})"
        for style, package in packages.STYLES.items()
        if counts[style]
    ]
    return "\n".join(["Pictures:", *lines, f"Changes: drawn as {size} x {size} pixels on white.", ""])
