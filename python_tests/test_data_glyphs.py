# SPDX-License-Identifier: MIT
"""The embedded dataset: real letters, all different, all inside their image, hard but not too hard."""

from __future__ import annotations

import unicodedata

import matplotlib
import numpy as np
import PIL.features
import pytest

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.data import default_split, load
from fslcore.data.datasets import drawing, glyphs
from fslcore.data.datasets.distortion import distort


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("glyphs")


@pytest.fixture(scope="module")
def store(cache_dir):
    return load("glyphs", cache_dir=cache_dir)


@pytest.fixture(scope="module")
def faces():
    return [drawing.open_face(path) for path in drawing.font_paths()]


@pytest.mark.parametrize(
    ("letter", "expected"),
    [
        pytest.param("ж", "Cyrillic", id="small letter"),
        pytest.param("Ω", "Greek", id="capital letter"),
        pytest.param("ა", "Georgian", id="letter"),
        pytest.param("ᐁ", "Canadian", id="syllabics"),
        pytest.param("𐌀", "Old Italic", id="two words"),
        pytest.param("é", None, id="accented"),
        pytest.param("ﬁ", None, id="ligature"),
        pytest.param("\N{MATHEMATICAL SCRIPT CAPITAL A}", None, id="mathematical"),
        pytest.param("7", None, id="digit"),
        pytest.param("\u0301", None, id="combining"),
        pytest.param("\uf8ff", None, id="private use, has no name"),
    ],
)
def test_alphabet(letter, expected):
    assert glyphs.alphabet(letter) == expected


def test_store_is_large_and_grouped_by_alphabet(store):
    assert store.n_classes > 600
    assert set(store.images_per_class) == {20}
    assert store.image_shape == (28, 28, 1)
    assert {"Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic"} <= set(store.group_names)
    for name, group in zip(store.class_names, store.groups[::20], strict=True):
        assert glyphs.alphabet(unicodedata.lookup(name)) == store.group_names[group]


# Where the fonts and their renderer are these, so are the images, bit for bit.
@pytest.mark.skipif(
    (matplotlib.__version__, PIL.features.version("freetype2")) != ("3.11.2", "2.14.3"),
    reason="another version of the fonts or of their renderer",
)
def test_the_images_are_those_of_the_published_figures(store):
    assert store.content_hash == "d2ec413c07d8961e3c7d1661a0e0a172"


def test_letters_leave_ink_and_stay_inside(store):
    assert np.all(store.images.max(axis=(1, 2, 3)) > 128)
    # A letter that ran out of its image would cross the border with full strokes. A stroke may just touch it,
    # in at most one image of a thousand.
    inside = np.zeros((28, 28, 1), bool)
    inside[1:-1, 1:-1] = True
    border = np.where(inside, 0, store.images).max(axis=(1, 2, 3))
    assert np.mean(border > 128) < 1e-3


def test_no_two_images_are_equal(store):
    assert len({image.tobytes() for image in store.images}) == len(store)


@pytest.mark.parametrize(
    "look_alikes",
    [
        "A\N{GREEK CAPITAL LETTER ALPHA}\N{CYRILLIC CAPITAL LETTER A}",
        "Oo\N{GREEK SMALL LETTER OMICRON}\N{CYRILLIC SMALL LETTER O}\N{ARMENIAN SMALL LETTER OH}",
        "Cc\N{CYRILLIC SMALL LETTER ES}",
        "Ss\N{CYRILLIC SMALL LETTER DZE}",
    ],
)
def test_homoglyphs_are_one_class(store, look_alikes):
    assert sum(unicodedata.name(letter) in store.class_names for letter in look_alikes) == 1


def test_default_split_tests_on_unseen_alphabets(store):
    parts = default_split(store)
    alphabets = [set(part.group_names) for part in parts.values()]
    assert list(parts) == ["train", "val", "test"]
    assert set.union(*alphabets) == set(store.group_names)
    assert sum(map(len, alphabets)) == store.n_groups
    assert all(part.n_classes >= 60 for part in parts.values())
    assert sum(part.n_classes for part in parts.values()) == store.n_classes


def test_nearest_neighbour_on_pixels_is_neither_lost_nor_done(store):
    test = default_split(store)["test"]
    tables = kernels.sample_episodes(test.labels, 5, 1, 15, 200, seed=0)
    correct = []
    for table in tables:
        pixels = kernels.gather_images(test.images, table).reshape(5, 16, -1)
        distance = kernels.pairwise(pixels[:, 1:].reshape(75, -1), pixels[:, 0])
        correct.append(distance.argmin(axis=1) == np.repeat(np.arange(5), 15))
    assert 0.55 < np.mean(correct) < 0.80  # chance is 0.2


def test_letter_is_drawn_the_same_every_time(store, faces):
    fonts = [font for font, letters in faces if "Ж" in letters]
    drawn = drawing.draw_class("Ж", fonts, 28)
    np.testing.assert_array_equal(drawn, drawing.draw_class("Ж", fonts, 28))
    in_store = store.images[store.labels == store.class_names.index("CYRILLIC CAPITAL LETTER ZHE"), ..., 0]
    np.testing.assert_array_equal(drawn, in_store)


def test_second_load_draws_nothing(store, cache_dir, monkeypatch):
    monkeypatch.setattr(glyphs, "build", None)
    assert load("glyphs", cache_dir=cache_dir).content_hash == store.content_hash


def test_fonts_without_letters_are_refused():
    with pytest.raises(ArgumentError, match="received 0 fonts without an alphabet"):
        glyphs.build([])


@pytest.mark.parametrize("seed", range(3))
def test_distortion_moves_ink_but_does_not_lose_it(seed):
    # A frame around the middle half: were any of it cut off, its hole would be connected with the outside.
    frame = np.zeros((64, 64))
    frame[16:48, 16:48] = 255
    frame[20:44, 20:44] = 0
    for image in distort(np.stack([frame] * 20), np.random.default_rng(seed)):
        assert not outside_reaches_the_middle(image > 96)
        assert np.abs(image - frame).max() > 128


def outside_reaches_the_middle(ink):
    reached = np.pad(np.zeros_like(ink), 1, constant_values=True)
    free = np.pad(~ink, 1, constant_values=True)
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= free
        if np.array_equal(grown, reached):
            return bool(reached[32, 32])
        reached = grown
