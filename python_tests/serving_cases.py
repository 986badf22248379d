# SPDX-License-Identifier: MIT
"""A support set whose encoder is so simple that every score is known, and a service of it on a real port."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra serve")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

if TYPE_CHECKING:
    import keras

    from fslcore import SupportSet

SIZE = 4


def pixels() -> keras.Model:
    """The encoder: an image [4, 4, 1] is its own embedding [16]."""
    import keras

    inputs = keras.Input((SIZE, SIZE, 1))
    return keras.Model(inputs, keras.layers.Flatten()(inputs), name="pixels")


def picture(*places: int) -> np.ndarray:
    """uint8 [4, 4], white at some places; two of them are as far apart as they have places not in common."""
    flat = np.zeros(SIZE * SIZE, np.uint8)
    flat[list(places)] = 255
    return flat.reshape(SIZE, SIZE)


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def png(*places: int) -> bytes:
    """`picture`, as a file."""
    return encoded(picture(*places))


def base64_of(*places: int) -> str:
    """`picture`, as JSON carries it."""
    return base64.b64encode(png(*places)).decode()


def small_set() -> SupportSet:
    """Three labels, one of them an integer: prototypes at 0 and 1; at 2; and between 4 and 5."""
    from fslcore import SupportSet

    support = SupportSet(pixels())
    support.add("corner", picture(0, 1))
    support.add(7, picture(2))
    support.add("two", [picture(4), picture(5)])
    return support


def as_body(content):
    """A picture as the body of a request."""
    return {"content": content, "headers": {"Content-Type": "image/png"}}


def as_form(*contents, name="images"):
    """Pictures as files of a form."""
    line = "--a-line-between-the-files"
    parts = [
        f'{line}\r\nContent-Disposition: form-data; name="{name}"; filename="{i}.png"\r\n\r\n'.encode()
        + content
        for i, content in enumerate(contents)
    ]
    return {
        "content": b"\r\n".join([*parts, f"{line}--\r\n".encode()]),
        "headers": {"Content-Type": f"multipart/form-data; boundary={line[2:]}"},
    }


def of_json(value):
    """A value as the body of a request."""
    return {"content": json.dumps(value).encode(), "headers": {"Content-Type": "application/json"}}


def as_json(*contents):
    """Pictures in JSON."""
    return of_json({"images": [base64.b64encode(content).decode() for content in contents]})


def as_tensorflow_serving(*contents):
    """Pictures in JSON as TensorFlow Serving has bytes."""
    return of_json({"images": [{"b64": base64.b64encode(content).decode()} for content in contents]})


class Answer:
    """A response: its status, headers and text."""

    def __init__(self, response):
        self.status, self.headers = response.status, dict(response.getheaders())
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Client:
    """Asks a service; each thread may, on a connection of its own."""

    def __init__(self, port):
        self.port, self._local, self._connections = port, threading.local(), []

    def ask(self, method, url, content=b"", headers=None):
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            self._connections.append(self._local.connection)
        self._local.connection.request(method, url, content or None, headers or {})
        answer = Answer(self._local.connection.getresponse())
        if answer.headers.get("connection") == "close":
            self._local.connection.close()
        return answer

    def close(self):
        for connection in self._connections:
            connection.close()

    def predict(self, body, query=""):
        return self.ask("POST", f"/v1/predict{query}", **body)

    def get(self, url, headers=None):
        return self.ask("GET", url, headers=headers)


@contextlib.contextmanager
def running_service(support, *, read_only=False, **options):
    """The client of a service in a thread of this process."""
    from fslcore.serving.app import create_app
    from fslcore.serving.served import Served

    app = create_app(Served(support, read_only=read_only), **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.002)
        with contextlib.closing(Client(server.servers[0].sockets[0].getsockname()[1])) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
