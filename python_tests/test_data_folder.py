# SPDX-License-Identifier: MIT
"""A folder per class: what is read, how it is turned into pixels, and which folders are refused."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import load


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(folder))
    return folder


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image, np.uint8))
    image.save(path)


def flat(value, size=8):
    """A picture of one colour: whatever the resizing does, it stays that colour."""
    return np.full((size, size, *np.shape(value)), value, np.uint8)


@pytest.fixture
def pets(tmp_path):
    """Two cats, three dogs, one emu, in all formats and sizes, with things beside that are no images."""
    root = tmp_path / "pets"
    save(root / "dog" / "b.PNG", flat(20, 30))
    save(root / "dog" / "a.bmp", flat(10, 9))
    save(root / "dog" / "c.gif", flat(30))
    save(root / "cat" / "1.jpeg", flat(40))
    save(root / "cat" / "2.jpg", flat(50))
    save(root / "emu" / "x.png", flat(60))
    (root / "dog" / "notes.txt").write_text("good dog")
    (root / "dog" / ".hidden.png").write_text("no image")
    (root / ".git").mkdir()
    (root / "readme.md").write_text("pets")
    return root


def values(store):
    return store.images[:, 0, 0, 0].tolist()


def test_folders_are_classes(pets):
    store = load(pets, image_size=8)
    assert store.class_names == ("cat", "dog", "emu")
    assert store.images_per_class.tolist() == [2, 3, 1]
    assert store.image_shape == (8, 8, 1)
    assert values(store) == [40, 50, 10, 20, 30, 60]
    assert (store.name, store.groups) == ("pets", None)


def test_path_may_be_a_string(pets):
    assert load(str(pets), image_size=8).content_hash == load(pets, image_size=8).content_hash


def test_unbalanced_classes_make_episodes_after_filtering(pets):
    store = load(pets, image_size=8)
    with pytest.raises(ArgumentError, match=r"class 'emu' of .* has 1; 1 of 3.*with_min_images\(2\)"):
        store.episodes(2, 1, 1)
    assert len(list(store.with_min_images(2).episodes(2, 1, 1, episodes=2))) == 2


def test_one_colour_image_makes_all_rgb(pets):
    save(pets / "emu" / "y.png", flat((200, 100, 0)))
    store = load(pets, image_size=8)
    assert store.image_shape == (8, 8, 3)
    assert store.images[-1, 0, 0].tolist() == [200, 100, 0]
    assert store.images[0, 0, 0].tolist() == [40, 40, 40]


@pytest.mark.parametrize(("channels", "expected"), [(1, [124]), (3, [200, 100, 50])])
def test_channels_can_be_chosen(pets, channels, expected):
    save(pets / "emu" / "y.png", flat((200, 100, 50)))
    # ITU-R 601-2 luma, as Pillow documents it: 200 * 0.299 + 100 * 0.587 + 50 * 0.114 = 124.2
    assert load(pets, image_size=8, channels=channels).images[-1, 0, 0].tolist() == expected


def test_sixteen_bits_are_scaled(pets):
    save(pets / "emu" / "x.png", Image.fromarray(np.full((8, 8), 0x8012, np.uint16)))
    assert values(load(pets, image_size=8))[-1] == 0x80


def test_transparent_pixels_are_white(pets):
    save(pets / "emu" / "x.png", flat((0, 0, 0, 0)))
    assert load(pets, image_size=8).images[-1, 0, 0].tolist() == [255, 255, 255]


def test_photographs_are_upright(pets):
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: turned by 180 degrees
    picture = np.zeros((8, 8), np.uint8)
    picture[:4] = 255
    (pets / "emu" / "x.png").unlink()
    Image.fromarray(picture).save(pets / "emu" / "x.jpg", exif=exif, quality=100)
    image = load(pets, image_size=8).images[-1, ..., 0]
    assert image[:3].max() < 16 < 239 < image[5:].min()  # JPEG is not exact


def test_images_are_stretched_to_a_square(pets):
    wide = np.zeros((4, 16), np.uint8)
    wide[:, 8:] = 255
    save(pets / "emu" / "x.png", wide)
    image = load(pets, image_size=8).images[-1, ..., 0]
    assert image[:, :3].max() == 0
    assert image[:, 5:].min() == 255


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: save(root / "cat" / "3.png", flat(70)), id="added"),
        pytest.param(lambda root: (root / "dog" / "a.bmp").unlink(), id="removed"),
        pytest.param(lambda root: save(root / "emu" / "x.png", flat(61)), id="changed"),
        pytest.param(lambda root: (root / "emu").rename(root / "ant"), id="class renamed"),
    ],
)
def test_cache_notices_a_change(pets, change):
    before = load(pets, image_size=8)
    os.utime(pets / "emu" / "x.png", ns=(0, 0))  # so that a file changed within the clock's tick differs
    before = load(pets, image_size=8)
    change(pets)
    after = load(pets, image_size=8)
    assert (after.content_hash, after.class_names) != (before.content_hash, before.class_names)


def test_second_load_reads_no_image(pets, monkeypatch):
    first = load(pets, image_size=8)
    monkeypatch.setattr(Image, "open", None)
    assert load(pets, image_size=8).content_hash == first.content_hash


def test_unreadable_file_is_named(pets):
    (pets / "dog" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ArgumentError, match=r"received .*dog.broken\.png, which cannot be read"):
        load(pets)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif"])
def test_truncated_file_is_named(pets, suffix, keep):
    path = pets / "dog" / f"broken.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    save(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ArgumentError, match=rf"broken\.{suffix}, which cannot be read"):
        load(pets)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param([], "at least two classes, received .* with 0 sub-folders", id="empty"),
        pytest.param(["a.png", "b.png"], "0 sub-folders and 2 images beside", id="images but no sub-folders"),
        pytest.param(["one/a.png"], r"with 1 sub-folder \(one\)", id="one class"),
        pytest.param(["one/a.png", "two/notes.txt"], "1 without any, the first 'two'", id="empty class"),
    ],
)
def test_folder_is_refused(tmp_path, files, message):
    root = tmp_path / "root"
    root.mkdir()
    for name in files:
        if name.endswith(".png"):
            save(root / name, flat(1))
        else:
            (root / name).parent.mkdir()
            (root / name).write_text("")
    with pytest.raises(ArgumentError, match=message):
        load(root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"name_or_path": "no such"}, r"name_or_path must be .* received 'no such'", id="no folder"
        ),
        pytest.param({"name_or_path": 3}, "received 3", id="number"),
        pytest.param({"image_size": 7}, "image_size must be .* received image_size=7", id="small"),
        pytest.param({"image_size": 28.0}, "received image_size=28.0", id="float"),
        pytest.param({"channels": 2}, "channels must be 1, 3 or None, received channels=2", id="channels"),
        pytest.param({"channels": True}, "received channels=True", id="bool"),
        pytest.param({"channels": 3.0}, "received channels=3.0", id="channels as float"),
        pytest.param({"image_size": True}, "received image_size=True", id="size as bool"),
        pytest.param({"image_size": "28"}, "received image_size='28'", id="size as text"),
        pytest.param({"image_size": float("nan")}, "received image_size=nan", id="no size"),
        pytest.param(
            {"name_or_path": "glyphs", "channels": 3}, "1 or None for glyphs", id="glyphs in colour"
        ),
    ],
)
def test_load_rejects(pets, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        load(**{"name_or_path": pets, **arguments})


def test_file_instead_of_folder(pets):
    with pytest.raises(ArgumentError, match=r"name_or_path must be .*readme\.md"):
        load(pets / "readme.md")
