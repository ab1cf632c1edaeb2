"""The pruning network: a model, and selection layers that say which of its units it needs.

Given rows, it gives what the model gives with its units let through as far as their gates are
open, and with its weights and activations rounded where it has quantization layers. Training it
trains weights, gates and steps together; its loss adds what the gates are off the budget by. What
it selects are the model's parameters: `parameters` are those that the gates leave, and `finish`
gives the model that has those alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from secateur.cost.measure import measure
from secateur.errors import ModelError, PlanError
from secateur.graph.graph import Graph, Group
from secateur.graph.weights import copied, to_numpy
from secateur.planning.plan import Plan
from secateur.steps.aware import Rounding
from secateur.steps.cutting import cut
from secateur.steps.expected import ExpectedCost
from secateur.steps.gates import Gates
from secateur.steps.result import Note, Result, Selection
from secateur.steps.rounding import put_on_grids, stored_bytes

# Keras annotates operations too narrowly for a type checker.
ops: Any = keras.ops
# From what each unit is wanted by, by the name of its group, to which go, with what was measured.
Decide = Callable[[Mapping[str, np.ndarray]], tuple[Plan, tuple[Note, ...]]]
STEP = "select"
# By this share of the time until gates settle the whole budget is asked for.
_TIGHTENING = 0.7
# How fast the multiplier moves beside the gates: as fast as they, it would carry them too far.
_CLIMB = 0.3


class PruningNetwork(keras.Model):
    """A model with a gate for each of its units that may go.

    A unit is let through where it is read: the rows of every kernel that reads it are multiplied by
    its gate, so that it is scaled once. A unit that no kernel reads (the size of queries and keys)
    is multiplied where it is made, a block where it is switched off. Where a gate is shut, all that
    the unit has is zero. With gates of 1 the network is the model, with gates of 0 and 1 the masked
    model (`secateur.mask`).

    It is a Keras model like others: `compile`, `fit`, callbacks and checkpoints work. `Select`
    makes one for a model and a budget.

    Args:
        graph: what `trace` gave of the model; a copy of it is trained.
        gates: a selection layer for each group by its name.
        prices: what an element of a weight (or of a product between tensors) costs, by key; costs
            are summed over elements as far as they are expected to stay.
        share: the share of the whole cost that may be left; without one the gates are free.
        steps: how many steps the training has, by which gates settle.
        stiffness: how strongly the loss is held to the budget beside what it learns to (the
            quadratic term of the augmented Lagrangian).
        speed: how much faster gates learn than weights.
        decide: makes the plan of what the gates have learned; for `settle` and `finish`.
        rounding: what to round, with steps that are learned; the model has to be folded.
    """

    def __init__(
        self,
        graph: Graph,
        gates: Mapping[str, Gates],
        *,
        prices: Mapping[str, float],
        share: float | None = None,
        steps: int = 1,
        stiffness: float = 30.0,
        speed: float = 1.0,
        decide: Decide | None = None,
        rounding: Rounding | None = None,
    ):
        super().__init__(name="pruning_network")
        model = copied(graph.model)
        self._graph, self._decide, self._rounding = graph, decide, rounding
        self._made: tuple[Plan, tuple[Note, ...]] | None = None
        self.selection = [gates[name] for name in sorted(gates)]
        # The last layer, as what it ends in (a sigmoid, say) is what the network ends in.
        self.model = model if rounding is None else rounding.around(model)
        self.names = tuple(sorted(gates))
        self.share = share
        self._stiffness, self._speed = stiffness, speed
        groups = [group for group in graph.groups if group.name in gates]
        groups_by = {group.name: group for group in groups}
        starts = _starts(groups)
        self._places = _places(graph, groups, starts)
        self._cost = ExpectedCost(graph, prices)
        keyed = graph.variables_of(model)
        if rounding is not None:
            inside = {id(one): other for one, other in rounding.paired(model, self.model)}
            keyed = {key: inside[id(each)] for key, each in keyed.items()}
        # Keras trains what is assigned here, be it replaced or not.
        self._keyed = keyed
        # Moving statistics are not learned but noted, of what is let through.
        self._gated = {
            key: entries
            for key, entries in _gated(graph, groups, starts).items()
            if not self._keyed[key].name.startswith("moving_")
        }
        self.done: Any = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="done"
        )
        self._step = 1.0 / max(1, steps)
        # Which units stay, once that is settled: in the line of all gates.
        count = 1 + sum(len(group) for group in groups)
        self.settled: Any = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="settled"
        )
        self.chosen: Any = self.add_weight(
            shape=(count,), initializer="ones", trainable=False, name="chosen"
        )
        self._ends = np.cumsum([1, *(len(groups_by[name]) for name in self.names)])
        # The multiplier of the budget climbs where the weights descend.
        self.multiplier: Any = self.add_weight(shape=(), initializer="zeros", name="multiplier")
        self._left = keras.metrics.Mean(name="left")
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: all weights are there, so that those of a file can be loaded at once."""

    def get_config(self) -> dict[str, Any]:
        """Refuse: the trace that a network is made of has no place in a file.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            "a pruning network cannot be saved whole.",
            where=self.name,
            mend="Save its weights (ModelCheckpoint(..., save_weights_only=True)), and load them "
            "into a network that is made the same way; or save finish().model.",
        )

    @property
    def output_shape(self) -> Any:
        """Return the shape of what the model gives."""
        return self.model.output_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return what the model gives with its units as far open as their gates."""
        if training:
            self.done.assign(ops.minimum(self.done + self._step, 1.0))
        changed = self._weights(training)
        replaced = {id(self._keyed[key]) for key in changed}
        values = [(self._keyed[key], value) for key, value in changed.items()]
        others = [each for each in self.model.variables if id(each) not in replaced]
        if keras.backend.backend() == "jax":
            # Its training holds all values in a scope of its own, which one within does not see.
            values += [(each, each.value) for each in others]
        with keras.StatelessScope(state_mapping=values) as scope:
            begun = [scope.get_current_value(each) for each in others]
            given = self.model(inputs, training=training)
        # What the layers have noted of this batch (moving statistics, random states) is kept.
        for variable, before in zip(others, begun, strict=True):
            noted = scope.get_current_value(variable)
            if noted is not before:
                variable.assign(noted)
        return given

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of the model, in training with what the budget asks for."""
        loss: Any = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        left = self.left()
        self._left.update_state(left)
        if self.share is None or not training:
            return loss
        # In units of the budget, so that a small one is held to as closely as a large one.
        over = left / self._allowed(self.share) - 1.0
        multiplier = self.multiplier * self._speed * _CLIMB
        climbing = 2 * ops.stop_gradient(multiplier) - multiplier
        settled = ops.stop_gradient(over)
        pull = ops.stop_gradient(multiplier) * over + self._stiffness / 2 * ops.square(over)
        return loss + pull + (climbing - ops.stop_gradient(climbing)) * settled

    def _allowed(self, share: float) -> Any:
        """Return the share that may be left by now: it falls while the gates are still free."""
        begun = ops.minimum(self.done / _TIGHTENING, 1.0)
        return 1.0 + (share - 1.0) * begun

    def left(self) -> Any:
        """Return the share of the cost that is expected to be left."""
        chances = self._joined([each.opened(self.done) for each in self.selection])
        return self._cost.share(ops.take(chances, self._places))

    def settle(self) -> Plan:
        """Choose: shut the gates of units that go, and open all others; weights train on.

        Returns:
            The plan of what goes.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: the network was made without a way to decide.
        """
        return self._settle()[0]

    def finish(self) -> Result:
        """Return the model that is selected: cut, plain, with the parameters that the gates leave.

        Where gates are not settled yet, they are now. The network can be trained on.

        Returns:
            The model, the plan, the gates and the parameters, and, of a network with quantization
            layers, the grids that were learned.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: the network was made without a way to decide.
        """
        gates = [values <= 0 for values in self.logits().values()]
        shut, count = sum(int(each.sum()) for each in gates), sum(map(len, gates))
        plan, measured = self._settle()
        whole = self.whole()
        smaller = cut(whole, plan)
        before, after = measure(self._graph.model), measure(smaller)
        quantization = None
        if self._rounding is not None:
            keep = plan.keep(self._graph)
            quantization = self._rounding.learned(self.model, self._graph, keep, smaller)
            put_on_grids(smaller, quantization.weights)
            size = stored_bytes(smaller, quantization.weights)
            after = after.model_copy(update={"bytes": size})
        cuts = (Note(STEP, "done", f"{c.change}, {c.reason}", c.group) for c in plan.cuts)
        return Result(
            smaller,
            before=before,
            after=after,
            plans=(plan,),
            notes=(Note(STEP, "done", f"{shut} of {count} gates shut"), *cuts, *measured),
            quantization=quantization,
            selection=Selection(self.gates(), self.pruned_parameters()),
        )

    def whole(self) -> keras.Model:
        """Return a copy of the model that gives what the network gives, but for rounding."""
        found, folded = copied(self._graph.model), self.folded()
        for key, variable in self._graph.variables_of(found).items():
            variable.assign(folded[key])
        return found

    def _settle(self) -> tuple[Plan, tuple[Note, ...]]:
        if self._made is not None:
            # What was trained on since is not decided, or measured, anew.
            return self._made
        if self._decide is None:
            raise PlanError(
                "this pruning network was made without a way to decide.",
                where=self.name,
                mend="Make it by Select(macs=0.5).network(model, data), or give decide=.",
            )
        plan, measured = self._made = self._decide(self.wanted())
        chosen = np.ones(self._ends[-1], "float32")
        chosen[self._places] = plan.keep(self._graph)
        chosen[0] = 1.0
        self.chosen.assign(chosen)
        self.settled.assign(1.0)
        return plan, measured

    def gates(self) -> dict[str, np.ndarray]:
        """Return the value of every gate as it is in inference, by the name of its group."""
        line = to_numpy(self._joined([each(self.done) for each in self.selection]))
        parts = np.split(line, self._ends)[1:-1]
        return dict(zip(self.names, parts, strict=True))

    def logits(self) -> dict[str, np.ndarray]:
        """Return how much each unit is wanted, by the name of its group."""
        values = (to_numpy(each.logits) for each in self.selection)
        return dict(zip(self.names, values, strict=True))

    def wanted(self) -> dict[str, np.ndarray]:
        """Return how much each unit counts against others, by the name of its group.

        The gates have weighed what a unit costs already. Their odds lie so far apart that what
        another unit would save does not outweigh them.
        """
        if to_numpy(self.settled):
            return {name: 1e-6 + values for name, values in self.gates().items()}
        return {name: np.exp(np.clip(x, -40, 40)) for name, x in self.logits().items()}

    def pruned_parameters(self) -> dict[str, np.ndarray]:
        """Return the selected parameters: each weight as the gates leave it, by its key."""
        changed = self._weights(False)
        return {key: to_numpy(changed.get(key, self._keyed[key])) for key in self._keyed}

    def folded(self) -> dict[str, np.ndarray]:
        """Return weights by which the model itself gives what the network gives, by their keys.

        They differ from `pruned_parameters` where a gate is shut: the unit is not read, but what
        makes it is there, so that a unit that stays all the same can learn again.
        """
        changed = self._weights(False, zeros=False)
        return {key: to_numpy(changed.get(key, self._keyed[key])) for key in self._keyed}

    def _weights(self, training: bool, *, zeros: bool = True) -> dict[str, Any]:
        """Return the weights that gates change, with what they then are."""
        values = self._joined([each(self.done, training=training) for each in self.selection])
        shut_or_not = ops.cast(ops.stop_gradient(values) > 0, values.dtype)
        found = {}
        for key, variable in self._keyed.items():
            axes = [each for each in self._gated.get(key, ()) if zeros or each[2]]
            if not axes:
                continue
            value = ops.convert_to_tensor(variable)
            for axis, places, by_degrees in axes:
                view = [1] * len(variable.shape)
                if axis < len(view):
                    # An axis after the weight's own is that of a block: it has one position.
                    view[axis] = -1
                line = ops.take(values if by_degrees else shut_or_not, places)
                factor = ops.reshape(line, view)
                value = value * ops.cast(factor, value.dtype)
            found[key] = value
        return found

    def _joined(self, vectors: Sequence[Any]) -> Any:
        """Return the values of all gates in one line, after a 1 for what has none."""
        line = ops.concatenate([ops.ones((1,)), *vectors])
        return ops.where(self.settled > 0, ops.convert_to_tensor(self.chosen), line)


def _starts(groups: Sequence[Group]) -> dict[str, int]:
    """Return where the gates of each group begin in the line of all, after a leading 1."""
    starts, start = {}, 1
    for group in sorted(groups, key=lambda group: group.name):
        starts[group.name] = start
        start += len(group)
    return starts


def _places(graph: Graph, groups: Sequence[Group], starts: Mapping[str, int]) -> np.ndarray:
    """Return where each unit of the graph finds its value in the line of all gates."""
    places = np.zeros(graph.units, "int32")
    for group in groups:
        of_group = np.where(group.free, starts[group.name] + np.arange(len(group)), 0)
        places[group.units] = of_group
    return places


def _gated(
    graph: Graph, groups: Sequence[Group], starts: Mapping[str, int]
) -> dict[str, list[tuple[int, np.ndarray, bool]]]:
    """Return by what weights are multiplied.

    For each weight, entries of an axis, where each position of it finds its value in the line of
    all gates, and whether that value counts by degrees, or only whether it is zero.
    """
    lines: dict[tuple[str, int, bool], np.ndarray] = {}
    for group in groups:
        gates = np.where(group.free, starts[group.name] + np.arange(len(group)), 0)
        through = _let_through(group)
        for part in group.slices:
            if part.role in ("cost", "inside"):
                continue
            by_degrees = part.role == through
            size = len(part.unit)
            line = lines.setdefault((part.weight, part.axis, by_degrees), np.zeros(size, "int32"))
            mine = part.unit >= 0
            line[mine] = gates[part.unit[mine]]
    found: dict[str, list[tuple[int, np.ndarray, bool]]] = {}
    for (key, axis, by_degrees), line in lines.items():
        found.setdefault(key, []).append((axis, line, by_degrees))
    return found


def _let_through(group: Group) -> str:
    """Return the role of the slices by which the units of a group are let through."""
    reads = group.kind != "block" and any(part.role == "read" for part in group.slices)
    return "read" if reads else "write"
