"""Ranking within classes of groups that are built alike."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.classes import classes_of
from secateur.planning.plan import plan
from zoo import model_of


@pytest.fixture
def graph():
    """Two dense groups of different width, and one of convolutions, each with a reader."""
    i = keras.Input((6, 2))
    x = layers.Conv1D(8, 3, name="conv")(i)
    x = layers.Conv1D(8, 1, name="mix")(x)
    x = layers.Dense(10, name="wide")(layers.GlobalAveragePooling1D()(x))
    x = layers.Dense(20, name="wider")(x)
    return trace(keras.Model(i, layers.Dense(2)(x)))


def test_groups_that_are_built_alike_are_of_one_class(graph):
    found = classes_of(graph, graph.groups)
    assert found["wide"] == found["wider"]
    assert len({found["conv"], found["mix"], found["wide"]}) == 3


def test_groups_of_different_kinds_are_never_alike():
    graph = trace(model_of("attention"))
    found = classes_of(graph, graph.groups)
    kinds: dict[int, set[str]] = {}
    for group in graph.groups:
        kinds.setdefault(found[group.name], set()).add(group.kind)
    assert all(len(each) == 1 for each in kinds.values())


def test_each_class_gives_the_same_share_and_its_groups_compete(graph):
    def by(group, stats):
        # All of `wide` matters less than any of `wider`, and all of `conv` than any of the rest.
        low = {"conv": 0.001, "wide": 0.01}.get(group.name, 100.0)
        return low * (1 + np.arange(len(group)))

    made = plan(graph, observe(graph), ratio=0.25, by=by, scope="isomorphic", round_to=1, floor=0.1)
    gone = {entry.group: len(entry.remove) for entry in made.cuts}
    assert sum(gone.values()) == 12
    # A quarter of each class: of 8, of 8, and of 30 those of `wide` first.
    assert gone["conv"] == gone["mix"] == 2
    assert gone["wide"] == 8
    assert "wider" not in gone


@pytest.mark.parametrize("name", ["residual", "attention", "recurrent", "two_towers"])
def test_budgets_hold(name):
    graph = trace(model_of(name))
    stats = observe(graph)
    for budget, key in (("macs", "macs"), ("params", "parameters")):
        made = plan(graph, stats, **{budget: 0.6}, scope="isomorphic", round_to=1)
        assert made.after[key] <= 0.6 * made.before[key]
        assert made.after[key] > 0.4 * made.before[key]
        assert made == plan(graph, stats, **{budget: 0.6}, scope="isomorphic", round_to=1)
