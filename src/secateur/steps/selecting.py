"""What makes a training one of the pruning network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.steps.network import PruningNetwork

if TYPE_CHECKING:
    import keras

    from secateur.graph.graph import Graph
    from secateur.steps.gates import Gates


@dataclass
class Selecting:
    """Put a copy of a model into a pruning network for the time of a training.

    Args:
        graph: the traced model.
        kind: the kind of gates.
        start: for each group that has gates, by name, a logit a unit to begin with.
        prices: what an element of each weight and product costs, by key.
        share: the share of the cost that may be left.
        steps: how many steps the whole training has.
        epochs: how many epochs it has.
        speed: how much faster gates learn than weights.
        seed: for the gates' draws.

    Attributes:
        network: the network, once the training has begun.
        settled: the first epoch that may be kept: the last one, in which the gates are settled.
    """

    graph: Graph
    kind: type[Gates]
    start: Mapping[str, np.ndarray]
    prices: Mapping[str, float]
    share: float
    steps: int
    epochs: int
    speed: float = 1.0
    seed: int = 0
    network: PruningNetwork = field(init=False, repr=False)

    @property
    def settled(self) -> int:
        """Return the first epoch whose weights may be kept."""
        return self.epochs - 1

    @property
    def identity(self) -> str:
        """Return what tells this selection from another."""
        start = {name: values.tolist() for name, values in sorted(self.start.items())}
        return repr((self.kind.__name__, start, self.share, self.steps, self.speed, self.seed))

    def pupil(self, student: keras.Model, labels: Any) -> PruningNetwork:
        """Return the network around a copy of the model."""
        gates = {
            name: self.kind(values, speed=self.speed, seed=self.seed + index)
            for index, (name, values) in enumerate(sorted(self.start.items()))
        }
        self.network = PruningNetwork(
            student,
            self.graph,
            gates,
            prices=self.prices,
            share=self.share,
            steps=self.steps,
            speed=self.speed,
        )
        return self.network
