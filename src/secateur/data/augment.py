"""Small changes to training samples that leave their class as it is: `augmentation` makes x -> x.

What is changed, and by how much, is decided by the seed and a key: an epoch can be had again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from PIL import Image

from secateur.data import mixing
from secateur.data.randaugment import RandAugment
from secateur.data.stores import THREADS
from secateur.errors import DataError

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
# For which kinds of data each is.
_KINDS: dict[str, tuple[str, ...]] = {
    "flip": ("image", "array"),
    "rotate": ("image", "array"),
    "shift": ("image", "array", "sequence"),
    "zoom": ("image", "array", "sequence"),
    "contrast": ("image", "array"),
    "vertical_flip": ("image", "array"),
    "rand_augment": ("image", "array"),
    "mixup": ("image", "array", "sequence"),
    "cutmix": ("image", "array"),
    "warp": ("sequence",),
    "swap": ("table",),
}
# How far images are turned, moved and scaled, and how much their contrast changes.
_USUAL = (0.05, 0.08, 0.1, 0.1)
# How many speeds of time are drawn for a sequence.
_KNOTS = 4


class Augmentation:
    """A function x -> x on batches.

    A `key` (such as epoch and batch) gives each batch changes of its own; without one, batches are
    numbered as they come.

    Attributes:
        mixes: whether `mixed` is to be called as well, which changes labels.
    """

    keyed = True

    def __init__(
        self,
        changes: Sequence[Change],
        seed: int,
        *,
        swap: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
    ):
        self._changes = tuple(changes)
        self._seed = seed
        self._swap = swap
        self._mixers = [
            (mixer, alpha)
            for mixer, alpha in ((mixing.mixup, mixup), (mixing.cutmix, cutmix))
            if alpha
        ]
        self.mixes = bool(self._mixers)
        self._calls = 0

    def __call__(self, x: Any, *, key: Sequence[int] | None = None) -> Any:
        """Return a changed copy of a batch; of a dict, with its "numeric" array changed."""
        if key is None:
            key = (self._calls,)
            self._calls += 1
        draw = np.random.default_rng((self._seed, *key))
        if not isinstance(x, dict):
            x = np.asarray(x)
            return self._changed(self._swapped(x, draw), draw)
        if self._swap:
            x = {name: self._swapped(a, draw) for name, a in x.items()}
        return {name: self._changed(a, draw) if name == "numeric" else a for name, a in x.items()}

    def mixed(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, *, key: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return a batch whose samples are mixed with one another, and their labels and weights.

        Args:
            x: samples.
            y: labels: one number a class, or values.
            weights: the weight of each sample, if they have one.
            key: decides what is mixed with what.
        """
        draw = np.random.default_rng((self._seed, *key, 1))
        mixer, alpha = self._mixers[draw.integers(len(self._mixers))]
        x, partner, share = mixer(np.asarray(x), alpha, draw)
        return (
            x,
            mixing.blended(y, partner, share),
            mixing.blended(weights, partner, share),
        )

    def _swapped(self, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Give some cells the value that another row of the batch has in their column."""
        if not self._swap:
            return x
        others = draw.integers(0, len(x), x.shape)
        return np.where(draw.random(x.shape) < self._swap, np.take_along_axis(x, others, 0), x)

    def _changed(self, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        for change in self._changes:
            x = change(x, draw)
        return x


def augmentation(
    kind: Literal["image", "table", "sequence", "array"],
    *,
    flip: bool = False,
    rotate: float | None = None,
    shift: float | None = None,
    zoom: float | None = None,
    contrast: float | None = None,
    noise: float = 0.0,
    vertical_flip: bool = False,
    rand_augment: int = 0,
    strength: float = 0.5,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    warp: float = 0.0,
    swap: float = 0.0,
    seed: int = 0,
) -> Augmentation:
    """Make a function that changes batches at random, for training alone.

    Args:
        kind: the kind of data. Images and arrays of images are turned, moved and scaled, with their
            edge pixels carried outward; sequences are moved in time and scaled; the numbers of a
            table are only given noise.
        flip: whether left and right may be exchanged (images).
        rotate: how far an image is turned at most, as a share of a full turn; 0.05 by default.
        shift: how far it is moved at most, as a share of its side or of its steps; 0.08 by default.
        zoom: how much larger or smaller it becomes at most; 0.1 by default.
        contrast: how much its contrast changes at most; 0.1 by default.
        noise: the spread of noise, as a share of the spread of a channel or column.
        vertical_flip: whether top and bottom may be exchanged (images).
        rand_augment: how many operations of RandAugment each image gets; 0 for none.
        strength: how far these go, from 0 to 1.
        mixup: how evenly samples are mixed with one another, and their labels (images, arrays and
            sequences): the `alpha` of the paper; 0 for not at all.
        cutmix: how evenly images get a box of another image: the `alpha` of the paper; 0 for not at
            all. With `mixup` as well each batch has one of the two.
        warp: how much faster or slower time runs at most within a sequence.
        swap: the share of a table's cells that get the value of another row.
        seed: decides the changes.

    Raises:
        DataError: an amount is out of range, or is for another kind of data.
    """
    amounts = {"rotate": rotate, "shift": shift, "zoom": zoom, "contrast": contrast, "noise": noise}
    amounts |= {"warp": warp, "swap": swap}
    for name, amount in amounts.items():
        if amount is not None and not 0 <= amount < 1:
            raise DataError(f"`{name}` is from 0 to below 1, not {amount!r}.")
    _check_strong(rand_augment, {"strength": strength, "mixup": mixup, "cutmix": cutmix})
    asked = {
        "flip": flip,
        "rotate": rotate,
        "shift": shift,
        "zoom": zoom,
        "contrast": contrast,
        "vertical_flip": vertical_flip,
        "rand_augment": rand_augment,
        "mixup": mixup,
        "cutmix": cutmix,
        "warp": warp,
        "swap": swap,
    }
    for name, value in asked.items():
        if value and kind not in _KINDS[name]:
            raise DataError(
                f"`{name}` is for {' and '.join(_KINDS[name])}, and this is {kind}.",
                mend="Leave it out.",
            )
    usual = zip((rotate, shift, zoom, contrast), _USUAL, strict=True)
    rotate, shift, zoom, contrast = (each if amount is None else amount for amount, each in usual)
    changes: list[Change] = []
    if kind in ("image", "array") and (flip or rotate or shift or zoom):
        changes.append(_Move(flip, rotate, shift, zoom))
    if kind in ("image", "array") and contrast:
        changes.append(_contrast(contrast))
    if kind == "sequence" and (shift or zoom):
        changes.append(_stretch(shift, zoom))
    if noise:
        changes.append(_noise(noise))
    if warp:
        changes.append(_warp(warp))
    if vertical_flip:
        changes.append(_turn_over)
    if rand_augment:
        changes.append(RandAugment(rand_augment, strength))
    return Augmentation(changes, seed, swap=swap, mixup=mixup, cutmix=cutmix)


def _check_strong(operations: int, amounts: dict[str, float]) -> None:
    if isinstance(operations, bool) or not isinstance(operations, int) or operations < 0:
        raise DataError(f"`rand_augment` is a whole number from 0, not {operations!r}.")
    for name, amount in amounts.items():
        most = 1 if name == "strength" else np.inf
        if not 0 <= amount <= most or not np.isfinite(amount):
            raise DataError(
                f"`{name}` is from 0{' to 1' if name == 'strength' else ''}, not {amount!r}."
            )


class _Move:
    """Turns, moves, scales and flips each image, in one resampling."""

    def __init__(self, flip: bool, rotate: float, shift: float, zoom: float):
        self.flip, self.rotate, self.shift, self.zoom = flip, rotate, shift, zoom

    def __call__(self, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        if x.ndim != 4 or x.shape[-1] not in (1, 3):
            return x
        count, height, width, _ = x.shape
        angle = draw.uniform(-self.rotate, self.rotate, count) * 2 * np.pi
        scale = 1 / draw.uniform(1 - self.zoom, 1 + self.zoom, count)
        mirror = np.where(draw.random(count) < 0.5 * self.flip, -1.0, 1.0)
        across = draw.uniform(-self.shift, self.shift, count) * width
        down = draw.uniform(-self.shift, self.shift, count) * height
        # From a place in the new image to the place in the old one, about the centre.
        a, b = scale * np.cos(angle) * mirror, -scale * np.sin(angle)
        d, e = scale * np.sin(angle) * mirror, scale * np.cos(angle)
        margin = int(np.ceil(max(height, width) * min(self._reach(), 1.0))) + 2
        centre_x, centre_y = width / 2, height / 2
        c = centre_x + margin - a * centre_x - b * centre_y + across
        f = centre_y + margin - d * centre_x - e * centre_y + down
        places = np.stack([a, b, c, d, e, f], axis=1)
        wide = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
        out = np.empty_like(x)

        def move(i: int) -> None:
            out[i] = _resampled(wide[i], (width, height), tuple(places[i].tolist()))

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(move, range(count)))
        return out

    def _reach(self) -> float:
        """Return how far outside the image its corners may come from, as a share of its side."""
        turn = min(2 * np.pi * self.rotate, np.pi / 4)
        return (np.cos(turn) + np.sin(turn)) / (2 * (1 - self.zoom)) - 0.5 + self.shift


def _resampled(image: np.ndarray, size: tuple[int, int], place: tuple[float, ...]) -> np.ndarray:
    transform, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    if image.dtype == np.uint8:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        moved = np.asarray(picture.transform(size, transform, place, bilinear))
        return moved.reshape(size[1], size[0], -1)
    channels = [
        np.asarray(Image.fromarray(channel).transform(size, transform, place, bilinear))
        for channel in np.moveaxis(image, -1, 0).astype(np.float32)
    ]
    return np.stack(channels, axis=-1)


def _contrast(amount: float) -> Change:
    """Draw each image nearer to its mean, or away from it."""

    def change(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        if x.ndim < 3:
            return x
        axes = tuple(range(1, x.ndim - 1))
        factor = draw.uniform(1 - amount, 1 + amount, len(x)).reshape(-1, *[1] * (x.ndim - 1))
        mean = x.mean(axis=axes, keepdims=True, dtype=np.float32)
        return _as(x.dtype, (x - mean) * factor.astype(np.float32) + mean)

    return change


def _stretch(shift: float, zoom: float) -> Change:
    """Move each sequence in time, its ends carried outward, and scale its numbers."""

    def change(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        count, steps = x.shape[:2]
        most = int(shift * steps)
        moved = draw.integers(-most, most + 1, count)
        places = np.clip(np.arange(steps) + moved[:, None], 0, steps - 1)
        factor = draw.uniform(1 - zoom, 1 + zoom, count).reshape(-1, *[1] * (x.ndim - 1))
        return _as(x.dtype, x[np.arange(count)[:, None], places] * factor)

    return change


def _warp(amount: float) -> Change:
    """Let time run faster here and slower there (Um et al. 2017), between the same ends."""

    def change(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        count, steps = x.shape[:2]
        if steps < 2:
            return x
        speeds = draw.uniform(1 - amount, 1 + amount, (count, _KNOTS))
        knots = np.linspace(0, _KNOTS - 1, steps - 1)
        low = np.minimum(knots.astype(int), _KNOTS - 2)
        part = knots - low
        speed = speeds[:, low] * (1 - part) + speeds[:, low + 1] * part
        places = np.concatenate([np.zeros((count, 1)), np.cumsum(speed, axis=1)], axis=1)
        places *= (steps - 1) / places[:, -1:]
        first = np.minimum(places.astype(int), steps - 2)
        share = (places - first).reshape(count, steps, *[1] * (x.ndim - 2)).astype(np.float32)
        rows = np.arange(count)[:, None]
        return _as(x.dtype, x[rows, first] * (1 - share) + x[rows, first + 1] * share)

    return change


def _turn_over(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Exchange top and bottom of half of the images."""
    if x.ndim < 4:
        return x
    chosen = (draw.random(len(x)) < 0.5).reshape(-1, *[1] * (x.ndim - 1))
    return np.where(chosen, x[:, ::-1], x)


def _noise(amount: float) -> Change:
    """Add noise in proportion to the spread of each channel; columns of 0 and 1 stay."""

    def change(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        axes = tuple(range(x.ndim - 1))
        spread = x.std(axis=axes, dtype=np.float32)
        flags = ((x == 0) | (x == 1)).all(axis=axes)
        noise = draw.standard_normal(x.shape, np.float32) * np.where(flags, 0, amount * spread)
        return _as(x.dtype, x + noise)

    return change


def _as(dtype: np.dtype, x: np.ndarray) -> np.ndarray:
    """Return x in a type; rounded and clipped where it is uint8."""
    return np.clip(np.rint(x), 0, 255).astype(dtype) if dtype == np.uint8 else x.astype(dtype)
