# SPDX-License-Identifier: MIT
"""Support sets for production without this package: SavedModel, ONNX and LiteRT.

`write` is what `SupportSet.export` and `fslcore export` call.
"""

from fslcore.classifier.export.writing import DESCRIPTION, FORMATS, Differs, Export, write

__all__ = ["DESCRIPTION", "FORMATS", "Differs", "Export", "write"]
