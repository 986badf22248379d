# SPDX-License-Identifier: MIT
"""The service under load, with micro-batching and without: `python -m fslcore.bench.service`.

Each client keeps one connection, sends a PNG of 28 x 28 pixels, waits for the answer and sends the next one.
The set has 20 labels of 5 pictures, the encoder is conv4. Clients and service share the cores of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_HEAD = (
    "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
)
_WARM_SECONDS = 3.0


class _Client(asyncio.Protocol):
    """One request after the other, until the end.

    Attributes:
        seconds: How long each answer took.
        errors: Answers other than 200, and a connection that was lost.
    """

    def __init__(self, requests: list[bytes], end: float, done: asyncio.Future[None]) -> None:
        self.seconds: list[float] = []
        self.errors = 0
        self._requests, self._end, self._done = requests, end, done
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        if len(body) < length:
            return
        now = time.perf_counter()
        self.seconds.append(now - self._sent)
        self.errors += not self._received.startswith(b"HTTP/1.1 200")
        self._received = b""
        if now < self._end:
            self._send()
        else:
            self._done.set_result(None)
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._done.done():
            self.errors += 1
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[len(self.seconds) % len(self._requests)])


async def _loaded(port: int, clients: int, seconds: float, requests: list[bytes]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    every = [_Client(requests, start + seconds, loop.create_future()) for _ in range(clients)]
    for client in every:
        await loop.create_connection(functools.partial(_same, client), "127.0.0.1", port)
    await asyncio.gather(*(client._done for client in every))
    elapsed = time.perf_counter() - start
    times = np.array([second for client in every for second in client.seconds])
    return {
        "requests": len(times),
        "errors": sum(client.errors for client in every),
        "requests_per_second": round(len(times) / elapsed, 1),
        "p50_ms": round(float(np.percentile(times, 50)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(times, 99)) * 1e3, 2),
    }


def _same(client: _Client) -> _Client:
    return client


@contextlib.contextmanager
def _serving(folder: Path, batch: int) -> Iterator[int]:
    command = [
        "from fslcore.cli import main; main()",
        "serve",
        str(folder),
        "--port",
        "0",
        "--batch",
        str(batch),
    ]
    with subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()
            process.stdout.read()


def _pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).random((count, 28, 28)) < 0.15
    return [Image.fromarray(each.astype(np.uint8) * 255) for each in noise]


def _request(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return _HEAD.format(length=len(file.getvalue())).encode() + file.getvalue()


def main() -> None:
    """Prints a line of JSON for each size of a batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 1])
    options = parser.parse_args()

    from fslcore.classifier import SupportSet
    from fslcore.encoders import conv4

    pictures = _pictures(100)
    requests = [_request(picture) for picture in pictures[:32]]
    with tempfile.TemporaryDirectory(prefix="fslcore-bench-") as folder:
        support = SupportSet(conv4((28, 28, 1)))
        support.update({f"label {i}": pictures[5 * i : 5 * i + 5] for i in range(20)})
        support.save(Path(folder) / "set")
        for batch in options.batch:
            with _serving(Path(folder) / "set", batch) as port:
                asyncio.run(_loaded(port, options.clients, _WARM_SECONDS, requests))
                figures = asyncio.run(_loaded(port, options.clients, options.seconds, requests))
            print(json.dumps({"batch": batch, "clients": options.clients, **figures}), flush=True)


if __name__ == "__main__":
    main()
