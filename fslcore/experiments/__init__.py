# SPDX-License-Identifier: MIT
"""A run from its recipe to its results: recipes, training with exact resume, run folders, pictures."""
