# SPDX-License-Identifier: MIT
"""Every learner heeds or refuses every feature of Keras, as the table says: none is ignored."""

from __future__ import annotations

import re

import pytest
from keras_contract import COLUMNS, HEEDED, PROGRAMS, REFUSED

CASES = [(column, feature) for column in COLUMNS for feature in PROGRAMS]
SENTENCE = re.compile(r"[^\n]+")


def test_every_learner_has_every_cell():
    for column in COLUMNS:
        assert column.cells.keys() == PROGRAMS.keys(), column.name
        assert set(column.cells.values()) <= {HEEDED, REFUSED}


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
