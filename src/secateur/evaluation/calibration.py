"""Whether a model is right as often as it says: plain NumPy on two arrays."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

BINS = 15


class Bin(BaseModel):
    """The rows whose confidence lies in one interval: how many, how sure, and how often right."""

    model_config = ConfigDict(frozen=True)

    rows: int
    confidence: float
    accuracy: float


class Calibration(BaseModel):
    """The expected calibration error, a share from 0 to 1, and the bins that have rows."""

    model_config = ConfigDict(frozen=True)

    error: float
    bins: tuple[Bin, ...]


def calibration(y: np.ndarray, outputs: np.ndarray, *, bins: int = BINS) -> Calibration:
    """Return how far confidence is from accuracy.

    The expected calibration error: rows are put into bins of equal width by the probability of the
    class that was predicted, and the gaps between mean confidence and accuracy are averaged over
    the rows. From few rows it comes out too large: a gap of chance counts as one.

    Args:
        y: class codes (n,).
        outputs: probabilities (n, classes), as `Predictor.predict` gives them.
        bins: how many bins there are from 0 to 1.

    Paper: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning" (AAAI 2015); with 15 bins as in Guo et al., "On Calibration of Modern Neural Networks"
    (ICML 2017).
    """
    sure = outputs.max(axis=1).astype("float64")
    right = outputs.argmax(axis=1) == y
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    confidence = np.bincount(place, weights=sure, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    filled = [
        Bin(rows=int(n), confidence=float(c / n), accuracy=float(h / n))
        for n, c, h in zip(rows, confidence, hits, strict=True)
        if n
    ]
    return Calibration(error=float(np.abs(confidence - hits).sum() / len(y)), bins=tuple(filled))
