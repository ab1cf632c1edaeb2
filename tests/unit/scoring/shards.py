"""Tar shards of images, for tests."""

import io
import tarfile

import numpy as np
from PIL import Image


def png(seed, size=(4, 4)):
    """Return a PNG of noise, and its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


def write_tar(path, members, mode="w"):
    """Write members, each (name, content) or a ready `TarInfo`."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
