# SPDX-License-Identifier: MIT
"""kill -9 at random moments of a stream of changes: what was answered is there, and nothing is in between."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serving_cases import as_form, png

from fslcore.classifier import saving

KILLS = 200


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connected(port):
    """A connection to the service, once it answers."""
    for _ in range(20_000):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.connect()
        except ConnectionRefusedError:
            connection.close()
            time.sleep(0.003)
        else:
            return connection
    raise TimeoutError("the service does not answer")


class Stream:
    """Changes and predictions one after the other, and what the set must be after each answer.

    Attributes:
        counts: Label -> pictures, as answered last.
        pending: What they become if the request under way is carried out.
        answers: How many there were.
        error: What was wrong with one.
    """

    def __init__(self):
        self.rng, self.counts, self.pending, self.answers = np.random.default_rng(0), {}, {}, 0
        self.error = None

    def run(self, port):
        """Asks until the service is gone."""
        connection = connected(port)
        try:
            while True:
                self.ask(connection)
        except (OSError, http.client.HTTPException):
            pass
        except AssertionError as error:
            self.error = error
        finally:
            connection.close()

    def ask(self, connection):
        label, action = f"label {self.rng.integers(6)}", self.rng.integers(4)
        contents = [png(int(i)) for i in self.rng.integers(16, size=self.rng.integers(1, 4))]
        self.pending = dict(self.counts)
        if action == 0 and label in self.counts:
            del self.pending[label]
            method, url, body = "DELETE", "/v1/labels", {"content": b"", "headers": {}}
        elif action == 1 and self.counts:
            method, url, body = "POST", "/v1/predict", as_form(contents[0])
        else:
            self.pending[label] = self.pending.get(label, 0) + len(contents)
            method, url, body = "POST", "/v1/labels", as_form(*contents)
        if "labels" in url:
            url += f"?label={label.replace(' ', '%20')}"
        connection.request(method, url, body["content"] or None, body["headers"])
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        if method == "POST" and "predict" in url:
            assert answer["predictions"][0]["label"] in self.counts
        else:
            assert answer["pictures"] == sum(self.pending.values())
        self.counts = self.pending
        self.answers += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts the service in forks")
def test_two_hundred_kills_lose_nothing_that_was_answered(tmp_path):
    port, stream, moments = free_port(), Stream(), np.random.default_rng(1)
    program = Path(__file__).with_name("serving_program.py")
    under_way = 0
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        for _ in range(KILLS):
            parent.stdin.write("\n")
            parent.stdin.flush()
            process = int(parent.stdout.readline())
            before = stream.answers
            asking = threading.Thread(target=stream.run, args=(port,))
            asking.start()
            enough = before + moments.integers(1, 12)
            while stream.answers < enough and asking.is_alive():
                time.sleep(0.0005)
            time.sleep(moments.uniform(0, 0.004))  # a change takes about so long
            os.kill(process, signal.SIGKILL)
            asking.join()
            state, _ = saving.read(tmp_path)
            found = dict(zip(state.labels, state.counts.tolist(), strict=True))
            assert found in (stream.counts, stream.pending)
            assert len(state) == sum(found.values())
            assert stream.error is None
            under_way += stream.pending != stream.counts
            stream.counts = found
        parent.stdin.close()
    assert stream.answers > 3 * KILLS
    assert under_way > KILLS / 20  # many kills met a change under way
