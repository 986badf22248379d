# SPDX-License-Identifier: MIT
"""Makes saved models loadable: what Keras and TensorFlow must know of the package before they load one.

Keras finds a class or function of ours by its registered name, and TensorFlow an op by its type; both exist
only once the module that defines them has been imported. So the package imports these modules as soon as the
process has imported both the package and the framework, in either order: `import fslcore.kernels` alone
imports neither framework.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# The packages that define Keras objects; each imports all of its modules that do.
ROOMS = ("augmentation", "layers", "losses", "metrics", "encoders", "learners")
_more: list[str] = []


class _Imports(threading.local):
    """The imports of this thread that are under way."""

    depth = 0

    def __init__(self) -> None:
        self.searched: set[str] = set()


class _Watcher:
    """A finder of modules that finds what the others find, and is called after it has been imported.

    A framework imports parts of itself and of the other one, and our own packages import them: nothing is
    registered until the outermost of these imports has ended, as a module may not be used before that.
    """

    def __init__(self) -> None:
        self._imports = _Imports()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own specification, whose loader also reports the end of the import."""
        del path, target
        if name not in ("keras", "tensorflow") and not name.startswith("fslcore."):
            return None
        searched = self._imports.searched
        if name in searched:  # by the call below
            return None
        searched.add(name)
        try:
            spec = importlib.util.find_spec(name) if name not in sys.modules else None
        finally:
            searched.discard(name)
        loader: Any = None if spec is None else spec.loader
        if hasattr(loader, "exec_module"):
            loader.exec_module = self._reporting(loader.exec_module)
        return spec

    def _reporting(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def exec_module(module: ModuleType) -> None:
            self._imports.depth += 1
            try:
                execute(module)
            finally:
                self._imports.depth -= 1
            if self._imports.depth == 0:
                _register(module)

        return exec_module


def watch() -> None:
    """Registers everything with the frameworks that have been imported, and with the others when they are."""
    if not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())
    _register()


def add(*modules: str) -> None:
    """Registers also what these modules of the package define, which not every program needs."""
    _more.extend(module for module in modules if module not in _more)
    _register()


def _register(finished: ModuleType | None = None) -> None:
    try:
        if _is_imported("keras", finished) and sys.modules["keras"].backend.backend() == "tensorflow":
            for room in (*ROOMS, *_more):
                importlib.import_module(f"fslcore.{room}")
        elif _is_imported("tensorflow", finished):
            importlib.import_module("fslcore.ops")
    except (ImportError, OSError) as error:
        # Whoever uses the package will meet the error; others may do without it.
        warnings.warn(
            f"saved models with layers, losses or ops of fslcore cannot be loaded in this process: {error}",
            RuntimeWarning,
            stacklevel=3,
        )


def _is_imported(name: str, finished: ModuleType | None) -> bool:
    """Whether a module can be used; one that another thread imports cannot, and will report its end."""
    module = sys.modules.get(name)
    if module is None or module is finished:
        return module is not None
    return not getattr(module.__spec__, "_initializing", False)
