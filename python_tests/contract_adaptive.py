# SPDX-License-Identifier: MIT
"""The columns of the table of Keras' features for the learners that adapt."""

from __future__ import annotations

from contract_column import Column

COLUMNS: tuple[Column, ...] = ()
