# SPDX-License-Identifier: MIT
"""The warning about a classifier that had to be fitted."""


class Refitted(UserWarning):
    """A prediction had to wait for a classifier to be fitted, because the support set had changed."""
