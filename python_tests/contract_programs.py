# SPDX-License-Identifier: MIT
"""The rows of the table of Keras' features: a program for each, which fails unless a learner heeds it.

A program uses the feature and compares its effect with a reference. Where a learner refuses the feature, the
same program must raise an error of one sentence that names the argument or feature: the pattern beside it.

contract_data        data in all forms; fit, evaluate, predict
contract_compile     the arguments of compile, and callbacks
contract_layers      losses of layers, and frozen layers
contract_optimizers  what optimizers do beside a step
contract_saving      files
contract_precision   dtype policies
contract_replicas    strategies
"""

from __future__ import annotations

import contract_compile
import contract_data
import contract_layers
import contract_optimizers
import contract_precision
import contract_replicas
import contract_saving

PROGRAMS = {
    **contract_data.PROGRAMS,
    **contract_compile.PROGRAMS,
    **contract_layers.PROGRAMS,
    **contract_optimizers.PROGRAMS,
    **contract_saving.PROGRAMS,
    **contract_precision.PROGRAMS,
    **contract_replicas.PROGRAMS,
}
