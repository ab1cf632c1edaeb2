"""Samples of a batch are mixed with one another, and their labels in the same shares."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.errors import DataError


def mixup(x: np.ndarray, alpha: float, draw: np.random.Generator) -> tuple[np.ndarray, Any, Any]:
    """Return weighted means of samples and others (Zhang et al. 2018, "mixup").

    Args:
        x: a batch.
        alpha: the weights are drawn from Beta(alpha, alpha): the smaller, the nearer to 0 and 1.
        draw: decides.

    Returns:
        The mixed batch, the place of each sample's partner, and the share of the sample itself.
    """
    partner = draw.permutation(len(x))
    share = draw.beta(alpha, alpha, len(x)).astype(np.float32)
    wide = share.reshape(-1, *[1] * (x.ndim - 1))
    mixed = x * wide + x[partner].astype(np.float32) * (1 - wide)
    if x.dtype == np.uint8:
        mixed = np.rint(mixed)
    return mixed.astype(x.dtype), partner, share


def cutmix(x: np.ndarray, alpha: float, draw: np.random.Generator) -> tuple[np.ndarray, Any, Any]:
    """Return images with a box that is from another image (Yun et al. 2019, "CutMix").

    Args:
        x: a batch of images, (n, height, width, channels).
        alpha: the share of the box is drawn from Beta(alpha, alpha).
        draw: decides.

    Returns:
        The mixed batch, the place of each image's partner, and the share of the image itself.

    Raises:
        DataError: they are no images.
    """
    if x.ndim != 4:
        raise DataError(f"`cutmix` is for images, not for arrays of shape {x.shape[1:]}.")
    count, height, width = x.shape[:3]
    partner = draw.permutation(count)
    side = np.sqrt(1 - draw.beta(alpha, alpha, count))
    # A box may reach over the edge, and its share is that of what lies within.
    middle, tall = draw.integers(0, height, count), np.rint(side * height).astype(int)
    centre, wide = draw.integers(0, width, count), np.rint(side * width).astype(int)
    top, bottom = np.clip([middle - tall // 2, middle - tall // 2 + tall], 0, height)
    left, right = np.clip([centre - wide // 2, centre - wide // 2 + wide], 0, width)
    out = x.copy()
    for i in range(count):
        box = slice(top[i], bottom[i]), slice(left[i], right[i])
        out[i][box] = x[partner[i]][box]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return out, partner, share.astype(np.float32)


def blended(values: Any, partner: Any, share: Any) -> Any:
    """Return labels or weights of mixed samples: their weighted means, float32; None stays."""
    if values is None:
        return None
    values = np.asarray(values, np.float32)
    wide = share.reshape(-1, *[1] * (values.ndim - 1))
    return values * wide + values[partner] * (1 - wide)
