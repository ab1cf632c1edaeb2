"""What makes a training one of the pruning network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.graph.weights import to_numpy
from secateur.steps.network import PruningNetwork

if TYPE_CHECKING:
    from secateur.graph.graph import Graph
    from secateur.planning.plan import Plan
    from secateur.steps.gates import Gates


# The share of the epochs after which the choice is made; the others train what was chosen.
_CHOOSING = 0.6


@dataclass
class Selecting:
    """Put a copy of a model into a pruning network for the time of a training.

    Args:
        graph: the traced model.
        kind: the kind of gates.
        start: for each group that has gates, by name, a logit a unit to begin with.
        prices: what an element of each weight and product costs, by key.
        share: the share of the cost that may be left.
        steps: how many steps an epoch has.
        epochs: how many epochs it has.
        speed: how much faster gates learn than weights.
        seed: for the gates' draws.

    Attributes:
        network: the network, once the training has begun.
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
    def choosing(self) -> int:
        """Return how many epochs gates are learned for."""
        return max(1, round(_CHOOSING * self.epochs))

    @property
    def settled(self) -> int:
        """Return the first epoch whose weights may be kept: one after the choice, or the last."""
        return min(self.choosing, self.epochs - 1)

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
            steps=self.steps * self.choosing,
            speed=self.speed,
        )
        return self.network


class Settle(keras.callbacks.Callback):
    """Make the choice when the gates have been learned for long enough.

    Args:
        selecting: the selection that is under way.
        decide: makes the plan by what the gates have learned.

    Attributes:
        plan: the plan, once it is made here.
    """

    def __init__(self, selecting: Selecting, decide: Callable[[], Plan]):
        super().__init__()
        self.plan: Plan | None = None
        self._selecting, self._decide = selecting, decide

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Settle the gates at the beginning of the first epoch after."""
        network = self._selecting.network
        if epoch >= self._selecting.choosing and not to_numpy(network.settled):
            self.plan = self._decide()
            network.settle(self.plan.keep(self._selecting.graph))
