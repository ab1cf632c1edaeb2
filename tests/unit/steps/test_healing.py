import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.unfold import places_for, unfold
from zoo import inputs_of, model_of, outputs, some


def cut_of(model, share=0.6):
    graph = trace(model)
    made = plan(graph, observe(graph), macs=share, round_to=1, scope="local")
    return cut(model, made), made


def distance(one, other, x):
    (a,), (b,) = (outputs(model, x) for model in (one, other))
    return float(np.square(a - b).mean())


@pytest.mark.parametrize("name", some(0, 3, without={"two_outputs"}))
def test_healing_keeps_the_shapes_and_says_what_it_did(name):
    model = model_of(name)
    smaller, made = cut_of(model)
    x = inputs_of(model, 48)
    before = [np.array(weight) for weight in smaller.weights]
    healed, done = heal(smaller, model, made, x)
    assert done
    assert [w.shape for w in healed.weights] == [w.shape for w in smaller.weights]
    for old, weight in zip(before, smaller.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert all(np.isfinite(np.array(weight)).all() for weight in healed.weights)


NEARER = """dense residual concatenation volume u_net attention grouped_query_attention
    cross_attention pre_norm_transformer patches_and_class_token inverted_residual xception
    depthwise_in_time einsum convnext time_distributed sequence""".split()  # noqa: SIM905


def test_rows_that_are_no_numbers_leave_the_model_as_cut():
    x = inputs = keras.Input((6,))
    x = layers.BatchNormalization()(layers.Dense(16)(layers.Dense(16, "relu")(x)))
    model = keras.Model(inputs, layers.Dense(3)(layers.ReLU()(x)))
    smaller, made = cut_of(model)
    rows = inputs_of(model, 64)
    rows[5] = np.nan
    healed, (*_, entry) = heal(smaller, model, made, rows)
    assert "not all that the model gives" in entry.done
    for one, other in zip(healed.weights, smaller.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


@pytest.mark.parametrize("name", NEARER)
def test_a_healed_model_is_nearer_to_the_original_on_rows_not_seen(name):
    model = model_of(name)
    smaller, made = cut_of(model)
    x = inputs_of(model, 200)
    unseen = inputs_of(model, 100, seed=9)
    healed, _ = heal(smaller, model, made, x)
    assert distance(healed, model, unseen) < 0.8 * distance(smaller, model, unseen)


def test_a_unit_that_repeats_another_is_healed_exactly():
    i = keras.Input((6,))
    hidden = layers.Dense(8, "tanh", name="hidden")
    model = keras.Model(i, layers.Dense(3, name="out")(hidden(i)))
    kernel = np.random.default_rng(0).normal(size=(6, 8))
    kernel[:, 4:] = kernel[:, :4]
    hidden.kernel.assign(kernel)
    graph = trace(model)
    made = plan(
        graph, observe(graph), ratio=0.5, round_to=1, by=lambda g, s: np.arange(8) < 4, floor=0
    )
    smaller = cut(model, made)
    x = inputs_of(model, 200)
    healed, (entry,) = heal(smaller, model, made, x)
    assert entry.layer == "out"
    assert entry.explained == pytest.approx(1, abs=1e-3)
    assert distance(healed, model, x) < 1e-4 * distance(smaller, model, x)


def test_grouped_convolutions_are_solved_group_by_group():
    model = model_of("grouped")
    smaller, made = cut_of(model)
    x = inputs_of(model, 300)
    healed, done = heal(smaller, model, made, x)
    assert "weights solved anew" in {entry.done for entry in done}
    assert distance(healed, model, x) < distance(smaller, model, x)


def test_statistics_alone_leave_every_kernel_as_it_was():
    model = model_of("residual")
    smaller, made = cut_of(model)
    healed, done = heal(smaller, model, made, inputs_of(model, 64), readers=False)
    assert {entry.done for entry in done} == {"statistics estimated anew"}
    for old, new in zip(smaller.weights, healed.weights, strict=True):
        if "moving" not in old.name:
            np.testing.assert_array_equal(np.array(old), np.array(new))


def test_too_few_rows_are_refused_with_how_many_are_needed():
    model = model_of("dense")
    smaller, made = cut_of(model)
    with pytest.raises(DataError, match="at least 32 rows, received 8"):
        heal(smaller, model, made, inputs_of(model, 8))


def test_how_many_rows_would_do_depends_on_the_model():
    i = keras.Input((4, 4, 3))
    x = layers.Conv2D(16, 3, padding="same", name="hidden")(i)
    model = keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))
    smaller, made = cut_of(model, 0.5)
    width = smaller.layers[-1].kernel.shape[0]
    with pytest.raises(DataError) as caught:
        heal(smaller, model, made, inputs_of(model, 8))
    assert f"{-(-5 * width // 4)} give each layer as many places" in str(caught.value.mend)
    _, (entry,) = heal(smaller, model, made, inputs_of(model, 40))
    assert entry.done == (
        f"weights solved anew on 32 places for {width} inputs "
        f"({-(-5 * width // 4)} samples would give as many)"
    )


def test_layers_that_are_not_solved_say_why():
    told = {}
    for name in ("recurrent", "shared"):
        model = model_of(name)
        smaller, made = cut_of(model)
        told[name] = {entry.done for entry in heal(smaller, model, made, inputs_of(model, 48))[1]}
    assert "left as cut: LSTM is recurrent, which least squares do not solve" in told["recurrent"]
    assert "left as cut: its weights are used more than once" in told["shared"]


def test_inputs_that_are_not_finite_leave_a_layer_as_cut():
    i = keras.Input((4,))
    hidden = layers.Dense(8, name="hidden")
    model = keras.Model(i, layers.Dense(3)(keras.ops.log(hidden(i))))
    smaller, made = cut_of(model)
    healed, (entry, _) = heal(smaller, model, made, inputs_of(model, 64))
    assert entry.done == "left as cut: not all that it reads and gives is finite"
    for old, new in zip(smaller.weights, healed.weights, strict=True):
        np.testing.assert_array_equal(np.array(old), np.array(new))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_unfolding_times_the_kernel_is_the_convolution(padding, strides, dilation):
    if strides > 1 and dilation > 1:
        pytest.skip("Keras refuses strides together with dilation")
    layer = layers.Conv2D(
        4, (3, 2), strides=strides, dilation_rate=dilation, padding=padding, use_bias=False
    )
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")
    y = to_numpy(layer(x))
    places = places_for(2, y.shape[1:-1], 10**6, np.random.default_rng(0))
    seen = unfold(
        x,
        kernel=layer.kernel_size,
        strides=layer.strides,
        dilation=layer.dilation_rate,
        padding=padding,
        outputs=y.shape[1:-1],
        places=places,
    )
    product = np.einsum("nptc,tcf->npf", seen, to_numpy(layer.kernel).reshape(6, 3, 4))
    np.testing.assert_allclose(product, y.reshape(2, -1, 4), atol=1e-5)


def test_causal_convolutions_unfold_as_well():
    layer = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, use_bias=False)
    x = np.random.default_rng(0).normal(size=(2, 12, 3)).astype("float32")
    y = to_numpy(layer(x))
    seen = unfold(
        x,
        kernel=(3,),
        strides=(1,),
        dilation=(2,),
        padding="causal",
        outputs=(12,),
        places=places_for(2, (12,), 12, np.random.default_rng(0)),
    )
    product = np.einsum("nptc,tcf->npf", seen, to_numpy(layer.kernel))
    np.testing.assert_allclose(product, y, atol=1e-5)


def test_a_model_that_healing_would_make_worse_is_left_as_cut():
    model = model_of("feature_pyramid")
    smaller, made = cut_of(model)
    healed, done = heal(smaller, model, made, inputs_of(model, 200))
    assert [entry.done[:26] for entry in done] == ["left as cut: healed, its o"]
    for weight, kept in zip(smaller.weights, healed.weights, strict=True):
        np.testing.assert_array_equal(np.array(weight), np.array(kept))
