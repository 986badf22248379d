# SPDX-License-Identifier: MIT
"""The fixtures of all tests; routes.py says what the backends and modes are.

The tests marked `each_level` are run again by test_levels.py at every SIMD level.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import routes
from routes import Backend

if TYPE_CHECKING:
    from commandline import Fslcore
    from serving_cases import Client

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")

# Error messages about values, not shapes: a GPU would have to be waited for to raise them.
OF_VALUES = re.compile(
    "indices must be in|rotations must be 0|by odd quarter turns|must not exceed|number of classes|"
    "(seed|first_episode|first) must be at least"
)


@pytest.fixture(scope="session", autouse=True)
def away_from_the_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Python processes that tests start must import the installed package, not the sources beside them."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data folder `letters`, in which the tests of a module train."""
    from commandline import letters

    return letters(tmp_path_factory.mktemp("letters"))


@pytest.fixture
def in_process(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fslcore:
    """The command line, in this process and in the folder."""
    from commandline import Fslcore

    return Fslcore(folder, capsys, monkeypatch)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """serve(support, ...) -> the client of a service, whose set is kept in `set`, or nowhere: keep=False."""
    from serving_cases import running_service, small_set

    with contextlib.ExitStack() as stack:

        def start(support: Any = None, *, keep: bool = True, **options: Any) -> Client:
            support = small_set() if support is None else support
            if keep:
                support.keep_in(tmp_path / "set")
            return stack.enter_context(running_service(support, **options))

        yield start


@pytest.fixture
def service(serve: Callable[..., Client]) -> Client:
    """The client of a service that keeps nothing."""
    return serve(keep=False)


@pytest.fixture(params=routes.MODES, ids=routes.name)
def mode(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """How a function of tensors runs."""
    return request.param


@pytest.fixture(params=routes.NATIVE, scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The compiled core through each of its bindings."""
    return Backend(request.param)


@pytest.fixture(params=(*routes.NATIVE, "twin"), scope="session")
def any_backend(request: pytest.FixtureRequest) -> Backend:
    """Each implementation of pairwise, mine_semihard and mine_hard."""
    return Backend(request.param)


@pytest.fixture(scope="session")
def numpy_backend() -> Backend:
    """fslcore.kernels alone, for sweeps too wide for a compilation per case."""
    return Backend("numpy")


@pytest.fixture(scope="session")
def reject() -> Callable[..., None]:
    """reject(backend, match, function, *args, **kwargs): the call fails, with NumPy's error message."""

    def check(backend: Backend, match: str, function: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ValueError, match=match) as numpy_caught:
            getattr(Backend("numpy"), function)(*args, **kwargs)
        message = str(numpy_caught.value)
        if backend.on_gpu and OF_VALUES.search(message):
            pytest.skip("a GPU does not report wrong values")
        with pytest.raises(backend.errors, match=match) as caught:
            getattr(backend, function)(*args, **kwargs)
        if backend.name == "unknown_batch":  # a graph that knows a shape in part says None for the rest
            message, _, _ = message.partition(", received")
        assert message in str(caught.value)

    return check


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, and resets it afterwards."""
    from fslcore import kernels

    before = kernels.num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that test_levels.py selects by."""
    config.addinivalue_line("markers", "each_level: run again at every SIMD level of this CPU")
