"""Small wirings that once went wrong: each is cut as a mask says, or says why it is not."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from secateur.errors import PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import GroupCut, Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask
from zoo import assert_close, inputs_of, randomised, unequal_sizes


def of_vector(middle):
    i = keras.Input((6,))
    x = layers.Dense(8, name="made")(i)
    return randomised(keras.Model(i, layers.Dense(3)(layers.Flatten()(middle(x)))))


def of_sequence(middle):
    i = keras.Input((5, 3))
    x = layers.Conv1D(6, 2, name="made")(i)
    return randomised(keras.Model(i, layers.Dense(3)(layers.Flatten()(middle(x)))))


def assert_cut_as_masked(model):
    graph = trace(model)
    made = plan(graph, observe(graph), params=0.8, round_to=1, scope="local")
    smaller, x = cut(model, made), inputs_of(model)
    assert_close(smaller(x), mask(model, made)(x), 1e-4)
    assert smaller.count_params() == made.after["parameters"] < model.count_params()
    assert trace(smaller).macs() == made.after["macs"]


def reason(model, member="made"):
    graph = trace(model)
    found = next(g for g in (*graph.groups, *graph.fixed) if member in g.members)
    assert not found.free.any()
    return "; ".join(found.pins)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: ops.roll(x, 3, axis=-1),
        lambda x: ops.pad(x, [[0, 0], [1, 1]], mode="reflect"),
        lambda x: x[:, ::2],
        lambda x: x[:, ::-1],
        lambda x: ops.repeat(x, [1, 2, 1, 1, 1, 3, 1, 1], axis=-1),
    ],
)
def test_units_stay_where_their_positions_count(move):
    assert "counts positions" in reason(of_vector(move))


@pytest.mark.parametrize(
    "move",
    [
        lambda x: ops.pad(x, [[0, 0], [1, 2]], constant_values=1.0),
        lambda x: ops.flip(x, axis=-1),
        lambda x: ops.repeat(x, 2, axis=-1),
        lambda x: x[:, :3] * x[:, 5:],
    ],
)
def test_units_move_with_what_moves_them(move):
    assert_cut_as_masked(of_vector(move))


@pytest.mark.parametrize(
    "middle",
    [
        lambda x: ops.roll(x, 1, axis=1),
        lambda x: layers.TimeDistributed(layers.PReLU())(x),
        lambda x: layers.EinsumDense("...x,xy->...y", 7, bias_axes="y")(x),
        pytest.param(
            lambda x: layers.MultiHeadAttention(2, 4, value_dim=2, use_bias=False)(x, x),
            marks=unequal_sizes,
        ),
        lambda x: layers.GroupQueryAttention(3, 4, 2, use_bias=False)(x, x),
        lambda x: layers.Dense(8)(ops.einsum("bti,btj->bij", x, layers.Dense(5)(x))),
    ],
)
def test_units_pass_through_a_layer_over_time(middle):
    assert_cut_as_masked(of_sequence(middle))


def test_heads_of_an_attention_by_hand_keep_its_scale():
    def attend(x):
        q, k, v = (ops.reshape(layers.Dense(12)(x), (-1, 4, 2, 6)) for _ in range(3))
        return ops.reshape(ops.dot_product_attention(q, k, v), (-1, 4, 12))

    assert_cut_as_masked(of_sequence(attend))


def test_a_slice_is_never_emptied():
    model = of_vector(lambda x: layers.Concatenate()([layers.Dense(4)(x[:, :2]), x]))
    graph = trace(model)
    (group,) = (g for g in graph.groups if g.name == "made")
    first = GroupCut("made", ("made",), 8, (0, 1), "by hand")
    emptied = Plan(model.name, graph.fingerprint(), {}, "hand", (first,), {}, {})
    with pytest.raises(PlanError, match="must stay"):
        emptied.keep(graph)
    score = np.arange(8.0)
    made = plan(
        graph,
        observe(graph),
        ratio=0.6,
        round_to=1,
        by=lambda g, stats: score if g.name == "made" else np.full(len(g), 9.0),
    )
    (gone,) = (c.remove for c in made.cuts if c.group == "made")
    assert 0 in gone
    assert 1 not in gone
    assert len(group) == 8


def _nested(shape, inside):
    i = keras.Input(shape)
    return keras.Model(i, inside(i))


@pytest.mark.parametrize(
    "shared",
    [
        lambda: layers.Reshape((1, 6)),
        lambda: _nested((6,), lambda x: ops.relu(x[:, :3])),
        lambda: _nested((6,), layers.Activation("relu")),
        lambda: keras.Sequential([keras.Input((6,)), layers.ReLU(), layers.Reshape((1, 6))]),
    ],
)
def test_what_is_called_twice_shrinks_alike(shared):
    i = keras.Input((5,))
    both = shared()
    a, b = layers.Dense(6)(i), layers.Dense(6)(i)
    x = layers.Concatenate(axis=-1)([both(a), both(b)])
    assert_cut_as_masked(randomised(keras.Model(i, layers.Dense(2)(layers.Flatten()(x)))))


def test_a_nested_model_stays_open_to_images_of_any_size():
    block = _nested((None, None, 5), layers.Conv2D(4, 3, padding="same"))
    i = keras.Input((8, 8, 3))
    a = layers.Conv2D(5, 3)(i)
    ends = [layers.GlobalMaxPooling2D()(block(x)) for x in (a, layers.MaxPooling2D()(a))]
    assert_cut_as_masked(randomised(keras.Model(i, layers.Dense(2)(layers.Concatenate()(ends)))))


def test_attention_of_any_length_is_made_again_by_its_own_class():
    i = keras.Input((None, 3))
    x = layers.Conv1D(8, 3, padding="same")(i)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = randomised(keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))))
    assert_cut_as_masked(model)
    graph = trace(model)
    made = plan(graph, observe(graph), params=0.5, round_to=1)
    assert isinstance(cut(model, made).get_layer("attention"), layers.MultiHeadAttention)


def test_masks_of_time_are_no_states_and_no_features():
    i = keras.Input((8,), dtype="int32")
    x = layers.Embedding(9, 6, mask_zero=True)(i)
    x = layers.Dense(5)(layers.LSTM(7, return_sequences=True)(x))
    x = layers.GRU(6)(layers.Masking()(x)) + layers.GlobalAveragePooling1D()(layers.Dense(6)(x))
    assert_cut_as_masked(randomised(keras.Model(i, layers.Dense(2)(x))))


def test_a_shared_layer_keeps_what_one_of_its_inputs_cannot_give():
    i = keras.Input((6, 3))
    x = layers.Conv1D(6, 1, name="made")(i)
    twice = layers.Dense(4)
    x = layers.Concatenate()([twice(x), twice(ops.transpose(layers.Conv1D(6, 1)(i), (0, 2, 1)))])
    model = randomised(keras.Model(i, layers.Dense(2)(layers.Flatten()(x))))
    assert "cannot shrink as well" in reason(model)


@keras.saving.register_keras_serializable("wirings")
class Inner(layers.Layer):
    """Attention of two widths that one number gives, so that it must be laid open."""

    def __init__(self, width=6, **options):
        super().__init__(**options)
        self.width = width
        self.attention = layers.MultiHeadAttention(2, width, use_bias=False, name="attention")
        self.wide = layers.Dense(width, activation="relu", name="wide")
        self.out = layers.Dense(5, name="out")

    def call(self, x):
        return self.out(self.wide(self.attention(x, x)))


def test_a_composite_layer_inside_one_that_is_laid_open():
    def twice(x):
        inner = Inner()
        return layers.Concatenate()([inner(layers.Dense(5)(x)), Inner()(x), inner(x[..., :5])])

    assert_cut_as_masked(of_sequence(twice))


def test_one_table_for_reading_and_writing():
    i = keras.Input((8,), dtype="int32")
    table = layers.ReversibleEmbedding(10, 6)
    x = layers.Dense(6)(layers.Dense(7)(table(i)))
    assert_cut_as_masked(randomised(keras.Model(i, table(x, reverse=True))))


@pytest.mark.long
def test_a_sum_over_a_very_long_residual_stream():
    x = i = keras.Input((8,))
    x = layers.Dense(16, use_bias=False, name="made")(x)
    for _ in range(400):
        x = layers.Add()([x, layers.Dense(16)(x)])
    graph = trace(keras.Model(i, layers.Dense(2)(ops.sum(x, axis=-1, keepdims=True))))
    assert next(group for group in graph.groups if "made" in group.members).free.all()
