# SPDX-License-Identifier: MIT
"""The help of the command line, which is made from the fields of the recipes; and how quickly it answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import Fslcore

from fslcore import cli
from fslcore.experiments import RECIPES
from fslcore.experiments.recipes import fields

COMMON = {"data", "image_size", "quick", "out", "tensorboard", "min_images", "eval_episodes", "data_dir"}
COMMON |= {"skip_broken", "resize", "split", "storage", "small_classes", "threads", "help"}


@pytest.fixture
def in_process(tmp_path, capsys, monkeypatch) -> Fslcore:
    return Fslcore(tmp_path, capsys, monkeypatch)


def squeezed(text: str) -> str:
    """Without white space: lines are broken anywhere, after hyphens too."""
    return "".join(text.split())


@pytest.mark.parametrize("learner", RECIPES)
def test_the_help_of_a_learner_lists_its_options_only(in_process, learner):
    code, out, _ = in_process("train", learner, "--help")
    assert code == 0
    listed = {option.replace("-", "_") for option in re.findall(r"^  --([a-z-]+)", out, re.MULTILINE)}
    assert listed == COMMON | set(fields.options(RECIPES[learner]))
    headings = [line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:2] == [fields.TASKS, fields.TRAINING]
    assert headings[-2:] == ["Run", "Options"]
    assert (fields.GENERATOR in headings) == (learner == "metagan")
    assert (fields.INNER_LOOP in headings) == (learner in ("reptile", "maml", "metagan"))
    assert out.startswith(f"Usage: fslcore train {learner} ")
    assert "`" not in out


@pytest.mark.parametrize("learner", RECIPES)
def test_the_help_of_a_learner_says_what_a_field_is_its_range_and_its_default(in_process, learner):
    _, out, _ = in_process("train", learner, "--help")
    for name, (_, about) in fields.options(RECIPES[learner]).items():
        (entry,) = re.findall(rf"^  --{name.replace('_', '-')} .*(?:\n    .*)*", out, re.MULTILINE)
        text = squeezed(entry)
        assert squeezed(about.help.split("`")[0]) in text, name
        if about.choices:
            assert "|".join(about.choices) in text, name
        else:
            assert squeezed(about.requirement) in text, name
        assert "default:" in text, name


def test_defaults_that_depend_on_the_data_are_listed(in_process):
    text = squeezed(in_process("train", "siamese", "--help")[1])
    assert squeezed("[above 0; default: 10 on glyphs, 50 on omniglot, 20 on other data]") in text
    assert squeezed("[above 0; default: 32]") in text
    assert squeezed("[at least 0; default: 0]") in text
    assert squeezed("--rotations on omniglot") in text


def test_the_help_of_train_lists_the_learners_and_teaches(in_process):
    code, out, _ = in_process("train", "--help")
    assert code == 0
    for learner, kind in RECIPES.items():
        assert re.search(rf"^  {learner}  +\w", out, re.MULTILINE)
        assert kind.summary
    assert "--resume" in out
    assert "\n    fslcore train siamese --quick  " in out


def test_every_command_has_help(in_process):
    _, out, _ = in_process("--help")
    listed = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(cli.COMMANDS)
    for command in listed:
        assert in_process(command, "--help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("train --help", 0), ("train siamese --help", 0), ("train siamese --way 0", 2), ("evaluate .", 2)],
)
def test_help_and_wrong_arguments_do_not_import_tensorflow(tmp_path: Path, arguments, code):
    script = f"import sys; sys.argv = ['fslcore', *{arguments.split()}]; from fslcore.cli import main\n"
    script += "try: main()\nexcept SystemExit as e: print('code', e.code, 'tensorflow' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert f"code {code} False" in result.stdout
