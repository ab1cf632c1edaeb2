"""`Factorize` within a measured latency, and within a drop."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from secateur.cost.cost import Latency
from secateur.errors import BudgetError, DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.recipe.steps import to_entry, to_step
from secateur.steps import factorize, latency, ranking
from secateur.steps.factorize import Factorize
from secateur.steps.training import fit
from unit.steps.factorizing import made_data, net
from zoo import writes_files


@pytest.fixture(scope="module")
def data():
    return made_data()


def elements(path):
    """Return how many elements the kernels of an exported file have."""
    kernels = [each for each in onnx.load(path).graph.initializer if len(each.dims) == 2]
    return sum(int(np.prod(each.dims)) for each in kernels)


@pytest.fixture
def raced(monkeypatch):
    """Let time be the elements of the exported file, and something that no factors save."""

    def race(paths, *, runtime, batch, threads, **_):
        raced.runs.append((runtime, batch, threads))
        return {
            name: Latency(
                runtime=runtime,
                batch=batch,
                threads=threads,
                median_ms=(elements(path) + raced.fixed) / 1e3,
                p95_ms=1.0,
                runs=1,
            )
            for name, path in paths.items()
        }

    raced.fixed, raced.runs = 0, []
    monkeypatch.setattr(latency, "race", race)
    return raced


@writes_files
@pytest.mark.parametrize("fixed", [0, 2000])
def test_a_budget_of_latency_holds_as_measured(data, raced, fixed):
    raced.fixed = fixed
    step = Factorize(latency=0.6, batch=4, threads=2, round_to=1, faster=False)
    result = step(net(), data)
    before, after = (each.macs + fixed for each in (result.before, result.after))
    assert 0.55 <= after / before <= 0.6
    assert set(raced.runs) == {("onnxruntime", 4, 2)}
    (note,) = (note.what for note in result.notes if "of the latency is left" in note.what)
    assert "where 60.0% may be" in note
    assert "(batch 4, threads 2)" in note
    assert ("the choice of ranks corrected" in note) == (len(raced.runs) > 1) == bool(fixed)


@writes_files
def test_a_latency_out_of_reach_names_the_least_that_was_measured(data, raced):
    raced.fixed = 8000
    # Of 5760 multiply-adds the lowest ranks leave 282.
    with pytest.raises(BudgetError, match=r"the best that was measured is 60\.2% .*round_to"):
        Factorize(latency=0.3, round_to=1, faster=False)(net(), data)
    assert len(raced.runs) <= 6


@writes_files
def test_no_latency_is_saved_where_all_factors_are_slower(data, raced, monkeypatch):
    monkeypatch.setattr(ranking, "time_left", lambda *_, **__: 1.2)
    with pytest.raises(BudgetError, match=r"no factors are faster than .* took 1\.20 to 1\.20"):
        Factorize(latency=0.5, round_to=1)(net(), data)
    assert not raced.runs


@pytest.fixture(scope="module")
def taught(data):
    model = net()
    return fit(model, data, epochs=12, learning_rate=1e-2)[0]


def test_the_smallest_model_within_a_drop(taught, data):
    before = [np.array(weight) for weight in taught.weights]
    result = Factorize(max_drop=3.0, round_to=1, faster=False)(taught, data)
    whole, found = (evaluate(each, data.validation).accuracy for each in (taught, result.model))
    assert found >= whole - 0.03
    (chosen,) = (each for each in result.tried if each.chosen)
    assert result.after.macs <= chosen.share * result.before.macs
    assert all(each.share <= chosen.share or each.drop <= 3 for each in result.tried if each.value)
    told = [note for note in result.notes if note.step == "search"]
    assert len(told) == len(result.tried) >= 3
    assert {note.where for note in told} == {"accuracy by macs left"}
    for old, weight in zip(before, taught.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


@writes_files
def test_within_a_drop_the_fastest_may_be_searched_for(taught, data, raced):
    step = Factorize(
        max_drop=5.0, metric="auc", smallest="latency", trials=2, round_to=1, faster=False
    )
    result = step(taught, data)
    (chosen,) = (each for each in result.tried if each.chosen)
    assert result.after.macs / result.before.macs <= chosen.share
    assert any("of the latency is left" in note.what for note in result.notes)
    assert any(note.where == "auc by latency left" for note in result.notes)


def test_a_drop_out_of_reach_names_the_least(taught, data, monkeypatch):
    values = iter([0.9, 0.5, 0.7, 0.6])
    monkeypatch.setattr(
        factorize, "judged_by", lambda *_: (lambda _: next(values), next(values), "accuracy")
    )
    with pytest.raises(BudgetError, match=r"^factorize: no smaller .*\(20 was reached\)"):
        Factorize(max_drop=1.0, trials=3, round_to=1, faster=False)(taught, data)


def test_a_drop_where_all_factors_are_slower_says_so(taught, data, monkeypatch):
    monkeypatch.setattr(ranking, "time_left", lambda *_, **__: 1.2)
    with pytest.raises(BudgetError, match=r"can be met; .* leave 98\.9%.* took 1\.20 to 1\.20"):
        Factorize(max_drop=1.0, round_to=1)(taught, data)


def test_a_drop_needs_rows_to_judge_on(data):
    step = Factorize(max_drop=1.0, faster=False)
    for none in (None, replace(data, validation=Rows())):
        with pytest.raises(DataError, match="validation rows"):
            step(net(), none)
    with pytest.raises(PlanError, match="has no r2"):
        Factorize(max_drop=1.0, metric="r2", faster=False)(net(), data)


class Rows:
    """No rows to judge on."""

    rows = 0


def test_a_recipe_names_the_budgets():
    for entry in ({"latency": 0.5, "batch": 8}, {"max_drop": 1.0, "smallest": "params"}):
        step = to_step({"factorize": entry})
        assert to_entry(step) == {"factorize": entry}
