"""Each kind of layer that healing solves, where what was cut can be had back exactly."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import GroupCut, Plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.readers import Reader, reader
from secateur.steps.unfold import places_for, unfold_transposed
from zoo import inputs_of, outputs, randomised, unequal_sizes

SOLVED = "weights solved anew"


def cut_units(model, name, units):
    """Cut some units of a group, whatever a criterion would say."""
    graph = trace(model)
    group = next(each for each in graph.groups if each.name == name)
    entry = GroupCut(group.name, group.members, len(group), tuple(units), "test")
    made = replace(Plan.empty(graph), cuts=(entry,))
    return cut(model, made), made


def repeated(weights, axis=-1):
    """Let the second half of some weights repeat the first."""
    for weight in weights:
        half = np.split(to_numpy(weight), 2, axis=axis)[0]
        weight.assign(np.concatenate([half, half], axis=axis))


def conv(rank, transpose=False, **options):
    kind = getattr(layers, f"Conv{rank}D" + "Transpose" * transpose)
    return lambda x: kind(5, 3, **options)(x)


def attention(x):
    return layers.MultiHeadAttention(2, 3)(x, x)


def grouped_attention(x):
    return layers.GroupQueryAttention(4, 4, 2)(x, x)


def einsum(equation, shape, bias):
    return lambda x: layers.EinsumDense(equation, shape, bias_axes=bias)(x)


SEQUENCE, IMAGE, VOLUME = (9, 5), (7, 6, 5), (4, 5, 4, 3)
KINDS = {
    "dense": ((5,), layers.Dense(4)),
    "dense over places": (SEQUENCE, layers.Dense(4, activation="relu")),
    "conv1d": (SEQUENCE, conv(1, padding="causal", dilation_rate=2)),
    "conv2d": (IMAGE, conv(2, padding="same", strides=2)),
    "conv3d": (VOLUME, conv(3, padding="same")),
    "conv1d transposed": (SEQUENCE, conv(1, True, strides=2, activation="tanh")),
    "conv2d transposed": (IMAGE, conv(2, True, strides=2, padding="same")),
    "conv2d transposed without bias": (IMAGE, conv(2, True, use_bias=False)),
    "conv3d transposed": (VOLUME, conv(3, True, strides=(1, 2, 1))),
    "separable 1d": (SEQUENCE, lambda x: layers.SeparableConv1D(4, 3)(x)),
    "separable 2d": (IMAGE, lambda x: layers.SeparableConv2D(4, 3, depth_multiplier=2)(x)),
    "einsum": (SEQUENCE, einsum("btc,chd->bthd", (None, 2, 3), "hd")),
    "einsum over leading axes": (SEQUENCE, einsum("...c,dc->...d", 4, "d")),
    "einsum with a bias a place": (SEQUENCE, einsum("btc,cd->btd", (9, 4), "td")),
    "einsum without bias": (SEQUENCE, einsum("abc,cd->abd", (None, 4), None)),
    "einsum, one kernel a place": (SEQUENCE, einsum("btc,tcd->bdt", (4, 9), "dt")),
    "time distributed": ((3, *IMAGE), lambda x: layers.TimeDistributed(layers.Conv2D(3, 3))(x)),
    "attention": (SEQUENCE, attention),
    "grouped-query attention": (SEQUENCE, grouped_attention),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_repeats_a_kept_unit_is_had_back_exactly(kind):
    shape, reads = KINDS[kind]
    i = keras.Input(shape)
    hidden = layers.Dense(8, "tanh", name="hidden")
    model = randomised(keras.Model(i, reads(hidden(i))))
    repeated([*hidden.weights])
    repeated([w for w in model.weights if w.name == "depthwise_kernel"], axis=-2)
    smaller, made = cut_units(model, "hidden", range(4, 8))
    x = inputs_of(model, 150)
    before = [to_numpy(weight).copy() for each in (model, smaller) for weight in each.weights]
    healed, done = heal(smaller, model, made, x)
    assert {entry.done for entry in done} == {SOLVED}
    assert done[0].explained > 0.999
    unseen = inputs_of(model, 20, seed=9)
    (was,), (cut_to,), (is_now,) = (outputs(each, unseen) for each in (model, smaller, healed))
    assert np.abs(cut_to - was).max() > 0.01 * np.abs(was).max()
    np.testing.assert_allclose(is_now, was, atol=1e-4 * np.abs(was).max())
    after = [to_numpy(weight) for each in (model, smaller) for weight in each.weights]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


SCALED = {
    "depthwise 1d": (SEQUENCE, lambda x: layers.DepthwiseConv1D(3, padding="same")(x)),
    "depthwise 2d": (IMAGE, lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(x)),
    "depthwise without bias": (IMAGE, lambda x: layers.DepthwiseConv2D(3, use_bias=False)(x)),
    "grouped": (IMAGE, lambda x: layers.Conv2D(8, 3, groups=2)(x)),
    "attention": (SEQUENCE, attention),
}


@pytest.mark.parametrize("kind", SCALED)
def test_what_a_normalisation_scales_otherwise_is_had_back_exactly(kind):
    shape, reads = SCALED[kind]
    i = keras.Input(shape)
    hidden = layers.Dense(8, "tanh", name="hidden")
    x = reads(layers.RMSNormalization(epsilon=1e-9)(hidden(i)))
    model = randomised(keras.Model(i, layers.Dense(3)(x)))
    for weight in hidden.weights:
        value = to_numpy(weight).copy()
        value[..., 1::2] = 0
        weight.assign(value)
    group = next(each for each in trace(model).groups if each.name == "hidden")
    smaller, made = cut_units(model, "hidden", range(1, len(group), 2))
    healed, done = heal(smaller, model, made, inputs_of(model, 150))
    assert done[0].done == SOLVED
    assert done[0].explained > 0.999
    unseen = inputs_of(model, 20, seed=9)
    (was,), (cut_to,), (is_now,) = (outputs(each, unseen) for each in (model, smaller, healed))
    assert np.abs(cut_to - was).max() > 0.01 * np.abs(was).max()
    np.testing.assert_allclose(is_now, was, atol=1e-4 * np.abs(was).max())


@unequal_sizes
def test_the_output_of_an_attention_makes_up_for_values_that_repeat_others():
    i = keras.Input(SEQUENCE)
    layer = layers.MultiHeadAttention(2, 3, value_dim=6, name="mha")
    model = randomised(keras.Model(i, layer(i, i)))
    repeated(layer._value_dense.weights)
    value = next(group for group in trace(model).groups if group.kind == "value")
    smaller, made = cut_units(model, value.name, range(3, 6))
    healed, (entry,) = heal(smaller, model, made, inputs_of(model, 150))
    assert entry.layer == "mha/attention_output"
    unseen = inputs_of(model, 20, seed=9)
    (was,), (is_now,) = outputs(model, unseen), outputs(healed, unseen)
    np.testing.assert_allclose(is_now, was, atol=1e-4 * np.abs(was).max())


@unequal_sizes
def test_queries_keep_what_makes_up_for_smaller_heads():
    i = keras.Input(SEQUENCE)
    hidden = layers.Dense(8, "tanh", name="hidden")
    layer = layers.MultiHeadAttention(2, 4, name="mha")
    x = hidden(i)
    model = randomised(keras.Model(i, layer(x, x)))
    repeated(hidden.weights)
    graph = trace(model)
    heads = next(group for group in graph.groups if group.kind == "query-key")
    stream = next(group for group in graph.groups if group.name == "hidden")
    made = replace(
        Plan.empty(graph),
        cuts=tuple(
            GroupCut(group.name, group.members, len(group), units, "test")
            for group, units in ((stream, (4, 5, 6, 7)), (heads, (2, 3)))
        ),
    )
    healed, _ = heal(cut(model, made), model, made, inputs_of(model, 150))
    old, new = layer._query_dense, healed.get_layer("mha")._query_dense
    full = to_numpy(old.kernel)[:4, :, :2] + to_numpy(old.kernel)[4:, :, :2]
    # The layer divides by the root of two now, not of four.
    np.testing.assert_allclose(new.kernel, full * np.sqrt(2 / 4), atol=1e-3)


LAYERS = {
    "transposed, same": (layers.Conv2DTranspose(4, (3, 2), strides=(2, 3), padding="same"), IMAGE),
    "transposed, valid": (layers.Conv2DTranspose(4, 2, strides=3), IMAGE),
    "transposed, padded": (layers.Conv1DTranspose(4, 3, strides=2, output_padding=1), SEQUENCE),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), IMAGE),
    "separable": (layers.SeparableConv2D(4, 3, depth_multiplier=2, strides=2), IMAGE),
    "einsum summed alone": (layers.EinsumDense("abcd,de->abe", (7, 4)), IMAGE),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_seen_times_the_kernel_is_what_is_made(kind):
    layer, shape = LAYERS[kind]
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    y = to_numpy(layer(x))
    read = reader(layer, x.shape, y.shape)
    assert isinstance(read, Reader)
    places = places_for(2, read.places, 10**6, np.random.default_rng(0))
    product = np.einsum("npgf,gfu->npgu", read.seen(x, places), read.matrices())
    np.testing.assert_allclose(product, read.made(y), atol=1e-4)


def test_writing_what_was_read_changes_nothing():
    for layer, shape in LAYERS.values():
        inputs = (2, *shape)
        layer = type(layer).from_config(layer.get_config())
        layer.build(inputs)
        read = reader(layer, inputs, layer.compute_output_shape(inputs))
        assert isinstance(read, Reader)
        before = to_numpy(read.weight).copy()
        read.write(read.matrices(), np.zeros(read.sizes[::2]))
        np.testing.assert_array_equal(before, to_numpy(read.weight))


def test_an_equation_that_mixes_rows_is_told():
    layer = layers.EinsumDense("abc,acd->abd", (9, 4))
    layer.build((2, *SEQUENCE))
    assert reader(layer, (2, 9, 5), (2, 9, 4)) == "abc,acd->abd is no product of matrices"


def test_dilated_transposed_convolutions_are_read_as_they_are_defined():
    x, kernel = np.random.default_rng(0).normal(size=(1, 5, 2)), np.ones((3, 4, 2)) * [1, -2]
    # Each input is laid down by each tap at twice its position and twice the tap's.
    made = np.zeros((13, 4))
    for place, tap in np.ndindex(5, 3):
        made[2 * place + 2 * tap] += kernel[tap] @ x[0, place]
    seen = unfold_transposed(
        x,
        kernel=(3,),
        strides=(2,),
        dilation=(2,),
        padding="valid",
        outputs=(13,),
        places=np.arange(13)[None],
    )
    np.testing.assert_allclose(np.einsum("ptc,tfc->pf", seen[0], kernel), made, atol=1e-12)


@keras.saving.register_keras_serializable("secateur_tests")
class Doubled(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


def test_a_layer_that_computes_otherwise_than_its_kind_is_left_and_told():
    from secateur.graph import rule

    rule.register(Doubled)(lambda layer: rule.rule_of(layers.Dense(1)))
    i = keras.Input((5,))
    model = randomised(keras.Model(i, Doubled(3)(layers.Dense(8, name="hidden")(i))))
    smaller, made = cut_units(model, "hidden", range(4))
    _, (entry,) = heal(smaller, model, made, inputs_of(model, 64))
    assert entry.done == "left as cut: Doubled computes otherwise than is known of it"
