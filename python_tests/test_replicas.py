# SPDX-License-Identifier: MIT
"""Losses and metrics under a tf.distribute strategy with two replicas: as on one device, or refused."""

import json

import pytest
import two_replicas
import warm


@pytest.fixture(scope="module")
def results():
    done = warm.run([two_replicas.__file__])
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_losses_of_embeddings_are_those_of_the_whole_batch(results):
    assert len(results["embeddings"]) == len(two_replicas.ON_EMBEDDINGS) + 2
    assert max(results["embeddings"].values()) < 1e-5, results


def test_losses_of_matrices_are_those_of_each_replica(results):
    assert len(results["matrices"]) == len(two_replicas.ON_MATRICES) + 2
    assert max(results["matrices"].values()) < 1e-5, results


def test_what_is_not_right_is_refused_in_one_sentence(results):
    refused = dict(results["refused"])
    assert "a batch for 2 replicas" in refused.pop("predict")
    assert refused.keys() == set(two_replicas.FUNCTIONS)
    assert all("several replicas, received one with 2" in message for message in refused.values())
