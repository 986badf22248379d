# SPDX-License-Identifier: MIT
"""A program that writes embeddings, for `test_embedding_store.py`: python embedding_writer.py FILE.

It prints the row at which it began to write, if it did, and then the sum of the embeddings.
"""

import sys
from pathlib import Path

import numpy as np

from fslcore.data import embedding_file


def rows(first: int, last: int) -> np.ndarray:
    """Embeddings of three numbers."""
    return np.arange(3 * first, 3 * last, dtype=np.float32).reshape(-1, 3)


def blocks(first: int):
    print("began", first, flush=True)
    for at in range(first, 40, 8):
        yield rows(at, at + 8)


if __name__ == "__main__":
    print("sum", float(np.sum(embedding_file.write(Path(sys.argv[1]), 40, blocks))))
