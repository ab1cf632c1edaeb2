"""One image file in, one uint8 array (height, width, channels) out, whatever its size and mode.

Training and scoring go through the same function, so a photo looks the same to both.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from secateur.data.contract import ImageSpec
from secateur.data.places import Place
from secateur.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"})

_MOST_BYTES = ImageSpec.model_fields["max_bytes"].default
# The modes of files without colour.
GRAY = frozenset({"L", "LA", "1", "I;16", "I", "F"})

# Decoders meet broken files with all of these.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    Image.DecompressionBombError,
)


def load_image(path_or_bytes: str | Path | Place | bytes, spec: ImageSpec) -> np.ndarray:
    """Decode one image to a uint8 array of `spec.shape`.

    The EXIF orientation is applied, transparency is laid on white, 16-bit is brought to 8, and of
    an animation the first frame is taken. Large JPEGs are decoded at a fraction of their size.

    Raises:
        DataError: the file is empty, truncated, not an image, or beyond the limits of `spec`.
    """
    where = None if isinstance(path_or_bytes, bytes) else path_or_bytes
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else read_bytes(path_or_bytes, spec)
    try:
        with _open(data) as image:
            _check_size(image, spec, where)
            _draft(image, spec)
            flat = _flatten(ImageOps.exif_transpose(image), spec.mode)
            array = np.asarray(_resized(flat, spec), dtype=np.uint8)
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"the image cannot be decoded: {_reason(error)}.", where=where) from error
    return array.reshape(spec.shape)


def read_bytes(path: str | Path | Place, spec: ImageSpec) -> bytes:
    """Read a file that is neither empty nor larger than `spec.max_bytes`."""
    if isinstance(path, Place):
        return _demand_bytes(path.read_bytes(spec.max_bytes), path)
    try:
        size = Path(path).stat().st_size
        if size > spec.max_bytes:
            raise DataError(
                f"the file has {size:,} bytes, more than the {spec.max_bytes:,} allowed.",
                where=path,
            )
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror or error}.", where=path
        ) from error
    return _demand_bytes(data, path)


def image_size(path: str | Path | Place | bytes) -> tuple[int, int, str]:
    """Return (height, width, mode) from an image's header, as seen after its EXIF orientation.

    Raises:
        DataError: the file is not an image.
    """
    try:
        held = path.read_bytes(_MOST_BYTES) if isinstance(path, Place) else path
        with (
            io.BytesIO(held) if isinstance(held, bytes) else open(held, "rb") as file,
            _open(file) as image,
        ):
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (width, height, image.mode) if turned else (height, width, image.mode)
    except _BROKEN as error:
        raise DataError(f"not an image: {_reason(error)}.", where=path) from error


def _demand_bytes(data: bytes, path: object) -> bytes:
    if not data:
        raise DataError("the file is empty.", where=path)
    return data


def _open(source: bytes | io.BufferedReader | io.BytesIO) -> Image.Image:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return Image.open(file, formats=FORMATS)


def _check_size(image: Image.Image, spec: ImageSpec, where: object) -> None:
    width, height = image.size
    if width * height > spec.max_pixels:
        raise DataError(
            f"the image has {width:,} x {height:,} pixels; {spec.max_pixels:,} are allowed.",
            where=where,
        )


def _draft(image: Image.Image, spec: ImageSpec) -> None:
    """Let a JPEG decode at 1/2, 1/4 or 1/8, never below twice the size that is asked for."""
    side = 2 * max(spec.width, spec.height)
    image.draft(spec.mode, (side, side))


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Bring any mode to "RGB" or "L", transparency laid on white."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        scaled = values / 257 if values.max(initial=0) > 255 else values
        image = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, spec: ImageSpec) -> Image.Image:
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    if spec.resize == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    if spec.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return ImageOps.pad(image, size, Image.Resampling.BILINEAR, color=0)


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, BMP, GIF or WebP image, or its first bytes are broken"
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
