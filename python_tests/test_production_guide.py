# SPDX-License-Identifier: MIT
"""The guide to production, followed as it is written, on few drawn photographs, with a small network."""

from __future__ import annotations

import json
import runpy
import shlex

import pytest
from commandline import Fslcore
from photographs import draw_folder, photograph
from test_docs import ROOT, blocks
from tiny_encoders import tiny_pretrained

from fslcore.cli import exits
from fslcore.encoders import by_name
from fslcore.serving import running

PAGE = ROOT / "fslcore" / "docs" / "production.md"
LABELS, IMAGES = 10, 4
QUICK = ("--image-size", "32", "--steps-per-epoch", "1", "--eval-episodes", "4")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
def test_the_guide_works_as_it_is_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    monkeypatch.setattr(by_name, "pretrained_encoder", tiny_pretrained)
    served = []
    monkeypatch.setattr(running, "serve", lambda folder, **options: served.append(folder))
    draw_folder(tmp_path / "photos", labels=LABELS, images=IMAGES)
    for folder, label in (("new", 0), ("teapots", LABELS)):
        (tmp_path / folder).mkdir()
        for number in range(2):
            photograph(label, 100 + number).save(tmp_path / folder / f"{number}.jpg")
    fslcore = Fslcore(tmp_path, capsys, monkeypatch)
    said = {}
    lines = "".join(blocks(PAGE, "bash")).splitlines()
    assert len(lines) == 10
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "train":
            words += ["--phases", "frozen:1:2e-3", *QUICK]
        code, out, err = fslcore(*words)
        assert code in ((0, exits.UNKNOWN) if words[0] == "classify" else (0,)), err
        said[" ".join(words)] = out
    found = json.loads(said["classify shelf new --json"])
    assert [entry["image"] for entry in found] == ["new/0.jpg", "new/1.jpg"]
    assert "10 labels with 40 pictures" in said["support create shelf --encoder runs/photos --from photos"]
    assert "11 labels with 42 pictures" in said["support add shelf teapot teapots"]
    assert "10 labels with 40 pictures" in said["support remove shelf teapot"]
    assert "saved_model with 10 labels in served/1" in said["export shelf --out served/1"]
    assert [path.name for path in served] == ["shelf"]
    (tmp_path / "example.py").write_text("\n\n".join(blocks(PAGE, "python")))
    runpy.run_path(str(tmp_path / "example.py"))
    label, probability = capsys.readouterr().out.split()[-2:]
    assert label.startswith("article") or label == "unknown"
    assert 0 <= float(probability) <= 1
