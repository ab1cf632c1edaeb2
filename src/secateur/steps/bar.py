"""A progress bar for a training: one line that moves in a terminal, one line an epoch elsewhere."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar(keras.callbacks.Callback):
    """Show how far a training is, and its latest figures.

    Args:
        title: what is being trained.
        console: where to show it; the standard error stream by default.
    """

    def __init__(self, title: str = "train", console: Console | None = None):
        super().__init__()
        self._title = title
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task: Any = None
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the bar."""
        if not self._console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        total = self._epochs * self._steps
        self._task = self._progress.add_task(self._title, total=total, figures="")
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Show which epoch it is."""
        self._epoch = epoch
        if self._progress is not None:
            self._progress.update(
                self._task,
                description=f"{self._title}, epoch {epoch + 1} of {self._epochs}",
                completed=epoch * self._steps,
            )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the figures of the epoch."""
        figures = "  ".join(
            f"{name.replace('val_', 'validation ')} {value:.3f}"
            for name, value in (logs or {}).items()
            if name in ("val_loss", "val_accuracy", "val_mae")
        )
        if self._progress is not None:
            self._progress.update(self._task, figures=figures)
        else:
            text = f"{self._title}: epoch {epoch + 1} of {self._epochs}  {figures}"
            self._console.print(text, highlight=False)

    def on_train_end(self, logs: Any = None) -> None:
        """Take the bar away."""
        self.stop()

    def stop(self) -> None:
        """Take the bar away, also where the training broke off."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @property
    def _epochs(self) -> int:
        return int((self.params or {}).get("epochs") or 1)

    @property
    def _steps(self) -> int:
        return int((self.params or {}).get("steps") or 1)
