"""What `scoring.py` scores: generated tables and photos, and a small model for each.

Data is made file by file, so memory does not grow with it. All sizes share one pool of files: a
folder of 10 million rows holds hard links to the first files of the pool, so 50 million rows (200
files of Parquet, all different, 64 random float32 columns) take their 13 GB once. CSV holds the
same numbers as text. Photos are 96 x 96 JPEGs of quality 85: a smooth picture with some noise,
1,000 a folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

COLUMNS = [f"f{i:02d}" for i in range(64)]
CLASSES = ("a", "b", "c", "d")
SIDE = 96
KINDS = ("parquet", "csv", "jpeg")
# Rows of a file, or photos of a folder.
FILE_ROWS = {"parquet": 250_000, "csv": 50_000, "jpeg": 1_000}


def make_data(folder: Path, rows: int, kind: str = "parquet", pool: Path | None = None) -> None:
    """Fill a new folder with `rows` rows of a kind, from a pool of files that grows as needed."""
    pool = pool or folder.parent / f"pool-{kind}"
    pool.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    each = FILE_ROWS[kind]
    wanted = [(number, min(each, rows - number * each)) for number in range(-(-rows // each))]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        for made in workers.map(partial(_make, MAKERS[kind], pool), wanted):
            target = folder / made.name.partition("-")[2]
            if made.is_file():
                os.link(made, target)
                continue
            target.mkdir()
            for file in made.iterdir():
                os.link(file, target / file.name)


def size_of(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _make(maker: Callable[[Path, int, int], None], pool: Path, wanted: tuple[int, int]) -> Path:
    number, rows = wanted
    ending = {make_parquet: ".parquet", make_csv: ".csv", make_photos: ""}[maker]
    path = pool / f"{rows}-{number:05d}{ending}"
    if not path.exists():
        maker(path, number, rows)
    return path


def _table(seed: int, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    x = np.random.default_rng(seed).standard_normal((64, rows), dtype="float32")
    return pa.table(dict(zip(COLUMNS, x, strict=True)))


def make_parquet(path: Path, seed: int, rows: int) -> None:
    import pyarrow.parquet as pq

    # A dictionary of numbers that are all different makes files half as large again.
    pq.write_table(_table(seed, rows), path, row_group_size=65_536, use_dictionary=False)


def make_csv(path: Path, seed: int, rows: int) -> None:
    import pyarrow.csv

    pyarrow.csv.write_csv(_table(seed, rows), path)


def make_photos(folder: Path, seed: int, count: int) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    noise = random.normal(0, 10, (4 * SIDE, 4 * SIDE, 3)).astype("float32")
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype="uint8"))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), "float32")
        top, left = random.integers(0, 3 * SIDE, 2)
        pixels = smooth + noise[top : top + SIDE, left : left + SIDE]
        photo = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
        photo.save(folder / f"{number:04d}.jpg", quality=85)


MAKERS: dict[str, Callable[[Path, int, int], None]] = {
    "parquet": make_parquet,
    "csv": make_csv,
    "jpeg": make_photos,
}


def make_artifact(folder: Path, kind: str = "parquet") -> None:
    """Export the model of a kind of data: dense layers for tables, convolutions for photos."""
    import keras

    from secateur.data.contract import Contract, ImageSpec, NumericColumn, Target
    from secateur.formats.onnx import export

    target = Target(name="class", classes=CLASSES)
    if kind == "jpeg":
        spec = ImageSpec(height=SIDE, width=SIDE)
        contract = Contract(kind="image", image=spec, target=target)
        model = keras.Sequential(_photo_layers())
    else:
        columns = tuple(NumericColumn(name=name, low=-8, high=8) for name in COLUMNS)
        contract = Contract(kind="table", columns=columns, target=target)
        model = keras.Sequential(_table_layers())
    export(model, folder, contract=contract)


def _table_layers() -> list:
    import keras
    import numpy as np
    from keras import layers

    return [
        keras.Input((64,), name="numeric"),
        layers.Normalization(mean=np.zeros(64), variance=np.ones(64)),
        layers.Dense(64, activation="relu"),
        layers.Dense(32, activation="relu"),
        layers.Dense(len(CLASSES), activation="softmax"),
    ]


def _photo_layers() -> list:
    import keras
    from keras import layers

    convolutions = [
        layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")
        for width in (16, 32, 64)
    ]
    return [
        keras.Input((SIDE, SIDE, 3), name="image"),
        layers.Rescaling(1 / 255),
        *convolutions,
        layers.GlobalAveragePooling2D(),
        layers.Dense(len(CLASSES), activation="softmax"),
    ]
