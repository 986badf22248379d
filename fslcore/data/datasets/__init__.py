# SPDX-License-Identifier: MIT
"""Named datasets and folders of images, one module each, and the registry that finds them."""

from fslcore.data.datasets.dataset import Dataset, Progress, Request
from fslcore.data.datasets.registry import find, get, names, of

__all__ = ["Dataset", "Progress", "Request", "find", "get", "names", "of"]
