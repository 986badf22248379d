# SPDX-License-Identifier: MIT
"""A classifier that learns labels while it is served: build_siamese_model_for_serving.py of keras-fsl.

--model is a learner that was saved, such as by proto_nets.py. Three labels become a support set. It is
exported as a SavedModel of plain TensorFlow, and asked with the bytes of a picture. Then it is served over
HTTP, as `fslcore serve` does it, asked, taught a fourth label, and asked again.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import urllib.request

import keras
import tensorflow as tf
import uvicorn
from example import begin
from PIL import Image

import fslcore as fsl
from fslcore.serving.app import create_app
from fslcore.serving.served import Served

example = begin(__doc__, dataset="omniglot", model="runs/examples/proto_nets/learner.keras")
store = example.parts()["test"]
learner = keras.models.load_model(example.options.model)


def png(row: int) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(store.images[row].squeeze()).save(file, "png")
    return file.getvalue()


def first_row(label: int) -> int:
    """Where the images of a class begin."""
    return int(store.labels.searchsorted(label))


# The support set: five pictures of each label; nothing is trained.
support = fsl.SupportSet(learner)
for label, name in enumerate(("label_A", "label_B", "label_C")):
    support.add(name, [png(first_row(label) + i) for i in range(5)])
support.keep_in(example.out / "set")

# The SavedModel, as TensorFlow Serving loads it.
support.export(example.out / "served" / "1")
exported = tf.saved_model.load(str(example.out / "served" / "1")).signatures["image_bytes"]
answer = exported(image_bytes=tf.constant([png(first_row(1) + 6)]))
by_saved_model = answer["label"].numpy()[0].decode()

# The service, in a thread of this program.
listening = socket.create_server(("127.0.0.1", 0))
address = "http://{}:{}".format(*listening.getsockname())
server = uvicorn.Server(uvicorn.Config(create_app(Served(support)), log_level="warning"))
thread = threading.Thread(target=server.run, args=([listening],))
thread.start()
while not server.started:
    time.sleep(0.05)


def post(path: str, picture: bytes) -> dict:
    """The answer to a picture."""
    request = urllib.request.Request(address + path, picture, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


new = png(first_row(3) + 6)
before = post("/v1/predict?top=3&probabilities=true", new)
for i in range(5):
    post("/v1/labels?label=label_other", png(first_row(3) + i))
after = post("/v1/predict?top=3&probabilities=true", new)
server.should_exit = True
thread.join()
example.finish(by_saved_model=by_saved_model, before=before["predictions"][0], after=after["predictions"][0])
