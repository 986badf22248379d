# SPDX-License-Identifier: MIT
"""Runs that were tampered with or damaged: one sentence that names the file, before anything is unpacked."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from fslcore import Prototypical
from fslcore.arguments import ArgumentError
from fslcore.experiments import PrototypicalRecipe, Run, checkpoints, results, runs

RECIPE = PrototypicalRecipe(way=4, shot=1, query=2, epochs=3, steps_per_epoch=4)
PART = {"classes": 4, "images": 8, "hash": "00"}
CONFIG = {
    "format": 1,
    "recipe": RECIPE.to_json(),
    "data": "glyphs",
    "data_dir": None,
    "image_size": 28,
    "image_shape": [28, 28, 1],
    "min_images": {"train": 3, "val": 2, "test": 2},
    "classes": {"train": ["a"], "val": ["b"], "test": ["c"]},
    "split": dict.fromkeys(("train", "val", "test"), PART),
    "eval_episodes": 10,
    "threads": 2,
    "tensorboard": False,
    "versions": {},
}
LATER = {
    "image_shape",
    "min_images",
    "classes",
    "eval_episodes",
    "threads",
    "tensorboard",
    "versions",
    "data_dir",
}


def learner(width: int = 3) -> Prototypical:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(width)]
    model = Prototypical(keras.Sequential([*layers, keras.layers.BatchNormalization()]))
    model.compile(keras.optimizers.Adam(0.01))
    model.optimizer.build(model.trainable_variables)
    return model


def complaint(call) -> str:
    """The message of the error that a damaged run is refused with."""
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.argument == "run"
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- config.json


def opened(folder: Path, config: dict) -> Run:
    (folder / runs.CONFIG).write_text(json.dumps(config))
    return Run.open(folder)


def test_a_whole_config_is_read_and_earlier_versions_have_less(tmp_path):
    assert opened(tmp_path, CONFIG).recipe == RECIPE
    assert opened(tmp_path, {name: CONFIG[name] for name in CONFIG if name not in LATER}).recipe == RECIPE


@pytest.mark.parametrize("name", sorted(set(CONFIG) - LATER))
def test_an_entry_that_is_missing_names_the_file(tmp_path, name):
    config = {key: value for key, value in CONFIG.items() if key != name}
    assert str(tmp_path / runs.CONFIG) in complaint(lambda: opened(tmp_path, config)) or name == "recipe"


# What is right for some entries.
STRINGS, OBJECTS = ("data", "data_dir"), ("versions",)


@pytest.mark.parametrize("name", sorted(set(CONFIG) - {"format"}))
def test_an_entry_of_another_type_names_the_file(tmp_path, name):
    values: list[object] = [[1], -3, 2.5, None]
    values += [] if name in STRINGS else ["two"]
    values += [] if name in OBJECTS else [{"train": "x"}]
    for value in values:
        if name == "data_dir" and value is None:
            continue
        message = complaint(lambda value=value: opened(tmp_path, {**CONFIG, name: value}))
        assert runs.CONFIG in message
        assert name in message


def test_an_entry_that_is_not_known_is_named(tmp_path):
    assert "the entry 'optimzer' is not known" in complaint(
        lambda: opened(tmp_path, {**CONFIG, "optimzer": 1})
    )
    message = complaint(lambda: opened(tmp_path, {**CONFIG, "recipe": {**RECIPE.to_json(), "wya": 3}}))
    assert "wya" in message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1, "results": ' + "9" * 5000 + "}"])
def test_hostile_json_is_damaged(tmp_path, text):
    (tmp_path / runs.CONFIG).write_text(text)
    assert "config.json is damaged" in complaint(lambda: Run.open(tmp_path))


# ---- weights


@pytest.fixture
def weights(tmp_path) -> Path:
    return checkpoints.save_weights(tmp_path, learner(), step=4)


def test_weights_that_are_whole_come_back(weights):
    checkpoints.load_weights(weights.parent, learner())


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf], ids=str)
def test_a_weight_that_was_changed_is_found(weights, value):
    with h5py.File(weights, "r+") as file:
        found: list[h5py.Dataset] = []
        file.visititems(lambda _, entry: found.append(entry) if isinstance(entry, h5py.Dataset) else None)
        kernel = next(entry for entry in found if entry.shape == (16, 3))
        kernel[3, 1] = value
    message = complaint(lambda: checkpoints.load_weights(weights.parent, learner()))
    assert f"{weights} is damaged" in message


def test_any_bit_that_flips_in_the_weights_is_found(weights):
    whole = bytearray(weights.read_bytes())
    with h5py.File(weights) as file:
        kernels: list[h5py.Dataset] = []
        file.visititems(
            lambda name, entry: (
                kernels.append(entry)
                if getattr(entry, "shape", 0) == (16, 3) and "optimizer" not in name
                else None
            )
        )
        start = kernels[0].id.get_offset()
    for bit in range(0, 16 * 3 * 32, 97):
        flipped = bytearray(whole)
        flipped[start + bit // 8] ^= 1 << bit % 8
        weights.write_bytes(flipped)
        assert "is damaged" in complaint(lambda: checkpoints.load_weights(weights.parent, learner()))


def test_weights_that_claim_to_be_huge_are_not_unpacked(weights):
    with h5py.File(weights, "r+") as file:
        file.create_dataset("bomb", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")
    assert "it holds 1,099,511," in complaint(lambda: checkpoints.load_weights(weights.parent, learner()))


@pytest.mark.parametrize("kind", ["soft", "external"])
def test_weights_that_refer_elsewhere_are_refused(weights, kind):
    link = h5py.SoftLink("/x") if kind == "soft" else h5py.ExternalLink("/etc/passwd", "/x")
    with h5py.File(weights, "r+") as file:
        file["stolen"] = link
    assert "stolen is a link" in complaint(lambda: checkpoints.load_weights(weights.parent, learner()))


def test_weights_of_earlier_versions_have_no_digest(weights):
    with h5py.File(weights, "r+") as file:
        for name in list(file.attrs):
            del file.attrs[name]
    checkpoints.load_weights(weights.parent, learner())


# ---- checkpoints


def rewritten(path: Path, **changed: bytes) -> None:
    """Replaces members of a checkpoint, or adds some; packed, which those of a checkpoint are not."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {
            **members,
            **{f"{name}.npy": content for name, content in changed.items()},
        }.items():
            archive.writestr(name, content)


def as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(**entries: object) -> bytes:
    content = {"format": 1, "step": 4, "history": [], "partial": {}, **entries}
    return as_npy(np.frombuffer(json.dumps(content).encode(), np.uint8))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    checkpoints.save_checkpoint(tmp_path, learner(), checkpoints.Progress(step=4))
    return tmp_path / checkpoints.CHECKPOINT


@pytest.mark.parametrize(
    "entries",
    [
        *({"step": step} for step in (-1, "4", 2.5, None)),
        *({"history": history} for history in ([{}], [3], {"epoch": 1}, "x", [{"epoch": 1, "loss": "low"}])),
        *({"partial": partial} for partial in ([1], {"loss": 1.0}, 3)),
        {"unknown": 1},
    ],
    ids=str,
)
def test_progress_that_is_none_is_damaged(checkpoint, entries):
    rewritten(checkpoint, header=header(**entries))
    for call in (
        lambda: checkpoints.load_progress(checkpoint.parent),
        lambda: checkpoints.load_checkpoint(checkpoint.parent, learner()),
    ):
        assert f"{checkpoint} is damaged" in complaint(call)


def test_arrays_are_compared_by_shape_before_they_are_unpacked(checkpoint, monkeypatch):
    rewritten(checkpoint, **{"model-0000": as_npy(np.zeros((16, 4096), np.float32))})
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was unpacked"))
    monkeypatch.setattr(checkpoints, "_header", lambda _: {"format": 1, "step": 4})
    message = complaint(lambda: checkpoints.load_checkpoint(checkpoint.parent, learner()))
    assert "belongs to another model" in message


def test_a_header_that_is_a_bomb_is_not_unpacked(checkpoint):
    rewritten(checkpoint, header=as_npy(np.zeros(1 << 27, np.uint8)))
    assert "its header is too large" in complaint(lambda: checkpoints.load_progress(checkpoint.parent))


def test_a_member_with_another_size_than_its_shape_is_damaged(checkpoint):
    rewritten(checkpoint, **{"model-0000": as_npy(np.zeros((16, 3), np.float32)) + b"more"})
    assert "has not the size of its shape" in complaint(
        lambda: checkpoints.load_checkpoint(checkpoint.parent, learner())
    )


def test_a_checkpoint_that_is_not_finite_is_damaged(checkpoint):
    rewritten(checkpoint, **{"model-0000": as_npy(np.full((16, 3), np.nan, np.float32))})
    assert "is not finite" in complaint(lambda: checkpoints.load_checkpoint(checkpoint.parent, learner()))


# ---- metrics.json


@pytest.mark.parametrize("entries", [3, [3], [{}], [{"n_way": 5}], {"a": 1}, None], ids=str)
def test_metrics_that_are_none_are_found_before_measuring(tmp_path, entries):
    runs.write_json(tmp_path / runs.METRICS, {"format": 1, "results": entries})
    assert f"{tmp_path / runs.METRICS} is damaged" in complaint(lambda: results.kept_results(tmp_path))
