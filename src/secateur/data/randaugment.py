"""RandAugment (Cubuk et al. 2020): a few operations on each image, drawn from a fixed list.

Each image gets operations of its own. `keras.layers.RandAugment` draws them once for a whole batch,
does all of the list for each that it draws, and cannot be asked for the draw of a certain batch.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from secateur.data.stores import THREADS
from secateur.errors import DataError

# How far each goes at a strength of 1 is what the paper's reference code has at its maximum.
_ENHANCE, _SHEAR, _SHIFT, _TURN = 0.9, 0.3, 0.45, 30.0
Picture = Image.Image


class RandAugment:
    """Changes each image of a batch by `count` operations.

    Args:
        count: how many operations.
        strength: how far they go, from 0 to 1.
    """

    def __init__(self, count: int, strength: float):
        self.count, self.strength = count, strength

    def __call__(self, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Return a changed copy of images, uint8 (n, height, width, 1 or 3).

        Raises:
            DataError: they are no such images.
        """
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3):
            raise DataError(
                f"`rand_augment` is for images of bytes, not for {x.dtype} of shape {x.shape[1:]}.",
                mend="Leave it out, or give the images as uint8.",
            )
        chosen = draw.integers(0, len(OPERATIONS), (len(x), self.count))
        signs = draw.choice([-1.0, 1.0], (len(x), self.count))
        out = np.empty_like(x)

        def change(i: int) -> None:
            picture = Image.fromarray(x[i, ..., 0] if x.shape[-1] == 1 else x[i])
            for place, sign in zip(chosen[i], signs[i], strict=True):
                picture = OPERATIONS[place](picture, sign * self.strength)
            out[i] = np.asarray(picture).reshape(x.shape[1:])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(change, range(len(x))))
        return out


def _enhanced(kind: Callable[[Picture], ImageEnhance._Enhance]) -> Callable[..., Picture]:
    return lambda picture, amount: kind(picture).enhance(1 + _ENHANCE * amount)


def _moved(a: float = 1, b: float = 0, d: float = 0, e: float = 1) -> Callable[..., Picture]:
    """Return an operation that shears by `b` and `d`, about the middle of the image."""

    def operation(picture: Picture, amount: float) -> Picture:
        width, height = picture.size
        across, down = b * amount, d * amount
        place = (a, across, -across * height / 2, down, e, -down * width / 2)
        return picture.transform(
            picture.size, Image.Transform.AFFINE, place, Image.Resampling.BILINEAR
        )

    return operation


def _shifted(x: float, y: float) -> Callable[..., Picture]:
    def operation(picture: Picture, amount: float) -> Picture:
        width, height = picture.size
        place = (1, 0, x * amount * width, 0, 1, y * amount * height)
        return picture.transform(
            picture.size, Image.Transform.AFFINE, place, Image.Resampling.BILINEAR
        )

    return operation


def _turned(picture: Picture, amount: float) -> Picture:
    return picture.rotate(_TURN * amount, Image.Resampling.BILINEAR)


def _posterized(picture: Picture, amount: float) -> Picture:
    return ImageOps.posterize(picture, 8 - int(abs(amount) * 4))


def _solarized(picture: Picture, amount: float) -> Picture:
    return ImageOps.solarize(picture, 256 - int(abs(amount) * 256))


OPERATIONS: tuple[Callable[[Picture, float], Picture], ...] = (
    lambda picture, amount: picture,
    lambda picture, amount: ImageOps.autocontrast(picture),
    lambda picture, amount: ImageOps.equalize(picture),
    _posterized,
    _solarized,
    _turned,
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _moved(b=_SHEAR),
    _moved(d=_SHEAR),
    _shifted(_SHIFT, 0),
    _shifted(0, _SHIFT),
)
