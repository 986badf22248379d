# SPDX-License-Identifier: MIT
"""The one form of every error: {"status": 400, "error": "a sentence", "argument": "images"}."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Coroutine
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


class Route(APIRoute):
    """A route whose function takes the request and returns the response; its errors have our form.

    FastAPI's own way from a request to arguments takes as long as the rest of a prediction's way through the
    service.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function, with its exceptions as answers."""

        async def handle(request: Request) -> Response:
            try:
                return await self.endpoint(request)
            except Exception as error:
                return answer(in_words(error))

        return handle


def install(app: FastAPI) -> None:
    """Lets the application answer in this form where there is no route, too."""
    app.router.route_class = Route

    async def handle(_: Request, error: Exception) -> Response:
        refused = in_words(error)
        if refused.status == 404:
            refused = Refused(404, "there is no such page; /openapi.json lists what there is")
        if refused.status == 405:
            refused = Refused(405, "this page does not take this method", headers=refused.headers)
        return answer(refused)

    app.add_exception_handler(HTTPException, handle)
