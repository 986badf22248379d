# SPDX-License-Identifier: MIT
"""The table of what the learners do with the features of Keras: each is heeded or refused, none is ignored.

contract_embedding, contract_adaptive    the columns: learners, and what is expected of them
contract_programs                        the rows: a program per feature that shows that it is heeded
test_keras_contract                      runs every program on every learner
"""

from __future__ import annotations

from collections.abc import Sequence

import contract_adaptive
import contract_embedding
from contract_column import Column
from contract_programs import PROGRAMS

COLUMNS = (*contract_embedding.COLUMNS, *contract_adaptive.COLUMNS)
HEEDED, REFUSED = "heeded", "refused"


# Two tables in the documentation, which would be too wide as one.
TABLES = (contract_embedding.COLUMNS, contract_adaptive.COLUMNS)


def as_markdown(columns: Sequence[Column]) -> str:
    """A table as fslcore/docs/keras.md has it."""
    rows = [["", *(column.name for column in columns)], ["---"] * (1 + len(columns))]
    rows += [[name, *(column.cells[name] for column in columns)] for name in PROGRAMS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print("\n".join(as_markdown(columns) for columns in TABLES))
