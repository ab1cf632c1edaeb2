import pytest

from secateur.cost.measure import measure
from secateur.cost.race import race
from secateur.errors import ModelError
from secateur.formats.onnx import to_onnx
from zoo import model_of


def test_what_is_counted():
    cost = measure(model_of("dense"))
    assert cost.parameters == 12 * 24 + 24 + 24 * 16 + 16 + 16 * 3 + 3
    assert cost.macs == 12 * 24 + 24 * 16 + 16 * 3
    assert cost.bytes == 4 * cost.parameters
    assert cost.latencies == ()


def test_latency_comes_with_how_it_was_taken():
    cost = measure(model_of("dense"), runtime="onnxruntime", batches=(1, 4))
    assert [latency.batch for latency in cost.latencies] == [1, 4]
    for latency in cost.latencies:
        assert latency.runtime == "onnxruntime"
        assert latency.runs >= 20
        assert 0 < latency.median_ms <= latency.p95_ms


def test_models_race_side_by_side_whatever_their_inputs(tmp_path):
    paths = {}
    for name in ("wide_and_deep", "rescaled_image", "sequence"):
        paths[name] = tmp_path / f"{name}.onnx"
        to_onnx(model_of(name), paths[name])
    found = race(paths, batch=2, seconds=0.1)
    assert set(found) == set(paths)
    assert len({latency.runs for latency in found.values()}) == 1
    again = race(paths, batch=2, seconds=0.0, least=9, openings=4)
    assert {latency.runs for latency in again.values()} == {12}


def test_an_unknown_runtime_is_refused():
    with pytest.raises(ModelError, match="no runtime 'abacus'"):
        measure(model_of("dense"), runtime="abacus")
