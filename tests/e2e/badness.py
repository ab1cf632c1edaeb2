"""Where badness goes, and files to put it into."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from PIL import Image

SHARE = 0.01


def spread_out(kinds, rows, seed=1):
    """Give each kind one per cent of the rows, no row two kinds."""
    order = np.random.default_rng(seed).permutation(rows)
    each = int(rows * SHARE)
    assert len(kinds) * each < rows
    return {
        int(row): kind for place, kind in enumerate(kinds) for row in order[place * each :][:each]
    }


def parquet(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def arrow(table):
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def csv_of(table):
    buffer = io.BytesIO()
    pacsv.write_csv(table, buffer)
    return buffer.getvalue()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def picture(size, mode="RGB", seed=0, kind="PNG", **options):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 2**16, size).astype(np.uint16))
    elif mode != "RGB":
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
