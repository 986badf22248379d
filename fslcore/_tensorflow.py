# SPDX-License-Identifier: MIT
"""Which TensorFlow is installed, found without importing it: for the build, and for `fslcore doctor`.

CMakeLists.txt runs this file as a script. It prints a CMake list: the package directory and the version.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

BACKEND_REQUIREMENT = (
    "KERAS_BACKEND must be tensorflow: fslcore's ops, layers and learners are TensorFlow's, received {}"
)


class Installed(NamedTuple):
    """One installation of TensorFlow.

    Attributes:
        directory: The package directory, in which `include` and the shared libraries lie.
        distribution: What was installed: "tensorflow", "tensorflow-cpu" or another; "" if that is unknown.
        version: As in "2.21.0"; "" if it is unknown.
    """

    directory: Path
    distribution: str
    version: str


def find(directory: str | Path | None = None) -> Installed | None:
    """The TensorFlow that Python would import, or the one in a package directory.

    Args:
        directory: A package directory named `tensorflow`; None: the one that Python would import.

    Returns:
        What is there; None if Python would find none. Its distribution is the one beside the directory that
        lists `tensorflow` among its top-level packages, whatever its own name.
    """
    if directory is None:
        spec = importlib.util.find_spec("tensorflow")
        if spec is None or not spec.submodule_search_locations:
            return None
        directory = spec.submodule_search_locations[0]
    directory = Path(directory)
    for distribution in metadata.distributions(path=[str(directory.parent)]):
        if "tensorflow" in (distribution.read_text("top_level.txt") or "").split():
            return Installed(directory, distribution.metadata["Name"], distribution.version)
    return Installed(directory, "", "")


def wrong_backend() -> str | None:
    """The backend of Keras if it is another than TensorFlow; None if it is TensorFlow, or not known yet.

    Keras takes it from KERAS_BACKEND, then from its configuration file; it is fixed once Keras is imported.
    """
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        found = keras.config.backend()
    else:
        found = os.environ.get("KERAS_BACKEND") or "tensorflow"
    return None if found == "tensorflow" else str(found)


def require_backend() -> None:
    """Imports Keras, and checks that it runs on TensorFlow.

    Raises:
        ImportError: it runs on another backend.
    """
    found = wrong_backend()
    if found is None:
        import keras  # noqa: F401 (only now its configuration file is read)

        found = wrong_backend()
    if found is not None:
        raise ImportError(BACKEND_REQUIREMENT.format(found))


if __name__ == "__main__":
    found = find(*sys.argv[1:])
    if found is not None:
        print(found.directory, found.version, sep=";", end="")
