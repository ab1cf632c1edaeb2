import json

import keras
import numpy as np
import pytest
from keras import layers

from secateur.cost import table as tables
from secateur.cost.probes import Probe, places, tiny_model
from secateur.cost.runtimes import open_runner
from secateur.cost.table import Surface, block_of, latency_table, rising
from secateur.graph.trace import trace
from zoo import model_of

PLACES = {
    "conv": (Probe("conv", (9, 9), (3, 3), (2, 2), (1, 1), "valid"), 8, 16),
    "grouped": (Probe("conv", (9, 9), (3, 3), (1, 1), (1, 1), groups=4), 16, 32),
    "causal": (Probe("conv", (9,), (3,), (1,), (2,), "causal"), 8, 16),
    "depthwise": (Probe("depthwise", (9, 9), (3, 3), (2, 2), (1, 1), multiplier=2), 8, 16),
    "transposed": (Probe("transposed", (5, 5), (3, 3), (2, 2), (1, 1), "valid"), 8, 16),
    "dense": (Probe("dense", rows=3), 8, 16),
    "lstm": (Probe("lstm", (5,)), 8, 16),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_tiny_models_are_as_wide_as_asked(name, runtime):
    module = {"litert": "ai_edge_litert"}.get(runtime, runtime)
    pytest.importorskip(module)
    probe, read, written = PLACES[name]
    if not probe.runs_on(runtime):
        assert runtime == "litert"
        return
    runner = open_runner(tiny_model(probe, read, written, 2, runtime), runtime)
    (x,) = runner.inputs
    out = runner.run({x.name: np.ones([n or 1 for n in x.shape], np.float32)})
    assert written in out[0].shape[1:]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose])
def test_a_probe_knows_the_space_after_it(kind, padding, stride):
    i = keras.Input((9, 7, 3))
    out = kind(4, 3, strides=stride, padding=padding, name="c")(i)
    graph = trace(keras.Model(i, layers.Flatten()(out)))
    ((place,),) = places(graph)[0].values()
    assert place.probe.after == tuple(out.shape[1:3])


def test_widths_follow_from_the_lengths_of_the_weights():
    i = keras.Input((8, 8, 6))
    x = layers.Conv2D(12, 3, groups=2, name="grouped")(i)
    x = layers.Reshape((36, 12))(x)
    x = layers.MultiHeadAttention(2, 4, name="mha")(x, x)
    x = layers.LSTM(5, name="lstm")(x)
    graph = trace(keras.Model(i, layers.Dense(3, name="dense")(x)))
    found, without = places(graph)
    widths = {key: made[0].widths(graph.weights[key].shape) for key, made in found.items() if made}
    assert widths["grouped/kernel"] == (6, 12)
    assert widths["mha/query/kernel"] == (12, 8)
    assert widths["mha/attention_output/kernel"] == (8, 12)
    assert widths["lstm/kernel"] == (12, 5)
    assert widths["dense/kernel"] == (5, 3)
    # What has no probe of its own is priced by its multiply-adds.
    assert {key.rpartition("/")[2] for key in without} == {"product", "product1"}


def test_what_lies_between_is_interpolated_and_steps_at_eights():
    surface = Surface((8, 16), (16, 32), np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert surface.at(8, 24) == pytest.approx(1.5)
    assert surface.at(16, 32) == pytest.approx(6.0)
    assert surface.at(12, 17) == surface.at(16, 24) == pytest.approx(4.5)


def test_what_is_computed_in_blocks_costs_as_much_as_the_block():
    surface = Surface((64,), (8, 16, 64), np.array([[0.5, 1.0, 4.0]]), steps=(8, 16))
    assert surface.at(64, 33) == surface.at(64, 40) == surface.at(64, 48) == pytest.approx(3.0)
    assert surface.at(64, 49) == surface.at(64, 64) == pytest.approx(4.0)
    # Less than one block may cost less than one.
    assert surface.at(64, 8) == pytest.approx(0.5)


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("block", [8, 16, 32])
def test_the_block_is_told_from_times(block, noise):
    widths = np.array([32, 40, 48, 56, 64])
    ms = 1 + np.ceil(widths / block) * block / 16
    ms += noise * np.array([1, -1, 1, -1, 1])
    assert block_of(ms) == block


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_time_that_does_not_rise_tells_of_no_block(noise):
    assert block_of(1 + noise * np.array([1.0, -1.0, 0.5, 1.0, -1.0])) == 8


def test_noise_makes_no_wide_layer_cheaper_than_a_narrow_one():
    noisy = np.array([[1.0, 0.8, 2.0], [3.0, 2.5, 2.6]])
    clean = rising(noisy)
    assert (np.diff(clean, axis=0) >= 0).all()
    assert (np.diff(clean, axis=1) >= 0).all()
    np.testing.assert_array_equal(rising(clean), clean)


def test_a_table_adds_up_to_the_measured_model_and_is_kept(tmp_path, monkeypatch):
    graph = trace(model_of("residual"))
    cache = tmp_path / "deep" / "cache.json"
    table = latency_table(graph, cache=cache, seconds=0.01)
    parts = (*graph.weights.values(), *graph.products)
    total = sum(table.cost(part.key, part.shape) for part in parts)
    assert total == pytest.approx(table.whole.quiet_ms)
    kernels = [part for part in parts if part.uses]
    for part in kernels:
        half = [max(n // 2, 1) for n in part.shape]
        assert table.cost(part.key, half) <= table.cost(part.key, part.shape)
    assert table.cost(kernels[0].key, [0 for _ in kernels[0].shape]) == 0

    def nothing(*_):
        raise AssertionError("a sample was taken again")

    monkeypatch.setattr(tables._Samples, "_time", nothing)
    again = latency_table(graph, cache=cache)
    assert again.surfaces.keys() == table.surfaces.keys()


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"format": -1, "samples": {}})])
def test_a_cache_that_is_none_is_passed_over(text, tmp_path):
    cache = tmp_path / "cache.json"
    assert tables._read(cache) == {}
    cache.write_text(text)
    assert tables._read(cache) == {}
