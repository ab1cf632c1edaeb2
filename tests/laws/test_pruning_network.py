"""The corners of the pruning network are the model and the masked model, over a part of the zoo."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from secateur.graph.trace import trace
from secateur.planning.plan import GroupCut, Plan
from secateur.steps.gates import GATES
from secateur.steps.masks import mask
from secateur.steps.network import PruningNetwork
from zoo import assert_same, inputs_of, mixing_groups, model_of, outputs, some

FAR = 1e4


def network_of(graph, kind, keep=None):
    """Return the network of a model, its gates far open, or shut where units are not kept."""
    made = {}
    for group in graph.groups:
        shut = np.zeros(len(group), bool) if keep is None else ~keep[group.units]
        made[group.name] = GATES[kind](np.where(shut, -FAR, FAR))
    parts = (*graph.weights.values(), *graph.products)
    prices = {part.key: part.uses for part in parts}
    return PruningNetwork(graph, made, prices=prices)


def every_other(graph):
    """Return a plan that takes every other unit of each group that nothing is normalised across."""
    cuts = []
    for group in graph.groups:
        gone = np.flatnonzero(group.free)[1::2]
        if len(gone) and group.kind != "block" and group.name not in mixing_groups(graph):
            indices = tuple(gone.tolist())
            cuts.append(GroupCut(group.name, group.members, len(group), indices, "every other"))
    return replace(Plan.empty(graph), cuts=tuple(cuts))


@pytest.mark.parametrize("name", some(2))
def test_the_corners_of_the_network_are_the_model_and_the_masked_model(name):
    model = model_of(name)
    graph, x = trace(model), inputs_of(model)
    kind = sorted(GATES)[len(name) % len(GATES)]
    network = network_of(graph, kind)
    assert_same(outputs(network, x), outputs(model, x), 1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(network.left()), 1.0, rtol=1e-4)
    made = every_other(graph)
    if not made.cuts:
        pytest.skip("every axis is normalised across")
    keep = made.keep(graph)
    network = network_of(graph, kind, keep)
    assert_same(outputs(network, x), outputs(mask(model, made), x))
    left = float(keras.ops.convert_to_numpy(network.left()))
    np.testing.assert_allclose(left, graph.macs(keep) / graph.macs(), rtol=1e-3)
