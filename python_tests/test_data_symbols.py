# SPDX-License-Identifier: MIT
"""The dataset of symbols: real signs of Unicode, all different, and whole blocks that are held out."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.data import default_split, load
from fslcore.data.datasets import drawing, symbols


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("symbols")


@pytest.fixture(scope="module")
def store(cache_dir):
    return load("symbols", cache_dir=cache_dir)


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        pytest.param("→", "Arrows", id="arrow"),
        pytest.param("≠", "Mathematical Operators", id="operator, which decomposes"),
        pytest.param("♞", "Miscellaneous Symbols", id="chess"),
        pytest.param("€", "Currency Symbols", id="currency"),
        pytest.param("╬", "Box Drawing", id="box drawing"),
        pytest.param("\N{DOMINO TILE HORIZONTAL-00-01}", "Domino Tiles", id="beyond 16 bits"),
        pytest.param("x", None, id="letter"),
        pytest.param("7", None, id="digit"),
        pytest.param("$", None, id="no block of symbols"),
        pytest.param("Ⓐ", None, id="letter in a circle"),
        pytest.param("∬", None, id="stands for two signs"),
        pytest.param("⁅", None, id="punctuation"),
        pytest.param("\u20d7", None, id="combining"),
        pytest.param("\u20cf", None, id="not assigned"),
    ],
)
def test_block(sign, expected):
    assert symbols.block(sign) == expected


def test_blocks_are_those_of_unicode():
    for name, (first, last) in symbols._BLOCKS.items():
        assert first % 16 == 0, name
        assert last % 16 == 15, name
    ranges = sorted(symbols._BLOCKS.values())
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(ranges))


def test_store_is_large_and_grouped_by_block(store):
    assert store.n_classes > 800
    assert set(store.images_per_class) == {20}
    assert store.image_shape == (28, 28, 1)
    assert {"Arrows", "Box Drawing", "Dingbats", "Mathematical Operators"} <= set(store.group_names)
    for name, group in zip(store.class_names, store.groups[::20], strict=True):
        assert symbols.block(unicodedata.lookup(name)) == store.group_names[group]


def test_symbols_leave_ink_and_stay_inside(store):
    assert np.all(store.images.max(axis=(1, 2, 3)) > 0)
    # Shades are made of dots that are finer than a pixel.
    assert np.mean(store.images.max(axis=(1, 2, 3)) > 128) > 0.97
    inside = np.zeros((28, 28, 1), bool)
    inside[1:-1, 1:-1] = True
    border = np.where(inside, 0, store.images).max(axis=(1, 2, 3))
    assert np.mean(border > 128) < 2e-3


def test_no_two_images_are_equal(store):
    assert len({image.tobytes() for image in store.images}) == len(store)


@pytest.mark.parametrize(
    "look_alikes",
    [
        pytest.param("─━", id="lines of another weight"),
        pytest.param("■▪◼◾", id="squares of another size"),
        pytest.param("△▵", id="triangles of another size"),
        pytest.param("⠁⠂⠄", id="one dot at another place"),
    ],
)
def test_symbols_that_look_alike_are_one_class_at_most(store, look_alikes):
    assert sum(unicodedata.name(sign) in store.class_names for sign in look_alikes) <= 1


def test_default_split_tests_on_unseen_blocks(store):
    parts = default_split(store)
    assert list(parts) == ["train", "val", "test"]
    blocks = [set(part.group_names) for part in parts.values()]
    assert set.union(*blocks) == set(store.group_names)
    assert sum(map(len, blocks)) == store.n_groups
    assert sum(part.n_classes for part in parts.values()) == store.n_classes
    assert parts["train"].n_classes >= 500
    assert parts["val"].n_classes >= 40
    assert parts["test"].n_classes >= 100


def test_nearest_neighbour_on_pixels_is_neither_lost_nor_done(store):
    test = default_split(store)["test"]
    tables = kernels.sample_episodes(test.labels, 5, 1, 15, 200, seed=0)
    correct = []
    for table in tables:
        pixels = kernels.gather_images(test.images, table).reshape(5, 16, -1)
        distance = kernels.pairwise(pixels[:, 1:].reshape(75, -1), pixels[:, 0])
        correct.append(distance.argmin(axis=1) == np.repeat(np.arange(5), 15))
    assert 0.5 < np.mean(correct) < 0.85  # chance is 0.2


def test_a_symbol_is_drawn_as_a_letter_is(store):
    faces = [drawing.open_face(path) for path in drawing.font_paths()]
    drawn = drawing.draw_class("♞", [font for font, signs in faces if "♞" in signs], 28)
    in_store = store.images[store.labels == store.class_names.index("BLACK CHESS KNIGHT"), ..., 0]
    np.testing.assert_array_equal(drawn, in_store)


def test_second_load_draws_nothing(store, cache_dir, monkeypatch):
    monkeypatch.setattr(symbols, "build", None)
    assert load("symbols", cache_dir=cache_dir).content_hash == store.content_hash


def test_fonts_without_symbols_are_refused():
    with pytest.raises(
        ArgumentError, match="paths must be fonts that hold symbols, received 0 fonts without"
    ):
        symbols.build([])
