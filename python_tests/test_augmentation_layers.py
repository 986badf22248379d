# SPDX-License-Identifier: MIT
"""The layers of `fslcore.augmentation`: functions of (seed, step), published recipes, samplers, models."""

from __future__ import annotations

import colorsys
import math

import keras
import numpy as np
import oracles_warp
import pytest
import tensorflow as tf

import fslcore as fsl
from fslcore import augmentation, kernels
from fslcore.arguments import ArgumentError
from fslcore.augmentation import (
    Chain,
    Normal,
    RandomAffine,
    RandomColour,
    RandomCrop,
    RandomLetterbox,
    RandomNoise,
)
from fslcore.experiments.recipes import augmentation as of_recipes

PICTURES = np.random.default_rng(0).random((6, 12, 10, 3), dtype=np.float32)
SOME = Chain(
    [
        RandomAffine(rotation=20, zoom=Normal(1, 0.1), flip_x=0.5, seed=3),
        RandomCrop(seed=4),
        RandomColour(0.1, 0.2, hue=0.1, saturation=0.3, seed=5),
        RandomNoise((0.0, 0.1), seed=6),
    ]
)


def drawn(layer: RandomAffine, count: int = 4000, height: int = 12, width: int = 10) -> np.ndarray:
    """The linear parts [count, 2, 2], and places of the middle [count, 2] less the middle."""
    rows = layer.drawn(tf.constant(count), layer.sizes(height, width), tf.constant(0, tf.int64)).numpy()
    rows = rows.reshape(-1, 2, 3).astype(np.float64)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return rows[:, :, :2], rows[:, :, :2] @ middle + rows[:, :, 2] - middle


def test_images_are_a_function_of_seed_and_step_wherever_they_are_varied():
    wanted = SOME.vary(PICTURES, 7).numpy()
    assert wanted.shape == PICTURES.shape
    assert 0 <= wanted.min() < wanted.max() <= 1
    assert not np.array_equal(wanted, SOME.vary(PICTURES, 8))
    one, other = SOME.vary(np.stack([PICTURES[0]] * 2), 7)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(
        SOME.vary(PICTURES.reshape(2, 3, 12, 10, 3), 7).numpy().reshape(PICTURES.shape), wanted
    )
    # Normal numbers and colours are rounded otherwise in XLA; what is drawn is the same.
    compiled = tf.function(SOME.vary, jit_compile=True)(PICTURES, tf.constant(7, tf.int64))
    np.testing.assert_allclose(compiled, wanted, atol=2e-5)
    affine = RandomAffine(rotation=20, shear_x=0.3, zoom=(0.5, 2), seed=3)
    compiled = tf.function(affine.vary, jit_compile=True)(PICTURES, tf.constant(7, tf.int64))
    np.testing.assert_array_equal(compiled, affine.vary(PICTURES, 7))
    batches = tf.data.Dataset.from_tensor_slices(PICTURES).batch(6).repeat(9).enumerate()  # of unknown size
    last = list(batches.map(lambda step, images: SOME.vary(images, step)))[7]
    np.testing.assert_array_equal(last, wanted)


def test_a_layer_counts_its_steps_saves_them_and_rests_outside_of_training(tmp_path):
    model = keras.Sequential([keras.Input((12, 10, 3)), SOME, keras.layers.Flatten(), keras.layers.Dense(1)])
    before = model.layers[0]
    np.testing.assert_array_equal(before(PICTURES), PICTURES)
    assert int(before.step) == 0
    np.testing.assert_array_equal(before(PICTURES, training=True), before.vary(PICTURES, 0))
    np.testing.assert_array_equal(before(PICTURES, training=True, step=5), before.vary(PICTURES, 5))
    assert int(before.step) == 1
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(PICTURES, np.zeros(6), batch_size=2, epochs=1, verbose=0)
    assert int(before.step) == 4
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(loaded.layers[0].step) == 4
    np.testing.assert_array_equal(loaded.layers[0](PICTURES, training=True), before.vary(PICTURES, 4))
    box = RandomLetterbox((9, 9), Normal(1, 0.1), RandomAffine(fill="constant"), dtype="mixed_float16")
    for layer in (box, RandomAffine(size=(5, 7)), augmentation.yolo(16)):
        again = type(layer).from_config(layer.get_config())
        np.testing.assert_array_equal(again(PICTURES, training=True), layer(PICTURES, training=True))
        assert layer(PICTURES).shape == layer.compute_output_shape(PICTURES.shape)
        assert layer(PICTURES).dtype == layer.compute_dtype


def test_yolo_is_that_of_keras_fsl():
    """A1: a grey border, the longer side at the size, content cut off at the frame, hue and saturation."""
    grey = 128 / 255
    picture = np.full((1, 20, 40, 3), 0.25, np.float32)
    box = augmentation.yolo(32, seed=1).layers[0]
    rest = box.unvaried(picture).numpy()[0]
    np.testing.assert_allclose(rest[8:24], 0.25, atol=1e-6)  # 32 x 16, in the middle
    np.testing.assert_allclose(rest[:8], grey, atol=1e-6)
    boxes = box.vary(np.repeat(picture, 300, 0), 0).numpy()[..., 0]
    inside = np.abs(boxes - grey) > 1e-3
    high, wide = (inside.any(axis).sum(1) for axis in (2, 1))
    assert np.all(np.maximum(high, wide) <= 32)
    shape = high[(wide > 26)] / 32
    assert 0.35 < np.median(shape) < 0.6  # 1:2, changed by N(1, 0.1) on both sides and cut by the shift
    affine = box.affine
    linear, _ = drawn(affine)
    zoom = 1 / np.abs(linear[:, 0, 0])
    assert abs(zoom.mean() - 1) < 0.01
    assert abs(zoom.std() - 0.125) < 0.01
    assert abs((linear[:, 0, 0] < 0).mean() - 0.5) < 0.04
    # Moves of whole pixels take no interpolation: one pass is the same as two, and is cut at the frame.
    moves = RandomAffine(
        shift_x=(0.25, 0.25), shift_y=(-0.1, -0.1), flip_x=0.5, fill="constant", fill_value=grey, seed=2
    )
    colours = np.random.default_rng(2).random((40, 20, 40, 3), dtype=np.float32)
    arguments = {"size": (32, 32), "resize": Normal(1, 0.1), "seed": 1}
    once = RandomLetterbox(**arguments, affine=moves, fill_value=grey).vary(colours, 3).numpy()
    twice = RandomLetterbox(**arguments, fill_value=grey).vary(moves.vary(colours, 3), 3).numpy()
    of_image = RandomLetterbox(**arguments, fill_value=0).vary(np.ones_like(colours), 3).numpy()
    np.testing.assert_allclose(once[of_image > 0.999], twice[of_image > 0.999], atol=1e-4)
    assert np.all(once[of_image == 0] == np.float32(grey))
    colour = augmentation.yolo(32, seed=1).layers[1]
    pixels = np.random.default_rng(1).random((50, 1, 1, 3), dtype=np.float32)
    changes = colour._drawn(tf.constant(50), tf.constant(0, tf.int64))
    for before, after, hue, saturation in zip(
        pixels[:, 0, 0],
        colour.vary(pixels, 0).numpy()[:, 0, 0],
        changes["hue_factor"],
        changes["saturation"],
        strict=True,
    ):
        h, s, v = colorsys.rgb_to_hsv(*before.tolist())
        wanted = colorsys.hsv_to_rgb(h * float(hue[0, 0, 0]) % 1, min(1, s * float(saturation[0, 0, 0])), v)
        np.testing.assert_allclose(after, wanted, atol=1e-5)
    assert 0 <= np.min(changes["hue_factor"]) < 0.2
    assert 1.8 < np.max(changes["hue_factor"]) <= 2
    assert 1 / 1.5 - 1e-6 <= np.min(changes["saturation"]) < np.max(changes["saturation"]) <= 1.5


def test_omniglot_is_the_notebooks():
    """A2: translation of up to 20 %, rotation of up to 10 degrees, shear of -0.8 to 1.2 degrees."""
    linear, shift = drawn(augmentation.omniglot())
    # The inverse is R(angle) * [[1, shear], [0, 1]]: its columns tell the angle, then the shear.
    forward = np.linalg.inv(linear)
    angle = np.degrees(np.arctan2(-forward[:, 1, 0], forward[:, 0, 0]))
    turned = np.radians(angle)
    shear = np.degrees(np.arctan(forward[:, 0, 1] * np.cos(turned) - forward[:, 1, 1] * np.sin(turned)))
    moved = -np.einsum("nij,nj->ni", forward, shift) / [10, 12]
    for values, least, greatest in ((angle, -10, 10), (shear, -0.8, 1.2), (moved, -0.2, 0.2)):
        slack = (greatest - least) / 100
        assert least - 1e-3 <= values.min() < least + slack
        assert greatest - slack < values.max() <= greatest + 1e-3
        assert abs(values.mean() - (least + greatest) / 2) < 3 * slack


@pytest.mark.parametrize(
    ("variant", "angle", "shear_y", "zoom", "pixels"),
    [("paper", 10, 0.3, (0.8, 1.2), 2), ("reproduction", 15, 0.0, (0.8, 2.0), 5)],
)
def test_koch_are_the_distortions_of_the_paper_and_of_its_reproduction(variant, angle, shear_y, zoom, pixels):
    """A3: each of rotation, shears, zooms and shifts with probability 1/2, independently."""
    layer = augmentation.koch(variant, side=105)
    rows = dict(zip(kernels.AFFINE_PARAMETERS, layer.distributions.tolist(), strict=True))
    shear_x = 0.3 if variant == "paper" else math.tan(0.3)
    wanted = {
        "rotation": (-angle, angle), "shear_x": (-shear_x, shear_x), "shear_y": (-shear_y, shear_y),
        "zoom_x": zoom, "zoom_y": zoom, "shift_x": (-pixels / 105, pixels / 105),
        "shift_y": (-pixels / 105, pixels / 105),
    }  # fmt: skip
    for name, bounds in wanted.items():
        np.testing.assert_allclose(rows[name], [*bounds, 0.5, 0], atol=2e-5)
    linear, shift = drawn(layer, height=105, width=105)
    same = np.all(np.abs(linear - np.eye(2)) < 1e-7, axis=(1, 2))
    drawn_of_linear = 5 if shear_y else 4
    assert abs(same.mean() - 0.5**drawn_of_linear) < 0.03
    assert abs(np.all(np.abs(shift[same]) < 1e-4, axis=1).mean() - 0.25) < 0.2


def test_quarter_turns_make_classes_and_are_gathered_in_the_same_pass():
    """A4: a class turned by a random multiple of 90 degrees is another class; then all of it is augmented."""
    images = np.random.default_rng(2).integers(0, 256, (40, 9, 9, 1)).astype(np.uint8)
    store = fsl.ImageStore.from_arrays(images, np.repeat(np.arange(8), 5))
    augment = Chain([RandomAffine(rotation=30, zoom=(0.7, 1.2), seed=2), RandomNoise(0.05, seed=3)])
    plain = store.episodes(3, 1, 2, seed=5, rotations=True, first=4, episodes=3)
    varied = store.episodes(3, 1, 2, seed=5, rotations=True, first=4, episodes=3, augment=augment)
    for number, (one, other) in enumerate(zip(plain, varied, strict=True), 4):
        for part, (images, got) in enumerate(zip(one, other, strict=True)):
            # The pass has bytes before it scales, the layer floats.
            np.testing.assert_allclose(got, augment.vary(images, 2 * number + part), atol=1e-5)
    skipped = next(
        iter(store.episodes(3, 1, 2, seed=5, rotations=True, first=6, episodes=1, augment=augment))
    )
    for one, other in zip(skipped, list(varied)[2], strict=True):
        np.testing.assert_array_equal(one, other)
    wide = store.pk_batches(
        2, 2, batches=1, augment=RandomAffine(size=(4, 6), fill="constant", fill_value=1.0)
    )
    found, _ = next(iter(wide))
    rows, _ = next(iter(store.pk_batches(2, 2, batches=1)))
    transforms = RandomAffine(size=(4, 6)).drawn(
        tf.constant(4), tf.constant([9, 9, 4, 6]), tf.constant(0, tf.int64)
    )
    wanted = oracles_warp.affine_images(rows, transforms, (4, 6), "constant", 1.0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    tasks = next(iter(store.minibatches(2, 2, tasks=2, steps=1, batch=3, augment=augment)))[0]
    assert tasks.shape == (2, 1, 3, 9, 9, 1)
    vectors = fsl.data.embeddings.EmbeddingStore(np.ones((40, 3), np.float32), store.labels)
    for source, wrong, match in (
        (vectors, augment, "must be None for embeddings"),
        (store, keras.layers.Dropout(0.5), "must be a layer of fslcore.augmentation"),
        (store, RandomNoise(value_range=(0, 255)), "value_range"),
    ):
        with pytest.raises(ArgumentError, match=f"augment {match}|augment.*{match}"):
            source.pk_batches(2, 2, augment=wrong)


def test_recipes_of_the_command_line_take_the_layers():
    assert of_recipes.parsed("flip,affine,noise") == ("flip", "affine", "noise")
    with pytest.raises(ArgumentError, match="augment must have at most one of affine, koch, omniglot"):
        of_recipes.parsed("koch,omniglot")
    batches = tf.data.Dataset.from_tensors((PICTURES, np.arange(6)))
    for kinds in (("koch", "noise"), ("affine",), ("omniglot",)):
        varied, labels = next(iter(of_recipes.varied(batches, kinds, 3, 5)))
        again, _ = next(iter(of_recipes.varied(batches, kinds, 3, 5)))
        np.testing.assert_array_equal(varied, again)
        np.testing.assert_array_equal(labels, np.arange(6))
        assert not np.array_equal(varied, PICTURES)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RandomAffine(rotation=-5), "rotation must be at least 0, or a pair"),
        (lambda: RandomAffine(zoom=(1.2, 0.8)), r"zoom must be a pair \(least, greatest\)"),
        (lambda: RandomAffine(shift_x="a"), "shift_x must be a number"),
        (lambda: RandomAffine(flip_x=1.5), "flip_x must be from 0 to 1"),
        (lambda: RandomAffine(fill="wrap"), "fill must be one of"),
        (lambda: RandomAffine(probability={"flip": 0.5}), "probability must have names"),
        (lambda: RandomAffine(seed=-1), "seed must be at least 0"),
        (lambda: RandomCrop(0), "least_side must be above 0"),
        (lambda: RandomCrop(size=(3, 3)), "size must be None"),
        (lambda: RandomLetterbox(affine=RandomAffine()), "affine must be a RandomAffine with fill"),
        (lambda: RandomNoise(Normal(0, 1)), "deviation must be a number"),
        (lambda: RandomColour(saturation=0.5).vary(np.zeros((2, 3, 3, 1)), 0), "saturation must be 0 for"),
        (lambda: RandomNoise()(np.zeros((3, 3, 1)), training=True), "images must have axes"),
        (lambda: RandomCrop().vary(np.zeros((2, 3, 3, 1), np.uint8), 0), "images must be floats"),
        (lambda: Chain([]), "layers must be one or more"),
        (lambda: augmentation.koch("goldesel"), "variant must be one of paper, reproduction"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_sentence(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()
