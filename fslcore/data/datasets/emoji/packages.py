# SPDX-License-Identifier: MIT
"""The npm packages that the emoji are drawn from, and how they are fetched.

A package is fetched by npm, as its users fetch it (`npm pack`, from the registry that npm is set up with),
once, and kept. Its archive must have the SHA-256 that is written here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.data.datasets.dataset import Progress, watched

_NPM_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """An npm package of icons or names.

    Attributes:
        name: its name.
        version: its version.
        sha256: of its archive.
        licence: of the pictures, as the repository of their authors states it.
        authors: whom to name.
    """

    name: str
    version: str
    sha256: str
    licence: str = ""
    authors: str = ""

    @property
    def archive(self) -> str:
        """The name that npm gives its archive."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


# The names and categories of all emoji.
NAMES = Package(
    "unicode-emoji-json", "0.9.0", "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401", "MIT"
)
# By designer. Of fxemoji the package says Apache-2.0, which is the licence of its code.
STYLES = {
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        "Apache-2.0",
        "Noto Emoji, Google LLC, github.com/googlefonts/noto-emoji",
    ),
    "noto-v1": Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        "Apache-2.0",
        "Noto Emoji (v1), Google LLC, github.com/googlefonts/noto-emoji",
    ),
    "fluent": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        "MIT",
        "Fluent Emoji, (c) Microsoft Corporation, github.com/microsoft/fluentui-emoji",
    ),
    "openmoji": Package(
        "@iconify-json/openmoji",
        "1.2.29",
        "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        "CC-BY-SA-4.0",
        "OpenMoji, the open-source emoji and icon project, openmoji.org",
    ),
    "twemoji": Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        "CC-BY-4.0",
        "Twemoji, (c) Twitter, Inc and other contributors, github.com/jdecked/twemoji",
    ),
    "emojione": Package(
        "@iconify-json/emojione",
        "1.2.3",
        "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        "CC-BY-4.0",
        "Emojitwo, github.com/EmojiTwo/emojitwo, released as Emojione 2.2 by Ranks.com, emojione.com",
    ),
    "emojione-v1": Package(
        "@iconify-json/emojione-v1",
        "1.2.3",
        "6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3",
        "CC-BY-SA-4.0",
        "Emoji One 1.5.2, Ranks.com, github.com/joypixels/emojione-legacy",
    ),
    "fxemoji": Package(
        "@iconify-json/fxemoji",
        "1.2.2",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        "CC-BY-4.0",
        "FxEmojis, (c) 2015 Mozilla Foundation, github.com/mozilla/fxemoji",
    ),
    "streamline": Package(
        "@iconify-json/streamline-emojis",
        "1.2.4",
        "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        "CC-BY-4.0",
        "Streamline Emojis, streamlinehq.com, github.com/webalys-hq/streamline-vectors",
    ),
}


def fetch(packages: Iterable[Package], folder: Path, progress: Progress | None = None) -> None:
    """Fetches the archives that are not in the folder yet.

    Args:
        packages: Which ones.
        folder: Where they are kept; it is made.
        progress: Called as `progress(done, total, "fetching packages")`.

    Raises:
        ArgumentError: An archive has another SHA-256.
        FileNotFoundError: One is missing, and npm is not installed.
        RuntimeError: npm could not fetch one.
    """
    wanted = list(packages)
    folder.mkdir(parents=True, exist_ok=True)
    for package in watched(wanted, len(wanted), "fetching packages", progress):
        path = folder / package.archive
        if not path.exists():
            _fetch(package, path)
        _check(package, path)


def content(package: Package, folder: Path, name: str) -> Mapping[str, Any]:
    """A JSON file of a package in the folder."""
    path = folder / package.archive
    try:
        with tarfile.open(path) as archive:
            file = archive.extractfile(f"package/{name}")
            assert file is not None
            found: Mapping[str, Any] = json.load(file)
            return found
    except (tarfile.TarError, KeyError, AssertionError, EOFError, OSError, ValueError) as error:
        raise ArgumentError(
            "packages", f"must hold archives of npm with package/{name}", path, described=f"{path}: {error}"
        ) from error


def _fetch(package: Package, path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"packages must hold {package.archive} where npm is not installed, received {path.parent} "
            f"without it: npm pack {package.name}@{package.version} makes it"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--loglevel=error", "--ignore-scripts", f"{package.name}@{package.version}"]
        environment = {**os.environ, "npm_config_update_notifier": "false"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_NPM_SECONDS
        )
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            said = " ".join(done.stderr.split())[-500:] or f"exit code {done.returncode}"
            raise RuntimeError(f"npm could not fetch {package.name}@{package.version}: {said}")
        files.replace(path, lambda temporary: shutil.copyfile(found[0], temporary))


def _check(package: Package, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ArgumentError(
            "packages",
            f"must hold {package.archive} with the SHA-256 {package.sha256}",
            path,
            described=f"{path} with {digest} (delete it to fetch it again)",
        )
