import keras
import numpy as np
import pytest
from keras import layers, ops

from secateur.graph.observe import Stats, observe
from secateur.graph.trace import trace
from secateur.planning import criteria
from zoo import randomised


def blocks_of(build, width=16):
    """Trace a model of three times `x = build(x)` and return the sums of its blocks."""
    x = i = keras.Input((4, 8))
    x = layers.Dense(width)(x)
    for _ in range(3):
        x = build(x)
    graph = trace(keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))))
    return [len(group) for group in (*graph.groups, *graph.fixed) if group.kind == "block"]


shared = layers.Dense(16, name="shared")

BLOCKS = {
    "a layer": lambda x: x + layers.Dense(16)(x),
    "the other way round": lambda x: layers.Dense(16)(x) + x,
    "an activation that keeps zero": lambda x: x + ops.tanh(layers.Dense(16, "relu")(x)),
    "a gate": lambda x: x + layers.Dense(16)(x) * layers.Dense(16, "sigmoid")(x),
    "parts": lambda x: x + layers.Concatenate()([layers.Dense(8)(x), layers.Dense(8)(x)]),
    "a normalisation without a scale": lambda x: (
        x + layers.BatchNormalization(scale=False)(layers.Dense(16)(x))
    ),
    "moved": lambda x: x + ops.reshape(layers.Dense(8)(ops.reshape(x, (-1, 8, 8))), (-1, 4, 16)),
    "a recurrence": lambda x: x + layers.LSTM(16, return_sequences=True)(x),
}
NONE = {
    "a sigmoid": lambda x: x + layers.Dense(16, "sigmoid")(x),
    "an offset": lambda x: x + (layers.Dense(16)(x) + 1.0),
    "no weights": lambda x: x + ops.tanh(x),
    "a projection": lambda x: layers.Dense(16)(x) + layers.Dense(16)(layers.Dense(16)(x)),
    "weights used elsewhere": lambda x: x + shared(x),
    "a softmax": lambda x: x + ops.softmax(layers.Dense(16)(x)),
    "a concatenation": lambda x: layers.Dense(16)(layers.Concatenate()([x, layers.Dense(8)(x)])),
    "a product": lambda x: x * layers.Dense(16)(x),
}


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_these_are_blocks(name):
    assert blocks_of(BLOCKS[name]) == [3]


@pytest.mark.parametrize("name", sorted(NONE))
def test_these_are_none(name):
    assert blocks_of(NONE[name]) == []


def test_a_branch_that_is_read_elsewhere_is_no_block():
    x = i = keras.Input((8,))
    x = layers.Dense(16)(x)
    y = layers.Dense(16)(x)
    x = x + y
    x = x + layers.Dense(16)(x)
    graph = trace(keras.Model(i, [layers.Dense(2)(x), layers.Dense(1)(y)]))
    (group,) = (group for group in graph.fixed if group.kind == "block")
    assert len(group) == 1
    assert group.pins == ("it is the only block of its stream",)


def test_what_only_blocks_lead_to_is_never_left_without_one():
    one, two = keras.Input((8,)), keras.Input((8,))
    memory = layers.Dense(16, name="memory")(two)
    x = layers.Dense(16)(one)
    for number in range(3):
        x = layers.Add(name=f"sum_{number}")([x, layers.Dense(16)(layers.Add()([x, memory]))])
    graph = trace(keras.Model([one, two], layers.Dense(2)(x)))
    (group,) = (group for group in graph.groups if group.kind == "block")
    assert group.members == ("sum_1", "sum_2")


@pytest.fixture
def three():
    x = i = keras.Input((8,))
    x = layers.Dense(16)(x)
    for number in range(3):
        y = layers.Dense(24, "relu", name=f"wide_{number}")(x)
        x = layers.Add(name=f"sum_{number}")([x, layers.Dense(16, name=f"narrow_{number}")(y)])
    model = randomised(keras.Model(i, layers.Dense(2)(x)))
    for number, factor in enumerate((1.0, 0.1, 0.5)):
        kernel = model.get_layer(f"narrow_{number}").kernel
        kernel.assign(kernel * factor)
        model.get_layer(f"narrow_{number}").bias.assign(np.zeros(16))
    graph = trace(model)
    return graph, next(group for group in graph.groups if group.kind == "block")


@pytest.mark.parametrize("by", ["l1", "l2"])
def test_a_block_counts_for_as_many_units_as_it_writes(three, by):
    graph, group = three
    scores = criteria.CRITERIA[by](group, observe(graph))
    assert np.argsort(scores).tolist() == [1, 2, 0]
    assert group.breadth == 16
    if by == "l1":
        assert scores.mean() == pytest.approx(16)


def test_taylor_sums_what_switches_a_block_off(three):
    graph, group = three
    taylor = {key: np.full(value.shape, 2.0) for key, value in observe(graph).weights.items()}
    scores = criteria.taylor(group, Stats(observe(graph).weights, taylor))
    assert scores.tolist() == [2 * (24 * 16 + 16)] * 3


def test_a_layer_in_a_block_that_goes_is_said_to_be_gone(three):
    graph, group = three
    keep = graph.everything()
    keep[group.units[1]] = False
    widths = graph.widths(keep)
    assert widths["wide_1"] == (24, 0)
    assert widths["wide_0"] == (24, 24)
    assert graph.parameters() - graph.parameters(keep) == 16 * 24 + 24 + 24 * 16 + 16
    assert graph.sizes(keep)["narrow_1/kernel"] == 0
