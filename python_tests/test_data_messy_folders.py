# SPDX-License-Identifier: MIT
"""Folders as people have them: what is read, what one warning names, and what is refused with a way out."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import load, pictures
from fslcore.data.datasets import workers


@pytest.fixture(autouse=True)
def without_heif(request, monkeypatch):
    """Pillow alone, for the tests but that of HEIF itself."""
    if "heif_is_read" not in request.node.name:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(path))
    return path


def save(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), value, np.uint8)).save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Two classes of two images."""
    for name in ("oak/1.png", "oak/2.png", "yew/1.png", "yew/2.png"):
        save(tmp_path / "trees" / name)
    return tmp_path / "trees"


def said_of(root, **arguments):
    """The store, and the text of the only warning, "" for none."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = load(root, image_size=8, **arguments)
    assert len(said) <= 1
    if said:
        assert said[0].filename == __file__
    return store, str(said[0].message) if said else ""


def run_in(path):
    save(path / "training.png")
    (path / "config.json").write_text(json.dumps({"format": 1, "recipe": {}, "versions": {}}))


LEFT_OUT = {
    "Synology": (lambda r: save(r / "@eaDir" / "a.png"), "operating system (@eaDir)"),
    "Synology in a class": (lambda r: save(r / "oak" / "@eaDir" / "a.png"), "operating system (oak/@eaDir)"),
    "macOS": (lambda r: save(r / "__MACOSX" / "oak" / "a.png"), "operating system (__MACOSX)"),
    "Windows": (lambda r: save(r / "$RECYCLE.BIN" / "a.png"), "operating system ($RECYCLE.BIN)"),
    "thumbnails": (lambda r: (r / "oak" / "Thumbs.db").write_bytes(b"a"), "operating system (oak/Thumbs.db)"),
    "a class without images": (lambda r: (r / "elm").mkdir(), "1 sub-folder without images (elm)"),
    "a class of text": (
        lambda r: [(r / "elm").mkdir(), (r / "elm" / "a.txt").write_text("a")],
        "1 sub-folder without images (elm)",
    ),
    "other formats": (
        lambda r: [(r / "oak" / f"{i}.heic").write_bytes(b"\0\0\0\x18ftypheic") for i in range(3)],
        "3 files that are no image that Pillow reads (.heic 3)",
    ),
    "drawings": (lambda r: (r / "oak" / "a.svg").write_text("<svg/>"), "(.svg 1)"),
    "an archive": (lambda r: (r / "more.zip").write_bytes(b"PK"), "(.zip 1)"),
    "a file without ending": (lambda r: (r / "oak" / "a").write_bytes(b"a"), "(no ending 1)"),
    "loose images": (lambda r: save(r / "a.png"), "1 image beside the sub-folders"),
    "hidden images": (lambda r: save(r / "oak" / ".a.png"), "1 hidden image (oak/.a.png)"),
    "hidden folders of images": (lambda r: save(r / ".cache" / "a.png"), "1 hidden image (.cache)"),
    "links to nothing": (lambda r: (r / "oak" / "a.png").symlink_to("gone"), "cannot be read (oak/a.png)"),
    "links to itself": (lambda r: (r / "oak" / "a").symlink_to(r / "oak"), "cannot be read (oak/a)"),
    "pipes": (lambda r: os.mkfifo(r / "oak" / "a.png"), "cannot be read (oak/a.png)"),
    "a run": (lambda r: run_in(r / "mine"), "1 run folder of fslcore (mine)"),
    "runs": (lambda r: run_in(r / "runs" / "siamese"), "left out: 1 run folder of fslcore (runs/siamese)"),
    "a run in a class": (lambda r: run_in(r / "oak" / "mine"), "1 run folder of fslcore (oak/mine)"),
}


@pytest.mark.parametrize(("add", "expected"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out_is_named_and_changes_nothing(root, add, expected):
    before, silence = said_of(root)
    assert silence == ""
    add(root)
    for _ in range(2):  # built, then from the cache
        after, said = said_of(root)
        assert expected in said
        assert (after.content_hash, after.class_names) == (before.content_hash, before.class_names)


def test_all_reasons_stand_in_one_warning_with_their_counts(root):
    for name in ("Synology", "macOS", "thumbnails", "a class of text", "other formats", "drawings", "pipes"):
        LEFT_OUT[name][0](root)
    (root / "notes.txt").write_text("a")
    _, said = said_of(root)
    assert said.endswith(
        "left out: 3 folders and files of an operating system (@eaDir, __MACOSX, oak/Thumbs.db); "
        "2 text files (elm/a.txt, notes.txt); 1 sub-folder without images (elm); "
        "4 files that are no image that Pillow reads (.heic 3, .svg 1); "
        "1 folder or link that cannot be read (oak/a.png)"
    )


def test_a_folder_that_may_not_be_read_is_named(root, monkeypatch):
    save(root / "elm" / "1.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith(("elm", "locked")):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    _, said = said_of(root)
    assert "cannot be read (elm)" in said
    locked = root.rename(root.parent / "locked")
    with pytest.raises(
        ArgumentError, match=r"a folder that can be read, received .*locked: Permission denied"
    ):
        load(locked)


def test_nested_folders_belong_to_their_class(root):
    save(root / "oak" / "2024" / "may" / "3.png", 200)
    save(root / "elm" / "images" / "1.png", 100)
    store, said = said_of(root, channels=1)
    assert said == ""
    assert store.class_names == ("elm", "oak", "yew")
    assert store.images_per_class.tolist() == [1, 3, 2]
    assert store.images[:4, 0, 0, 0].tolist() == [100, 0, 0, 200]


def test_one_folder_in_every_class_is_no_level(tmp_path):
    save(tmp_path / "oak" / "images" / "1.png")
    save(tmp_path / "yew" / "images" / "1.png")
    assert load(tmp_path, image_size=8).class_names == ("oak", "yew")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["Train/1", "VAL/1"], "Train/ and VAL/, which are parts without folders of classes"),
        (["oak/1"], r"at least two classes, received .* with 1 sub-folder \(oak\)$"),
    ],
    ids=["parts of images", "one class"],
)
def test_other_layouts_are_refused_with_what_to_do(tmp_path, files, message):
    for name in files:
        save(tmp_path / f"{name}.png")
    with pytest.raises(ArgumentError, match=message):
        load(tmp_path)


def test_a_run_folder_is_no_data(tmp_path):
    run_in(tmp_path / "run")
    with pytest.raises(ArgumentError, match="run, a run folder of fslcore, with 0 sub-folders and 1 image"):
        load(tmp_path / "run")


def test_a_class_with_the_name_of_a_part_is_said(root):
    save(root / "test" / "1.png")
    store, said = said_of(root)
    assert store.class_names == ("oak", "test", "yew")
    assert "test/ is taken for classes" in said


def test_the_package_that_reads_heif_is_named(root, monkeypatch):
    LEFT_OUT["other formats"][0](root)
    assert said_of(root)[1].startswith(f"{root}: pip install 'fslcore[heif]' reads .heic files; left out: ")


def test_heif_is_read_where_its_package_is_installed(root):
    pillow_heif = pytest.importorskip(
        "pillow_heif", reason="pillow-heif, of the extra 'heif', is not installed"
    )
    pictures.formats.cache_clear()
    pictures._likely_first.cache_clear()
    try:
        picture = Image.fromarray(np.full((64, 64, 3), (200, 100, 50), np.uint8))
        (root / "elm").mkdir()
        for name in ("1.heic", "2.HIF", "3"):
            pillow_heif.from_pillow(picture).save(root / "elm" / name, format="HEIF")
        store, said = said_of(root)
        assert (said, store.images_per_class.tolist()) == ("", [3, 2, 2])
        assert np.abs(store.images[:3].astype(int) - (200, 100, 50)).max() <= 4
    finally:
        for ending in [ending for ending, of in Image.EXTENSION.items() if of == "HEIF"]:
            del Image.EXTENSION[ending]
        Image.OPEN.pop("HEIF", None)
        pictures.formats.cache_clear()
        pictures._likely_first.cache_clear()


def formats():
    for ending in sorted(pictures.suffixes()):
        if Image.registered_extensions()[ending] in Image.SAVE:
            yield ending


@pytest.mark.parametrize("ending", [".webp", ".tif", ".jfif", ".avif", ".ppm", ".png", ".jpe", ".tga"])
def test_every_format_of_pillow_is_read_by_its_ending(root, ending):
    if ending not in formats():
        pytest.skip(f"this Pillow does not write {ending}")
    save(root / "elm" / f"1{ending}", 100)
    save(root / "elm" / f"2{ending.upper()}", 100)
    store, said = said_of(root)
    assert said == ""
    assert store.images_per_class.tolist() == [2, 2, 2]
    assert abs(int(store.images[0, 0, 0, 0]) - 100) <= 2


@pytest.mark.parametrize("name", ["a", "a.data", "a.jpg_large", "a.txt~"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_an_image_without_its_ending_is_known_by_its_content(root, name, format):
    save(root / "oak" / "0.png")
    save(root / "oak" / name, 100, format=format)
    store, said = said_of(root)
    assert (said, store.images_per_class.tolist()) == ("", [4, 2])


def test_no_format_starts_another_program(root):
    (root / "oak" / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(ArgumentError, match=r"a\.png, which cannot be read"):
        load(root)
    assert not {".eps", ".ps", ".pdf", ".mpg", ".h5"} & pictures.suffixes()


def break_files(root, names):
    for name in names:
        (root / name).write_bytes((root / "yew" / "2.png").read_bytes()[:40])


def test_all_broken_images_are_named_at_once(root):
    for i in range(10):
        save(root / "oak" / f"b{i}.png")
    break_files(root, [f"oak/b{i}.png" for i in range(5)])
    with pytest.raises(
        ArgumentError, match=r"5 broken of 14: .*b0\.png.*b1\.png.*b2\.png.*; and 2 more"
    ) as error:
        load(root)
    assert len(error.value.received) == 5
    assert "on_error='skip'" in str(error.value)


def test_broken_images_are_skipped_on_request(root):
    save(root / "oak" / "0.png", 50)
    whole = load(root, image_size=8)
    save(root / "oak" / "00.png")
    save(root / "elm" / "1.png")
    break_files(root, ["oak/00.png", "elm/1.png"])
    for _ in range(2):  # built, then from the cache
        store, said = said_of(root, on_error="skip")
        assert "2 images that cannot be read (elm/1.png, oak/00.png)" in said
        assert "1 class without an image that can be read, the first 'elm'" in said
        assert (store.content_hash, store.class_names) == (whole.content_hash, whole.class_names)
    with pytest.raises(ArgumentError, match="2 broken of 7"):
        load(root)


def test_skipping_leaves_at_least_two_classes(root):
    break_files(root, ["oak/1.png", "oak/2.png"])
    with pytest.raises(ArgumentError, match=r"fewer than two classes, received .*the first 'oak'"):
        load(root, on_error="skip")
    break_files(root, ["yew/1.png", "yew/2.png"])
    with pytest.raises(ArgumentError, match="4 broken of 4"):
        load(root, on_error="skip")


@pytest.mark.parametrize("value", ["ignore", None, True, "Skip"])
def test_on_error_is_raise_or_skip(root, value):
    for data in (root, "glyphs"):
        with pytest.raises(ArgumentError, match="on_error must be one of raise, skip"):
            load(data, on_error=value)


def test_a_data_folder_is_for_omniglot(root):
    for data in (root, "glyphs", "symbols"):
        with pytest.raises(ArgumentError, match="data_dir must be None for"):
            load(data, data_dir="anywhere")


def test_names_that_are_no_unicode_are_escaped(root):
    latin = os.fsencode(root / "caf") + b"\xe9"
    os.rename(root / "oak", latin)
    store, _ = said_of(root)
    assert store.class_names == ("caf\\xe9", "yew")
    with open(latin + b"/\xe9.png", "wb") as file:
        file.write(b"no image")
    with pytest.raises(ArgumentError, match=r"caf\\xe9/\\xe9\.png, which cannot be read") as error:
        load(root)
    str(error.value).encode()


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read(root, monkeypatch):
    with pytest.raises(ArgumentError, match=r"image_size must be so small .*4 images .* 400,000\.0 GB, and"):
        load(root, image_size=10**7, channels=1)
    monkeypatch.setattr("fslcore.data.memory.free_bytes", lambda: 4 * 3 * 64 - 1)
    with pytest.raises(ArgumentError, match="image_size=8: 4 images with 3 channels"):
        load(root, image_size=8, channels=3)
    monkeypatch.setattr("fslcore.data.memory.free_bytes", lambda: 4 * 3 * 64)
    load(root, image_size=8, channels=3)


@pytest.mark.parametrize("name", ["glyphs", "symbols"])
def test_drawn_images_that_do_not_fit_into_memory_are_refused(name, monkeypatch):
    monkeypatch.setattr("fslcore.data.memory.free_bytes", lambda: 10**6)
    with pytest.raises(ArgumentError, match=r"image_size=1000: .* images with 1 channels take"):
        load(name, image_size=1000)


def test_an_interrupted_load_ends_soon_and_is_followed(root, cache_dir, monkeypatch):
    for i in range(200):
        save(root / "oak" / f"b{i}.png")
    read, count = workers.prepared, []

    def slow(*arguments):
        count.append(1)
        time.sleep(0.02)
        return read(*arguments)

    monkeypatch.setattr(workers, "prepared", slow)

    def interrupt(done, total, what):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(root, image_size=8, progress=interrupt)
    assert len(count) < 200
    assert not list(cache_dir.glob("*.images"))
    monkeypatch.setattr(workers, "prepared", read)
    assert len(load(root, image_size=8)) == 204
    assert [path.suffix for path in cache_dir.iterdir()] == [".images"]
