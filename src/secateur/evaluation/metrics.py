"""How good outputs are against the truth: plain NumPy on two arrays, one frozen value out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from secateur.errors import ModelError

if TYPE_CHECKING:
    from secateur.data.contract import Contract


class Metrics(BaseModel):
    """How good a model is on some rows; what its task does not have is None.

    Accuracy, macro-F1, balanced accuracy, recalls and chance (the share of the most common class)
    are shares from 0 to 1. `confusion` has one row for each true class and one column for each
    predicted one. `auc`, for two classes, is the chance that a row of the second class is ranked
    above one of the first. MAE and RMSE are in the target's unit.
    """

    model_config = ConfigDict(frozen=True)

    task: Literal["classification", "regression"]
    rows: int
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    auc: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    per_class: dict[str, float] | None = None
    chance: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None

    @property
    def headline(self) -> tuple[str, float]:
        """The name and value of the one figure that says how good the model is."""
        if self.task == "regression":
            return "r2", float("nan") if self.r2 is None else self.r2
        return "accuracy", float("nan") if self.accuracy is None else self.accuracy

    @property
    def near_chance(self) -> bool:
        """Whether the model knows hardly more than which class, or value, is the most common.

        A model that gives up some accuracy to find a rare class is not near chance: its balanced
        accuracy and its ranking say that it has learned.
        """
        if self.task == "regression":
            return (self.r2 or 0.0) < 0.02
        classes = len(self.per_class or ()) or 2
        learned = (self.balanced_accuracy or 0.0) > 1 / classes * 1.1
        ranked = self.auc is not None and self.auc > 0.6
        return (self.accuracy or 0.0) <= (self.chance or 0.0) * 1.1 and not (learned or ranked)

    @property
    def _uneven(self) -> bool:
        return (self.chance or 0.0) * (len(self.per_class or ()) or 2) > 1.3

    def summary(self) -> str:
        """Return one line of figures for a person."""
        if self.task == "regression":
            return f"R2 {self.r2:.3f}, MAE {self.mae:.4g}, RMSE {self.rmse:.4g} on {self.rows} rows"
        parts = [f"accuracy {self.accuracy:.1%}", f"macro-F1 {self.macro_f1:.3f}"]
        if self.balanced_accuracy is not None and self._uneven:
            parts.append(f"balanced accuracy {self.balanced_accuracy:.1%}")
        if self.auc is not None:
            parts.append(f"AUC {self.auc:.3f}")
        return f"{', '.join(parts)} (chance {self.chance:.1%}) on {self.rows} rows"


def metrics(y: np.ndarray, outputs: np.ndarray, contract: Contract) -> Metrics:
    """Compare outputs with the truth.

    Args:
        y: class codes (n,) or values (n,).
        outputs: (n, k) probabilities or logits; for two classes also (n, 1) or (n,) probabilities
            of the second; for a value (n, 1) or (n,).
        contract: says whether the target is a class or a value, and which classes there are.

    Raises:
        ModelError: the two arrays do not belong together, or an output is not a number.
    """
    y, outputs = np.asarray(y), np.asarray(outputs)
    if len(y) != len(outputs) or not len(y):
        raise ModelError(f"there are {len(outputs)} outputs for {len(y)} rows.", where="evaluate")
    if not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())
        raise ModelError(
            f"the model gives outputs that are not numbers for {bad} of {len(y)} rows.",
            where="evaluate",
            mend="Train again with a lower learning_rate.",
        )
    if contract.task == "regression":
        return _values(y.astype("float64"), outputs.reshape(-1).astype("float64"))
    return _classes(y.astype("int64"), outputs, contract.classes)


def predicted(outputs: np.ndarray) -> np.ndarray:
    """Return the class codes (n,) that outputs stand for."""
    outputs = np.asarray(outputs)
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        return (outputs.reshape(-1) > 0.5).astype("int64")
    return outputs.argmax(axis=-1)


def _classes(y: np.ndarray, outputs: np.ndarray, names: tuple[str, ...]) -> Metrics:
    count, guess = len(names), predicted(outputs)
    confusion = np.bincount(y * count + guess, minlength=count * count).reshape(count, count)
    right = np.diag(confusion).astype("float64")
    truth, said = confusion.sum(axis=1), confusion.sum(axis=0)
    present = truth > 0
    recall = np.divide(right, truth, out=np.zeros(count), where=present)
    f1 = np.divide(2 * right, truth + said, out=np.zeros(count), where=truth + said > 0)
    seen = present | (said > 0)
    return Metrics(
        task="classification",
        rows=len(y),
        accuracy=float(right.sum() / len(y)),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[seen].mean()),
        auc=_auc(y, outputs.reshape(len(y), -1)[:, -1]) if count == 2 else None,
        confusion=tuple(tuple(int(each) for each in row) for row in confusion),
        per_class={name: float(recall[i]) for i, name in enumerate(names) if present[i]},
        chance=float(truth.max() / len(y)),
    )


def _auc(y: np.ndarray, score: np.ndarray) -> float | None:
    """Return the area under the ROC curve by ranks; ties count half."""
    positive = int((y == 1).sum())
    negative = len(y) - positive
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((ends - counts + 1 + ends) / 2)[inverse]
    wins = ranks[y == 1].sum() - positive * (positive + 1) / 2
    return float(wins / (positive * negative))


def _values(y: np.ndarray, guess: np.ndarray) -> Metrics:
    error = guess - y
    spread = ((y - y.mean()) ** 2).sum()
    return Metrics(
        task="regression",
        rows=len(y),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        r2=float(1 - (error**2).sum() / spread) if spread > 0 else 0.0,
    )
