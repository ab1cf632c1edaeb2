"""One per cent of every kind of bad photo is found, and every odd one that is good is scored."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
from PIL import Image

from e2e.badness import flipped, parquet, picture, spread_out
from secateur.data.contract import Contract, ImageSpec, Target
from secateur.data.images import load_image
from secateur.scoring.check import check_data
from secateur.scoring.score import score
from unit.scoring.artifacts import CLASSES, expected, quarantined, scores, write_artifact

TARGET = Target(name="y", classes=CLASSES)
SIZE = 12


def png_bomb(side):
    """Return a PNG of a few bytes whose header promises side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def animated(kind):
    frames = [Image.new("RGB", (20, 10), (40 * i, 10, 90)) for i in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=10)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture((20, 30), kind="JPEG", exif=exif)


# Kinds of bad photos: (ending, content, what the reason says).
PHOTOS = {
    "empty": (".jpg", b"", "the file is empty"),
    "text": (".jpg", b"no photo", "cannot be decoded"),
    "half a JPEG": (".jpg", picture((64, 64), kind="JPEG")[:1500], "cannot be decoded"),
    "half a PNG": (".png", picture((64, 64))[:3000], "cannot be decoded"),
    "flipped PNG": (".png", flipped(picture((64, 64)), 4000), "cannot be decoded"),
    "half a GIF": (".gif", picture((64, 64), "P", kind="GIF")[:900], "cannot be decoded"),
    "half a WebP": (".webp", picture((64, 64), kind="WEBP", lossless=True)[:2000], "cannot be"),
    "half a BMP": (".bmp", picture((64, 64), kind="BMP")[:500], "cannot be decoded"),
    "a table": (".png", parquet(pa.table({"a": [1]})), "cannot be decoded"),
    "no sides": (".png", png_bomb(0), "cannot be decoded"),
    "a bomb": (".png", png_bomb(3_000), "1,000,000 are allowed"),
    "a great bomb": (".png", png_bomb(60_000), "cannot be decoded"),
    "too many bytes": (".bmp", b"BM" + b"\0" * 400_000, "more than the 300,000 allowed"),
}
# Kinds that look odd, and are good.
ODD_PHOTOS = {
    "CMYK": (".jpg", picture((20, 20), "CMYK", kind="JPEG")),
    "gray": (".jpg", picture((20, 20), "L", kind="JPEG")),
    "16 bits": (".png", picture((20, 20), "I;16")),
    "one bit": (".png", picture((20, 20), "1")),
    "palette": (".png", picture((20, 20), "P", transparency=3)),
    "transparent": (".png", picture((20, 20), "RGBA")),
    "gray, transparent": (".png", picture((20, 20), "LA")),
    "turned by EXIF": (".jpeg", turned()),
    "animated GIF": (".gif", animated("GIF")),
    "animated WebP": (".webp", animated("WEBP")),
    "a PNG called JPEG": (".jpg", picture((20, 20))),
    "one pixel": (".png", picture((1, 1))),
    "a line": (".png", picture((1, 300))),
}


def test_photos(tmp_path):
    spec = ImageSpec(height=SIZE, width=SIZE, max_pixels=1_000_000, max_bytes=300_000)
    contract = Contract(kind="image", image=spec, target=TARGET)
    artifact = write_artifact(tmp_path / "artifact", contract)
    data = tmp_path / "photos"
    data.mkdir()
    rows = 400
    places = spread_out([*PHOTOS, *ODD_PHOTOS], rows)
    bad, odd = {}, {}
    for row in range(rows):
        kind = places.get(row)
        if kind in PHOTOS:
            ending, content, bad[f"{row:04d}{ending}"] = PHOTOS[kind]
        elif kind in ODD_PHOTOS:
            ending, content = ODD_PHOTOS[kind]
            odd[f"{row:04d}{ending}"] = kind
        else:
            ending, content = ".jpg", picture((15, 18), seed=row, kind="JPEG")
        (data / f"{row:04d}{ending}").write_bytes(content)
    found = check_data(data, contract)
    assert (found.rows, found.quarantined) == (rows, len(bad))
    tally = score(artifact, data, tmp_path / "out", threads=2)
    assert (tally.rows, tally.scored, tally.quarantined) == (rows, rows - len(bad), len(bad))
    reasons = {row["source"]: row["reason"] for row in quarantined(tmp_path / "out")}
    assert sorted(reasons) == sorted(bad)
    for name, reason in bad.items():
        assert reason in reasons[name], (name, reasons[name])
    table = scores(tmp_path / "out")
    names = table["source"].to_pylist()
    assert sorted([*names, *bad]) == sorted(path.name for path in data.iterdir())
    assert set(odd) <= set(names)
    pixels = np.stack([load_image(data / name, spec) for name in names])
    classes, probabilities = expected(pixels)
    assert table["prediction"].to_pylist() == list(classes)
    np.testing.assert_allclose(table["probability"], probabilities, rtol=1e-4)
