"""A table in memory whose reader can be made to die; at the root, so that workers can import it."""

import os
import signal
from pathlib import Path

import numpy as np

from secateur.data.contract import Contract, NumericColumn, Target
from secateur.data.dataset import Dataset
from secateur.errors import DataError

WIDTH = 4


class MortalTable:
    """Rows in memory, which are lost once where a file says so.

    Args:
        rows: how many there are to train and to validate with.
        lethal: the process that finds this file, and takes it away first, dies by a signal in its
            `reads`-th reading of training rows.
        broken: whether that reading is an error instead, each time.
    """

    def __init__(self, rows=(160, 64), *, lethal=None, reads=8, broken=False):
        self.lethal, self.reads, self.broken = lethal, reads, broken
        self.read = 0
        self.x, self.y = {}, {}
        for place, count in enumerate((*rows, 0)):
            random = np.random.default_rng(place)
            self.x[place] = random.normal(size=(count, WIDTH)).astype("float32")
            self.y[place] = (self.x[place].sum(axis=1) > 0.6).astype("int32")

    def count(self, place):
        return len(self.y[place])

    def labels(self, place):
        return self.y[place]

    def take(self, place, rows):
        if place == 0:
            self.read += 1
            if self.read == self.reads:
                self._end()
        return self.x[place][rows]

    def _end(self):
        if self.broken:
            raise DataError("a file is gone.", where="part-3.parquet", mend="Bring it back.")
        try:
            Path(self.lethal or "").unlink()
        except OSError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def dataset(*arguments, **options):
    contract = Contract(
        kind="table",
        columns=tuple(NumericColumn(name=f"n{i}", low=-4, high=4) for i in range(WIDTH)),
        target=Target(name="t", classes=("low", "high")),
    )
    facts = {"notes": (), "source": "table", "digest": "0", "splitting": {}}
    return Dataset.of(MortalTable(*arguments, **options), contract, **facts)
