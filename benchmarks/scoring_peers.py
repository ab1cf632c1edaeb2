"""How else one would score: what `scoring.py` measures beside `secateur score`.

Each function takes a `Job`, imports its packages, loads its model, starts its engine, and returns
the work that is timed: read, predict, and write the class and its probability to Parquet. Each is
written as its documentation advises and given batches that suit it. pandas and Polars go file by
file, which is kind to them: reading the whole folder at once is the same speed and takes memory
that grows with the data. Polars, Ray and Spark get the same ONNX file as secateur.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from scoring_data import CLASSES, COLUMNS, SIDE
from scoring_limits import Job, Work

BATCH = 8192
CHUNK = 1024
PHOTOS = 256
NAMES = np.array(CLASSES)


def answers(outputs: np.ndarray) -> dict[str, np.ndarray]:
    return {"prediction": NAMES[outputs.argmax(1)], "probability": outputs.max(1)}


def write(outputs: np.ndarray, path: Path) -> int:
    import pandas as pd

    pd.DataFrame(answers(outputs)).to_parquet(path)
    return len(outputs)


def open_keras(job: Job) -> Any:
    import keras

    job.out.mkdir()
    return keras.saving.load_model(job.artifact / "model.keras")


@lru_cache(maxsize=1)
def open_onnx(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the model as a function; a process opens it once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def decoded(content: bytes | Path) -> np.ndarray:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as photo:
        return np.asarray(photo.convert("RGB"), "float32")


def pandas_predict(job: Job, *, batch: int, first_only: bool = False) -> Work:
    """Read with pandas (photos with Pillow, a folder at a time), and call `model.predict`."""
    import pandas as pd
    import pyarrow.parquet  # noqa: F401 - pandas would import it within the clock

    model = open_keras(job)
    reader: Any = {"parquet": pd.read_parquet, "csv": pd.read_csv}.get(job.kind)

    def inputs() -> Iterator[np.ndarray]:
        if job.kind == "jpeg":
            for folder in sorted(job.data.iterdir()):
                yield np.stack([decoded(file) for file in sorted(folder.iterdir())])
        else:
            yield from (reader(file).to_numpy("float32") for file in job.files)

    def work() -> int:
        rows = 0
        for number, x in enumerate(inputs()):
            outputs = model.predict(x, batch_size=batch, verbose=0)
            rows += write(outputs, job.out / f"{number}.parquet")
            if first_only:
                break
        return rows

    return work


def tf_data(job: Job) -> Work:
    """Stream with tf.data: its own readers for CSV and JPEG, PyArrow in a generator for Parquet."""
    import pyarrow.parquet as pq
    import tensorflow as tf

    model = open_keras(job)
    ahead = tf.data.AUTOTUNE

    def batches() -> Iterator[np.ndarray]:
        for file in job.files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(BATCH):
                    yield np.column_stack([column.to_numpy() for column in batch.columns])

    def photo(path: Any) -> Any:
        return tf.cast(tf.io.decode_jpeg(tf.io.read_file(path), channels=3), tf.float32)

    def dataset() -> Any:
        names = [str(file) for file in job.files]
        if job.kind == "jpeg":
            found = tf.data.Dataset.from_tensor_slices(names).map(photo, ahead).batch(PHOTOS)
            return found.map(lambda x: tf.ensure_shape(x, (None, SIDE, SIDE, 3)))
        if job.kind == "csv":
            found = tf.data.experimental.make_csv_dataset(
                names,
                BATCH,
                column_defaults=[tf.float32] * len(COLUMNS),
                num_epochs=1,
                shuffle=False,
                num_parallel_reads=job.threads,
                sloppy=True,
            )
            return found.map(lambda x: tf.stack(list(x.values()), 1), ahead)
        spec = tf.TensorSpec((None, len(COLUMNS)), tf.float32)
        return tf.data.Dataset.from_generator(batches, output_signature=spec)

    def work() -> int:
        outputs = model.predict(dataset().prefetch(ahead), verbose=0)
        return write(outputs, job.out / "0.parquet")

    return work


def polars_onnx(job: Job) -> Work:
    import polars as pl

    reader: Any = {"parquet": pl.read_parquet, "csv": pl.read_csv}[job.kind]
    predict = open_onnx(str(job.artifact / "model.onnx"), job.threads)
    job.out.mkdir()

    def work() -> int:
        for number, file in enumerate(job.files):
            x = reader(file).cast(pl.Float32).to_numpy(order="c")
            outputs = np.concatenate([predict(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])
            pl.DataFrame(answers(outputs)).write_parquet(job.out / f"{number}.parquet")
        return job.rows

    return work


def pyarrow_onnx(job: Job) -> Work:
    """Write the loop by hand: a file a thread, calls of 1,024 rows, no check, ledger or resume."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    predict = open_onnx(str(job.artifact / "model.onnx"), 1)
    job.out.mkdir()

    def batches(file: Path) -> Iterator[Any]:
        if job.kind == "csv":
            options = pa.csv.ReadOptions(use_threads=False)
            yield from pa.csv.open_csv(file, options)
        else:
            with pq.ParquetFile(file, buffer_size=65_536) as parquet:
                yield from parquet.iter_batches(BATCH, use_threads=False)

    def score(file: Path) -> int:
        rows, writer = 0, None
        for batch in batches(file):
            columns = [column.to_numpy() for column in batch.columns]
            outputs = [
                predict(np.stack([c[i : i + CHUNK] for c in columns], 1).astype("float32", "C"))
                for i in range(0, batch.num_rows, CHUNK)
            ]
            table = pa.table(answers(np.concatenate(outputs)))
            writer = writer or pq.ParquetWriter(job.out / f"{file.stem}.parquet", table.schema)
            writer.write_table(table)
            rows += len(table)
        if writer:
            writer.close()
        return rows

    def work() -> int:
        with ThreadPoolExecutor(job.threads) as pool:
            return sum(pool.map(score, job.files))

    return work


def ray_data(job: Job) -> Work:
    """Let Ray Data read, and score in tasks of one core that keep the model for the next batch."""
    import ray
    import ray.data

    # Ray's remote functions run where the driver's modules are found: see PYTHONPATH in scoring.py.
    ray.init(num_cpus=job.threads, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    model = str(job.artifact / "model.onnx")

    def score(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        x = batch["image"] if "image" in batch else np.column_stack([*batch.values()])
        return answers(open_onnx(model, 1)(x.astype("float32", copy=False)))

    def work() -> int:
        if job.kind == "jpeg":
            read, size = ray.data.read_images(str(job.data), mode="RGB"), PHOTOS
        else:
            reader = {"parquet": ray.data.read_parquet, "csv": ray.data.read_csv}[job.kind]
            read, size = reader(str(job.data)), BATCH
        read.map_batches(score, batch_size=size, batch_format="numpy").write_parquet(str(job.out))
        return job.rows

    return work


def spark_score(batches: Iterable[Any], model: str) -> Iterator[Any]:
    import pyarrow as pa

    predict = open_onnx(model, 1)
    for batch in batches:
        if batch.schema.names == ["content"]:
            x = np.stack([decoded(each.as_py()) for each in batch.column(0)])
        else:
            columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            x = np.column_stack(columns).astype("float32", copy=False)
        yield pa.RecordBatch.from_pydict(answers(predict(x)))


def spark_map(job: Job) -> Work:
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master(f"local[{job.threads}]")
        .config("spark.ui.enabled", False)
        .config("spark.driver.memory", "4g")
        .config(
            "spark.sql.execution.arrow.maxRecordsPerBatch", PHOTOS if job.kind == "jpeg" else BATCH
        )
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")

    def work() -> int:
        reader = spark.read
        if job.kind == "jpeg":
            options = {"recursiveFileLookup": True, "pathGlobFilter": "*.jpg"}
            found = reader.format("binaryFile").options(**options).load(str(job.data))
            found = found.select("content")
        elif job.kind == "csv":
            schema = ", ".join(f"{name} float" for name in COLUMNS)
            found = reader.csv(str(job.data), header=True, schema=schema)
        else:
            found = reader.parquet(str(job.data))
        score = partial(spark_score, model=str(job.artifact / "model.onnx"))
        scored = found.mapInArrow(score, "prediction string, probability float")
        scored.write.parquet(str(job.out))
        return job.rows

    return work


PEERS: dict[str, Callable[[Job], Work]] = {
    "pandas + keras.predict, batch 32": partial(pandas_predict, batch=32, first_only=True),
    "pandas + keras.predict, batch 8192": partial(pandas_predict, batch=BATCH),
    "tf.data + keras.predict": tf_data,
    "Polars + ONNX Runtime": polars_onnx,
    "PyArrow + ONNX Runtime": pyarrow_onnx,
    "Ray Data map_batches": ray_data,
    "Spark mapInArrow": spark_map,
}
PHOTO_PEERS: dict[str, Callable[[Job], Work]] = {
    "Pillow + keras.predict, batch 32": partial(pandas_predict, batch=32, first_only=True),
    "Pillow + keras.predict, batch 256": partial(pandas_predict, batch=PHOTOS),
    "tf.data + keras.predict": tf_data,
    "Ray Data map_batches": ray_data,
    "Spark mapInArrow": spark_map,
}
_PACKAGES = {
    "pandas": "tensorflow",
    "Pillow": "tensorflow",
    "tf.data": "tensorflow",
    "Polars": "polars",
    "PyArrow": "pyarrow",
    "Ray": "ray",
    "Spark": "pyspark",
}
_INSTALL = {"tensorflow": "tensorflow-cpu", "ray": "'ray[data]'", "pyspark": "'pyspark<5'"}


def peers_of(kind: str) -> dict[str, Callable[[Job], Work]]:
    return PHOTO_PEERS if kind == "jpeg" else PEERS


def why_not(peer: str) -> str | None:
    """Say why a peer cannot be measured here; None where it can."""
    package = _PACKAGES[peer.split()[0]]
    if importlib.util.find_spec(package) is None:
        return f"not installed: pip install {_INSTALL.get(package, package)}"
    if package == "pyspark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        return "not installed: Spark needs Java"
    return None
