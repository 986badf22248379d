# SPDX-License-Identifier: MIT
"""A saved support set -> a server that answers on a port."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.serving.limits import Limits

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
LOCK = "serving.lock"
_LEAST_TOKEN = 16
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_packages() -> None:
    """Raises ImportError, in one sentence, if the extra `serve` is not installed."""
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(f"the service needs {package}: pip install 'fslcore[serve]'") from error


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    open_to_all: bool = False,
    read_only: bool = False,
    batch: int = 64,
    limits: Limits | None = None,
    ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serves a saved support set until the process is told to end.

    Args:
        folder: Where the set is; changes are kept there.
        host: The address to listen at.
        port: The port; 0: any that is free.
        token: What callers must send; None: nothing.
        open_to_all: Whether others than this machine may ask without a token.
        read_only: Whether changes are refused.
        batch: Pictures that are predicted together at most; 1: no micro-batching.
        limits: What a request may ask for.
        ready: Called with the address once the service answers.

    Raises:
        ArgumentError: `host` can be reached from elsewhere and there is no token, or an argument is out of
            range, or there is no set in the folder, or another process serves it.
        ImportError: The extra `serve` is not installed.
        OSError: The port is taken.
    """
    check_access(host, token, open_to_all)
    check_packages()
    import uvicorn

    from fslcore.classifier import SupportSet
    from fslcore.serving.app import create_app
    from fslcore.serving.served import Served

    listening = _listening(host, port)
    with contextlib.closing(listening), _alone(folder, read_only):
        support = SupportSet.load(folder)
        if not read_only:
            support.keep_in(folder)
        served = Served(support, read_only=read_only)
        app = create_app(
            served, token=token, limits=limits, batch=batch, check_host=token is None and not open_to_all
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        server = _server(config, lambda: ready(_address(listening)))
        server.run(sockets=[listening])


def check_access(host: str, token: str | None, open_to_all: bool = False) -> None:
    """Checks that strangers cannot change a set by accident; arguments as for `serve`.

    Raises:
        ArgumentError: `host` can be reached from elsewhere and there is no token, or the token is too short.
    """
    if token is not None and len(token) < _LEAST_TOKEN:
        raise ArgumentError(
            "token", f"must have at least {_LEAST_TOKEN} characters", described=f"{len(token)} characters"
        )
    if token is None and not open_to_all and not is_loopback(host):
        raise ArgumentError(
            "host",
            "must be an address of this machine alone, such as 127.0.0.1, unless there is a token or "
            "`open_to_all` is set",
            host,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens at an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ArgumentError("host", "must be an address or a name of this machine", host) from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, os.strerror(error.errno or 0), f"{host}:{port}") from error
    return listening


def _server(config: Any, ready: Callable[[], object]) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """Says when it answers, and ends the program by the signal that has ended it.

        Uvicorn raises the signal again inside the event loop, which makes every signal a Ctrl-C.
        """

        told: int | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

        def run(self, sockets: list[socket.socket] | None = None) -> None:
            super().run(sockets)
            if self.told is not None:
                signal.raise_signal(self.told)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.told_to_end) for number in _ENDING}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def told_to_end(self, number: int, frame: Any) -> None:
            self.told = number
            self.handle_exit(number, frame)

    return Server(config)


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _alone(folder: Path, read_only: bool) -> AbstractContextManager[None]:
    if read_only or not folder.is_dir():  # what is wrong with the folder is said by who reads it
        return contextlib.nullcontext()
    return not_served(folder, "set", "must be served by one process, or with `read_only`")


@contextlib.contextmanager
def not_served(folder: Path, argument: str, requirement: str) -> Iterator[None]:
    """Lets one process serve a set, or change it: of two, each would write over what the other has answered.

    Args:
        folder: Where the set is.
        argument: What an error is about.
        requirement: What it requires.

    Raises:
        ArgumentError: Another process serves the set.
    """
    with open(folder / LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(argument, requirement, described=f"{folder}, which is served") from None
        except OSError:  # a file system without locks
            pass
        yield
