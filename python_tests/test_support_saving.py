# SPDX-License-Identifier: MIT
"""Support sets on disk: whole or not at all, in a new process, and never with another encoder."""

import errno
import subprocess
import sys

import keras
import numpy as np
import pytest

import fslcore as fsl
from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.classifier import KNearest, saving
from fslcore.data import Preparation


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.fixture
def support(encoder):
    made = fsl.SupportSet(encoder, KNearest(2, "euclidean"), preparation=Preparation(4, 1, resize="crop"))
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
    made.update({"a": images[:2], 1: images[2:3], "1": images[3:]})
    made.add_embeddings("ä b", [0.5, 0, 1])
    made.remove(1)
    made.threshold, made.temperature = -1.5, 2.0
    return made


QUERIES = np.random.default_rng(1).integers(0, 256, (5, 6, 9), np.uint8)


def same(one, other):
    assert (one.labels, one.counts, one.threshold) == (other.labels, other.counts, other.threshold)
    assert (one.rule, one.preparation, one.temperature) == (other.rule, other.preparation, other.temperature)
    ours, theirs = one.snapshot(), other.snapshot()
    for name in ("numbers", "rows", "prototypes", "pictures", "pictured", "norms"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for left, right in zip(one.predict(list(QUERIES), 3), other.predict(list(QUERIES), 3), strict=True):
        assert left.tolist() == right.tolist()


def test_a_loaded_set_is_the_saved_one_and_goes_on(support, tmp_path):
    support.save(tmp_path / "new" / "set")
    encoder_file = tmp_path / "new" / "set" / saving.ENCODER
    written = encoder_file.stat().st_mtime_ns
    again = fsl.SupportSet.load(tmp_path / "new" / "set")
    same(support, again)
    for one in (support, again):
        one.add("a", QUERIES[0])
        one.remove("1")
    same(support, again)
    again.save(tmp_path / "new" / "set")
    assert encoder_file.stat().st_mtime_ns == written
    same(support, fsl.SupportSet.load(tmp_path / "new" / "set"))
    assert sorted(path.name for path in encoder_file.parent.iterdir()) == [saving.ENCODER, saving.SUPPORT]


def test_an_empty_set_is_saved_too(encoder, tmp_path):
    fsl.SupportSet(encoder).save(tmp_path)
    again = fsl.SupportSet.load(tmp_path)
    assert (len(again), again.labels) == (0, ())
    again.add("a", QUERIES[0])
    assert again.predict(QUERIES[0])[0].tolist() == ["a"]


def test_a_new_process_loads_it_after_importing_the_package(tmp_path):
    keras.utils.set_random_seed(2)
    learner = fsl.Siamese(fsl.encoders.conv4((28, 28, 1)), "DenseSigmoid")
    support = fsl.SupportSet(learner)
    support.update({"a": QUERIES[0], 5: QUERIES[1]})
    support.save(tmp_path)
    script = (
        "import sys, fslcore as fsl, numpy as np\n"
        "support = fsl.SupportSet.load(sys.argv[1])\n"
        "labels, scores = support.predict(np.random.default_rng(1).integers(0, 256, (6, 9), np.uint8), 2)\n"
        "print(labels.tolist(), scores.tolist(), support.rule.name)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    labels, scores = support.predict(QUERIES[0], 2)
    assert done.stdout.strip() == f"{labels.tolist()} {scores.tolist()} kernel"


def test_damage_is_found(support, tmp_path):
    support.save(tmp_path)
    path = tmp_path / saving.SUPPORT
    content = path.read_bytes()
    for place in (*range(0, 60, 7), len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(
            ArgumentError, match=r"must hold a support\.fsl as it was|must hold a support set of the"
        ):
            fsl.SupportSet.load(tmp_path)
    for length in (0, 5, 30, 200, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(
            ArgumentError, match=r"must hold a support\.fsl as it was written, received .*damaged"
        ):
            fsl.SupportSet.load(tmp_path)
    path.write_bytes(content[:6] + b"02" + content[8:])
    with pytest.raises(
        ArgumentError, match=r"format 01, which this fslcore reads: .* received .* of the format 02"
    ):
        fsl.SupportSet.load(tmp_path)
    path.unlink()
    with pytest.raises(ArgumentError, match=r"folder must be that of a support set, with a support\.fsl"):
        fsl.SupportSet.load(tmp_path)


def test_embeddings_never_meet_another_encoder(support, tmp_path):
    support.save(tmp_path / "ours")
    other = fsl.SupportSet(
        keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    )
    other.save(tmp_path / "other")
    with pytest.raises(ArgumentError, match="must be new, or hold a support set of the same encoder"):
        other.save(tmp_path / "ours")
    (tmp_path / "ours" / saving.ENCODER).write_bytes((tmp_path / "other" / saving.ENCODER).read_bytes())
    with pytest.raises(ArgumentError, match=r"the encoder\.keras whose embeddings its support set has"):
        fsl.SupportSet.load(tmp_path / "ours")
    (tmp_path / "ours" / saving.ENCODER).write_bytes(b"no model")
    with pytest.raises(ArgumentError, match=r"must hold a encoder\.keras that Keras can open"):
        fsl.SupportSet.load(tmp_path / "ours")
    (tmp_path / "ours" / saving.ENCODER).unlink()
    with pytest.raises(ArgumentError, match=r"must hold a encoder\.keras, received"):
        fsl.SupportSet.load(tmp_path / "ours")


def test_an_encoder_that_was_trained_meanwhile_is_told(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    support = fsl.SupportSet(model)
    support.add("a", QUERIES[0])
    model.layers[-1].bias.assign([1, 2, 3])
    with pytest.raises(
        ArgumentError, match="must have the weights that its support images were embedded with"
    ):
        support.save(tmp_path)


def test_a_kept_set_is_on_the_disk_before_anybody_sees_a_change(support, tmp_path, monkeypatch):
    support.keep_in(tmp_path)
    support.add("new", QUERIES[1])
    support.threshold = -3.0
    same(support, fsl.SupportSet.load(tmp_path))
    before, content = support.snapshot(), (tmp_path / saving.SUPPORT).read_bytes()

    def full(path, write):
        raise OSError(errno.ENOSPC, "no space left", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(files, "replace", full)
        changes = [
            lambda: support.add("more", QUERIES[2]),
            lambda: support.remove("new"),
            lambda: support.replace("new", QUERIES[3]),
            lambda: setattr(support, "threshold", None),
        ]
        for change in changes:
            with pytest.raises(OSError, match="no space left"):
                change()
            assert support.snapshot() is before
    assert (tmp_path / saving.SUPPORT).read_bytes() == content
    support.add("more", QUERIES[2])
    same(support, fsl.SupportSet.load(tmp_path))


def test_what_cannot_be_saved_is_refused(encoder, tmp_path):
    def rule(queries, state):
        return np.zeros((len(queries), len(state.labels)), np.float32)

    rule.name = "mine"
    with pytest.raises(ArgumentError, match=r"rule must be one of .* to be saved"):
        fsl.SupportSet(encoder, rule).save(tmp_path / "a")
    layer = keras.layers.Flatten()
    layer.build((None, 4, 4, 1))
    with pytest.raises(ArgumentError, match=r"encoder must be a keras\.Model to be saved, received Flatten"):
        fsl.SupportSet(layer, preparation=Preparation(4, 1)).save(tmp_path / "b")
    assert not (tmp_path / "a").exists()
