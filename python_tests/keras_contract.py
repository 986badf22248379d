# SPDX-License-Identifier: MIT
"""The table of what the learners do with the features of Keras: each is heeded or refused, none is ignored.

contract_embedding, contract_adaptive    the columns: learners, and what is expected of them
contract_programs                        the rows: a program per feature that shows that it is heeded
test_keras_contract                      runs every program on every learner
"""

from __future__ import annotations

import contract_adaptive
import contract_embedding
from contract_programs import PROGRAMS

COLUMNS = (*contract_embedding.COLUMNS, *contract_adaptive.COLUMNS)
HEEDED, REFUSED = "heeded", "refused"


def as_markdown() -> str:
    """The table of fslcore/docs/keras.md."""
    rows = [["", *(column.name for column in COLUMNS)], ["---"] * (1 + len(COLUMNS))]
    rows += [[name, *(column.cells[name] for column in COLUMNS)] for name in PROGRAMS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
