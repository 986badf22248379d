# SPDX-License-Identifier: MIT
"""Options of all commands: errors in the words that were typed, contradictions, guesses; and the output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from commandline import Fslcore, command

from fslcore import __version__, cli
from fslcore.arguments import ArgumentError
from fslcore.cli import flags, output
from fslcore.experiments import RECIPES, choices
from fslcore.experiments.recipes import fields
from fslcore.experiments.renaming import renamed

ROOT = typer.main.get_command(cli.app)
COMMANDS: dict[str, Any] = {
    **{name: ROOT.commands[name] for name in ROOT.commands},
    **{
        f"{group} {name}": one
        for group in ROOT.commands
        for name, one in getattr(ROOT.commands[group], "commands", {}).items()
    },
}
OPTIONS = [
    (name, option)
    for name, one in COMMANDS.items()
    for option in one.params
    if option.param_type_name == "option" and option.name not in ("help", "version")
]
IDS = [f"{name} {option.name}" for name, option in OPTIONS]


@pytest.fixture
def in_process(tmp_path, capsys, monkeypatch) -> Fslcore:
    return Fslcore(tmp_path, capsys, monkeypatch)


# ---- errors in flags


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_an_error_about_an_argument_names_the_option_as_it_is_typed(name, option):
    error = ArgumentError(option.name, f"must go with `{option.name}`", 3)
    message = str(flags._in_flags(error, COMMANDS[name].params))
    typed = "--" + option.name.rstrip("_").replace("_", "-")
    assert message == f"{typed} must go with {typed}, received {typed} 3"
    assert typed in option.opts


@pytest.mark.parametrize("learner", RECIPES)
def test_what_samplers_call_a_field_is_an_option_of_the_learner(learner):
    """Their own names, such as `k_shot` and `samples`, are never shown."""
    options = fields.options(RECIPES[learner])
    samplers = RECIPES[learner].samplers
    assert set(samplers.values()) & set(options)
    for theirs, ours in samplers.items():
        if ours not in options:
            continue
        with (
            pytest.raises(ArgumentError, match=rf"^{ours} must go with `{ours}`, received {ours}=7$"),
            renamed(**samplers),
        ):
            raise ArgumentError(theirs, f"must go with `{theirs}`", 7)
    sum_of_two = next(iter(samplers))
    with pytest.raises(ArgumentError, match=rf"^2 \* {samplers[sum_of_two]} must"), renamed(**samplers):
        raise ArgumentError(f"2 * {sum_of_two}", "must be small", 7)


@pytest.mark.parametrize("learner", RECIPES)
def test_numbers_that_are_not_finite_are_refused(learner):
    for name, (field, _) in fields.options(RECIPES[learner]).items():
        if str(field.type).startswith("float"):
            for value in (float("inf"), float("-inf"), float("nan")):
                with pytest.raises(ArgumentError, match=f"^{name} must be .*received {name}={value}"):
                    choices.planned_recipe(learner, "folder", **{name: value})


@pytest.mark.parametrize("learner", RECIPES)
def test_seeds_that_keras_does_not_take_are_refused(learner):
    with pytest.raises(ArgumentError, match=r"seed must be below 2\^32"):
        choices.planned_recipe(learner, "folder", seed=2**32)


# ---- contradictions


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=IDS)
def test_an_option_given_twice_with_different_values_is_refused(name, option):
    spelt = option.opts[0]
    if option.is_flag and not option.secondary_opts:
        pytest.skip("it cannot contradict itself")
    one, other = ([spelt], [option.secondary_opts[0]]) if option.is_flag else ([spelt, "3"], [f"{spelt}=4"])
    with pytest.raises(flags.WrongArgument) as caught:
        flags.check_repeated(COMMANDS[name], [*one, *other])
    assert str(caught.value) == f"{spelt} must be given once, received {' '.join(one)} and {other[0]}"
    flags.check_repeated(COMMANDS[name], [*one, *one])
    flags.check_repeated(COMMANDS[name], [*one, "--", *other])


def test_a_contradiction_is_one_line(in_process):
    message = in_process.complaint("train", "siamese", "--way", 5, "--data", "x", "--way=6")
    assert "--way must be given once, received --way 5 and --way=6" in message
    message = in_process.complaint("train", "siamese", "--rotations", "--no-rotations")
    assert "received --rotations and --no-rotations" in message
    message = in_process.complaint("train", "--resume", "a", "--resume", "b")
    assert "--resume must be given once" in message


# ---- help, version, suggestions


def test_without_a_command_the_help_is_shown_as_it_is(in_process):
    code, out, err = in_process()
    assert (code, err) == (2, "")
    assert out.strip() == in_process("--help")[1].strip()
    assert out.count("\n") > 10


def test_figures_of_a_benchmark_that_could_not_be_written_are_not_measured(in_process, tmp_path):
    for out in (tmp_path, tmp_path / "nowhere" / "figures.json"):
        message = in_process.complaint("bench", "gram", "--out", out)
        assert "--out must be a file in a folder that is there" in message


def test_the_version(in_process):
    assert in_process("--version") == (0, f"fslcore {__version__}\n", "")


@pytest.mark.parametrize("learner", RECIPES)
def test_a_learner_that_is_misspelt_is_guessed(in_process, learner):
    message = in_process.complaint("train", learner[:-2] + learner[-1])
    assert f"(did you mean {learner}?)" in message


def test_a_command_and_an_option_that_are_misspelt_are_guessed(in_process):
    assert "Did you mean 'train'?" in in_process.complaint("trian")
    assert "No such option: --epocs (did you mean --epochs?)" in in_process.complaint(
        "train", "siamese", "--epocs", 3
    )


# ---- the terminal


def test_signs_that_an_encoding_lacks_are_replaced():
    output.degrade()
    for encoding, expected in (("ascii", "a +- b -> x ? ..."), ("latin-1", "a \xb1 b -> \xd7 \xe9 ...")):
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding, errors="fslcore.plain") as stream:
            stream.write("a \xb1 b \u2192 \xd7 \xe9 \u2026")
            stream.flush()
            assert raw.getvalue().decode(encoding) == expected
    assert "\udce9".encode("utf-8", "fslcore.plain") == b"?"


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory) -> Path:
    """A run in a folder whose name is no UTF-8."""
    import json

    from fslcore.experiments import runs

    folder = os.fsdecode(os.fsencode(tmp_path_factory.mktemp("odd")) + b"/caf\xe9 [x]")
    recipe = RECIPES["siamese"].default("folder").to_json()
    part = {"classes": 3, "images": 6, "hash": "0"}
    split = dict.fromkeys(("train", "val", "test"), part)
    run = runs.create(folder, {"recipe": recipe, "data": folder, "image_size": 28, "split": split})
    entry = {"n_way": 5, "k_shot": 1, "episodes": 9, "seed": 0, "accuracy": 0.5, "ci95": 0.1, "chance": 0.2}
    entry |= {"baselines": {}, "transductive": False}
    (run / runs.METRICS).write_text(json.dumps({"format": 1, "results": [entry]}))
    return run


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_standard_output_will_do(odd_folder, encoding):
    done = subprocess.run(
        command("show", odd_folder),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
    )
    shown = done.stdout.decode(encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("50.00 % +- 10.00" if encoding == "ascii" else "50.00 % ± 10.00") in shown
    assert "[x]" in shown  # no markup


def test_a_reader_that_has_gone_is_no_fault(odd_folder):
    # The shell closes the pipe as soon as `true` ends.
    script = f"{' '.join(map(repr, command('show', odd_folder)[:2]))} 'from fslcore.cli import main; main()'"
    done = subprocess.run(
        ["bash", "-c", f'{script} show "$1" | true; exit ${{PIPESTATUS[0]}}', "bash", odd_folder],
        capture_output=True,
        timeout=120,
    )
    assert done.stderr == b""
    assert done.returncode in (0, 1)  # 0 if it was faster


# ---- another backend of Keras


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_ends_in_one_sentence(tmp_path, backend):
    """In one process for all commands: none of them gets as far as importing Keras."""
    script = """
import sys, contextlib
from fslcore.cli import main
for words in (["train", "siamese"], ["evaluate", RUN], ["train", "--resume", RUN], ["bench", "gram"]):
    sys.argv = ["fslcore", *words]
    try: main()
    except SystemExit as stop: print("code", stop.code)
for module in ("layers", "losses", "encoders", "metrics", "learners", "Siamese"):
    try: getattr(__import__("fslcore"), module)
    except ImportError as error: print(error)
print("keras" in sys.modules)
"""
    from fslcore.experiments import runs

    recipe = RECIPES["siamese"].default("folder").to_json()
    split = {name: {"classes": 3, "images": 6, "hash": "0"} for name in ("train", "val", "test")}
    config = {"recipe": recipe, "data": "glyphs", "image_size": 28, "split": split}
    run = runs.create(tmp_path / "run", config)
    done = subprocess.run(
        [sys.executable, "-c", f"RUN = {str(run)!r}\n{script}"],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    sentence = (
        "KERAS_BACKEND must be tensorflow: fslcore's ops, layers and learners are TensorFlow's, received "
    )
    assert done.stderr == f"fslcore: {sentence}{backend}\n" * 4
    assert done.stdout == "code 1\n" * 4 + f"{sentence}{backend}\n" * 6 + "False\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_doctor_reports_another_backend(monkeypatch):
    from fslcore.cli import doctor

    monkeypatch.setattr("fslcore._tensorflow.wrong_backend", lambda: "jax")
    (finding,) = doctor._backend()
    assert finding.state == "broken"
    assert "received jax" in finding.detail
