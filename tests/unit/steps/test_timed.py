import keras
import numpy as np
import onnx
import pytest
from keras import layers

from secateur.cost.cost import Latency
from secateur.errors import BudgetError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.steps import latency as held
from secateur.steps import timed
from secateur.steps.timed import plan_for_latency
from zoo import writes_files


class Elements:
    """A table that takes every element for as slow, which the runtime below does not."""

    step = 1

    def cost(self, key, lengths):
        size = 1.0
        for length in lengths:
            size *= length
        return size


def latency(ms):
    return Latency(runtime="onnxruntime", batch=1, threads=1, median_ms=ms, p95_ms=ms, runs=1)


def elements(path):
    """Return how many elements the kernels of an exported file have."""
    kernels = [each for each in onnx.load(path).graph.initializer if len(each.dims) == 2]
    return sum(int(np.prod(each.dims)) for each in kernels)


@pytest.fixture
def graph():
    keras.utils.set_random_seed(0)
    i = keras.Input((64,))
    x = layers.Dense(256, name="a")(i)
    x = layers.Dense(256, name="b")(x)
    return trace(keras.Model(i, layers.Dense(4, name="c")(x)))


@pytest.fixture
def raced(monkeypatch):
    """Let time be what the table says of the exported file, and something that no cut saves."""
    runs = []

    def race(paths, **_):
        runs.append({name: elements(path) + raced.fixed for name, path in paths.items()})
        return {name: latency(size / 1e5) for name, size in runs[-1].items()}

    raced.fixed = 0
    monkeypatch.setattr(held, "race", race)
    monkeypatch.setattr(timed, "latency_table", lambda *_, **__: Elements())
    raced.runs = runs
    return raced


@writes_files
def test_a_missed_budget_corrects_the_plan(graph, raced):
    raced.fixed = 25_000
    found = plan_for_latency(graph, observe(graph), 0.5)
    assert 0.475 <= found.ratio <= 0.5
    assert 1 <= found.corrections <= 5
    assert found.timing.trials[0].ratio > 0.5
    assert found.plan.asked == {"latency": 0.5}
    assert f"{found.ratio:.1%} of the latency is left" in found.note
    assert found.plan.keep(graph).any()


@writes_files
def test_a_plan_that_meets_its_budget_is_measured_once(graph, raced):
    # Widths in eights are too coarse for these few layers to come within the slack for certain.
    found = plan_for_latency(graph, observe(graph), 0.5, round_to=1)
    assert found.corrections == 0
    assert len(raced.runs) == 1


@writes_files
def test_a_budget_that_cannot_be_met_names_the_best_that_was_measured(graph, raced):
    raced.fixed = 2_500_000
    with pytest.raises(BudgetError, match=r"best that was measured is 9\d\.\d% of the model's"):
        plan_for_latency(graph, observe(graph), 0.5)
    raced.fixed = 0
    with pytest.raises(BudgetError, match="best that was measured"):
        plan_for_latency(graph, observe(graph), 0.01)


def test_a_share_out_of_range_is_refused_before_anything_is_measured(graph, raced):
    with pytest.raises(BudgetError, match="between 0 and 1"):
        plan_for_latency(graph, observe(graph), 1.5)
    assert not raced.runs


def test_the_search_meets_what_rises_with_the_share():
    for law in (lambda t: t, lambda t: 0.3 + 0.7 * t, lambda t: t**2, lambda t: t**0.5):
        search = held.Search(0.5)
        asked = []
        while (target := search.next()) is not None:
            asked.append(target)
            search.measured(target, law(target))
        assert 0.475 <= law(asked[-1]) <= 0.5
        assert len(asked) <= 4
