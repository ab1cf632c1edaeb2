"""Pixels as text, so that a page can carry its pictures with it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def data_uri(pixels: np.ndarray, *, longest: int = 160) -> str:
    """Turn a picture into a `data:image/...` URI of a few kilobytes.

    Args:
        pixels: uint8, (height, width), or with 1, 3 or 4 channels last.
        longest: the longer side is at most this; tiny pictures grow by whole pixels, unblurred.
    """
    from PIL import Image

    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    picture = Image.fromarray(flat)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    side = max(picture.size)
    held = io.BytesIO()
    if side * 2 <= longest:
        grow = longest // side
        size = (picture.width * grow, picture.height * grow)
        picture.resize(size, Image.Resampling.NEAREST).save(held, "PNG", optimize=True)
        kind = "png"
    else:
        if side > longest:
            picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        picture.save(held, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
