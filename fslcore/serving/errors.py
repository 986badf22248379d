# SPDX-License-Identifier: MIT
"""The one form of every error: {"status": 400, "error": "a sentence", "argument": "images"}."""

from __future__ import annotations

import errno
import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fslcore.arguments import ArgumentError
from fslcore.serving.batching import Full

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOG = logging.getLogger("fslcore.serving")


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of HTTP.
        sentence: What was wrong, and what is expected.
        argument: Which part of the request.
        headers: Of the answer.
    """

    def __init__(
        self, status: int, sentence: str, argument: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.argument, self.headers = status, sentence, argument, headers or {}


def body(status: int, sentence: str, argument: str | None = None) -> dict[str, Any]:
    """An error as the service says it."""
    return {"status": status, "error": sentence, "argument": argument}


def answer(error: Refused) -> Response:
    """The response to a request that is refused."""
    content = json.dumps(body(error.status, error.sentence, error.argument))
    return Response(content, error.status, error.headers, media_type="application/json")


def in_words(error: BaseException) -> Refused:
    """Any exception as the answer to the request that met it."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ArgumentError):
        return Refused(400, str(error), error.argument)
    if isinstance(error, Full):
        return Refused(503, f"the service is busy: {error}; try again", headers={"Retry-After": "1"})
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, OSError) and error.errno in _FULL:
        return Refused(507, f"the set could not be saved and is unchanged: {error.strerror}")
    if isinstance(error, MemoryError):
        return Refused(503, "out of memory; try fewer or smaller pictures", headers={"Retry-After": "5"})
    _LOG.error("a request failed", exc_info=error)
    reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return Refused(500, f"the service failed ({type(error).__name__}{reason}); its log says where")


class Answering:
    """ASGI: the routes of an application, each a function of the request alone, with errors in our form.

    FastAPI describes the routes and answers for what there is not. Its own way to a function takes as long as
    the rest of a prediction's way through the service.

    Args:
        app: The application; none of its paths has parameters.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        routes = [route for route in app.routes if isinstance(route, APIRoute)]
        self._routes = {(method, route.path): route for route in routes for method in route.methods or ()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request."""
        route = (
            self._routes.get((scope.get("method"), scope.get("path"))) if scope["type"] == "http" else None
        )
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.endpoint(Request(scope, receive))
        except Exception as error:
            response = answer(in_words(error))
        await response(scope, receive, send)


def install(app: FastAPI) -> None:
    """Lets the application answer in this form where there is no route."""

    async def handle(_: Request, error: Exception) -> Response:
        refused = in_words(error)
        if refused.status == 404:
            refused = Refused(404, "there is no such page; /openapi.json lists what there is")
        if refused.status == 405:
            refused = Refused(405, "this page does not take this method", headers=refused.headers)
        return answer(refused)

    app.add_exception_handler(HTTPException, handle)
