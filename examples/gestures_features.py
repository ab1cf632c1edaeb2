"""Find photos that look alike to the pruned model: features into Parquet, and nearest neighbours.

Run `secateur run examples/gestures.yaml` first, then this script. It exports the part of the pruned
model that ends at a layer, scores the photos with it (each row gets a column `embedding`), and for
each photo looks for the most similar others.

    python examples/gestures_features.py --data path/to/sign_digits
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from secateur import export, load, score
from secateur.data.contract import Contract


def main() -> None:
    """Export, score, and show the neighbours of a few photos."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/gestures"), help="the run's folder")
    parser.add_argument("--data", type=Path, default=here / "data/sign_digits", help="the photos")
    parser.add_argument("--layer", default="pool", help="the layer whose output is the features")
    parser.add_argument("--out", type=Path, default=Path("features"), help="the folder to make")
    asked = parser.parse_args()

    contract = Contract.load(asked.run / "artifact" / "contract.json")
    artifact = asked.out / "artifact"
    if not artifact.exists():
        export(load(asked.run / "model.keras"), artifact, contract=contract, features=asked.layer)
    print(score(artifact, asked.data, asked.out / "scored").summary())

    files, vectors = read(asked.out / "scored")
    near = neighbours(vectors, count=5)
    classes = np.array([Path(file).parent.name for file in files])
    alike = (classes[near] == classes[:, None]).mean()
    print(f"{len(files):,} photos, {vectors.shape[1]} features each")
    print(
        f"of the 5 nearest of each, {alike:.1%} show the same sign (the model was trained on most)"
    )
    for row in range(0, len(files), max(1, len(files) // 4)):
        print(f"{files[row]}: {', '.join(files[other] for other in near[row])}")


def read(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return the files, and their features scaled to length 1, (rows, features)."""
    table = pq.read_table(sorted(folder.glob("part-*.parquet")), columns=["source", "embedding"])
    width = table.schema.field("embedding").type.list_size
    vectors = np.concatenate([part.flatten().to_numpy() for part in table["embedding"].chunks])
    vectors = vectors.reshape(-1, width)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return table["source"].to_pylist(), vectors / np.maximum(length, 1e-12)


def neighbours(vectors: np.ndarray, *, count: int, block: int = 1024) -> np.ndarray:
    """Return the rows most similar to each row by the cosine, nearest first, (rows, count)."""
    found = []
    for start in range(0, len(vectors), block):
        like = vectors[start : start + block] @ vectors.T
        like[np.arange(len(like)), np.arange(start, start + len(like))] = -np.inf
        best = np.argpartition(-like, count, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(like, best, axis=1), axis=1)
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
