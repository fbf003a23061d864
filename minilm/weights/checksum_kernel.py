"""The loop of a CRC-32C, compiled."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit


@jit
def crc(content, table):
    """The checksum of bytes (N,), with the table (256,) of `minilm.weights.tensorflow_file`."""
    value = np.uint32(0xFFFFFFFF)
    for byte in content:
        value = table[(value ^ np.uint32(byte)) & np.uint32(255)] ^ (value >> np.uint32(8))
    return value ^ np.uint32(0xFFFFFFFF)
