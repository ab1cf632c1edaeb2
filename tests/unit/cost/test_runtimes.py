import sys

import keras
import numpy as np
import pytest
from keras import layers

from secateur.cost.measure import measure
from secateur.cost.runtimes import RUNTIMES, check_runtime, open_runner, write_for
from secateur.errors import ArtifactError, MissingExtraError, ModelError
from zoo import inputs_of, model_of

MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_gives_the_answers_of_the_model_at_any_batch(runtime, tmp_path):
    pytest.importorskip(MODULES[runtime])
    model = model_of("residual")
    runner = open_runner(write_for(model, runtime, tmp_path), runtime, threads=2)
    assert [i.shape[0] for i in runner.inputs] == [None]
    for rows in (1, 3):
        x = np.random.default_rng(rows).normal(size=(rows, *model.input_shape[1:]))
        x = x.astype("float32")
        (y,) = runner.run({runner.inputs[0].name: x})
        expected = np.asarray(model(x))
        np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_latency_is_measured_on_every_runtime(runtime):
    pytest.importorskip(MODULES[runtime])
    (latency,) = measure(model_of("dense"), runtime=runtime, batches=(2,)).latencies
    assert (latency.runtime, latency.batch, latency.threads) == (runtime, 2, 1)
    assert 0 < latency.median_ms <= latency.p95_ms


@pytest.mark.parametrize(("runtime", "extra"), [("openvino", "openvino"), ("litert", "litert")])
def test_a_runtime_that_is_not_installed_names_its_extra(runtime, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, MODULES[runtime], None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'secateur\[{extra}\]'"):
        check_runtime(runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_runtime_cannot_open_is_refused(runtime, tmp_path):
    pytest.importorskip(MODULES[runtime])
    path = tmp_path / "model.bin"
    path.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="cannot open"):
        open_runner(path, runtime)


def test_recurrent_layers_are_refused_for_litert_by_name(tmp_path):
    pytest.importorskip(MODULES["litert"])
    i = keras.Input((5, 3))
    model = keras.Model(i, layers.LSTM(4, return_sequences=True)(i))
    with pytest.raises(ModelError, match="TensorList"):
        write_for(model, "litert", tmp_path)
    assert not list(tmp_path.iterdir())


def test_inputs_are_told_with_shapes_and_types(tmp_path):
    runner = open_runner(write_for(model_of("wide_and_deep"), "onnxruntime", tmp_path))
    given = inputs_of(model_of("wide_and_deep"))
    assert len(runner.inputs) == len(given)
    assert all(i.dtype in ("float32", "int32") for i in runner.inputs)
