# SPDX-License-Identifier: MIT
"""The service as an ASGI application: routes, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response

import fslcore
from fslcore.arguments import ArgumentError, check_at_least
from fslcore.serving import bodies, errors, queries, schemas
from fslcore.serving.batching import Batcher
from fslcore.serving.bodies import Held
from fslcore.serving.guarding import Guard
from fslcore.serving.limits import SMALL_PIXELS, Limits
from fslcore.serving.metrics import Metrics
from fslcore.serving.predicting import Asked
from fslcore.serving.served import Served

_DESCRIPTION = """A few-shot classifier: show it pictures of a label, and it knows the label.

Pictures are sent as the body itself (`Content-Type: image/png`), as a form with files named `images`, or in
JSON as standard base64. A label is given once, as `label` (text) or as `number` (an integer), in the query or
beside the pictures. Every error has one form."""


def create_app(
    served: Served,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    batch: int = 64,
    check_host: bool | None = None,
) -> Any:
    """The service of a support set.

    Args:
        served: The set, and where its changes are kept.
        token: What callers must send as `Authorization: Bearer`; None: nothing.
        limits: What a request may ask for.
        batch: Pictures that are predicted together at most; 1: no micro-batching.
        check_host: Whether callers must name an address or localhost; None: where there is no token.

    Returns:
        An ASGI application, for uvicorn or another server.

    Raises:
        ArgumentError: `batch` is below 1, or the token is empty.
    """
    check_at_least("batch", batch, 1)
    if token is not None and (not token.isascii() or not token.strip()):
        raise ArgumentError("token", "must be text of ASCII characters", described="another")
    limits = limits or Limits()
    held = Held(limits)
    batcher: Batcher[Asked, Any] = Batcher(
        served.answer,
        size=lambda asked: len(asked.images),
        most=batch,
        waiting=limits.waiting,
        seen=lambda pictures: metrics.batch(pictures),
    )
    metrics = Metrics(
        labels=lambda: len(served.state.labels),
        pictures=lambda: len(served.state),
        version=lambda: served.state.version,
        waiting=lambda: batcher.waiting,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()
        served.close()

    app = FastAPI(
        title="fslcore",
        description=_DESCRIPTION,
        version=fslcore.__version__,
        docs_url=None,  # FastAPI's pages load scripts of other sites
        redoc_url=None,
        lifespan=lifespan,
        responses=schemas.FAILURES,
    )
    errors.install(app)
    page, policy = _page()

    @app.get("/", include_in_schema=False)
    async def show_page(_: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.get("/health", response_model=schemas.Health)
    async def health(_: Request) -> Response:
        """Whether the service answers, and how large its set is."""
        state = served.state
        return _json(
            {"status": "ok", "labels": len(state.labels), "pictures": len(state), "version": state.version}
        )

    @app.get("/metrics", response_class=Response)
    async def prometheus(_: Request) -> Response:
        """Counters and times in the text format of Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post(
        "/v1/predict", response_model=schemas.Predictions, openapi_extra=_extra(queries.PREDICT, "images")
    )
    async def predict(request: Request) -> Response:
        """The labels of pictures."""
        query = queries.read(request.query_params, queries.PREDICT)
        with held.room() as take:
            body = await bodies.read(request, limits, take)
            if not body.images:
                raise ArgumentError("images", "must be at least one picture", described="none")
            bodies.check_fields(body, ())
            images: list[Any] = body.opened
            if any(image.width * image.height > SMALL_PIXELS for image in images):
                images = await served.prepared(images)
            answers = await batcher(Asked(images, **query))
        unknown = sum(one["label"] is None for one in answers["predictions"])
        metrics.predictions(len(images) - unknown, unknown)
        return _json(answers)

    @app.get("/v1/labels", response_model=schemas.Labels, openapi_extra=_extra(queries.LIST))
    async def labels(request: Request) -> Response:
        """The labels, in the order in which they were added."""
        return _json(await served.listed(**queries.read(request.query_params, queries.LIST)))

    async def change(request: Request, make: Callable[[Any, list[bytes]], Awaitable[Any]]) -> Response:
        served.check_may_change()
        query = queries.read(request.query_params, queries.LABEL)
        with held.room() as take:
            body = await bodies.read(request, limits, take)
            bodies.check_fields(body, queries.LABEL)
            given = {name: value for name, value in query.items() if value is not None}
            return _json(await make(bodies.label(body, given, limits), body.images))

    @app.post("/v1/labels", response_model=schemas.Changed, openapi_extra=_extra(queries.LABEL, "label"))
    async def add(request: Request) -> Response:
        """Adds pictures to a label, which may be new."""
        return await change(request, served.add)

    @app.put("/v1/labels", response_model=schemas.Changed, openapi_extra=_extra(queries.LABEL, "label"))
    async def replace(request: Request) -> Response:
        """Replaces all pictures of a label."""
        return await change(request, served.replace)

    @app.delete("/v1/labels", response_model=schemas.Changed, openapi_extra=_extra(queries.LABEL))
    async def remove(request: Request) -> Response:
        """Removes a label and its pictures."""

        async def alone(label: Any, images: list[bytes]) -> dict[str, Any]:
            if images:
                raise ArgumentError(
                    "images", "must not be sent with DELETE", described=f"{len(images)} of them"
                )
            return await served.remove(label)

        return await change(request, alone)

    @app.post("/v1/update", response_model=schemas.Changed, openapi_extra=_extra(queries.NOTHING, "labels"))
    async def update(request: Request) -> Response:
        """Adds pictures to several labels: all of them, or none if anything is wrong."""
        served.check_may_change()
        queries.read(request.query_params, queries.NOTHING)
        with held.room() as take:
            body = await bodies.read(request, limits, take)
            bodies.check_fields(body, ("labels",))
            return _json(await served.update(bodies.by_label(body, limits)))

    return Guard(
        app,
        token=token,
        check_host=token is None if check_host is None else check_host,
        answered=metrics.request,
    )


def _extra(query: queries.Query, body: str | None = None) -> dict[str, Any]:
    described = {} if body is None else {"requestBody": {"required": True, "content": schemas.BODIES[body]}}
    return {**queries.described(query), **described}


def _json(content: Any) -> Response:
    # Not FastAPI's own way through a model: the answers are ours, and it would take longer than a prediction.
    return Response(json.dumps(content, allow_nan=False), media_type="application/json")


def _page() -> tuple[str, str]:
    """The page, and the policy by which a browser runs its own script and style and loads nothing else."""
    page = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")

    def digest(tag: str) -> str:
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    return page, (
        f"default-src 'none'; script-src 'sha256-{digest('script')}'; style-src 'sha256-{digest('style')}'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
