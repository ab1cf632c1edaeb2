"""The laws of the house, for plans that remove whole residual blocks."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications.convnext import LayerScale, StochasticDepth

from own_layers import Encoder
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import GroupCut, Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.masks import mask
from zoo import ZOO, assert_same, inputs_of, outputs, randomised, some

DEEP = {
    name: ZOO[name]
    for name in (
        "residual",
        "attention",
        "grouped_query_attention",
        "patches_and_class_token",
        "blocks_of_ones_own",
    )
}


def wiring(build):
    DEEP[build.__name__] = build
    return build


def _head(x):
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(x))


@wiring
def inverted_residuals():
    x = i = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same")(x)
    for _ in range(3):
        y = layers.Conv2D(32, 1, activation="relu6")(x)
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y))
        gate = layers.Dense(32, "sigmoid")(layers.GlobalAveragePooling2D()(y))
        y = layers.Multiply()([y, layers.Reshape((1, 1, 32))(gate)])
        y = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(y))
        x = layers.Add()([layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y), x])
    return keras.Model(i, _head(x))


@wiring
def preactivated():
    x = i = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same")(x)
    for strides in (1, 2, 1):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(24, 3, padding="same", activation="relu")(y)
        y = layers.Conv2D(16, 3, strides=strides, padding="same")(y)
        x = layers.MaxPooling2D(1, strides=strides)(x) if strides > 1 else x
        x = layers.Add()([x, y])
    return keras.Model(i, _head(layers.BatchNormalization()(x)))


@wiring
def scaled():
    x = i = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 2, strides=2)(x)
    for _ in range(3):
        y = layers.Dense(32, "gelu")(layers.DepthwiseConv2D(3, padding="same")(x))
        y = LayerScale(0.5, 16)(layers.Dense(16)(y))
        x = x + StochasticDepth(0.1)(y)
    return keras.Model(i, _head(x))


@wiring
def residuals_in_a_residual():
    x = i = keras.Input((8,))
    x = layers.Dense(16)(x)
    for _ in range(2):
        y = layers.Dense(16, "relu")(x)
        y = y + layers.Dense(16)(layers.Dense(24, "tanh")(y))
        y = y + layers.Dense(16)(layers.Dense(24, "tanh")(y))
        x = x + layers.Dense(16)(y)
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def blocks_in_nested_models():
    def block(number, inside):
        i = keras.Input((16,))
        x = layers.Dense(16)(layers.Dense(24, "relu")(i))
        return keras.Model(i, layers.Add()([i, x]) if inside else x, name=f"nested_{number}")

    x = i = keras.Input((8,))
    x = layers.Dense(16)(x)
    x = block(0, inside=True)(x)
    x = layers.Add()([x, block(1, inside=False)(x)])
    x = layers.Add()([x, keras.Sequential([layers.Dense(16, "tanh"), layers.Dense(16)])(x)])
    return keras.Model(i, layers.Dense(2)(block(2, inside=True)(x)))


@wiring
def encoders_of_ones_own():
    x = i = keras.Input((6, 5))
    x = Encoder(16)(Encoder(16)(layers.Dense(16)(x)))
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@wiring
def recurrent_residuals():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    x = layers.Add()([x, layers.GRU(16, return_sequences=True)(x)])
    x = layers.Add()([layers.LSTM(16, return_sequences=True)(x), x])
    x = layers.Add()([x, layers.Conv1D(16, 3, padding="same")(x)])
    return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))


@wiring
def cross_attention():
    one, two = keras.Input((6, 5)), keras.Input((4, 5))
    memory = layers.Dense(16)(two)
    x = layers.Dense(16)(one)
    for _ in range(2):
        x = x + layers.MultiHeadAttention(2, 8)(x, x)
        x = x + layers.MultiHeadAttention(2, 8)(x, memory)
    return keras.Model([one, two], layers.Dense(2)(layers.Flatten()(x)))


@pytest.fixture(params=sorted(DEEP))
def model(request):
    return randomised(DEEP[request.param]())


def by_blocks(graph, chosen):
    """Plan to remove some blocks: those of which `chosen(group)` gives the indices."""
    cuts = tuple(
        GroupCut(group.name, group.members, len(group), tuple(chosen(group)), "a test")
        for group in graph.groups
        if group.kind == "block" and len(chosen(group))
    )
    return replace(Plan.empty(graph), cuts=cuts)


def check(model, made, x):
    graph = trace(model)
    keep = made.keep(graph)
    smaller = cut(model, made)
    assert_same(outputs(smaller, x), outputs(mask(model, made), x))
    again = trace(smaller)
    assert smaller.count_params() == again.parameters() == graph.parameters(keep)
    assert again.macs() == graph.macs(keep)
    assert again.parameters() < graph.parameters()
    return smaller


def test_every_block_can_go_alone(model):
    graph = trace(model)
    x = inputs_of(model)
    groups = [group for group in graph.groups if group.kind == "block"]
    assert groups
    for group in groups:
        for index in range(len(group)):
            one = (GroupCut(group.name, group.members, len(group), (index,), "a test"),)
            smaller = check(model, replace(Plan.empty(graph), cuts=one), x)
            assert not np.allclose(outputs(smaller, x)[0], outputs(model, x)[0], rtol=1e-3)


@pytest.mark.parametrize("model", some(0, 1, 2, of=DEEP), indirect=True)
def test_all_blocks_but_one_of_each_stream_can_go(model):
    check(model, by_blocks(trace(model), lambda group: range(1, len(group))), inputs_of(model))
    check(model, by_blocks(trace(model), lambda group: range(len(group) - 1)), inputs_of(model))


@pytest.mark.parametrize("model", some(3, 4, 5, of=DEEP), indirect=True)
def test_blocks_and_widths_go_together_within_a_budget(model):
    graph = trace(model)
    before = [np.array(weight) for weight in model.weights]
    kinds = tuple({group.kind for group in graph.groups})
    for budget in ("macs", "params"):
        made = plan(graph, observe(graph), **{budget: 0.5}, round_to=2, kinds=kinds)
        check(model, made, inputs_of(model))
        name = "macs" if budget == "macs" else "parameters"
        assert 0.37 * made.before[name] <= made.after[name] <= 0.5 * made.before[name]
        assert Plan.from_json(made.to_json()) == made
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


@pytest.mark.parametrize("model", some(6, 7, 0, of=DEEP), indirect=True)
def test_a_model_heals_after_its_blocks_are_gone(model):
    made = by_blocks(trace(model), lambda group: [0])
    smaller = cut(model, made)
    healed, done = heal(smaller, model, made, inputs_of(model, 200))
    assert not any("wiring" in entry.done for entry in done)
    unseen = inputs_of(model, 60, seed=9)
    whole, cut_down, better = (outputs(each, unseen) for each in (model, smaller, healed))
    lost = sum(np.square(a - b).mean() for a, b in zip(whole, cut_down, strict=True))
    left = sum(np.square(a - b).mean() for a, b in zip(whole, better, strict=True))
    assert left < lost


@pytest.mark.parametrize("model", some(1, 3, 5, of=DEEP), indirect=True)
def test_a_width_inside_of_a_block_that_goes_is_moot(model):
    graph = trace(model)
    made = by_blocks(graph, lambda group: [0])
    names = {group.name for group in graph.groups if group.kind != "block"}
    widths = tuple(
        GroupCut(group.name, group.members, len(group), (0,), "a test")
        for group in graph.groups
        if group.name in names and group.free[0] and len(group) > 1
    )
    check(model, replace(made, cuts=made.cuts + widths), inputs_of(model))


@pytest.mark.slow
def test_what_is_left_loads_where_secateur_is_not_installed(tmp_path):
    own = {"blocks_of_ones_own", "patches_and_class_token"}
    stock = some(2, 4, 6, of=DEEP, without=own)
    for name in stock:
        model = randomised(DEEP[name]())
        # A layer of one's own is laid open when a block goes from it, so that it needs no class.
        gone = [0, 2] if name == "encoders_of_ones_own" else [0]
        smaller = cut(model, by_blocks(trace(model), lambda group, gone=gone: gone))
        smaller.save(tmp_path / f"{name}.keras")
        x = inputs_of(model)
        flat = {f"x{k}": v for k, v in enumerate(x if isinstance(x, list) else [x])}
        np.savez(tmp_path / f"{name}.npz", y=outputs(smaller, x)[0], **flat)
    program = f"""
import sys
sys.modules["secateur"] = None
import keras, numpy as np
for name in {stock!r}:
    model = keras.models.load_model({str(tmp_path)!r} + f"/{{name}}.keras", safe_mode=True)
    saved = np.load({str(tmp_path)!r} + f"/{{name}}.npz")
    x = [saved[key] for key in sorted(saved) if key != "y"]
    y = model(x if len(x) > 1 else x[0], training=False)
    np.testing.assert_allclose(np.asarray(y), saved["y"], rtol=1e-5, atol=1e-6)
print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "same", done.stderr
