"""Whatever an image file is like, it becomes an array of the asked shape, or a clear error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from secateur.data.contract import ImageSpec
from secateur.data.images import image_size, load_image
from secateur.errors import DataError

SPEC = ImageSpec(height=24, width=16)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode="RGB", size=(32, 48)):
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0]).astype(np.uint8)
    return Image.fromarray(np.stack([ramp, ramp.T.reshape(ramp.shape), ramp], -1)).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("size", [(32, 48), (16, 24), (7, 90), (1, 1)])
def test_formats_modes_rules_and_sizes(kind, mode, resize, size):
    spec = ImageSpec(height=24, width=16, mode=mode, resize=resize)
    array = load_image(saved(picture(size=size), kind), spec)
    assert array.shape == spec.shape
    assert array.dtype == np.uint8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "CMYK"])
def test_modes_keep_their_brightness(mode):
    gray = Image.fromarray(np.full((48, 32), 200, np.uint8))
    if mode in ("I;16", "I"):
        data = saved(Image.fromarray(np.full((48, 32), 200 * 257, np.uint16)))
    else:
        data = saved(gray.convert("RGB").convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    array = load_image(data, SPEC)
    allowed = {"1": 25, "P": 1}.get(mode, 1)  # two colours are dithered, and keep the mean alone
    assert abs(array.mean() - 200) <= allowed


def test_transparency_is_white():
    clear = Image.new("RGBA", (16, 24), (255, 0, 0, 0))
    assert (load_image(saved(clear), SPEC) == 255).all()
    palette = Image.new("P", (16, 24), 0)
    palette.putpalette([10, 20, 30, 200, 200, 200])
    assert (load_image(saved(palette, transparency=0), SPEC) == 255).all()
    assert (load_image(saved(palette), SPEC) == [10, 20, 30]).all()


def test_exif_orientation_is_applied():
    image = Image.fromarray(np.zeros((16, 24, 3), np.uint8))
    image.paste((255, 255, 255), (0, 0, 24, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right: what was on top is on the right
    data = saved(image, "JPEG", exif=exif, quality=100, subsampling=0)
    array = load_image(data, SPEC)
    assert array[:, -2:].min() > 200
    assert array[:, :8].max() < 60


def test_header_size_is_that_of_the_turned_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    path = tmp_path / "x.jpg"
    path.write_bytes(saved(picture(size=(40, 20)), "JPEG", exif=exif))
    assert image_size(path) == (40, 20, "RGB")


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (16, 24), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (load_image(data, SPEC)[0, 0] == [255, 0, 0]).all()


def test_fit_keeps_the_whole_photo_and_crop_the_middle():
    wide = Image.new("RGB", (80, 20), "white")
    spec = {"height": 20, "width": 20}
    fit = load_image(saved(wide), ImageSpec(**spec, resize="fit"))
    assert fit[10].min() == 255
    assert fit[0].max() == fit[-1].max() == 0
    wide.paste((0, 0, 0), (0, 0, 30, 20))
    wide.paste((0, 0, 0), (50, 0, 80, 20))
    crop = load_image(saved(wide), ImageSpec(**spec, resize="crop"))
    assert crop.min() == 255
    stretch = load_image(saved(wide), ImageSpec(**spec, resize="stretch"))
    assert stretch[10, 0].max() == 0
    assert stretch[10, 10].min() == 255


def test_a_large_jpeg_looks_the_same_as_decoded_in_full():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 8, 3), np.uint8)
    large = Image.fromarray(small).resize((1600, 2400), Image.Resampling.BICUBIC)
    drafted = load_image(saved(large, "JPEG", quality=95), SPEC).astype(int)
    full = load_image(saved(large, "PNG"), SPEC).astype(int)
    assert np.abs(drafted - full).mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_a_data_error(tmp_path, kind, keep):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind)
    path = tmp_path / "x.img"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        load_image(path, SPEC)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "content", [b"not an image", b"\xff\xd8\xff", b"GIF89a", b"BM" + b"\0" * 60]
)
def test_what_is_no_image(tmp_path, content):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be decoded"):
        load_image(path, SPEC)


def test_empty_missing_and_a_folder(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match="empty"):
        load_image(tmp_path / "x.png", SPEC)
    with pytest.raises(DataError, match="cannot be read"):
        load_image(tmp_path / "y.png", SPEC)
    with pytest.raises(DataError, match="cannot be read"):
        load_image(tmp_path, SPEC)
    with pytest.raises(DataError, match="not an image"):
        image_size(tmp_path / "x.png")


def test_limits_hold_before_anything_is_decoded(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(saved(picture()))
    with pytest.raises(DataError, match="32 x 48 pixels; 1,000 are allowed"):
        load_image(path, SPEC.model_copy(update={"max_pixels": 1000}))
    with pytest.raises(DataError, match="more than the 10 allowed"):
        load_image(path, SPEC.model_copy(update={"max_bytes": 10}))


@pytest.mark.parametrize("side", [12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused(side):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="pixels"):
        load_image(bomb, SPEC)
