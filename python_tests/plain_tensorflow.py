# SPDX-License-Identifier: MIT
"""A client of exported classifiers with TensorFlow and without fslcore.

    python plain_tensorflow.py ASK ANSWER

ASK is a JSON file: for each name a folder, a signature, and a body as the REST interface of TensorFlow
Serving takes it ("inputs", or "instances" with {"b64": ...} for bytes). ANSWER gets its "outputs" or
"predictions".
"""

import base64
import json
import sys

import tensorflow as tf


def _decoded(value):
    """JSON with bytes instead of {"b64": standard base64}."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def _shaped(tensor):
    if tensor.dtype != tf.string:
        return tensor.numpy().tolist()
    return tf.nest.map_structure(lambda text: text.decode(), tensor.numpy().tolist())


def serve(signature, body):
    """What TensorFlow Serving answers to a body: columns for "inputs", rows for "instances"."""
    _, specs = signature.structured_input_signature
    if "inputs" in body:
        columns = body["inputs"]
        named = isinstance(columns, dict) and set(columns) == set(specs)
        given = columns if named else {next(iter(specs)): columns}
    else:
        rows = body["instances"]
        named = all(isinstance(row, dict) and set(row) == set(specs) for row in rows)
        given = {name: [row[name] for row in rows] for name in specs} if named else {next(iter(specs)): rows}
    tensors = {name: tf.constant(_decoded(value), specs[name].dtype) for name, value in given.items()}
    outputs = {name: _shaped(tensor) for name, tensor in signature(**tensors).items()}
    if "inputs" in body:
        return {"outputs": outputs}
    rows = range(len(body["instances"]))
    return {"predictions": [{name: column[row] for name, column in outputs.items()} for row in rows]}


def main(ask, answer):
    with open(ask) as file:
        asked = json.load(file)
    loaded: dict = {}
    answers: dict = {}
    for name, (folder, signature, body) in asked.items():
        if folder not in loaded:
            loaded[folder] = tf.saved_model.load(folder)
        try:
            answers[name] = serve(loaded[folder].signatures[signature], body)
        except tf.errors.InvalidArgumentError as error:
            answers[name] = {"error": str(error)}
    answers["modules"] = sorted(name for name in sys.modules if name.startswith("fslcore."))
    with open(answer, "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    sys.modules["fslcore"] = None  # an import of it fails, wherever it is installed
    main(*sys.argv[1:])
