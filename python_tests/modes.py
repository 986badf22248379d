# SPDX-License-Identifier: MIT
"""The former place of the modes: `from routes import ...` says the same."""

from routes import MODES, compiled, eager, graph, name, unknown_batch, with_gradient

__all__ = ["MODES", "compiled", "eager", "graph", "name", "unknown_batch", "with_gradient"]
