"""The callback that keeps a training: its best weights, its history, and its state on disk.

The state is that of a step, not of an epoch: which epoch it is, how many of its batches were
trained on, and all that has changed since the training began. What comes next follows from it.
"""

from __future__ import annotations

import json
import math
import time
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from secateur.errors import ModelError, OutputError
from secateur.files import new_file

STATE = "training.npz"


class Keeper(keras.callbacks.Callback):
    """Keep the best weights, stop when nothing gets better, save after every epoch and within.

    Args:
        batches: told at the start of each epoch which one it is.
        seconds: within an epoch, the state is saved after each step that ends so long after the
            last time.
        monitor: the figure that says which epoch is best; lower is better.
        patience: stop after so many epochs without a better one.
        checkpoint: the folder for the state; None keeps none.
        identity: what the training is; a state of another one is refused.
        advice: what to do when the loss is no longer a number.
        settled: the first epoch that may be the best one; those before count as none.
        student: the model whose weights are to be kept, where it is a part of what is trained.
        writes: whether the state is saved, and not only gone on from: of several workers that do
            the same, one saves it.

    Attributes:
        history: for each figure one value an epoch.
        best_epoch: the epoch, from 0, whose weights are kept.
        best_weights: those weights.
        stopped: whether nothing got better for too long.
        steps: how many batches of the epoch have been trained on.
    """

    # Reading the loss waits for the step to end, so not every step is looked at.
    LOOK_EVERY = 20

    def __init__(
        self,
        batches: Any,
        *,
        monitor: str,
        patience: int | None,
        checkpoint: Path | None,
        identity: str,
        advice: str,
        settled: int = 0,
        student: keras.Model | None = None,
        writes: bool = True,
        seconds: float = 60.0,
    ):
        super().__init__()
        self.monitor = monitor
        self.history: dict[str, list[float]] = {}
        self.best_epoch = 0
        self.best_weights: list[np.ndarray] = []
        self.stopped = False
        self.steps = 0
        self._batches = batches
        self._seconds = seconds
        self._saved = time.monotonic()
        self._last = (0, 0)
        self._figures: list[np.ndarray] = []
        self._patience = patience
        self._checkpoint = checkpoint
        self._identity = identity
        self._advice = advice
        self._settled = settled
        self._student = student
        self._writes = writes
        self._best = math.inf
        self._epoch = 0

    @property
    def _trained(self) -> Any:
        """The model that is being trained; Keras sets it before it calls anything here."""
        return self.model

    def restore(self, model: Any) -> int:
        """Bring model, optimizer and history to the saved state; return the epoch to begin with.

        `steps` then says how many batches of it are done already.

        Raises:
            OutputError: the state cannot be read, or is that of another training.
        """
        if self._checkpoint is None or not (self._checkpoint / STATE).exists():
            return 0
        path = self._checkpoint / STATE
        told, arrays = read_state(path)
        if told["identity"] != self._identity:
            raise OutputError(
                "the saved state belongs to another training: model, data or settings differ.",
                where=path,
                mend="Delete it to train from the start, or choose another folder.",
            )
        model.optimizer.build(model.trainable_variables)
        for name, variables in _variables(model).items():
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{name}{index}"])
        kept = model if self._student is None else self._student
        # Within the first epoch there is no best one yet.
        names = [f"best{i}" for i in range(len(kept.weights))]
        self.best_weights = [arrays[name] for name in names if name in arrays]
        self.best_epoch, self._best = told["best_epoch"], told["best"]
        self.history, self.stopped = told["history"], told["stopped"]
        self.steps = told.get("steps", 0)
        self._last = (told["epochs"], self.steps)
        self._figures = [arrays[f"figure{i}"] for i in range(told.get("figures", 0))]
        return told["epochs"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tell the batches which epoch it is: Keras ends epochs that it has not begun."""
        self._epoch = epoch
        self._batches.set_epoch(epoch)
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop a training whose loss is no longer a number; save the state if it is time to."""
        self.steps = self._batches.skip + batch + 1
        if self._figures:
            # Sums over the epoch, which Keras begins anew in this training.
            found = self._trained.metrics_variables
            for variable, before in zip(found, self._figures, strict=True):
                variable.assign(variable + before)
            self._figures = []
        if batch % self.LOOK_EVERY == 0:
            self._check(logs)
        due = time.monotonic() - self._saved >= self._seconds
        due = due and self._writes and self.steps < self._batches.count
        if due and self._checkpoint is not None:
            self._check(logs)
            self._save(self._checkpoint, self._epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the figures, keep the weights if they are the best, save the state."""
        self._check(logs)
        self.steps = 0
        figures = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in figures.items():
            self.history.setdefault(name, []).append(value)
        value = figures[self.monitor]
        # A validation loss may be infinite early on; the first epoch counts whatever it is.
        better = value < self._best or math.isnan(self._best)
        if better or not self.best_weights or epoch <= self._settled:
            self._best, self.best_epoch = value, epoch
            kept = self._trained if self._student is None else self._student
            self.best_weights = kept.get_weights()
        if self._patience is not None and epoch - self.best_epoch >= self._patience:
            self.stopped = self._trained.stop_training = True
        if self._checkpoint is not None and self._writes:
            self._save(self._checkpoint, epoch + 1)

    def kept(self) -> str:
        """Say which state is kept and where, as a sentence; nothing where there is none."""
        epoch, steps = self._last
        if not (epoch or steps):
            return ""
        place = f"is kept in {self._checkpoint}."
        if steps:
            return f" The state of epoch {epoch + 1} after {steps:,} of its batches {place}"
        return f" The state after epoch {epoch} {place}"

    def _check(self, logs: Any) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if math.isfinite(loss):
            return
        raise ModelError(
            f"the loss became {loss} in epoch {self._epoch + 1}.{self.kept()}",
            where="train",
            mend=self._advice,
        )

    def _save(self, folder: Path, epochs: int) -> None:
        told = {
            "identity": self._identity,
            "epochs": epochs,
            "best": self._best,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "stopped": self.stopped,
            "steps": self.steps,
        }
        arrays: dict[str, Any] = {f"best{i}": each for i, each in enumerate(self.best_weights)}
        for name, variables in _variables(self._trained).items():
            for index, variable in enumerate(variables):
                arrays[f"{name}{index}"] = keras.ops.convert_to_numpy(variable)
        if self.steps:
            figures = self._trained.metrics_variables
            told["figures"] = len(figures)
            for index, variable in enumerate(figures):
                arrays[f"figure{index}"] = keras.ops.convert_to_numpy(variable)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with new_file(folder / STATE) as partial, partial.open("wb") as stream:
                np.savez(stream, told=np.array(json.dumps(told)), **arrays)
            self._saved, self._last = time.monotonic(), (epochs, self.steps)
        except OSError as error:
            raise OutputError(
                f"the checkpoint cannot be written: {error.strerror or error}.",
                where=folder,
                mend="Make room; then run again with --resume.",
            ) from error


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what the saved state of a training tells of it, and its arrays by name.

    Raises:
        OutputError: the state cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            told = json.loads(str(stored["told"]))
            return told, {name: stored[name] for name in stored.files if name != "told"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(
            f"the state of the training cannot be read: {error}.",
            where=path,
            mend="Delete it to train from the start.",
        ) from error


def _variables(model: Any) -> dict[str, list[Any]]:
    """Return all that changes in training: weights and random states, and the optimizer's own."""
    return {"model": list(model.variables), "optimizer": list(model.optimizer.variables)}
