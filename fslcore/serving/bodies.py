# SPDX-License-Identifier: MIT
"""Requests -> pictures and labels.

Pictures come as one file (the body is the picture), as a form with files named `images`, or in JSON as
standard base64: `{"images": ["iVBOR...", {"b64": "iVBOR..."}]}`.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import json
import sys
from collections.abc import Collection, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from PIL import Image
from starlette.concurrency import run_in_threadpool

from fslcore.arguments import ArgumentError
from fslcore.serving.errors import Refused
from fslcore.serving.limits import Limits, opened_picture

Label = str | int

_FORM, _JSON = "multipart/form-data", "application/json"
_SMALL_BODY = 1 << 18  # larger JSON is parsed by another thread


@dataclass
class Body:
    """What a request sent.

    Attributes:
        images: Encoded pictures, whose headers have been checked.
        opened: The same, opened by Pillow and not decoded yet.
        fields: The other fields, of a form (text) or of JSON (any value).
    """

    images: list[bytes] = field(default_factory=list)
    opened: list[Image.Image] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


class Held:
    """Counts the bytes of all requests that are being read or answered."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._bytes = limits, 0

    @contextlib.contextmanager
    def room(self) -> Iterator[Any]:
        """A function that is told of each piece that arrives; what it counted is given back at the end."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            own += count
            self._bytes += count
            if own > self._limits.body_bytes:
                raise Refused(
                    413, f"a request must have at most {self._limits.body_bytes} bytes", "body", _CLOSE
                )
            if self._bytes > self._limits.held_bytes:
                raise Refused(503, "the service is busy with other requests; try again", None, _RETRY)

        try:
            yield take
        finally:
            self._bytes -= own


_CLOSE = {"Connection": "close"}
_RETRY = {"Retry-After": "1", "Connection": "close"}


async def read(request: Request, limits: Limits, take: Any) -> Body:
    """The body of a request; the pictures are looked at, and not decoded.

    Args:
        request: The request.
        limits: What is accepted.
        take: That of `Held.room`.

    Raises:
        Refused: It is too large, too slow, or of another form.
        ArgumentError: A picture is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise Refused(
            413, f"a request must have at most {limits.body_bytes} bytes, received {declared}", "body", _CLOSE
        )
    content = await _within(limits.seconds, _received(request, take))
    if kind == _FORM:
        found = await _form(_again(request, content), limits)
    else:
        found = await _plain(content, kind, limits)
    if len(found.images) > limits.pictures:
        raise _too_many(len(found.images), limits)
    if sum(map(len, found.images)) > _SMALL_BODY:
        found.opened = await run_in_threadpool(_opened, found.images, limits)
    else:
        found.opened = _opened(found.images, limits)
    return found


def label(body: Body, query: dict[str, str], limits: Limits) -> Label:
    """The label that a request names: `label` as text, or `number` as an integer.

    JSON may carry both kinds in `label`.

    Raises:
        ArgumentError: None is named, or two, or it is no label.
    """
    names = ("label", "number")
    given = [(name, source[name]) for source in (query, body.fields) for name in names if name in source]
    if len(given) != 1:
        raise ArgumentError(
            "label",
            "must be given once, as label (text) or as number (an integer)",
            described=", ".join(f"{name}={value!r}" for name, value in given) or "none",
        )
    [(name, value)] = given
    if name == "number" and isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise ArgumentError("number", "must be an integer", value) from None
    return check_label(value, limits)


def check_fields(body: Body, known: Collection[str]) -> None:
    """Raises ArgumentError for a field that nobody would read."""
    for name in body.fields:
        if name not in known:
            raise ArgumentError(
                "body", f"must hold only {', '.join(('images', *known))}", described=f"the field {name!r}"
            )


def check_label(value: Any, limits: Limits) -> Label:
    """A label of JSON, or an ArgumentError; the set itself has more to say about it."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ArgumentError("label", "must be text or an integer", value)
    if isinstance(value, str) and len(value) > limits.label_length:
        raise ArgumentError(
            "label", f"must have at most {limits.label_length} characters", described=f"{len(value)}"
        )
    if isinstance(value, str) and not value.isprintable():
        raise ArgumentError("label", "must have no control characters", value)
    return value


def decoded(items: Any, limits: Limits) -> list[bytes]:
    """The pictures of a list in JSON: standard base64, or `{"b64": ...}` as TensorFlow Serving has it."""
    if not isinstance(items, list):
        raise ArgumentError("images", "must be a list of pictures in base64", described=type(items).__name__)
    if len(items) > limits.pictures:
        raise _too_many(len(items), limits)
    return [_from_base64(item, i) for i, item in enumerate(items)]


def _opened(images: list[bytes], limits: Limits) -> list[Image.Image]:
    return [opened_picture(image, limits) for image in images]


def _too_many(count: int, limits: Limits) -> ArgumentError:
    return ArgumentError(
        "images", f"must be at most {limits.pictures} pictures in one request", described=str(count)
    )


async def _received(request: Request, take: Any) -> bytes:
    pieces = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended before its body did", "body")
        piece = message.get("body", b"")
        take(len(piece))
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _within(seconds: int, arriving: Coroutine[Any, Any, bytes]) -> bytes:
    """Waits for a body, but not for ever."""
    try:
        if sys.version_info < (3, 11):
            return await asyncio.wait_for(arriving, seconds)
        async with asyncio.timeout(seconds):  # without a task of its own
            return await arriving
    except asyncio.TimeoutError:
        raise Refused(408, f"a request must arrive within {seconds} s", "body", _CLOSE) from None


def _again(request: Request, content: bytes) -> Request:
    """The request with its body before it, for the parser of forms."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    return Request(request.scope, receive)


async def _form(request: Request, limits: Limits) -> Body:
    from starlette.datastructures import UploadFile

    found = Body()
    async with request.form(max_files=limits.pictures + 1, max_fields=16, max_part_size=1 << 16) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name != "images":
                    raise ArgumentError("images", "must be the name of the files", described=repr(name))
                found.images.append(await value.read())
            elif name in found.fields:
                raise ArgumentError(name, "must be given once", described="two of them")
            else:
                found.fields[name] = value
    return found


async def _plain(content: bytes, kind: str, limits: Limits) -> Body:
    if not content:
        return Body()
    if kind == _JSON:
        parse = _json if len(content) <= _SMALL_BODY else _in_thread
        result = parse(content, limits)
        return result if isinstance(result, Body) else await result
    if kind.startswith("image/") or kind in ("application/octet-stream", ""):
        return Body(images=[content])
    raise Refused(
        415, f"Content-Type must be image/..., {_FORM} or {_JSON}, received {kind!r}", "Content-Type"
    )


async def _in_thread(content: bytes, limits: Limits) -> Body:
    return await run_in_threadpool(_json, content, limits)


def _json(content: bytes, limits: Limits) -> Body:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArgumentError("body", "must be JSON", described=str(error)) from None
    if not isinstance(fields, dict):
        raise ArgumentError("body", "must be a JSON object", described=type(fields).__name__)
    images = decoded(fields.pop("images"), limits) if "images" in fields else []
    return Body(images, fields=fields)


def _from_base64(item: Any, place: int) -> bytes:
    if isinstance(item, dict) and set(item) == {"b64"}:
        item = item["b64"]
    if not isinstance(item, str):
        raise ArgumentError(
            f"images[{place}]", "must be base64, or {'b64': base64}", described=type(item).__name__
        )
    try:
        return binascii.a2b_base64(item.encode(), strict_mode=True)
    except (ValueError, UnicodeError) as error:
        raise ArgumentError(f"images[{place}]", "must be standard base64", described=str(error)) from None


def by_label(body: Body, limits: Limits) -> dict[Label, list[bytes]]:
    """The pictures of several labels: JSON `{"labels": [{"label": "a", "images": [...]}]}`.

    Raises:
        ArgumentError: It has another form, a label twice, or too much.
    """
    entries = body.fields.get("labels")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ArgumentError(
            "labels", "must be a list of {'label': ..., 'images': [...]}", described=type(entries).__name__
        )
    if len(entries) > limits.labels:
        raise ArgumentError(
            "labels", f"must be at most {limits.labels} labels in one request", described=str(len(entries))
        )
    found: dict[Label, list[bytes]] = {}
    for entry in entries:
        name = check_label(entry.get("label"), limits)
        if name in found:
            raise ArgumentError("labels", "must name each label once", described=f"{name!r} twice")
        found[name] = decoded(entry.get("images"), limits)
        if (count := sum(map(len, found.values()))) > limits.pictures:
            raise _too_many(count, limits)
    for images in found.values():
        _opened(images, limits)
    return found
