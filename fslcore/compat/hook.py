# SPDX-License-Identifier: MIT
"""Modules that stand in for those of another library: a table of names, read when a name is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple


class StandIn(NamedTuple):
    """What stands in for a library.

    Attributes:
        package: The name of the library's package.
        names: By the path of each module, its names and where each is found here: "module:name".
        missing: By "module:name" or the path of a module, what to use in place of one that is not here.
    """

    package: str
    names: Mapping[str, Mapping[str, str]]
    missing: Mapping[str, str]

    def is_package(self, path: str) -> bool:
        """Whether there are modules inside a module."""
        return any(other.startswith(f"{path}.") for other in self.names)


class _Finder(Loader):
    """Finds and makes the modules that stand in for a library."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module of the library.

        Raises:
            ModuleNotFoundError: It has no such module here; the message says what to use instead.
        """
        del path, target
        library, names, missing = self.stand_in
        if name.partition(".")[0] != library:
            return None
        if name not in names:
            instead = missing.get(name, f"the modules that are here are {', '.join(sorted(names))}")
            raise ModuleNotFoundError(f"fslcore has no {name}: {instead}", name=name)
        return ModuleSpec(name, self, origin="fslcore", is_package=self.stand_in.is_package(name))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module whose names are looked up when they are asked for."""
        module = ModuleType(spec.name, f"Stands in for {spec.name}; see `fslcore.compat`.")
        vars(module)["__all__"] = sorted(self.stand_in.names[spec.name])
        vars(module)["__getattr__"] = lambda name: self._look_up(module, name)
        vars(module)["__dir__"] = lambda: sorted({*vars(module), *vars(module)["__all__"]})
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is imported yet."""

    def _look_up(self, module: ModuleType, name: str) -> Any:
        path, names = module.__name__, self.stand_in.names
        if name in names[path]:
            home, _, attribute = names[path][name].partition(":")
            value = getattr(importlib.import_module(home), attribute)
            vars(module)[name] = value
            return value
        if f"{path}.{name}" in names:
            return importlib.import_module(f"{path}.{name}")
        if instead := self.stand_in.missing.get(f"{path}:{name}"):
            raise ImportError(f"fslcore has no {path}.{name}: {instead}", name=path)
        raise AttributeError(f"module {path!r} has no attribute {name!r}")


def install(stand_in: StandIn, *, replace: bool = False) -> None:
    """Makes `import LIBRARY` find what stands in for it, in this process.

    Args:
        stand_in: The names of the library.
        replace: Whether it may take the place of the library itself, where that is installed.

    Raises:
        ImportError: The library itself is installed, or has been imported, and `replace` is False.
    """
    if is_installed(stand_in.package):
        return
    library = stand_in.package
    loaded = _loaded(library)
    if not replace:
        spec = sys.modules[library].__spec__ if library in sys.modules else importlib.util.find_spec(library)
        if loaded or spec is not None:
            place = f" ({spec.origin})" if spec is not None and spec.origin else ""
            raise ImportError(
                f"fslcore.compat stands in for {library}, which is itself "
                f"{'imported' if loaded else 'installed'}{place}: remove it, or call "
                "fslcore.compat.install(replace=True)"
            )
    for name in loaded:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(stand_in))


def is_installed(library: str) -> bool:
    """Whether something stands in for a library."""
    return any(isinstance(finder, _Finder) and finder.stand_in.package == library for finder in sys.meta_path)


def uninstall(library: str) -> None:
    """Forgets the modules that stand in for a library."""
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if not (isinstance(finder, _Finder) and finder.stand_in.package == library)
    ]
    for name in _loaded(library):
        if isinstance(getattr(sys.modules[name].__spec__, "loader", None), _Finder):
            del sys.modules[name]


def _loaded(library: str) -> list[str]:
    """The modules of a library that have been imported."""
    return [name for name in sys.modules if name.partition(".")[0] == library]
