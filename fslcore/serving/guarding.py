# SPDX-License-Identifier: MIT
"""Who may ask: the token, and the pages of other sites that a browser on this machine may have open."""

from __future__ import annotations

import functools
import hmac
import ipaddress
import time
from collections.abc import Callable
from typing import Any

from fslcore.serving import errors
from fslcore.serving.errors import Refused

_OPEN = ("/", "/health", "/openapi.json")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """ASGI: refuses strangers, says when a route took how long, and adds the headers that every answer has.

    Args:
        app: What comes behind it.
        token: What `Authorization: Bearer` must carry; None: nothing.
        check_host: Whether the name by which the service is asked must be an address or localhost. It shuts
            out pages of other sites whose name was made to point here (DNS rebinding).
        answered: Called with the route, the status and the seconds of each request.
    """

    def __init__(
        self,
        app: Any,
        *,
        token: str | None,
        check_host: bool,
        answered: Callable[[str, int, float], object],
    ) -> None:
        self._app, self._answered, self._check_host = app, answered, check_host
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is not None:
                await errors.answer(refused)(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        finally:
            route = scope.get("route")  # its pattern; whatever else was asked for is one entry
            path = getattr(route, "path", None) or "other"
            self._answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Any) -> Refused | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._check_host and not _is_address(host):
            return Refused(
                403,
                f"Host must be localhost or an address where the service has no token, received {host!r}",
                "Host",
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            return Refused(
                403, f"Origin must be that of the service, received {origin.decode('latin-1')!r}", "Origin"
            )
        if self._expected is not None and scope["path"] not in _OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                return Refused(
                    401,
                    "Authorization must be 'Bearer' and the token of the service",
                    "Authorization",
                    {"WWW-Authenticate": "Bearer"},
                )
        return None


@functools.lru_cache(64)
def _is_address(host: str) -> bool:
    """Whether a Host header names no site: localhost or an address, with a port or without."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
