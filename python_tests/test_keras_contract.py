# SPDX-License-Identifier: MIT
"""Every learner heeds or refuses every feature of Keras, as the table says: none is ignored."""

from __future__ import annotations

import pathlib
import re

import pytest
from keras_contract import COLUMNS, HEEDED, PROGRAMS, REFUSED, TABLES, as_markdown

CASES = [(column, feature) for column in COLUMNS for feature in PROGRAMS]
SENTENCE = re.compile(r"[^\n]+")


def test_every_learner_has_every_cell():
    for column in COLUMNS:
        assert column.cells.keys() == PROGRAMS.keys(), column.name
        assert set(column.cells.values()) <= {HEEDED, REFUSED}


@pytest.mark.parametrize("columns", [table for table in TABLES if table], ids=lambda table: table[0].name)
def test_the_documentation_has_the_table(columns):
    """`python python_tests/keras_contract.py` prints the tables."""
    page = pathlib.Path(__file__).parent.parent / "fslcore" / "docs" / "keras.md"
    assert as_markdown(columns) in page.read_text()


@pytest.mark.parametrize(("column", "feature"), CASES, ids=[f"{c.name}: {f}" for c, f in CASES])
def test_a_feature_is_heeded_or_refused(column, feature):
    program, named = PROGRAMS[feature]
    if column.cells[feature] == HEEDED:
        program(column)
        return
    with pytest.raises((ValueError, NotImplementedError)) as caught:
        program(column)
    message = str(caught.value)
    assert re.search(named, message), message
    assert SENTENCE.fullmatch(message), message
