"""Inputs as they come on a bad day: all functions here take encoded inputs and return new ones.

Each corruption is a function `(x, contract, random) -> x`; what it is given stays as it was. The
kinds for photos are some of those of Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations" (ICLR 2019), each in two strengths.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from secateur.data.contract import (
    DATE_FEATURES,
    BooleanColumn,
    Contract,
    DatetimeColumn,
    NumericColumn,
)
from secateur.data.encode import Encoded

Corruption = Callable[[Encoded, Contract, np.random.Generator], Encoded]


def corruptions(contract: Contract) -> dict[str, Corruption]:
    """Return the corruptions that data of a contract may meet, by name."""
    if contract.kind == "table":
        return {
            "1 value in 10 missing": partial(missing, share=0.1),
            "3 values in 10 missing": partial(missing, share=0.3),
            "Numbers shifted by 0.25 deviations": partial(shifted, deviations=0.25),
            "Numbers shifted by 0.5 deviations": partial(shifted, deviations=0.5),
        }
    if _is_photo(contract):
        return {
            "Noise, 5 % of the range": partial(noise, share=0.05),
            "Noise, 15 % of the range": partial(noise, share=0.15),
            "Blur, 1 % of the side": partial(blur, share=0.01),
            "Blur, 2.5 % of the side": partial(blur, share=0.025),
            "A quarter brighter": partial(brightness, by=0.25),
            "A quarter darker": partial(brightness, by=-0.25),
            "JPEG, quality 30": partial(jpeg, quality=30),
            "JPEG, quality 10": partial(jpeg, quality=10),
        }
    return {
        "Noise of 0.1 deviations": partial(channel_noise, deviations=0.1),
        "Noise of 0.3 deviations": partial(channel_noise, deviations=0.3),
    }


def noise(
    x: Encoded, contract: Contract, random: np.random.Generator, *, share: float
) -> np.ndarray:
    """Add Gaussian noise to uint8 images; its deviation is a share of the range 0 to 255."""
    pixels = _array(x)
    return _pixels(pixels + random.normal(0, 255 * share, pixels.shape).astype("float32"))


def blur(
    x: Encoded, contract: Contract, random: np.random.Generator, *, share: float
) -> np.ndarray:
    """Blur uint8 images by a Gaussian; its deviation is a share of the shorter side."""
    from PIL import Image, ImageFilter

    pixels = _array(x)
    like = ImageFilter.GaussianBlur(share * min(pixels.shape[1:3]))
    return np.stack(
        [_back(Image.fromarray(_flat(one)).filter(like), pixels.shape[1:]) for one in pixels]
    )


def brightness(
    x: Encoded, contract: Contract, random: np.random.Generator, *, by: float
) -> np.ndarray:
    """Make uint8 images brighter or darker by a share of the range 0 to 255."""
    return _pixels(_array(x).astype("float32") + 255 * by)


def jpeg(
    x: Encoded, contract: Contract, random: np.random.Generator, *, quality: int
) -> np.ndarray:
    """Compress uint8 images as JPEG of a quality from 1 to 95, and decode them again."""
    from PIL import Image

    pixels = _array(x)
    made = []
    for one in pixels:
        held = io.BytesIO()
        Image.fromarray(_flat(one)).save(held, "JPEG", quality=quality)
        held.seek(0)
        with Image.open(held) as image:
            made.append(_back(image, pixels.shape[1:]))
    return np.stack(made)


def missing(
    x: Encoded, contract: Contract, random: np.random.Generator, *, share: float
) -> Encoded:
    """Take a share of a table's values away, each cell by chance.

    A number becomes the training mean, a word the code of what is unknown, and where the model is
    told what is missing, it is told. Columns that may not be missing are treated alike, as a feed
    that fills its gaps would.
    """
    parts = {name: array.copy() for name, array in _named(x, contract).items()}
    if (numeric := parts.get(Contract.NUMERIC)) is not None:
        fill = contract.moments()[0]
        places = {name: place for place, name in enumerate(contract.features())}
        for name, features in _columns(contract).items():
            gone = random.random(len(numeric)) < share
            numeric[np.flatnonzero(gone)[:, None], features] = fill[features]
            told = places.get(f"{name} is missing")
            if told is not None:
                numeric[gone, told] = 1.0
    if (codes := parts.get(Contract.CATEGORICAL)) is not None:
        codes[random.random(codes.shape) < share] = 0
    return _as_given(x, parts)


def shifted(
    x: Encoded, contract: Contract, random: np.random.Generator, *, deviations: float
) -> Encoded:
    """Shift every numeric column of a table by so many of its deviations, up or down by chance."""
    parts = {name: array.copy() for name, array in _named(x, contract).items()}
    if (numeric := parts.get(Contract.NUMERIC)) is not None:
        variance = contract.moments()[1]
        places = {name: place for place, name in enumerate(contract.features())}
        spans = _columns(contract)
        for column in contract.columns:
            way = 1 if random.random() < 0.5 else -1
            if isinstance(column, NumericColumn):
                (place,) = spans[column.name]
                told = places.get(f"{column.name} is missing")
                # What was missing stays as it was.
                present = slice(None) if told is None else numeric[:, told] != 1
                step = way * deviations * float(np.sqrt(variance[place]))
                numeric[present, place] += np.float32(step)
    return _as_given(x, parts)


def channel_noise(
    x: Encoded, contract: Contract, random: np.random.Generator, *, deviations: float
) -> np.ndarray:
    """Add Gaussian noise to a sequence or array, in deviations of each channel in training."""
    array = _array(x)
    spread = np.sqrt(contract.moments()[1]).astype("float32")
    noisy = array + random.normal(0, deviations, array.shape).astype("float32") * spread
    return _pixels(noisy) if array.dtype == np.uint8 else noisy.astype(array.dtype)


def _is_photo(contract: Contract) -> bool:
    if contract.kind == "image":
        return True
    shape = contract.shape or ()
    pixels = contract.kind == "array" and contract.dtype == "uint8"
    return pixels and len(shape) == 3 and shape[-1] in (1, 3)


def _array(x: Encoded) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else next(iter(x.values()))


def _named(x: Encoded, contract: Contract) -> dict[str, np.ndarray]:
    return x if isinstance(x, dict) else {next(iter(contract.inputs())): x}


def _as_given(x: Encoded, parts: Mapping[str, np.ndarray]) -> Encoded:
    return dict(parts) if isinstance(x, dict) else next(iter(parts.values()))


def _columns(contract: Contract) -> dict[str, list[int]]:
    """Return the places of each column's features in the numeric input."""
    found: dict[str, list[int]] = {}
    start = 0
    for column in contract.columns:
        if isinstance(column, (NumericColumn, BooleanColumn)):
            found[column.name] = [start]
        elif isinstance(column, DatetimeColumn):
            found[column.name] = list(range(start, start + len(DATE_FEATURES)))
        start += len(found.get(column.name, ()))
    return found


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype("uint8")


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels


def _back(image: object, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(image, dtype=np.uint8).reshape(shape)
