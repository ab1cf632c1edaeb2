"""`secateur score` and the two limits it is held against: reading alone, and the model alone.

Each function takes a `Job`, makes ready what may be ready, and returns the work that is timed; the
work returns how many rows it did. Reading alone decodes the same files with the reader that
`score` uses, in as many threads, and drops what it read: no check, no matrix, no model, no file.
The model alone is ONNX Runtime in as many threads on ready arrays, with as many rows a call as
`score` gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

Work = Callable[[], int]


@dataclass(frozen=True)
class Job:
    """What to score, with what, and where to.

    Attributes:
        kind: "parquet", "csv" or "jpeg".
        rows: how many rows or photos there are.
    """

    artifact: Path
    data: Path
    out: Path
    kind: str
    rows: int
    threads: int

    @property
    def files(self) -> list[Path]:
        """The files of a table, or the photos, in order."""
        return sorted(file for file in self.data.rglob("*") if file.is_file())


def run_secateur(job: Job) -> Work:
    # PyArrow imports pandas on first use, and the predictor ONNX Runtime; `score` opens it anew.
    import pandas  # noqa: F401

    from secateur.formats.artifact import Artifact
    from secateur.formats.predictor import Predictor
    from secateur.scoring.score import score

    opened = Artifact.open(job.artifact)
    Predictor(opened)

    def work() -> int:
        return score(opened, job.data, job.out, threads=job.threads).scored

    return work


def read_alone(job: Job) -> Work:
    import pandas  # noqa: F401

    from secateur.data.images import load_image
    from secateur.data.sources import find_parts
    from secateur.formats.artifact import Artifact
    from secateur.formats.predictor import Predictor
    from secateur.scoring.pieces import Piece, cut
    from secateur.scoring.scorer import Files, Scorer

    opened = Artifact.open(job.artifact)
    contract = opened.contract
    assert contract is not None
    scorer = Scorer(Predictor(opened), contract)
    pieces = cut(find_parts(job.data, kind="image" if job.kind == "jpeg" else "table"))

    def read(piece: Piece) -> int:
        rows = 0
        for block in scorer.blocks(piece):
            if isinstance(block, Files):
                assert contract.image is not None
                for name in block.names:
                    load_image(piece.part.home / name, contract.image)
                rows += len(block.names)
            else:
                rows += block.table.num_rows
        return rows

    def work() -> int:
        with ThreadPoolExecutor(job.threads) as pool:
            return sum(pool.map(read, pieces))

    return work


def model_alone(job: Job) -> Work:
    import numpy as np

    from secateur.formats.artifact import MODEL, Artifact
    from secateur.formats.sessions import open_session
    from secateur.scoring.scorer import BLOCK_ROWS, usual_chunk

    opened = Artifact.open(job.artifact)
    assert opened.contract is not None
    session = open_session(opened.read(MODEL), threads=1)
    chunk = usual_chunk(opened.contract)
    spec = opened.manifest.inputs[0]
    # As many rows as a block that `score` makes of a table; photos are predicted as they come.
    ready = BLOCK_ROWS if job.kind != "jpeg" else chunk
    shape = (ready, *(axis or 1 for axis in spec.shape[1:]))

    def predict(number: int) -> int:
        x = arrays[number]
        # The rows of this thread; the last call may be a short one.
        rows = job.rows // job.threads + (number < job.rows % job.threads)
        for first in range(0, rows, chunk):
            start = first % ready
            session.run(None, {spec.name: x[start : start + min(chunk, rows - first)]})
        return rows

    random = np.random.default_rng(0)
    arrays = [random.random(shape, dtype="float32") for _ in range(job.threads)]

    def work() -> int:
        with ThreadPoolExecutor(job.threads) as pool:
            return sum(pool.map(predict, range(job.threads)))

    return work


SECATEUR, READ, MODEL = "secateur score", "reading alone", "model alone"
LIMITS = {READ: read_alone, MODEL: model_alone}
