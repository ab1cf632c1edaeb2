import keras
import pytest
from keras import layers

from secateur.graph.trace import trace
from zoo import ZOO, unequal_sizes

KINDS = {
    "dense": {"channel": [16, 24]},
    "residual": {"channel": [24, 24, 24], "stream": [16, 32], "block": [2]},
    "concatenation": {"channel": [8, 16, 16, 16, 16]},
    "squeeze_and_excitation": {"channel": [8, 24]},
    "sequence": {"channel": [16, 24], "cell": [16, 16]},
    "convolutional_lstm": {"cell": [8, 12]},
    "attention": {
        "stream": [32],
        "head": [4, 4],
        "query-key": [8, 8],
        "value": [8, 8],
        "channel": [48, 48],
        "block": [4],
    },
    "attention_by_hand": {"stream": [24], "query-key": [8], "value": [8]},
    "einsum": {"channel": [4, 6, 16]},
}

ON_JAX = keras.backend.backend() == "jax"


def kinds_of(model):
    found = {}
    for group in trace(model).groups:
        found.setdefault(group.kind, []).append(len(group))
    return {kind: sorted(sizes) for kind, sizes in found.items()}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_kinds_of_a_wiring(name):
    expected = dict(KINDS[name])
    if ON_JAX and name == "attention":
        # Where they cannot differ, the sizes of heads stay.
        del expected["query-key"], expected["value"]
    assert kinds_of(ZOO[name]()) == expected


def test_query_heads_are_inside_of_the_key_and_value_heads_that_they_share():
    x = i = keras.Input((6, 16))
    x = layers.GroupQueryAttention(8, 8, 4)(x, x)
    found = kinds_of(keras.Model(i, layers.Dense(3)(x)))
    assert found["head"] == [4]


@pytest.mark.parametrize("flash", [pytest.param(True, marks=unequal_sizes), False])
def test_attention_is_known_by_its_products_and_its_softmax(flash):
    x = i = keras.Input((6, 16))
    # The heads' axes: (batch, heads, positions, size).
    q, k, v = (
        layers.EinsumDense("bti,inh->bnth", (3, 6, size), name=name)(x)
        for name, size in (("q", 8), ("k", 8), ("v", 12))
    )
    if flash:
        q, k, v = (keras.ops.transpose(each, (0, 2, 1, 3)) for each in (q, k, v))
        y = keras.ops.dot_product_attention(q, k, v)
        y = keras.ops.transpose(y, (0, 2, 1, 3))
    else:
        scores = keras.ops.einsum("bnth,bnsh->bnts", q, k) / 8**0.5
        y = keras.ops.matmul(keras.ops.softmax(layers.Dropout(0.1)(scores)), v)
    y = layers.EinsumDense("bnth,nho->bto", (6, 10), name="out")(y)
    model = keras.Model(i, layers.Dense(3)(y))
    assert kinds_of(model) == {"head": [3], "query-key": [8], "value": [12], "channel": [10]}


def test_a_product_without_a_softmax_makes_no_heads():
    x = i = keras.Input((6, 16))
    a, b = layers.Dense(8)(x), layers.Dense(12)(x)
    y = keras.ops.einsum("bti,btj->bij", a, b)
    model = keras.Model(i, layers.Dense(3)(layers.Flatten()(y)))
    assert set(kinds_of(model)) <= {"channel"}


def test_both_ways_of_a_recurrence_that_are_added_are_cells_and_no_stream():
    x = i = keras.Input((6, 5))
    x = layers.Bidirectional(layers.GRU(12), merge_mode="sum")(x)
    graph = trace(keras.Model(i, layers.Dense(2)(x)))
    kinds = {len(group): group.kind for group in (*graph.groups, *graph.fixed)}
    assert kinds[12] == "cell"
